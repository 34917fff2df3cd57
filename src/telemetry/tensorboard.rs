//! TensorBoard event files: scalars, histograms, images, text, hyper-parameters.
//!
//! The messages and the record format are tensorboard-rs's. Its `FileWriter` is left out: it writes
//! on a thread of its own that panics when the disk is full, and takes the caller along.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Cursor};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use image::{GrayImage, ImageFormat};
use protobuf::{Message, RepeatedField};
use tensorboard_proto::event::{Event, SessionLog, SessionLog_SessionStatus};
use tensorboard_proto::summary::{
    Summary, SummaryMetadata, SummaryMetadata_PluginData, Summary_Image, Summary_Value,
};
use tensorboard_proto::tensor::TensorProto;
use tensorboard_proto::tensor_shape::{TensorShapeProto, TensorShapeProto_Dim};
use tensorboard_proto::types::DataType;
use tensorboard_rs::record_writer::RecordWriter;
use tensorboard_rs::summary::{histogram_raw, scalar};

use super::hparams;
use super::layout::Layout;
use crate::error::io_error;

pub use super::hparams::{Column, HParam, Kind};

/// How long an event may wait in memory; TensorBoard itself looks for news every 30 s.
const FLUSH_EVERY: Duration = Duration::from_secs(5);

/// Buckets of a histogram, as many as TensorFlow's `tf.summary.histogram` makes.
const BUCKETS: usize = 30;

/// Appends events to one file in a TensorBoard log folder.
pub struct EventWriter {
    path: PathBuf,
    records: RecordWriter<BufWriter<File>>,
    flushed: Instant,
}

impl EventWriter {
    /// Starts an event file in `dir`, which is created where missing.
    pub fn create(dir: &Path) -> Result<EventWriter> {
        std::fs::create_dir_all(dir).map_err(|e| io_error(dir, e))?;
        let path = new_file_name(dir)?;
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|e| io_error(&path, e))?;
        let mut writer = EventWriter {
            path,
            records: RecordWriter::new(BufWriter::new(file)),
            flushed: Instant::now(),
        };
        let mut version = Event::new();
        version.set_file_version("brain.Event:2".to_owned());
        writer.write(version, 0)?;
        writer.flush()?;
        Ok(writer)
    }

    /// Starts a further event file in a run's `dir` when the run goes on. `next_step` is the first
    /// step that will be trained: TensorBoard forgets what earlier files say of it and of later
    /// steps, and shows one continuous series.
    pub fn resume(dir: &Path, next_step: u64) -> Result<EventWriter> {
        let mut writer = EventWriter::create(dir)?;
        let mut start = SessionLog::new();
        start.set_status(SessionLog_SessionStatus::START);
        let mut event = Event::new();
        event.set_session_log(start);
        writer.write(event, next_step)?;
        writer.flush()?;
        Ok(writer)
    }

    /// A point of the curve `tag`; stored as f32.
    pub fn scalar(&mut self, tag: &str, value: f64, step: u64) -> Result<()> {
        self.summary(scalar(tag, value as f32), step)
    }

    /// The distribution of `values` in 30 buckets of equal width. Values that are not finite are
    /// left out, and nothing is written when none is left.
    pub fn histogram(&mut self, tag: &str, values: &[f64], step: u64) -> Result<()> {
        let Some(buckets) = Buckets::new(values) else {
            return Ok(());
        };
        let summary = histogram_raw(
            tag,
            buckets.min,
            buckets.max,
            buckets.counts.iter().sum(),
            buckets.sum,
            buckets.sum_squares,
            &buckets.limits,
            &buckets.counts,
        );
        self.summary(summary, step)
    }

    /// A grey picture.
    pub fn image(&mut self, tag: &str, picture: &GrayImage, step: u64) -> Result<()> {
        let mut png = Cursor::new(Vec::new());
        picture.write_to(&mut png, ImageFormat::Png)?;
        let mut image = Summary_Image::new();
        image.set_width(picture.width() as i32);
        image.set_height(picture.height() as i32);
        image.set_colorspace(1);
        image.set_encoded_image_string(png.into_inner());
        let mut value = Summary_Value::new();
        value.set_tag(tag.to_owned());
        value.set_image(image);
        self.summary(one(value), step)
    }

    /// A text in Markdown.
    pub fn text(&mut self, tag: &str, markdown: &str, step: u64) -> Result<()> {
        let bytes = markdown.as_bytes().to_vec();
        self.bytes(tag, "text", bytes, step)
    }

    /// What the page Custom Scalars opens with.
    pub fn layout(&mut self, layout: &Layout) -> Result<()> {
        let tag = "custom_scalars__config__";
        self.bytes(tag, "custom_scalars", layout.bytes(), 0)
    }

    fn bytes(&mut self, tag: &str, plugin: &str, bytes: Vec<u8>, step: u64) -> Result<()> {
        let mut tensor = tensor(DataType::DT_STRING, 1);
        tensor.set_string_val(RepeatedField::from_vec(vec![bytes]));
        self.summary(plugin_summary(tag, plugin, Vec::new(), tensor), step)
    }

    /// The columns of the HParams page with the run's values, and which scalar tags are its results.
    /// Names must differ from each other.
    pub fn hparams(&mut self, columns: &[Column], metrics: &[String]) -> Result<()> {
        let now = seconds_since_epoch();
        self.hparams_data(hparams::experiment(columns, metrics, now))?;
        self.hparams_data(hparams::session_start(columns, now))?;
        self.flush()
    }

    /// Marks the run as done on the HParams page.
    pub fn hparams_end(&mut self) -> Result<()> {
        self.hparams_data(hparams::session_end(seconds_since_epoch()))?;
        self.flush()
    }

    fn hparams_data(&mut self, data: hparams::PluginData) -> Result<()> {
        // The page reads only the metadata; an empty tensor stands where a value must.
        let tensor = tensor(DataType::DT_FLOAT, 0);
        let summary = plugin_summary(data.tag, "hparams", data.content, tensor);
        self.summary(summary, 0)
    }

    /// Hands all events to the operating system, so that TensorBoard sees them.
    pub fn flush(&mut self) -> Result<()> {
        self.flushed = Instant::now();
        self.records.flush().map_err(|e| io_error(&self.path, e))
    }

    /// Waits until all events are on the disk.
    pub fn sync(&mut self) -> Result<()> {
        self.flush()?;
        let file = File::open(&self.path).and_then(|file| file.sync_data());
        file.map_err(|e| io_error(&self.path, e))
    }

    fn summary(&mut self, summary: Summary, step: u64) -> Result<()> {
        let mut event = Event::new();
        event.set_summary(summary);
        self.write(event, step)?;
        if self.flushed.elapsed() >= FLUSH_EVERY {
            self.flush()?;
        }
        Ok(())
    }

    fn write(&mut self, mut event: Event, step: u64) -> Result<()> {
        event.set_wall_time(seconds_since_epoch());
        event.set_step(step as i64);
        let bytes = event.write_to_bytes()?;
        let written = self.records.write(&bytes);
        written.map_err(|e| io_error(&self.path, e))
    }
}

fn seconds_since_epoch() -> f64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or_default().as_secs_f64()
}

/// `events.out.tfevents.<seconds>.<process>.covalign`. TensorBoard reads a folder's files in the
/// order of their names, so the seconds come after those of every file that is there.
fn new_file_name(dir: &Path) -> Result<PathBuf> {
    let mut seconds = seconds_since_epoch() as u64;
    for entry in std::fs::read_dir(dir).map_err(|e| io_error(dir, e))? {
        let name = entry.map_err(|e| io_error(dir, e))?.file_name();
        let taken = name
            .to_str()
            .and_then(|name| name.strip_prefix("events.out.tfevents."))
            .and_then(|rest| rest.split('.').next()?.parse::<u64>().ok());
        seconds = seconds.max(taken.map_or(0, |taken| taken.saturating_add(1)));
    }
    let process = std::process::id();
    Ok(dir.join(format!(
        "events.out.tfevents.{seconds:010}.{process}.covalign"
    )))
}

/// A tensor without values, of one dimension with `size` entries.
fn tensor(kind: DataType, size: i64) -> TensorProto {
    let mut dim = TensorShapeProto_Dim::new();
    dim.set_size(size);
    let mut shape = TensorShapeProto::new();
    shape.set_dim(RepeatedField::from_vec(vec![dim]));
    let mut tensor = TensorProto::new();
    tensor.set_dtype(kind);
    tensor.set_tensor_shape(shape);
    tensor
}

/// A summary for the TensorBoard plugin `plugin`, with the plugin's own `content`.
fn plugin_summary(tag: &str, plugin: &str, content: Vec<u8>, tensor: TensorProto) -> Summary {
    let mut data = SummaryMetadata_PluginData::new();
    data.set_plugin_name(plugin.to_owned());
    data.set_content(content);
    let mut metadata = SummaryMetadata::new();
    metadata.set_plugin_data(data);
    let mut value = Summary_Value::new();
    value.set_tag(tag.to_owned());
    value.set_metadata(metadata);
    value.set_tensor(tensor);
    one(value)
}

fn one(value: Summary_Value) -> Summary {
    let mut summary = Summary::new();
    summary.set_value(RepeatedField::from_vec(vec![value]));
    summary
}

/// Counts of values between limits. Bucket 0 starts at `min`; bucket i ends at `limits[i]`.
struct Buckets {
    min: f64,
    max: f64,
    sum: f64,
    sum_squares: f64,
    limits: Vec<f64>,
    counts: Vec<f64>,
}

impl Buckets {
    /// `None` when no value is finite; a single bucket when all are equal.
    fn new(values: &[f64]) -> Option<Buckets> {
        let values: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        let min = values.iter().copied().reduce(f64::min)?;
        let max = values.iter().copied().reduce(f64::max)?;
        let buckets = if min == max { 1 } else { BUCKETS };
        let width = max / buckets as f64 - min / buckets as f64;
        let inner = (1..buckets).map(|i| min + width * i as f64);
        let limits: Vec<f64> = inner.chain([max]).collect();
        let mut counts = vec![0.0; buckets];
        for value in &values {
            // A bucket holds its left limit; the last one holds both.
            let bucket = limits.partition_point(|limit| limit <= value);
            counts[bucket.min(buckets - 1)] += 1.0;
        }
        Some(Buckets {
            min,
            max,
            sum: values.iter().sum(),
            sum_squares: values.iter().map(|v| v * v).sum(),
            limits,
            counts,
        })
    }
}
