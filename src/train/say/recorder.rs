//! What a run tells people while it trains: progress, log, TensorBoard, `metrics.jsonl`.

use std::fs::{File, OpenOptions};
use std::io::Write;

use anyhow::Result;
use tch::Device;

use super::columns::columns;
use super::confusion;
use super::spectrum::Spectrum;
use super::window::Look;
use crate::config::Config;
use crate::error::io_error;
use crate::libtorch::profile::{peak_device_memory, peak_host_memory};
use crate::task::metric::Metric;
use crate::task::submission::is_of_glue;
use crate::telemetry::jsonl::JsonLines;
use crate::telemetry::layout::Layout;
use crate::telemetry::progress::Progress;
use crate::telemetry::tensorboard::EventWriter;
use crate::train::keep::checkpoint::Progress as State;
use crate::train::keep::run_folder::{EvaluationLine, Results, RunFolder};

/// The open files of a run's records.
pub struct Recorder {
    events: EventWriter,
    lines: JsonLines,
    log: File,
    progress: Progress,
    /// Evaluations that a resumed run had recorded.
    pub recorded: u64,
    /// What rows are counted in.
    unit: &'static str,
    /// Whether GLUE scores all tasks.
    glue: bool,
}

impl Recorder {
    /// Opens the records of a run that goes from step `start` to `total`. What a run that was cut
    /// off and is resumed had recorded past `start` is dropped.
    pub fn open(
        folder: &RunFolder,
        config: &Config,
        resume: bool,
        start: u64,
        total: u64,
    ) -> Result<Recorder> {
        let path = folder.log();
        let log = OpenOptions::new().create(true).append(true).open(&path);
        let next_step = if start == 0 { 0 } else { start + 1 };
        let lines = JsonLines::resume(&folder.metrics(), |line: &EvaluationLine| {
            line.step <= start
        });
        let (lines, recorded) = lines?;
        let mut recorder = Recorder {
            recorded,
            events: match resume {
                true => EventWriter::resume(&folder.tensorboard(), next_step)?,
                false => EventWriter::create(&folder.tensorboard())?,
            },
            lines,
            log: log.map_err(|e| io_error(&path, e))?,
            progress: Progress::new(total, "training").starting_at(start),
            unit: config.encoder.unit(),
            glue: config.tasks.iter().all(|task| is_of_glue(task)),
        };
        if start == 0 {
            recorder.describe(config)?;
        }
        Ok(recorder)
    }

    /// Puts all that was recorded on the disk.
    pub fn sync(&mut self) -> Result<()> {
        self.events.sync()?;
        self.lines.sync()?;
        // A log that cannot grow stops nothing.
        let _ = self.log.sync_data();
        Ok(())
    }

    /// The resolved config as text, its values for the HParams page, and the charts of Custom Scalars.
    fn describe(&mut self, config: &Config) -> Result<()> {
        let yaml = config.to_yaml()?;
        self.events
            .text("config", &format!("```yaml\n{yaml}```"), 0)?;
        let mut metrics = vec!["dev/mean".to_owned(), "final/mean".to_owned()];
        let scores = config.tasks.iter();
        metrics.extend(scores.map(|task| format!("final/{task}/score")));
        self.events.hparams(&columns(config)?, &metrics)?;
        self.events.layout(&charts(config))?;
        self.events.flush()
    }

    /// A line for people, on the terminal and in `log.txt`.
    pub fn note(&mut self, line: &str) -> Result<()> {
        self.progress.note(line);
        // A log that cannot grow stops nothing.
        let _ = writeln!(self.log, "{line}");
        Ok(())
    }

    /// The learning rate at `step`, and that of each part of the model.
    pub fn rates(&mut self, step: u64, rate: f64, parts: &[(&str, f64)]) -> Result<()> {
        self.events.scalar("train/learning_rate", rate, step)?;
        for (part, rate) in parts {
            let tag = format!("train/learning_rate/{part}");
            self.events.scalar(&tag, *rate, step)?;
        }
        Ok(())
    }

    /// Some steps up to `step`, `seconds` long.
    pub fn steps(&mut self, step: u64, tasks: &[&str], look: &Look, seconds: f64) -> Result<()> {
        let mut shown = Vec::new();
        for (index, task) in tasks.iter().enumerate() {
            let tag = |name: &str| format!("train/{task}/{name}");
            if let Some(loss) = look.losses[index] {
                self.events.scalar(&tag("loss"), loss, step)?;
                shown.push(loss);
            }
            if tasks.len() == 1 {
                continue;
            }
            if let Some(norm) = look.gradient_norms[index] {
                self.events.scalar(&tag("grad_norm"), norm, step)?;
            }
            let share = look.shares[index];
            self.events.scalar(&tag("share"), share, step)?;
        }
        if let Some(norm) = look.gradient_norm {
            self.events.scalar("train/grad_norm", norm, step)?;
        }
        let speed = look.tokens as f64 / seconds;
        let name = format!("train/{}_per_second", self.unit);
        self.events.scalar(&name, speed, step)?;
        let mean = shown.iter().sum::<f64>() / shown.len().max(1) as f64;
        self.progress
            .at(step, format!("loss {mean:.3}, {speed:.0} {}/s", self.unit));
        Ok(())
    }

    /// One evaluation: `mean` is the tasks' mean score × 100, `best` whether none was better.
    pub fn evaluation(
        &mut self,
        state: &State,
        epoch: f64,
        seconds: f64,
        mean: f64,
        best: bool,
    ) -> Result<()> {
        let step = state.step;
        let mut text = Vec::new();
        for (task, scores) in &state.last {
            let own = scores.metrics.iter();
            let own = own.map(|(metric, value)| (metric.clone(), metric, *value));
            let labels = scores.labels.iter().flat_map(|(label, metrics)| {
                let tag = move |metric: &String| format!("{label}/{metric}");
                let metrics = metrics.iter();
                metrics.map(move |(metric, value)| (tag(metric), metric, *value))
            });
            for (tag, metric, value) in own.chain(labels) {
                let points = points(metric, value);
                self.events
                    .scalar(&format!("dev/{task}/{tag}"), points, step)?;
            }
            if let Some(table) = scores.confusion.as_ref().and_then(confusion::table) {
                let tag = format!("dev/{task}/confusion");
                self.events.text(&tag, &table, step)?;
            }
            text.push(format!("{task} {:.1}", 100.0 * scores.score));
        }
        for (objective, weight) in &state.weights {
            self.events
                .scalar(&format!("train/{objective}/weight"), *weight, step)?;
        }
        self.mean("dev", mean, step)?;
        self.events.flush()?;
        let summaries = state.last.iter();
        let summaries = summaries.map(|(task, scores)| (task.clone(), scores.summary()));
        self.lines.append(&EvaluationLine {
            step,
            epoch,
            seconds,
            glue_score: mean,
            dev: summaries.collect(),
        })?;
        let mark = if best { ", best so far" } else { "" };
        self.note(&format!(
            "step {step}, epoch {epoch:.2}: dev {mean:.2}{mark} ({})",
            text.join(", ")
        ))
    }

    /// The tasks' mean score in points, which is GLUE's score where GLUE scores all of them.
    fn mean(&mut self, of: &str, mean: f64, step: u64) -> Result<()> {
        self.events.scalar(&format!("{of}/mean"), mean, step)?;
        if self.glue {
            let tag = format!("{of}/glue_score");
            self.events.scalar(&tag, mean, step)?;
        }
        Ok(())
    }

    /// The most memory so far: the process's and, where there is one, the CUDA device's.
    pub fn memory(&mut self, step: u64, device: Device) -> Result<()> {
        let gib = |bytes: u64| bytes as f64 / 1024f64.powi(3);
        let host = gib(peak_host_memory());
        self.events.scalar("memory/host_peak_gib", host, step)?;
        if let Some(bytes) = peak_device_memory(device)? {
            let peak = gib(bytes);
            self.events.scalar("memory/device_peak_gib", peak, step)?;
        }
        Ok(())
    }

    /// ‖R − I‖_F of a task's alignment.
    pub fn distance(&mut self, step: u64, task: &str, distance: f64) -> Result<()> {
        let tag = format!("alignment/{task}/distance_from_identity");
        self.events.scalar(&tag, distance, step)
    }

    /// All that is told of a task's alignment at an evaluation.
    pub fn spectrum(&mut self, step: u64, spectrum: &Spectrum) -> Result<()> {
        let tag = |name: &str| format!("alignment/{}/{name}", spectrum.task);
        // Between evaluations only the distance is told, and at this step too, but for the start.
        if step == 0 {
            self.distance(step, &spectrum.task, spectrum.distance)?;
        }
        let values = &spectrum.values;
        if let (Some(largest), Some(smallest)) = (values.first(), values.last()) {
            self.events
                .scalar(&tag("condition_number"), largest / smallest, step)?;
        }
        if let Some(picture) = &spectrum.picture {
            self.events.image(&tag("departure"), picture, step)?;
        }
        self.events.histogram(&tag("singular_values"), values, step)
    }

    /// The end of a run that came to its end.
    pub fn finish(&mut self, results: &Results) -> Result<()> {
        self.mean("final", results.glue_score, results.steps)?;
        for (task, result) in &results.tasks {
            let tag = format!("final/{task}/score");
            let points = 100.0 * result.dev.score;
            self.events.scalar(&tag, points, results.steps)?;
        }
        self.events.hparams_end()?;
        self.events.flush()?;
        self.progress.finish();
        Ok(())
    }
}

/// A metric's value as people read it.
fn points(metric: &str, value: f64) -> f64 {
    Metric::named(metric).map_or(value, |metric| metric.points(value))
}

/// Charts of a run's scores, with what lies behind them folded away.
fn charts(config: &Config) -> Layout {
    let mut layout = Layout::default();
    let of_task = |task: &String| (task.clone(), format!("^dev/{}/", escaped(task)));
    let of_tasks: Vec<(String, String)> = config.tasks.iter().map(of_task).collect();
    let of_tasks = of_tasks.iter().map(|(t, tags)| (t.as_str(), tags.as_str()));
    let mean = [("mean of the tasks", "^dev/mean$")];
    let scores: Vec<(&str, &str)> = mean.into_iter().chain(of_tasks).collect();
    layout.heading("Dev scores, in points", true, &scores);
    let training = [
        ("losses", "^train/[^/]+/loss$"),
        ("learning rates", "^train/learning_rate"),
        ("norm of the gradients", "^train/(.+/)?grad_norm$"),
        ("shares of the rows", "^train/[^/]+/share$"),
    ];
    layout.heading("Training", false, &training);
    let alignment = [
        ("distance of R from the identity", "^alignment/.*/distance"),
        ("condition number of R", "^alignment/.*/condition_number$"),
    ];
    layout.heading("Alignment", false, &alignment);
    layout
}

/// A name as a regular expression.
fn escaped(name: &str) -> String {
    let special = |c: char| !(c.is_alphanumeric() || c == '_' || c == '/');
    let escape = |c: char| special(c).then_some('\\').into_iter().chain([c]);
    name.chars().flat_map(escape).collect()
}
