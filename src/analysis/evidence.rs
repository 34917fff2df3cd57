//! What the runs in a folder say about ways to train a task.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_yaml::Value;
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::error::{io_error, read_text};
use crate::input_error;
use crate::train::keep::run_folder::{EncoderIdentity, RunFolder, TaskResult};

/// A way to train a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// The target alone.
    Alone,
    /// Jointly with its supports.
    Multitask,
    /// Jointly, each task behind an alignment.
    Aligned,
    /// After its support.
    Stilts,
    /// After its support, behind an alignment of its own.
    Transfer,
}

impl Way {
    pub fn name(self) -> &'static str {
        match self {
            Way::Alone => "alone",
            Way::Multitask => "MTL",
            Way::Aligned => "aligned MTL",
            Way::Stilts => "STILTs",
            Way::Transfer => "aligned transfer",
        }
    }
}

/// What must be equal for two scores to be compared: the encoder's checksum, the training and
/// evaluation settings, the seed.
type Setting = (String, String, u64);

/// A way to train a target, with the tasks that help it, in order.
type Arm = (String, Way, Vec<String>);

/// Scores of the runs of a folder tree, by what was trained.
#[derive(Debug, Default)]
pub struct Evidence {
    scores: BTreeMap<Arm, BTreeMap<Setting, Vec<f64>>>,
    /// Finished runs that were read.
    pub runs: usize,
    /// Of these, runs of other encoders, which say nothing here.
    pub other_encoders: usize,
}

/// The parts of `results.json` that tell what was trained and how well it went.
#[derive(Deserialize)]
struct Outcome {
    method: String,
    tasks: BTreeMap<String, TaskResult>,
    seed: u64,
    encoder: EncoderIdentity,
    start: Option<Start>,
}

/// The run that it started from.
#[derive(Deserialize)]
struct Start {
    tasks: Vec<String>,
}

impl Evidence {
    /// Reads every finished run of `encoder` in the folders and below them: run folders, suites.
    ///
    /// # Errors
    /// Input errors for a folder that is not there and a file that cannot be read.
    pub fn read(folders: &[PathBuf], encoder: &str) -> Result<Evidence> {
        let mut evidence = Evidence::default();
        let mut seen = BTreeSet::new();
        for folder in folders {
            evidence.scan(folder, encoder, &mut seen)?;
        }
        Ok(evidence)
    }

    fn scan(&mut self, folder: &Path, encoder: &str, seen: &mut BTreeSet<PathBuf>) -> Result<()> {
        let real = folder.canonicalize().map_err(|e| io_error(folder, e))?;
        if !seen.insert(real) {
            return Ok(());
        }
        let run = RunFolder::new(folder);
        if run.results().is_file() && run.config().is_file() {
            self.add(&run, encoder)?;
        }
        // In a run of `single` over several tasks, these are the runs.
        let entries = std::fs::read_dir(folder).map_err(|e| io_error(folder, e))?;
        for entry in entries {
            let path = entry.map_err(|e| io_error(folder, e))?.path();
            if path.is_dir() {
                self.scan(&path, encoder, seen)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, run: &RunFolder, encoder: &str) -> Result<()> {
        let wrong = |path: PathBuf, e: String| input_error!("{}: {e}", path.display());
        let outcome: Outcome = serde_json::from_str(&read_text(&run.results())?)
            .map_err(|e| wrong(run.results(), e.to_string()))?;
        let config: Value = serde_yaml::from_str(&read_text(&run.config())?)
            .map_err(|e| wrong(run.config(), e.to_string()))?;
        self.runs += 1;
        if outcome.encoder.name != encoder {
            self.other_encoders += 1;
            return Ok(());
        }
        for (target, result) in &outcome.tasks {
            let Some((way, supports)) = outcome.way(target) else {
                continue;
            };
            let setting = (
                outcome.encoder.sha256.clone(),
                settings(&config, target),
                outcome.seed,
            );
            // A correlation with a constant is no number: the run collapsed, and counts as that.
            let score = Some(result.dev.score).filter(|score| score.is_finite());
            let arm = self.scores.entry((target.clone(), way, supports));
            let runs = arm.or_default().entry(setting).or_default();
            runs.push(100.0 * score.unwrap_or(0.0));
        }
        Ok(())
    }

    /// The sets of tasks that helped a target in some run.
    pub fn supports_of(&self, target: &str) -> BTreeSet<Vec<String>> {
        let arms = self.scores.keys();
        arms.filter(|(of, _, supports)| of == target && !supports.is_empty())
            .map(|(_, _, supports)| supports.clone())
            .collect()
    }

    /// How much better a target is with one way than with another, over the settings and seeds that
    /// both were run with. The supports of `Alone` are none.
    pub fn difference(
        &self,
        target: &str,
        supports: &[String],
        way: Way,
        than: Way,
    ) -> Option<Difference> {
        let scores = |way: Way| {
            let supports = match way {
                Way::Alone => Vec::new(),
                _ => supports.to_vec(),
            };
            self.scores.get(&(target.to_owned(), way, supports))
        };
        let (ours, theirs) = (scores(way)?, scores(than)?);
        let paired = ours.iter().filter_map(|(setting, scores)| {
            let other = theirs.get(setting)?;
            Some(mean(scores) - mean(other))
        });
        Difference::of(&paired.collect::<Vec<_>>())
    }
}

impl Outcome {
    /// How a task of the run was trained, with which tasks' help; none where it is no way of this
    /// list.
    fn way(&self, target: &str) -> Option<(Way, Vec<String>)> {
        let others: Vec<String> = self
            .tasks
            .keys()
            .filter(|t| *t != target)
            .cloned()
            .collect();
        let aligned = self.method == "aligned";
        match (&self.start, others.is_empty()) {
            (None, true) if !aligned => Some((Way::Alone, others)),
            (None, true) => None,
            // The common table of single-task runs, which are folders below.
            (None, false) if self.method == "single" => None,
            (None, false) if aligned => Some((Way::Aligned, others)),
            (None, false) => Some((Way::Multitask, others)),
            (Some(start), true) => {
                let mut supports = start.tasks.clone();
                supports.sort();
                let way = if aligned { Way::Transfer } else { Way::Stilts };
                Some((way, supports))
            }
            (Some(_), false) => None,
        }
    }
}

/// The settings by which two runs for a target may be compared: how it was trained and evaluated,
/// but for the seed and for where it was computed.
fn settings(config: &Value, target: &str) -> String {
    let mut training = config["training"].clone();
    if let Value::Mapping(keys) = &mut training {
        for key in ["seed", "device", "threads"] {
            keys.remove(key);
        }
        // Where the numbers of rows are given by task, the target's.
        let rows = keys.get_mut("max_train_rows");
        if let Some(rows) = rows.filter(|rows| rows.is_mapping()) {
            *rows = rows.get(target).cloned().unwrap_or(Value::Null);
        }
    }
    let both = [training, config["evaluation"].clone()];
    serde_yaml::to_string(&both).unwrap_or_default()
}

/// A mean of paired differences, in points of the score × 100.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    pub mean: f64,
    /// Pairs of runs.
    pub n: usize,
    /// How sure the sign is: Student's t with n − 1 degrees of freedom up to |t|, one half where
    /// nothing is known. None for one pair, and where all pairs differ alike.
    pub certainty: Option<f64>,
}

impl Difference {
    /// Of paired differences; none without any.
    pub fn of(differences: &[f64]) -> Option<Difference> {
        let n = differences.len();
        if n == 0 {
            return None;
        }
        let mean = mean(differences);
        let squares: f64 = differences.iter().map(|d| (d - mean).powi(2)).sum();
        let error = (squares / (n as f64 - 1.0).max(1.0) / n as f64).sqrt();
        // Equal differences of decimal numbers differ in their last bits.
        let varies = n > 1 && error > 1e-9 * mean.abs().max(1e-9);
        let student = StudentsT::new(0.0, 1.0, (n as f64 - 1.0).max(1.0)).ok();
        Some(Difference {
            mean,
            n,
            certainty: student
                .filter(|_| varies)
                .map(|student| student.cdf((mean / error).abs())),
        })
    }

    /// Whether the sign is as sure as a two-sided test at p < 0.1, by which Weller, Seppi and
    /// Gardner (2022) call a pair decided.
    pub fn decided(&self) -> bool {
        self.certainty.is_some_and(|certainty| certainty > 0.95)
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
