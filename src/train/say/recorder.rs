//! What a run tells people while it trains: progress, log, TensorBoard, `metrics.jsonl`.

use std::fs::{File, OpenOptions};
use std::io::Write;

use anyhow::Result;
use serde_yaml::Value;

use super::window::Look;
use crate::config::Config;
use crate::error::io_error;
use crate::telemetry::jsonl::JsonLines;
use crate::telemetry::progress::Progress;
use crate::telemetry::tensorboard::{EventWriter, HParam};
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

    /// The resolved config as text, and its values for the HParams page.
    fn describe(&mut self, config: &Config) -> Result<()> {
        let yaml = config.to_yaml()?;
        self.events
            .text("config", &format!("```yaml\n{yaml}```"), 0)?;
        let mut values = Vec::new();
        flatten("", &serde_yaml::to_value(config)?, &mut values);
        // What somebody chose says more than defaults.
        let mut defaults = Vec::new();
        flatten("", &serde_yaml::to_value(Config::default())?, &mut defaults);
        let chosen = values.iter().filter(|value| !defaults.contains(value));
        let mut notable: Vec<String> = chosen.map(|(name, _)| name.clone()).collect();
        notable.extend(["method", "training.seed"].map(String::from));
        let mut metrics = vec!["dev/glue_score".to_owned(), "final/glue_score".to_owned()];
        metrics.extend(
            config
                .tasks
                .iter()
                .map(|task| format!("final/{task}/score")),
        );
        self.events.hparams(&values, &notable, &metrics)?;
        self.events.flush()
    }

    /// A line for people, on the terminal and in `log.txt`.
    pub fn note(&mut self, line: &str) -> Result<()> {
        self.progress.note(line);
        // A log that cannot grow stops nothing.
        let _ = writeln!(self.log, "{line}");
        Ok(())
    }

    /// Some steps up to `step`, `seconds` long, at learning rate `rate`.
    pub fn steps(
        &mut self,
        step: u64,
        tasks: &[&str],
        look: &Look,
        rate: f64,
        seconds: f64,
    ) -> Result<()> {
        let mut shown = Vec::new();
        for (task, loss) in tasks.iter().zip(&look.losses) {
            if let Some(loss) = loss {
                self.events
                    .scalar(&format!("train/{task}/loss"), *loss, step)?;
                shown.push(*loss);
            }
        }
        self.events.scalar("train/learning_rate", rate, step)?;
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
            for (metric, value) in &scores.metrics {
                self.events
                    .scalar(&format!("dev/{task}/{metric}"), *value, step)?;
            }
            for (label, metrics) in &scores.labels {
                for (metric, value) in metrics {
                    self.events
                        .scalar(&format!("dev/{task}/{label}/{metric}"), *value, step)?;
                }
            }
            text.push(format!("{task} {:.1}", 100.0 * scores.score));
        }
        for (objective, weight) in &state.weights {
            self.events
                .scalar(&format!("train/{objective}/weight"), *weight, step)?;
        }
        self.events.scalar("dev/glue_score", mean, step)?;
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

    /// A task's alignment: ‖R − I‖_F and the singular values of R, largest first.
    pub fn alignment(
        &mut self,
        step: u64,
        task: &str,
        distance: f64,
        values: &[f64],
    ) -> Result<()> {
        let tag = |name: &str| format!("alignment/{task}/{name}");
        self.events
            .scalar(&tag("distance_from_identity"), distance, step)?;
        if let (Some(largest), Some(smallest)) = (values.first(), values.last()) {
            self.events
                .scalar(&tag("condition_number"), largest / smallest, step)?;
        }
        self.events.histogram(&tag("singular_values"), values, step)
    }

    /// The end of a run that came to its end.
    pub fn finish(&mut self, results: &Results) -> Result<()> {
        self.events
            .scalar("final/glue_score", results.glue_score, results.steps)?;
        for (task, result) in &results.tasks {
            let tag = format!("final/{task}/score");
            self.events.scalar(&tag, result.dev.score, results.steps)?;
        }
        self.events.hparams_end()?;
        self.events.flush()?;
        self.progress.finish();
        Ok(())
    }
}

/// The leaves of a YAML tree under dotted names.
fn flatten(prefix: &str, value: &Value, out: &mut Vec<(String, HParam)>) {
    let leaf = match value {
        Value::Mapping(map) => {
            for (key, value) in map {
                let key = key.as_str().unwrap_or_default();
                let name = if prefix.is_empty() {
                    key.to_owned()
                } else {
                    format!("{prefix}.{key}")
                };
                flatten(&name, value, out);
            }
            return;
        }
        Value::Sequence(items) => {
            let words: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            HParam::Text(words.join(" "))
        }
        Value::Number(number) => HParam::Number(number.as_f64().unwrap_or(f64::NAN)),
        Value::Bool(flag) => HParam::Bool(*flag),
        Value::String(text) => HParam::Text(text.clone()),
        Value::Null | Value::Tagged(_) => return,
    };
    out.push((prefix.to_owned(), leaf));
}
