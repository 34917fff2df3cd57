//! How a suite goes on, while it does.

use std::collections::BTreeMap;
use std::io::{stderr, IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::duration::duration;
use crate::suite::estimate::{Pace, Work};
use crate::suite::plan::Plan;
use crate::suite::work::{Event, State};

/// The course of a suite: a live table on a terminal, lines elsewhere.
pub struct Show<'a> {
    plan: &'a Plan,
    works: Vec<Work>,
    pace: Pace,
    live: Option<Live>,
    begun: BTreeMap<usize, Instant>,
    /// Runs that were done when the suite started.
    already: usize,
    done: usize,
    ticked: bool,
}

struct Live {
    bars: MultiProgress,
    head: ProgressBar,
    runs: BTreeMap<usize, ProgressBar>,
    drawn: Option<Instant>,
}

impl<'a> Show<'a> {
    pub fn new(plan: &'a Plan, works: Vec<Work>) -> Show<'a> {
        let live = stderr().is_terminal().then(|| {
            let bars = MultiProgress::new();
            let head = bars.add(ProgressBar::new(plan.runs.len() as u64));
            let style = ProgressStyle::with_template("{bar:24} {pos}/{len} done  {wide_msg}");
            head.set_style(
                style
                    .unwrap_or_else(|_| ProgressStyle::default_bar())
                    .progress_chars("━━╌"),
            );
            Live {
                bars,
                head,
                runs: BTreeMap::new(),
                drawn: None,
            }
        });
        Show {
            plan,
            works,
            pace: Pace::default(),
            live,
            begun: BTreeMap::new(),
            already: 0,
            done: 0,
            ticked: false,
        }
    }

    /// Shows an event of the suite.
    pub fn event(&mut self, event: Event) -> Result<()> {
        let name = |run: usize| self.plan.runs[run].name.as_str();
        let all = self.plan.runs.len();
        match event {
            Event::Begins {
                run,
                resumes,
                process,
            } => {
                let what = if resumes { "goes on" } else { "begins" };
                self.line(&format!("{} {what}, process {process}", name(run)));
                self.begun.insert(run, Instant::now());
            }
            Event::Done { run, results } => {
                self.pace.learn(&self.works[run], results.seconds);
                self.begun.remove(&run);
                self.done += 1;
                if self.ticked {
                    let (score, seconds) = (results.glue_score, results.seconds);
                    let count = self.done;
                    self.line(&format!(
                        "{} is done: {score:.2} after {seconds:.0} s ({count} of {all})",
                        name(run)
                    ));
                } else {
                    self.already += 1;
                }
            }
            Event::Elsewhere { run } => {
                self.introduce();
                self.line(&format!(
                    "{} is in another process; waiting for it",
                    name(run)
                ));
            }
            Event::Retries { run, why } => {
                self.line(&format!("{} failed ({why}); once more", name(run)));
            }
            Event::Failed { run, lines } => {
                self.begun.remove(&run);
                self.line(&format!("{} failed; its last lines:", name(run)));
                lines
                    .iter()
                    .for_each(|line| self.line(&format!("    {line}")));
            }
            Event::NotRun { run, needs } => {
                self.line(&format!(
                    "{} is not run: it needs {}",
                    name(run),
                    name(needs)
                ));
            }
            Event::Stopping { running } => {
                self.line(&format!("stopping; {running} runs save where they are"));
            }
            Event::Tick { states } => {
                self.introduce();
                self.draw(states);
            }
        }
        Ok(())
    }

    /// Says what was done before, once.
    fn introduce(&mut self) {
        if !self.ticked && self.already > 0 {
            let all = self.plan.runs.len();
            self.line(&format!("{} of {all} runs are done already", self.already));
        }
        self.ticked = true;
    }

    /// Removes the live table.
    pub fn finish(&mut self) {
        if let Some(live) = &self.live {
            let _ = live.bars.clear();
        }
    }

    fn line(&self, text: &str) {
        // A stderr that nobody reads any more is no reason to stop.
        match &self.live {
            Some(live) => {
                let _ = live.bars.println(text);
            }
            None => {
                let _ = writeln!(stderr(), "{text}");
            }
        }
    }

    fn draw(&mut self, states: &[State]) {
        let left = self.seconds_left(states);
        let Some(live) = &mut self.live else {
            return;
        };
        if live
            .drawn
            .is_some_and(|at| at.elapsed() < Duration::from_secs(1))
        {
            return;
        }
        live.drawn = Some(Instant::now());
        let count = |state| states.iter().filter(|s| **s == state).count();
        let failed = count(State::Failed) + count(State::NotRun);
        live.head.set_position(count(State::Done) as u64);
        live.head.set_message(format!(
            "{} running  {} elsewhere  {failed} failed  {} waiting  ETA {}",
            count(State::Running),
            count(State::Elsewhere),
            count(State::Waiting),
            duration(left)
        ));
        live.runs.retain(|run, bar| {
            let runs = states[*run] == State::Running;
            if !runs {
                bar.finish_and_clear();
            }
            runs
        });
        for (&run, begun) in &self.begun {
            if states[run] != State::Running {
                continue;
            }
            let bar = live.runs.entry(run).or_insert_with(|| {
                let bar = live.bars.add(ProgressBar::new_spinner());
                let style = ProgressStyle::with_template("  {wide_msg}");
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
                bar
            });
            bar.set_message(format!(
                "{}  {} of about {}",
                self.plan.runs[run].name,
                duration(begun.elapsed().as_secs_f64()),
                duration(self.pace.seconds(&self.works[run]))
            ));
        }
    }

    /// Of all runs that are not done, by as many at a time as run now.
    fn seconds_left(&self, states: &[State]) -> f64 {
        let mut left = 0.0;
        let mut workers = 0;
        for (run, state) in states.iter().enumerate() {
            let whole = self.pace.seconds(&self.works[run]);
            let spent = self
                .begun
                .get(&run)
                .map_or(0.0, |at| at.elapsed().as_secs_f64());
            match state {
                State::Waiting => left += whole,
                State::Running | State::Elsewhere => {
                    left += (whole - spent).max(0.0);
                    workers += 1;
                }
                State::Done | State::Failed | State::NotRun => {}
            }
        }
        left / workers.max(1) as f64
    }
}
