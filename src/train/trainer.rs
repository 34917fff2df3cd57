//! The training loop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{bail, Result};
use tch::Tensor;

use super::evaluate::{self, Scores};
use super::feed::batches::Batches;
use super::interrupt;
use super::keep::checkpoint::{self, Best, Progress, Snapshot};
use super::keep::run_folder::{Overall, RunFolder};
use super::keep::saver::Saver;
use super::outputs::{self, Way};
use super::say::recorder::Recorder;
use super::say::spectrum::Spectra;
use super::say::window::Window;
use super::step::learner::Learner;
use super::step::schedule::Plan;
use crate::config::After;
use crate::data::TokenizedSplit;
use crate::error::Interrupted;
use crate::model::alignment::Alignment;

/// Steps between two looks at the losses.
const LOG_EVERY: u64 = 10;

/// A run in memory.
pub struct Trainer<'a> {
    pub learner: Learner,
    pub batches: Batches,
    pub folder: &'a RunFolder,
    /// Of the one process that tells of the run.
    pub recorder: Option<Recorder>,
    pub progress: Progress,
    pub plan: Plan,
    /// Of the one process that writes.
    saver: Option<Saver>,
}

impl<'a> Trainer<'a> {
    /// A run that goes on from where `progress` stands.
    pub fn new(
        learner: Learner,
        batches: Batches,
        folder: &'a RunFolder,
        recorder: Option<Recorder>,
        mut progress: Progress,
    ) -> Trainer<'a> {
        let plan = Plan::new(
            learner.config.method,
            &learner.config.alignment,
            batches.length.total,
            &learner.config.training,
        );
        // Older versions counted what does not count.
        progress.best.retain(|_, best| plan.counts(best.step));
        progress.overall = progress.overall.filter(|best| plan.counts(best.step));
        Trainer {
            plan,
            saver: learner.ranks.is_first().then(Saver::start),
            learner,
            batches,
            folder,
            recorder,
            progress,
        }
    }

    /// Trains from where `progress` stands to the end, or until somebody asks to stop.
    pub fn run(&mut self) -> Result<()> {
        let plan = self.plan.clone();
        let mut loader = self.learner.loader();
        let keeps_checkpoints = self.learner.config.checkpoints.after == After::All;
        let mut window = Window::new(self.learner.arithmetic.forgiven_overflows());
        let mut moving = None;
        let mut clock = Instant::now();
        if self.progress.step == 0 {
            let seen = self.look_at_alignments()?;
            self.describe_alignments(seen)?;
        }
        if self.progress.pending {
            self.evaluate()?;
        }
        while self.progress.step < self.batches.length.total && !self.out_of_patience() {
            let step = self.progress.step;
            if moving != Some(plan.moving(step)) {
                moving = Some(plan.moving(step));
                self.learner.optimizer.set_moving(plan.moving(step));
            }
            let passes = loader.passes(&mut self.batches, step)?;
            let factor = plan.factor(step);
            let (losses, norm) = self.learner.take(&passes, plan.moving(step), factor)?;
            let parts = passes.into_iter().flat_map(|(_, loaded)| loaded.parts);
            for (part, loss) in parts.zip(&losses) {
                window.push(step, part.planned, loss, part.tokens);
            }
            window.push_norm(step, norm);
            self.progress.step += 1;

            let mut stop = self.learner.ranks.any(interrupt::asked())?;
            let step = self.progress.step;
            let ends = step == self.batches.length.total;
            let evaluates = ends || step.is_multiple_of(self.batches.length.evaluate_every);
            let due = step.is_multiple_of(self.batches.length.save_every);
            if evaluates || due || stop || step.is_multiple_of(LOG_EVERY) {
                self.look(&mut window, factor, &mut clock)?;
            }
            if evaluates {
                // Whoever asks to stop gives seconds, and an evaluation may take minutes.
                self.progress.pending = true;
                match self.evaluate() {
                    Err(error) if error.is::<Interrupted>() => stop = true,
                    evaluated => evaluated?,
                }
            }
            let saves = stop || if ends { keeps_checkpoints } else { due };
            if saves {
                self.save()?;
            }
            if stop {
                self.written()?;
                return Err(stopped(self.progress.step));
            }
            if evaluates || saves {
                self.progress.seconds += clock.elapsed().as_secs_f64();
                clock = Instant::now();
            }
        }
        self.written()
    }

    /// Waits until everything is on disk: a launcher ends all processes when the first of them has ended.
    fn written(&mut self) -> Result<()> {
        if let Some(saver) = &mut self.saver {
            saver.finish()?;
        }
        self.learner.ranks.meet()
    }

    /// Reads losses and gradients' norms back, shows them, and stops at one that is not finite.
    fn look(&mut self, window: &mut Window, factor: f64, clock: &mut Instant) -> Result<()> {
        let distances = self
            .learner
            .alignments()
            .map(|(_, alignment)| alignment.distance());
        let distances: Vec<Tensor> = distances.collect::<Result<_>>()?;
        let look = window.take(self.learner.data.len(), &distances)?;
        if let Some(not_finite) = &look.not_finite {
            bail!("{}", not_finite.sentence(&self.learner.data));
        }
        let seconds = clock.elapsed().as_secs_f64();
        *clock = Instant::now();
        self.progress.seconds += seconds;
        self.progress.training_seconds += seconds;
        self.progress.tokens += look.tokens;
        let names: Vec<&str> = self
            .learner
            .data
            .iter()
            .map(|d| d.task.name.as_str())
            .collect();
        let rate = self.learner.config.training.learning_rate * factor;
        let aligned: Vec<&str> = self.learner.alignments().map(|(task, _)| task).collect();
        let rates = self.learner.optimizer.rates(factor);
        let Some(recorder) = &mut self.recorder else {
            return Ok(());
        };
        let step = self.progress.step;
        for (task, distance) in aligned.iter().zip(&look.others) {
            recorder.distance(step, task, *distance)?;
        }
        recorder.rates(step, rate, &rates)?;
        recorder.steps(step, &names, &look, seconds)
    }

    /// Begins to look at the run's alignments as they are at this step, where they are recorded; beside a
    /// device's work, for which the processor has little to do.
    fn look_at_alignments(&self) -> Result<Spectra> {
        let copy = |(task, alignment): (&str, &Alignment)| {
            Ok((task.to_owned(), alignment.departure_on_host()?))
        };
        let recorded = self.recorder.iter();
        let alignments = recorded.flat_map(|_| self.learner.alignments());
        let departures = alignments.map(copy).collect::<Result<_>>()?;
        Spectra::of(departures, self.learner.arithmetic.device().is_cuda())
    }

    /// Has the run's records tell of its alignments as they were seen at this step.
    fn describe_alignments(&mut self, seen: Spectra) -> Result<()> {
        let (step, spectra) = (self.progress.step, seen.finish()?);
        if let Some(recorder) = &mut self.recorder {
            let mut each = spectra.iter();
            each.try_for_each(|spectrum| recorder.spectrum(step, spectrum))?;
        }
        Ok(())
    }

    /// Scores every task on its dev split and keeps the best.
    ///
    /// # Errors
    /// [`Interrupted`] where somebody asks to stop meanwhile; then nothing has changed.
    fn evaluate(&mut self) -> Result<()> {
        let clock = Instant::now();
        self.learner.optimizer.settle()?;
        self.learner.check_same()?;
        let alignments = self.look_at_alignments()?;
        let mut dev = BTreeMap::new();
        for (index, data) in Arc::clone(&self.learner.data).iter().enumerate() {
            let scores = self.scores(index, &data.dev)?;
            dev.insert(data.task.name.clone(), scores);
        }
        let mean = 100.0 * dev.values().map(|s| s.score).sum::<f64>() / dev.len() as f64;
        if !mean.is_finite() {
            bail!(
                "the mean dev score is {mean} at step {}",
                self.progress.step
            );
        }
        let counts = self.plan.counts(self.progress.step);
        let improved = match counts {
            true => self.improved(&dev)?,
            false => BTreeMap::new(),
        };
        self.progress.pending = false;
        self.batches.observe(&dev);
        self.progress.last = dev;
        self.progress.weights = self.learner.weights()?;
        let better = counts && self.keep_best(mean, improved)?;
        let seconds = self.progress.seconds + clock.elapsed().as_secs_f64();
        let epoch = self.progress.step as f64 / self.batches.length.per_epoch;
        let device = self.learner.arithmetic.device();
        if let Some(recorder) = &mut self.recorder {
            recorder.evaluation(&self.progress, epoch, seconds, mean, better)?;
            recorder.memory(self.progress.step, device)?;
        }
        self.describe_alignments(alignments)
    }

    /// A task's scores on a split.
    fn scores(&mut self, index: usize, split: &TokenizedSplit) -> Result<Scores> {
        let step = self.progress.step;
        let outputs = self.learner.with_room(|learner| {
            outputs::compute(
                &learner.model,
                (index, &learner.data[index].task.name),
                split,
                &Way {
                    batch_size: learner.config.evaluation.batch_size,
                    pad: learner.pad,
                    arithmetic: learner.arithmetic,
                    ranks: &learner.ranks,
                },
                // Where several share the rows, the others would wait for one that stops.
                &|_| match interrupt::asked() && learner.ranks.size == 1 {
                    true => Err(stopped(step)),
                    false => Ok(()),
                },
            )
        });
        let outputs = outputs.map_err(|error| match error.is::<Interrupted>() {
            true => error,
            false => error.context(format!("at step {step}")),
        })?;
        evaluate::scores(&self.learner.data[index].task, &outputs, split)
    }

    /// The tasks whose dev scores are better than all before, with their scores on test where those
    /// are asked for.
    fn improved(&mut self, dev: &BTreeMap<String, Scores>) -> Result<BTreeMap<String, Best>> {
        let mut improved = BTreeMap::new();
        for (index, data) in Arc::clone(&self.learner.data).iter().enumerate() {
            let (task, scores) = (&data.task.name, &dev[&data.task.name]);
            let best = self.progress.best.get(task);
            if best.is_some_and(|best| scores.score <= best.scores.score) {
                continue;
            }
            let test = data.test.as_ref();
            let test = test.filter(|_| self.learner.config.evaluation.test);
            let best = Best {
                step: self.progress.step,
                scores: scores.clone(),
                test: test.map(|test| self.scores(index, test)).transpose()?,
            };
            improved.insert(task.clone(), best);
        }
        Ok(improved)
    }

    /// Notes and saves what is better than before; whether the mean is.
    fn keep_best(&mut self, mean: f64, improved: BTreeMap<String, Best>) -> Result<bool> {
        let step = self.progress.step;
        let mut of_tasks: Vec<String> = improved.keys().cloned().collect();
        self.progress.best.extend(improved);
        let overall = self.progress.overall.as_ref();
        let better = overall.is_none_or(|best| mean > best.glue_score);
        if better {
            self.progress.stale = 0;
            self.progress.overall = Some(Overall {
                step,
                glue_score: mean,
            });
        } else {
            self.progress.stale += 1;
        }
        if !self.learner.config.checkpoints.best_per_task {
            of_tasks.clear();
        }
        let mut places = Vec::new();
        if better {
            places.push(self.folder.best());
        }
        places.extend(of_tasks.iter().map(|task| self.folder.best_of(task)));
        let saver = self.saver.as_mut().filter(|_| !places.is_empty());
        if let Some(saver) = saver {
            let snapshot = Snapshot::take(&self.learner.model, None, &self.progress)?;
            saver.submit(move || {
                let (first, rest) = places.split_at(1);
                if let Some(parent) = first[0].parent() {
                    RunFolder::create(parent)?;
                }
                snapshot.write(&first[0])?;
                rest.iter()
                    .try_for_each(|place| checkpoint::link(&first[0], place))
            })?;
        }
        Ok(better)
    }

    /// Saves what a resumed run needs.
    fn save(&mut self) -> Result<()> {
        self.learner.optimizer.settle()?;
        self.progress.shares = self.batches.shares().cloned();
        // What a run that goes on from here does not write again.
        if let Some(recorder) = &mut self.recorder {
            recorder.sync()?;
        }
        let Some(saver) = &mut self.saver else {
            return Ok(());
        };
        let learner = &self.learner;
        let snapshot = Snapshot::take(&learner.model, Some(&learner.optimizer), &self.progress)?;
        let place = format!("step-{}", self.progress.step);
        let (folder, keep) = (self.folder.clone(), learner.config.checkpoints.keep);
        saver.submit(move || {
            snapshot.write(&folder.checkpoints().join(place))?;
            checkpoint::prune(&folder, keep)
        })
    }

    /// Why the run has ended before its last step, where it has.
    pub fn ended_early(&self) -> Option<String> {
        let (step, total) = (self.progress.step, self.batches.length.total);
        let stale = self.progress.stale;
        let early = step < total && self.out_of_patience();
        early.then(|| {
            format!(
                "ended at step {step} of {total}: the mean dev score has not risen in the last {stale} \
                 evaluations (evaluation.patience)"
            )
        })
    }

    fn out_of_patience(&self) -> bool {
        let patience = self.learner.config.evaluation.patience;
        let counts = self.plan.counts(self.progress.step);
        counts && patience.is_some_and(|patience| self.progress.stale >= patience)
    }
}

/// What a run that was asked to stop ends with.
fn stopped(step: u64) -> anyhow::Error {
    anyhow::Error::new(Interrupted(format!("stopped after step {step}")))
}
