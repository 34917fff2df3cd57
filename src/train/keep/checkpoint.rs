//! Weights and training state on disk, whole or not at all.
//!
//! A folder is written beside its place and renamed into it once it is on the disk. `state.json`
//! names every file with its sha256, itself and those of the run's folder that say what the weights
//! are too, so that a file that is damaged or another run's is found before it is used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::nn::VarStore;
use tch::Tensor;

use super::run_folder::{Overall, RunFolder, Started};
use crate::config::{After, Checkpoints};
use crate::error::{io_error, read_text};
use crate::model::{save, weights, MultiTaskModel};
use crate::telemetry::atomic::{beside, remove_folder, replace_folder};
use crate::telemetry::sealed;
use crate::train::evaluate::Scores;
use crate::train::feed::batches::EpochShares;
use crate::train::step::optimizer::Optimizer;
use crate::{bail_input, input_error};

const ENCODER: &str = "encoder.safetensors";
const HEADS: &str = "heads.safetensors";
const ALIGNMENT: &str = "alignment.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "state.json";
/// The key of the checksum of all else in `state.json`.
const OWN: &str = "sha256";

/// A task's best evaluation so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Best {
    pub step: u64,
    pub scores: Scores,
    /// On test, where `evaluation.test` asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Scores>,
}

/// Where a run stands, besides its tensors. Batches and dropout follow from the seed and the step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Optimiser steps taken.
    pub step: u64,
    /// Steps that the run is to have; 0 in folders of older versions.
    #[serde(default)]
    pub total: u64,
    /// Time spent so far, all sittings together.
    pub seconds: f64,
    /// Of which in steps, without evaluation and saving.
    pub training_seconds: f64,
    /// Tokens trained on, padding left out.
    pub tokens: u64,
    pub best: BTreeMap<String, Best>,
    pub overall: Option<Overall>,
    /// The last evaluation.
    pub last: BTreeMap<String, Scores>,
    /// Whether the evaluation at `step` is still to be made: the run was stopped during it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pending: bool,
    /// Evaluations since the mean was best.
    pub stale: u64,
    /// The [`PLAN`](crate::data::sampling::PLAN) by which batches were put together.
    #[serde(default)]
    pub plan: u32,
    /// What the epoch under way was planned by, where that follows from dev scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<EpochShares>,
    /// The run that this one started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Started>,
    /// What tasks and labels weigh, where that is not all the same.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, f64>,
    /// sha256 of the files that say what the weights are; see [`RunFolder::description`]. Empty in
    /// folders of older versions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub run: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct State {
    #[serde(flatten)]
    progress: Progress,
    /// sha256 of every other file of the folder.
    files: BTreeMap<String, String>,
}

/// A saved encoder, and the heads beside it, for another run.
pub struct SavedWeights {
    /// Its variables' names and values.
    pub heads: BTreeMap<String, Tensor>,
    pub step: u64,
    /// sha256 of the encoder's file.
    pub sha256: String,
}

/// What a checkpoint holds, in memory.
pub struct Snapshot {
    files: Vec<(&'static str, Vec<(String, save::Bytes)>)>,
    progress: Progress,
}

impl Snapshot {
    /// Copies the model, the optimiser where given, and where the run stands.
    pub fn take(
        model: &MultiTaskModel,
        optimizer: Option<&Optimizer>,
        progress: &Progress,
    ) -> Result<Snapshot> {
        let mut files = vec![
            (ENCODER, save::variables(model.encoder.variables())),
            (HEADS, save::variables(&model.heads)),
            (ALIGNMENT, save::variables(&model.alignments)),
        ];
        if let Some(optimizer) = optimizer {
            files.push((OPTIMIZER, optimizer.state()?));
        }
        let copy = |(name, tensors)| Ok((name, save::copies(tensors)?));
        Ok(Snapshot {
            files: files.into_iter().map(copy).collect::<Result<_>>()?,
            progress: progress.clone(),
        })
    }

    /// Writes it into `folder`, replacing that as a whole.
    pub fn write(self, folder: &Path) -> Result<()> {
        let new = beside(folder, "new");
        remove(&new)?;
        RunFolder::create(&new)?;
        let mut files = BTreeMap::new();
        for (name, tensors) in &self.files {
            let path = new.join(name);
            save::write(&path, tensors)?;
            files.insert((*name).to_owned(), save::sha256(&path)?);
        }
        let state = State {
            progress: self.progress,
            files,
        };
        let path = new.join(STATE);
        let mut state = serde_json::to_value(&state)?;
        sealed::seal(&mut state, OWN);
        let json = serde_json::to_vec_pretty(&state)?;
        std::fs::write(&path, json).map_err(|e| io_error(&path, e))?;
        replace(&new, folder)
    }
}

/// Gives `to` the files of `from` without copying them, replacing it as a whole.
pub fn link(from: &Path, to: &Path) -> Result<()> {
    let new = beside(to, "new");
    remove(&new)?;
    RunFolder::create(&new)?;
    for entry in std::fs::read_dir(from).map_err(|e| io_error(from, e))? {
        let source = entry.map_err(|e| io_error(from, e))?.path();
        let target = new.join(source.file_name().unwrap_or_default());
        // A file system without hard links gets a copy.
        std::fs::hard_link(&source, &target)
            .or_else(|_| std::fs::copy(&source, &target).map(drop))
            .map_err(|e| io_error(&target, e))?;
    }
    replace(&new, to)
}

/// The newest checkpoint that is whole, with a note for each newer one that is not; none where
/// there is none at all.
///
/// # Errors
/// An input error where all are damaged.
pub fn newest(folder: &RunFolder) -> Result<(Option<Whole>, Vec<String>)> {
    let mut notes = Vec::new();
    for (step, place) in folder.saved_steps().into_iter().rev() {
        match verify(&place) {
            Ok(state) => {
                let progress = state.progress;
                let last = notes.pop();
                let last = last.map(|note| format!("{note}; the run goes on from step {step}"));
                notes.extend(last);
                return Ok((Some(Whole { place, progress }), notes));
            }
            Err(error) => notes.push(format!("{error:#}")),
        }
    }
    match notes.into_iter().next() {
        None => Ok((None, Vec::new())),
        Some(first) => bail_input!(
            "{first}; no checkpoint of this run is whole, so start a new one with another --out"
        ),
    }
}

/// A checkpoint whose files are what its `state.json` says.
pub struct Whole {
    place: PathBuf,
    progress: Progress,
}

/// Copies a saved model into `model`, and its optimiser's state where one is given.
pub fn read(
    folder: &Path,
    model: &MultiTaskModel,
    optimizer: Option<&mut Optimizer>,
) -> Result<Progress> {
    let progress = verify(folder)?.progress;
    let place = folder.to_owned();
    Whole { place, progress }.fill(model, optimizer)
}

impl Whole {
    /// As [`read`], without reading the files twice, for the run of `folder`, whose they must be.
    pub fn read(
        self,
        folder: &RunFolder,
        model: &MultiTaskModel,
        optimizer: Option<&mut Optimizer>,
    ) -> Result<Progress> {
        compare_description(folder, &self.place, &self.progress.run)?;
        self.fill(model, optimizer)
    }

    fn fill(self, model: &MultiTaskModel, optimizer: Option<&mut Optimizer>) -> Result<Progress> {
        let Whole { place, progress } = self;
        fill(model.encoder.variables(), &place.join(ENCODER))?;
        fill(&model.heads, &place.join(HEADS))?;
        fill(&model.alignments, &place.join(ALIGNMENT))?;
        if let Some(optimizer) = optimizer {
            optimizer.load_state(weights::read(&place.join(OPTIMIZER))?)?;
        }
        Ok(progress)
    }
}

/// Copies a saved encoder into the variables of another of the same shapes.
pub fn read_encoder(folder: &Path, encoder: &VarStore) -> Result<SavedWeights> {
    let mut state = verify(folder)?;
    fill(encoder, &folder.join(ENCODER))?;
    Ok(SavedWeights {
        heads: weights::read(&folder.join(HEADS))?,
        step: state.progress.step,
        sha256: state.files.remove(ENCODER).unwrap_or_default(),
    })
}

/// sha256 of each file of a checkpoint, as its `state.json` says.
pub fn checksums(folder: &Path) -> Result<BTreeMap<String, String>> {
    Ok(read_state(folder)?.files)
}

/// The steps that a run is to have, as a checkpoint of it says; none where that is not known.
pub fn total_steps(folder: &Path) -> Option<u64> {
    let total = read_state(folder).ok()?.progress.total;
    (total > 0).then_some(total)
}

fn read_state(folder: &Path) -> Result<State> {
    let path = folder.join(STATE);
    let text = read_text(&path)?;
    let unreadable = |e: serde_json::Error| input_error!("{}: {e}", path.display());
    let mut state: Value = serde_json::from_str(&text).map_err(unreadable)?;
    // Older versions wrote none.
    if sealed::unseal(&mut state, OWN) == Some(false) {
        return Err(damaged(&path, "the one in it"));
    }
    serde_json::from_value(state).map_err(unreadable)
}

fn damaged(path: &Path, sum: &str) -> anyhow::Error {
    input_error!(
        "{}: the file is damaged (its checksum is not {sum}); take another checkpoint",
        path.display()
    )
}

/// Whether the files of `run` that say what the weights in `folder` are, are those that these were
/// saved with.
///
/// # Errors
/// An input error that names the one that is not.
pub fn check_description(run: &RunFolder, folder: &Path) -> Result<()> {
    compare_description(run, folder, &read_state(folder)?.progress.run)
}

/// As [`check_description`], where `saved` is what they were saved with.
fn compare_description(
    run: &RunFolder,
    folder: &Path,
    saved: &BTreeMap<String, String>,
) -> Result<()> {
    if saved.is_empty() {
        return Ok(());
    }
    let found = run.description()?;
    for name in saved.keys().chain(found.keys()) {
        let path = run.root().join(name);
        let what = match (saved.get(name), found.get(name)) {
            (was, is) if was == is => continue,
            (_, None) => "is missing",
            (None, _) => "was not there",
            _ => "was another, by its checksum,",
        };
        bail_input!(
            "{}: {what} when the weights in {} were saved; a run folder is used as `covalign train` \
             wrote it: put the file back as it was, or train anew",
            path.display(),
            folder.display()
        );
    }
    Ok(())
}

/// Reads `state.json` and checks every file of the folder by it.
fn verify(folder: &Path) -> Result<State> {
    let state = read_state(folder)?;
    for name in [ENCODER, HEADS, ALIGNMENT] {
        if !state.files.contains_key(name) {
            let path = folder.join(STATE);
            bail_input!("{}: has no checksum of {name}", path.display());
        }
    }
    for (name, expected) in &state.files {
        let path = folder.join(name);
        if save::sha256(&path)? != *expected {
            return Err(damaged(&path, &format!("the one in {STATE}")));
        }
    }
    Ok(state)
}

fn fill(store: &VarStore, path: &Path) -> Result<()> {
    let mut tensors = weights::read(path)?;
    for (name, mut variable) in save::variables(store) {
        let tensor = tensors
            .remove(&name)
            .ok_or_else(|| input_error!("{}: holds no tensor `{name}`", path.display()))?;
        if tensor.size() != variable.size() {
            bail_input!(
                "{}: tensor `{name}` is {:?}, the model's {:?}",
                path.display(),
                tensor.size(),
                variable.size()
            );
        }
        tch::no_grad(|| variable.f_copy_(&tensor))?;
    }
    Ok(())
}

/// Removes the oldest checkpoints until `keep` are left.
pub fn prune(folder: &RunFolder, keep: usize) -> Result<()> {
    let saved = folder.saved_steps();
    let surplus = saved.len().saturating_sub(keep);
    saved
        .iter()
        .take(surplus)
        .try_for_each(|(_, path)| remove(path))
}

/// Removes the weights that a run does not keep once it has ended.
pub fn clear(folder: &RunFolder, config: &Checkpoints) -> Result<()> {
    match config.after {
        // One that was killed behind its last save has not done so.
        After::All => prune(folder, config.keep)?,
        After::Best | After::Nothing => remove_each(&folder.checkpoints())?,
    }
    if config.after == After::Nothing {
        remove(&folder.best())?;
        remove_each(&folder.best_per_task())?;
    }
    Ok(())
}

/// Puts the folder `new` in the place of `folder`, and both on the disk.
fn replace(new: &Path, folder: &Path) -> Result<()> {
    check_ours(folder)?;
    check_ours(&beside(folder, "old"))?;
    replace_folder(new, folder)
}

/// Removes a folder that [`Snapshot::write`] or [`link`] made, where it is there.
fn remove(folder: &Path) -> Result<()> {
    check_ours(folder)?;
    remove_folder(folder)
}

/// Removes the folders of weights in `folder`, and that one when nothing else is in it.
fn remove_each(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove(&entry.path())?;
        }
    }
    let _ = std::fs::remove_dir(folder);
    Ok(())
}

/// Nothing is replaced or removed that covalign did not write.
///
/// # Errors
/// An input error that names what else is in `folder`.
fn check_ours(folder: &Path) -> Result<()> {
    let ours = [ENCODER, HEADS, ALIGNMENT, OPTIMIZER, STATE];
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if !ours.iter().any(|name| entry.file_name() == *name) || entry.path().is_dir() {
            bail_input!(
                "{}: is not covalign's, but lies in a folder of weights that is to be replaced or \
                 removed; move it away, then go on with --resume",
                entry.path().display()
            );
        }
    }
    Ok(())
}
