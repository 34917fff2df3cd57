//! What `covalign suite` shows: the plan, how it goes on, what came out.

use std::collections::BTreeMap;
use std::io::{stderr, IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::Result;
use comfy_table::{presets, CellAlignment, ContentArrangement, Table};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::experiment::estimate::{Pace, Work};
use crate::experiment::plan::{Cell, Plan, Run};
use crate::experiment::work::{Event, State};
use crate::train::run_folder::Results;

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(100)
        .set_header(header);
    table
}

fn align_right(table: &mut Table, columns: std::ops::Range<usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// A row per run but for its seed, and the time that is left.
pub fn plan_table(plan: &Plan, works: &[Work], done: &[Option<Results>], jobs: usize) -> String {
    let mut pace = Pace::default();
    for (work, results) in works.iter().zip(done) {
        if let Some(results) = results {
            pace.learn(work, results);
        }
    }
    let mut groups: Vec<(String, Vec<usize>)> = Vec::new();
    for (index, run) in plan.runs.iter().enumerate() {
        let seed = format!("-seed{}", run.seed);
        let name = run.name.strip_suffix(&seed).unwrap_or(&run.name);
        match groups.iter_mut().find(|(known, _)| known == name) {
            Some((_, runs)) => runs.push(index),
            None => groups.push((name.to_owned(), vec![index])),
        }
    }
    let mut table = table(&["Run", "Strategy", "Seeds", "Rows", "Steps", "Time"]);
    for (name, runs) in &groups {
        let first = runs[0];
        let work = &works[first];
        let seeds: Vec<String> = runs
            .iter()
            .map(|&r| plan.runs[r].seed.to_string())
            .collect();
        let rows: Vec<String> = work.rows.iter().map(usize::to_string).collect();
        let seconds: f64 = runs.iter().map(|&r| pace.seconds(&works[r])).sum();
        table.add_row([
            name.clone(),
            strategies(plan, &plan.runs[first]),
            seeds.join(" "),
            rows.join(" + "),
            work.steps.to_string(),
            duration(seconds),
        ]);
    }
    align_right(&mut table, 3..6);
    let left = works.iter().zip(done).filter(|(_, done)| done.is_none());
    let seconds: f64 = left.map(|(work, _)| pace.seconds(work)).sum::<f64>() / jobs as f64;
    let finished = done.iter().flatten().count();
    let basis = if pace.measured() {
        format!("measured on the {finished} runs that are done")
    } else {
        "a rough guess from rows and their lengths, perhaps wrong by three times".to_owned()
    };
    let mut text = format!(
        "{}\n{table}\n{} runs for {} cells, {finished} done; the rest takes about {}, {} at a time\n({basis})",
        plan.title,
        plan.runs.len(),
        plan.cells.len(),
        duration(seconds),
        jobs
    );
    if works.iter().any(|work| !work.counted) {
        text += "\nsome data is not there: rows as in the task files, 30 tokens each";
    }
    text
}

/// What a run is for.
fn strategies(plan: &Plan, run: &Run) -> String {
    let mut names: Vec<&str> = Vec::new();
    for cell in plan.cells.iter().filter(|cell| cell.run == run.name) {
        if !names.contains(&strategy(cell)) {
            names.push(strategy(cell));
        }
    }
    if plan
        .runs
        .iter()
        .any(|other| other.source.as_ref() == Some(&run.name))
    {
        names.push("source");
    }
    names.join(", ")
}

fn strategy(cell: &Cell) -> &'static str {
    use crate::experiment::plan::Strategy::*;
    match cell.strategy {
        Single => "single",
        Pair => "pair",
        All => "all",
        Stilts => "stilts",
        Transfer => "transfer",
    }
}

/// The mean score of each experiment and method: over targets, then mean and spread over seeds.
pub fn results_table(plan: &Plan, results: impl Fn(&str) -> Option<Results>) -> String {
    type Key<'a> = (&'a str, &'static str, &'a str, String);
    let mut known: BTreeMap<&str, Option<Results>> = BTreeMap::new();
    let mut groups: Vec<(Key, BTreeMap<u64, Vec<f64>>, usize)> = Vec::new();
    for cell in &plan.cells {
        let results = known.entry(&cell.run).or_insert_with(|| results(&cell.run));
        // Sizes differ from cell to cell: the report has them.
        let variant = cell.variant.iter();
        let variant: Vec<String> = variant
            .filter(|(key, _)| !key.starts_with("training.max_train_rows."))
            .map(|(key, value)| format!("{key} {value}"))
            .collect();
        let key = (
            cell.experiment.as_str(),
            strategy(cell),
            cell.method.as_str(),
            variant.join(", "),
        );
        let place = match groups.iter().position(|(known, ..)| *known == key) {
            Some(place) => place,
            None => {
                groups.push((key, BTreeMap::new(), 0));
                groups.len() - 1
            }
        };
        let (_, seeds, all) = &mut groups[place];
        *all += 1;
        let task = results.as_ref().and_then(|r| r.tasks.get(&cell.target));
        if let Some(task) = task {
            let scores = seeds.entry(cell.seed).or_default();
            scores.push(100.0 * task.dev.score);
        }
    }
    let mut table = table(&["Experiment", "Strategy", "Method", "Cells", "Mean score"]);
    for ((experiment, strategy, method, variant), seeds, all) in &groups {
        let done: usize = seeds.values().map(Vec::len).sum();
        let name = match variant.is_empty() {
            true => (*experiment).to_owned(),
            false => format!("{experiment} ({variant})"),
        };
        table.add_row([
            name,
            (*strategy).to_owned(),
            (*method).to_owned(),
            format!("{done} of {all}"),
            spread(seeds, done == *all),
        ]);
    }
    align_right(&mut table, 3..5);
    table.to_string()
}

/// Mean ± standard deviation over seeds of the means over targets.
fn spread(seeds: &BTreeMap<u64, Vec<f64>>, complete: bool) -> String {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    if seeds.is_empty() {
        return "–".to_owned();
    }
    if !complete {
        // Seeds with other targets than the rest have another mean.
        return "incomplete".to_owned();
    }
    let means: Vec<f64> = seeds.values().map(|scores| mean(scores)).collect();
    let centre = mean(&means);
    let squares: f64 = means.iter().map(|m| (m - centre).powi(2)).sum();
    match means.len() {
        1 => format!("{centre:.2}"),
        n => format!("{centre:.2} ± {:.2}", (squares / (n - 1) as f64).sqrt()),
    }
}

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
                self.pace.learn(&self.works[run], results);
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

/// `45 s`, `12 min`, `3 h 05 min`.
fn duration(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round() as u64;
    match minutes {
        _ if seconds < 90.0 => format!("{seconds:.0} s"),
        0..=99 => format!("{minutes} min"),
        _ => format!("{} h {:02} min", minutes / 60, minutes % 60),
    }
}
