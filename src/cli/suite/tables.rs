//! The tables of `covalign suite`: the plan, and what came out.

use std::collections::BTreeMap;

use comfy_table::{presets, CellAlignment, ContentArrangement, Table};

use super::duration::duration;
use crate::suite::estimate::{Pace, Work};
use crate::suite::plan::{Cell, Plan, Run};
use crate::train::keep::run_folder::Results;

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
            pace.learn(work, results.seconds);
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
        text += "\nsome data is not there: rows as in the task files, texts of 30 tokens each";
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
    use crate::suite::plan::Strategy::*;
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
