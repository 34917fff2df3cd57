//! What the runs in a folder say about ways to train a task.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::statistics::mean;
use crate::config::Method;
use crate::error::{io_error, read_text};
use crate::input_error;
use crate::train::keep::run_folder::{Results, RunFolder};
use crate::train::keep::setting::{agree, Keys, RunFacts};
use crate::train::keep::way::Way;

/// A way to train a target, as it was tried: with which tasks' help, in order, and with which
/// settings of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arm {
    pub way: Way,
    pub supports: Vec<String>,
    /// Of the alignments, of sampling over tasks, of the run before.
    pub own: Keys,
}

/// Scores × 100 of one arm by seed, and under that by what every way has in common.
#[derive(Debug, Default)]
pub struct Scores {
    of_seed: BTreeMap<u64, BTreeMap<Keys, Vec<f64>>>,
    /// Runs that learned nothing, which are no evidence: they say what a seed may do, and not what
    /// the way is worth.
    pub collapsed: usize,
}

/// How much one arm is above another.
#[derive(Debug, Default)]
pub struct Differences {
    /// By seed, in their order.
    pub of_seed: Vec<f64>,
    /// Where seeds are folds of a cross-validation, the number of parts; the least of several.
    pub folds: Option<u64>,
}

/// Scores of the runs of a folder tree, by target and arm.
#[derive(Debug, Default)]
pub struct Evidence {
    arms: BTreeMap<String, BTreeMap<Arm, Scores>>,
    /// Finished runs that were read.
    pub runs: usize,
    /// Of these, runs of other encoders, which say nothing here.
    pub other_encoders: usize,
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
        let path = run.results();
        let results: Results = serde_json::from_str(&read_text(&path)?)
            .map_err(|e| input_error!("{}: {e}", path.display()))?;
        let facts = RunFacts::read(run.root(), Some(results.clone()))?;
        self.runs += 1;
        if results.encoder.name != encoder {
            self.other_encoders += 1;
            return Ok(());
        }
        if facts.config.method == Method::Single && facts.config.tasks.len() > 1 {
            // The common table of single-task runs, which are folders below.
            return Ok(());
        }
        for target in results.tasks.keys() {
            let Some((way, mut supports)) = facts.way(target) else {
                continue;
            };
            supports.sort();
            let setting = facts.setting(target);
            let own = setting.own;
            let arm = Arm { way, supports, own };
            let of_target = self.arms.entry(target.clone()).or_default();
            let scores = of_target.entry(arm).or_default();
            match results
                .score(target)
                .filter(|_| !results.collapsed_on(target))
            {
                None => scores.collapsed += 1,
                Some(score) => {
                    let of_seed = scores.of_seed.entry(results.seed).or_default();
                    let same = of_seed.entry(setting.common).or_default();
                    same.push(100.0 * score);
                }
            }
        }
        Ok(())
    }

    /// The ways that a target was trained in, in a fixed order.
    pub fn arms(&self, target: &str) -> impl Iterator<Item = (&Arm, &Scores)> {
        self.arms.get(target).into_iter().flatten()
    }

    /// The differences of two arms, seed by seed: over the runs that differ in nothing but what the
    /// arms are, averaged over the settings in which both were tried. What two ways both have, such
    /// as sampling, is equal.
    pub fn differences(&self, target: &str, a: &Arm, b: &Arm) -> Differences {
        let of = |arm: &Arm| self.arms.get(target)?.get(arm);
        let (Some(ours), Some(theirs)) = (of(a), of(b)) else {
            return Differences::default();
        };
        if a.way != b.way && !agree(&a.own, &b.own) {
            return Differences::default();
        }
        let of_seed = |(seed, ours): (&u64, &BTreeMap<Keys, Vec<f64>>)| {
            let theirs = theirs.of_seed.get(seed)?;
            let both = ours
                .iter()
                .filter_map(|(common, scores)| Some(mean(scores)? - mean(theirs.get(common)?)?));
            mean(&both.collect::<Vec<_>>())
        };
        let settings = ours.of_seed.values().flat_map(BTreeMap::keys);
        let folds = settings.filter_map(|common| common.get("folds")?.parse().ok());
        Differences {
            folds: folds.min(),
            of_seed: ours.of_seed.iter().filter_map(of_seed).collect(),
        }
    }
}
