//! Does a plan's runs, each in a process of its own, beside whoever else works in the folder.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;

use super::child::Child;
use super::folder::{Claim, SuiteFolder};
use super::plan::Plan;
use crate::train::interrupt;
use crate::train::keep::run_folder::Results;

/// Between two looks at the children.
const TICK: Duration = Duration::from_millis(100);
/// Between two looks at what others do.
const LOOK: Duration = Duration::from_secs(1);
/// Processes that a run may have in one sitting.
const ATTEMPTS: u32 = 2;
/// Lines of a failed run's log that are shown.
const LAST_LINES: usize = 5;
/// The exit code of a training that was asked to stop.
const STOPPED: i32 = 130;

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Waiting,
    /// In a child of this process.
    Running,
    /// In another process.
    Elsewhere,
    Done,
    Failed,
    /// A run that it needs failed.
    NotRun,
}

/// What people are told while it goes on; runs are indices into the plan.
#[derive(Debug)]
pub enum Event<'a> {
    /// A process of this suite has begun a run, or goes on with it.
    Begins {
        run: usize,
        resumes: bool,
        process: u32,
    },
    /// Done, by this suite or elsewhere.
    Done {
        run: usize,
        results: &'a Results,
    },
    Elsewhere {
        run: usize,
    },
    Retries {
        run: usize,
        why: String,
    },
    Failed {
        run: usize,
        lines: &'a [String],
    },
    NotRun {
        run: usize,
        needs: usize,
    },
    Stopping {
        running: usize,
    },
    Tick {
        states: &'a [State],
    },
}

/// How to work.
#[derive(Debug, Clone)]
pub struct Options {
    /// Runs at a time.
    pub jobs: usize,
    /// Whether others work in the folder on purpose. If not, a run in another process is what a
    /// suite that died has left behind, and counts among the jobs.
    pub shared: bool,
    /// Where in the list of runs to begin, as a share of it.
    pub start: f64,
    /// CUDA devices to take turns on, as many together as train a run.
    pub devices: Vec<Vec<String>>,
}

/// How it ended.
#[derive(Debug)]
pub struct Outcome {
    pub states: Vec<State>,
    pub interrupted: bool,
}

struct Slot {
    run: usize,
    child: Child,
    log: File,
}

struct Worker<'a> {
    folder: &'a SuiteFolder,
    plan: &'a Plan,
    options: &'a Options,
    tell: &'a mut dyn FnMut(Event) -> Result<()>,
    states: Vec<State>,
    /// Processes that each run has had.
    attempts: Vec<u32>,
    /// Notes of failures that were there before.
    old_notes: Vec<Option<SystemTime>>,
    needs: Vec<Vec<usize>>,
    slots: Vec<Option<Slot>>,
}

/// Works until every run is done, has failed, or waits for one that has; or until somebody asks to
/// stop.
pub fn work(
    folder: &SuiteFolder,
    plan: &Plan,
    options: &Options,
    tell: &mut dyn FnMut(Event) -> Result<()>,
) -> Result<Outcome> {
    let names = plan.runs.iter().enumerate();
    let index: HashMap<&str, usize> = names.map(|(i, run)| (run.name.as_str(), i)).collect();
    let needs = plan.runs.iter().map(|run| {
        let needs = run.needs.iter();
        needs
            .filter_map(|need| index.get(need.as_str()).copied())
            .collect()
    });
    let note = |name: &str| folder.noted_failure(name).map(|(written, _)| written);
    let mut worker = Worker {
        folder,
        plan,
        options,
        tell,
        states: vec![State::Waiting; plan.runs.len()],
        attempts: vec![0; plan.runs.len()],
        old_notes: plan.runs.iter().map(|run| note(&run.name)).collect(),
        needs: needs.collect(),
        slots: (0..options.jobs).map(|_| None).collect(),
    };
    let worked = worker.work();
    if worked.is_err() {
        // Nothing of ours goes on behind an error's back; what is saved can be resumed.
        worker
            .slots
            .iter()
            .flatten()
            .for_each(|slot| slot.child.interrupt());
    }
    let interrupted = worked?;
    Ok(Outcome {
        states: worker.states,
        interrupted,
    })
}

impl Worker<'_> {
    /// Whether it was interrupted.
    fn work(&mut self) -> Result<bool> {
        let mut looked: Option<Instant> = None;
        let mut stopping = false;
        self.look()?;
        self.find_others()?;
        loop {
            let ended = self.reap(stopping)?;
            if interrupt::asked() && !stopping {
                stopping = true;
                let running = self.slots.iter().flatten().count();
                self.slots
                    .iter()
                    .flatten()
                    .for_each(|slot| slot.child.interrupt());
                (self.tell)(Event::Stopping { running })?;
            }
            if stopping && self.slots.iter().all(Option::is_none) {
                return Ok(true);
            }
            if !stopping && (ended || looked.is_none_or(|looked| looked.elapsed() >= LOOK)) {
                self.look()?;
                self.start()?;
                looked = Some(Instant::now());
            }
            (self.tell)(Event::Tick {
                states: &self.states,
            })?;
            if self
                .states
                .iter()
                .all(|state| matches!(state, State::Done | State::Failed | State::NotRun))
            {
                return Ok(false);
            }
            std::thread::sleep(TICK);
        }
    }

    /// Sees which children have ended; whether any has.
    fn reap(&mut self, stopping: bool) -> Result<bool> {
        let mut any = false;
        for place in 0..self.slots.len() {
            let Some(slot) = &mut self.slots[place] else {
                continue;
            };
            let Some(status) = slot.child.ended()? else {
                continue;
            };
            any = true;
            let Some(Slot { run, log, .. }) = self.slots[place].take() else {
                continue;
            };
            let name = &self.plan.runs[run].name;
            if let Some(results) = self.folder.results(name) {
                self.done(run, &results)?;
                continue;
            }
            self.states[run] = State::Waiting;
            if stopping || status.code() == Some(STOPPED) {
                continue;
            }
            let why = match (status.code(), status.signal()) {
                (Some(code), _) => format!("exit code {code}"),
                (None, Some(signal)) => format!("killed by signal {signal}"),
                (None, None) => "ended without a code".to_owned(),
            };
            if self.attempts[run] < ATTEMPTS {
                (self.tell)(Event::Retries { run, why })?;
                self.spawn(run, place, log)?;
            } else {
                let lines = self.folder.last_lines(name, LAST_LINES);
                self.folder.note_failure(name, &lines)?;
                self.failed(run, &lines)?;
            }
        }
        Ok(any)
    }

    /// Learns what others have done, and what cannot be done any more.
    fn look(&mut self) -> Result<()> {
        for run in 0..self.states.len() {
            if !matches!(self.states[run], State::Waiting | State::Elsewhere) {
                continue;
            }
            let name = &self.plan.runs[run].name;
            if let Some(results) = self.folder.results(name) {
                self.done(run, &results)?;
                continue;
            }
            if let Some((written, lines)) = self.folder.noted_failure(name) {
                if self.old_notes[run] != Some(written) {
                    self.failed(run, &lines)?;
                    continue;
                }
            }
            let lost = |need: &&usize| matches!(self.states[**need], State::Failed | State::NotRun);
            if let Some(&needs) = self.needs[run].iter().find(lost) {
                self.states[run] = State::NotRun;
                (self.tell)(Event::NotRun { run, needs })?;
            }
        }
        Ok(())
    }

    /// Learns which runs other processes train.
    fn find_others(&mut self) -> Result<()> {
        for run in (0..self.states.len())
            .filter(|run| self.ready(*run))
            .collect::<Vec<_>>()
        {
            let claim = self.folder.claim(&self.plan.runs[run].name)?;
            if matches!(claim, Claim::Elsewhere) {
                self.elsewhere(run)?;
            }
        }
        Ok(())
    }

    /// Fills free slots with runs that nobody else trains.
    fn start(&mut self) -> Result<()> {
        let count = self.states.len();
        let first = (self.options.start * count as f64) as usize;
        for run in (0..count).map(|offset| (first + offset) % count) {
            let Some(place) = self.slots.iter().position(Option::is_none) else {
                return Ok(());
            };
            if !self.ready(run) || self.busy_beside(run) >= self.options.jobs {
                continue;
            }
            match self.folder.claim(&self.plan.runs[run].name)? {
                Claim::Mine(log) => self.spawn(run, place, log)?,
                Claim::Done(results) => self.done(run, &results)?,
                Claim::Elsewhere => self.elsewhere(run)?,
            }
        }
        Ok(())
    }

    /// Whether nothing that this process knows of keeps a run from being trained.
    fn ready(&self, run: usize) -> bool {
        let done = |need: &usize| self.states[*need] == State::Done;
        let open = matches!(self.states[run], State::Waiting | State::Elsewhere);
        open && self.needs[run].iter().all(done)
    }

    /// Jobs that are taken, by other runs than `run`.
    fn busy_beside(&self, run: usize) -> usize {
        let counts = |state: &State| match state {
            State::Running => true,
            State::Elsewhere => !self.options.shared,
            _ => false,
        };
        let states = self.states.iter().enumerate();
        states
            .filter(|(other, state)| *other != run && counts(state))
            .count()
    }

    fn spawn(&mut self, run: usize, place: usize, log: File) -> Result<()> {
        let devices = &self.options.devices;
        let own = match devices.len() {
            0 => &[],
            count => &devices[place % count][..],
        };
        self.folder.show(&self.plan.runs[run].name);
        let child = Child::start(self.folder, &self.plan.runs[run], &log, own)?;
        self.attempts[run] += 1;
        self.states[run] = State::Running;
        let (resumes, process) = (child.resumes, child.id());
        self.slots[place] = Some(Slot { run, child, log });
        (self.tell)(Event::Begins {
            run,
            resumes,
            process,
        })
    }

    fn elsewhere(&mut self, run: usize) -> Result<()> {
        if self.states[run] == State::Elsewhere {
            return Ok(());
        }
        self.states[run] = State::Elsewhere;
        (self.tell)(Event::Elsewhere { run })
    }

    fn done(&mut self, run: usize, results: &Results) -> Result<()> {
        self.states[run] = State::Done;
        self.folder.forget_failure(&self.plan.runs[run].name);
        (self.tell)(Event::Done { run, results })
    }

    fn failed(&mut self, run: usize, lines: &[String]) -> Result<()> {
        self.states[run] = State::Failed;
        (self.tell)(Event::Failed { run, lines })
    }
}
