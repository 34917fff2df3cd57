//! TensorBoard event files.
//!
//! Records and summaries are tensorboard-rs's and tensorboard-proto's; its own writer panics in
//! another thread when a disk is full, so the file is ours.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{anyhow, Result};
use protobuf::{Message, RepeatedField};
use tensorboard_proto::event::{Event, SessionLog, SessionLog_SessionStatus};
use tensorboard_proto::summary::{
    Summary, SummaryMetadata, SummaryMetadata_PluginData, Summary_Value,
};
use tensorboard_proto::tensor::TensorProto;
use tensorboard_proto::tensor_shape::TensorShapeProto_Dim;
use tensorboard_proto::types::DataType;
use tensorboard_rs::record_writer::RecordWriter;
use tensorboard_rs::summary;

pub use super::hparams::HParam;
use super::hparams::{self, Moment};
use crate::error::io_error;

/// Files of one process that start in the same second need different names.
static FILES: AtomicU64 = AtomicU64::new(0);

/// An open event file.
pub struct EventWriter {
    path: PathBuf,
    file: RecordWriter<BufWriter<File>>,
}

impl EventWriter {
    /// Starts an event file in `folder`, which is made if need be.
    pub fn create(folder: &Path) -> Result<EventWriter> {
        std::fs::create_dir_all(folder).map_err(|e| io_error(folder, e))?;
        let name = format!(
            "events.out.tfevents.{:010}.covalign.{}.{}",
            now() as u64,
            std::process::id(),
            FILES.fetch_add(1, Ordering::Relaxed)
        );
        let path = folder.join(name);
        let file = File::create(&path).map_err(|e| io_error(&path, e))?;
        let mut writer = EventWriter {
            file: RecordWriter::new(BufWriter::new(file)),
            path,
        };
        let mut version = Event::new();
        version.set_file_version("brain.Event:2".into());
        writer.write(version)?;
        writer.flush()?;
        Ok(writer)
    }

    /// A number of the series `tag`.
    pub fn scalar(&mut self, tag: &str, value: f64, step: u64) -> Result<()> {
        self.summary(summary::scalar(tag, value as f32), step)
    }

    /// The distribution of `values` in 30 equal buckets.
    pub fn histogram(&mut self, tag: &str, values: &[f64], step: u64) -> Result<()> {
        const BUCKETS: usize = 30;
        let finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        let least = finite.iter().copied().fold(f64::INFINITY, f64::min);
        let most = finite.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if finite.is_empty() {
            return Ok(());
        }
        // A single value still needs a bucket with a width.
        let width = ((most - least) / BUCKETS as f64).max(1e-6 * most.abs().max(1e-6));
        let mut counts = vec![0.0; BUCKETS];
        for value in &finite {
            let bucket = ((value - least) / width) as usize;
            counts[bucket.min(BUCKETS - 1)] += 1.0;
        }
        let limits: Vec<f64> = (1..=BUCKETS).map(|i| least + width * i as f64).collect();
        let (sum, squares) = finite
            .iter()
            .fold((0.0, 0.0), |(sum, squares), v| (sum + v, squares + v * v));
        let count = finite.len() as f64;
        let histogram =
            summary::histogram_raw(tag, least, most, count, sum, squares, &limits, &counts);
        self.summary(histogram, step)
    }

    /// Markdown for the page Text.
    pub fn text(&mut self, tag: &str, markdown: &str, step: u64) -> Result<()> {
        let mut dimension = TensorShapeProto_Dim::new();
        dimension.set_size(1);
        let mut tensor = TensorProto::new();
        tensor.set_dtype(DataType::DT_STRING);
        tensor.mut_tensor_shape().mut_dim().push(dimension);
        tensor.mut_string_val().push(markdown.as_bytes().to_vec());
        let mut value = plugin_value(&format!("{tag}/text_summary"), "text", Vec::new());
        value.set_tensor(tensor);
        self.summary(one(value), step)
    }

    /// The run's hyper-parameters, and the tags whose last values the page HParams shows with them.
    pub fn hparams(&mut self, values: &[(String, HParam)], metrics: &[String]) -> Result<()> {
        for (tag, moment) in [
            ("_hparams_/experiment", Moment::Experiment(values, metrics)),
            ("_hparams_/session_start_info", Moment::Start(values, now())),
        ] {
            self.hparams_moment(tag, &moment)?;
        }
        Ok(())
    }

    /// Marks the run as finished on the page HParams.
    pub fn hparams_end(&mut self) -> Result<()> {
        self.hparams_moment("_hparams_/session_end_info", &Moment::End(now()))
    }

    /// Hides what other files of the folder hold from `step` on: a resumed run writes it again.
    pub fn purge_from(&mut self, step: u64) -> Result<()> {
        let mut log = SessionLog::new();
        log.set_status(SessionLog_SessionStatus::START);
        let mut event = Event::new();
        event.set_step(step as i64);
        event.set_session_log(log);
        self.write(event)
    }

    /// Hands everything to the operating system, so that TensorBoard sees it.
    pub fn flush(&mut self) -> Result<()> {
        self.file.flush().map_err(|e| io_error(&self.path, e))
    }

    fn hparams_moment(&mut self, tag: &str, moment: &Moment) -> Result<()> {
        let content = hparams::plugin_data(moment)?;
        self.summary(one(plugin_value(tag, "hparams", content)), 0)
    }

    fn summary(&mut self, summary: Summary, step: u64) -> Result<()> {
        let mut event = Event::new();
        event.set_step(step as i64);
        event.set_summary(summary);
        self.write(event)
    }

    fn write(&mut self, mut event: Event) -> Result<()> {
        event.set_wall_time(now());
        let bytes = event
            .write_to_bytes()
            .map_err(|e| anyhow!("{}: {e}", self.path.display()))?;
        self.file.write(&bytes).map_err(|e| io_error(&self.path, e))
    }
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

fn plugin_value(tag: &str, plugin: &str, content: Vec<u8>) -> Summary_Value {
    let mut data = SummaryMetadata_PluginData::new();
    data.set_plugin_name(plugin.into());
    data.set_content(content);
    let mut metadata = SummaryMetadata::new();
    metadata.set_plugin_data(data);
    let mut value = Summary_Value::new();
    value.set_tag(tag.into());
    value.set_metadata(metadata);
    value
}

fn one(value: Summary_Value) -> Summary {
    let mut summary = Summary::new();
    summary.set_value(RepeatedField::from_vec(vec![value]));
    summary
}
