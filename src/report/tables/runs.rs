//! Where the figures come from: every cell by seed, every run with its cost, and what is missing.

use std::collections::BTreeSet;
use std::path::Path;

use crate::report::groups::Group;
use crate::report::page::Remark;
use crate::report::results::{Judge, RunRecord, State, Study};
use crate::report::table::{points, Entry, Table, MISSING};
use crate::train::keep::run_folder::Results;

/// Every group with each seed's score and a link to its run.
pub fn cells(groups: &[Group]) -> Table {
    let columns = [
        "Cell",
        "Way",
        "Target",
        "With",
        "Setting",
        "#Target rows",
        "#Support rows",
        "#Mean",
        "#Seed",
        "#Score",
        "#Best of",
        "Run",
    ];
    let note = "Each mean of the tables above, seed by seed.";
    let mut table = Table::new("cells", "Where each figure comes from", note, &columns);
    let count = |rows: Option<u64>| Entry::text(rows.map_or(String::new(), |n| n.to_string()));
    for group in groups {
        for (index, (seed, point)) in group.sample.points.iter().enumerate() {
            let first = index == 0;
            let shown = |entry: Entry| if first { entry } else { Entry::default() };
            let run = point.runs.first().cloned().unwrap_or_default();
            let anchor = if first {
                group.id.clone()
            } else {
                String::new()
            };
            let row = vec![
                Entry::text(if first { &group.id } else { "" }),
                shown(Entry::text(group.way.label())),
                shown(Entry::text(&group.target)),
                shown(Entry::text(group.supports_name())),
                shown(Entry::text(group.variant_name())),
                shown(count(group.target_rows)),
                shown(count(group.support_rows)),
                shown(Entry {
                    link: None,
                    ..Entry::sample(&group.sample)
                }),
                Entry::text(seed.to_string()),
                Entry::text(match (point.score, point.collapsed) {
                    (None, _) => MISSING.into(),
                    (Some(score), false) => points(score),
                    (Some(score), true) => format!("{} †", points(score)),
                }),
                Entry::text(point.evaluations.map_or(String::new(), |n| n.to_string())),
                Entry {
                    link: Some(format!("#run-{run}")),
                    ..Entry::text(run)
                },
            ];
            table.push_anchored(anchor, row);
        }
    }
    table.without_empty_columns()
}

/// Every run with its score and cost; `folder` is the way from the report to the study's folder.
pub fn runs(study: &Study, folder: &Path) -> Table {
    let columns = [
        "Run",
        "State",
        "Method",
        "Tasks",
        "#Seed",
        "#Score",
        "#Best of",
        "#Steps",
        "#‖R − I‖",
        "#Seconds",
        "#Its source's",
        "#Tokens/s",
        "Device",
        "Precision",
        "Folder",
    ];
    let note = "Score is the mean over the run's tasks, each at its best evaluation, × 100; Best of says of \
                how many; ‖R − I‖ is how far each task's alignment is from the identity at the end.";
    let mut table = Table::new("runs", "All runs", note, &columns);
    for record in &study.runs {
        let run = &record.run;
        let results = record.results.as_ref();
        let number = |value: Option<f64>, decimals: usize| {
            Entry::text(value.map_or(MISSING.to_owned(), |v| format!("{v:.decimals$}")))
        };
        let word = |value: Option<&str>| Entry::text(value.unwrap_or(MISSING));
        let per_task = results.map_or(String::new(), |results| {
            let tasks = results.tasks.iter();
            let lines = tasks.map(|(task, r)| {
                format!(
                    "{task}: {}",
                    points(100.0 * record.scores(task).map_or(r.dev.score, |s| s.score))
                )
            });
            lines.collect::<Vec<_>>().join("\n")
        });
        let place = folder.join(&record.path).display().to_string();
        let row = vec![
            Entry::text(&run.name),
            Entry::text(record.state.name()),
            Entry::text(&run.method),
            Entry::text(run.tasks.join("+")),
            Entry::text(run.seed.to_string()),
            Entry {
                tooltip: per_task,
                ..number(results.map(|r| r.glue_score), 2)
            },
            Entry::text(best_of(record)),
            number(results.map(|r| r.steps as f64), 0),
            results.map_or(Entry::default(), distances),
            number(results.map(|r| r.seconds), 1),
            Entry::text(
                results
                    .and(study.seconds_before(record))
                    .map_or(String::new(), |s| format!("{s:.1}")),
            ),
            number(results.map(|r| r.tokens_per_second), 0),
            word(results.map(|r| r.device.as_str())),
            word(results.map(|r| r.precision.as_str())),
            Entry {
                link: Some(place),
                ..Entry::text(&record.path)
            },
        ];
        table.push_anchored(format!("run-{}", run.name), row);
    }
    table.without_empty_columns()
}

/// How often a run's tasks were evaluated.
fn best_of(record: &RunRecord) -> String {
    let mut counts: Vec<usize> = record.evaluations.values().copied().collect();
    counts.sort_unstable();
    counts.dedup();
    let counts = counts.iter().map(usize::to_string);
    counts.collect::<Vec<_>>().join(", ")
}

/// How far each alignment has moved, in the order of the tasks' names.
fn distances(results: &Results) -> Entry {
    let each = results.distance_from_identity.iter();
    let shown: Vec<String> = each.clone().map(|(_, far)| format!("{far:.2}")).collect();
    let named: Vec<String> = each
        .map(|(task, far)| format!("{task}: {far:.4}"))
        .collect();
    Entry {
        tooltip: named.join("\n"),
        ..Entry::text(shown.join(", "))
    }
}

/// Scored rows that stand among the training rows of a task that helps.
pub fn seen(study: &Study) -> Table {
    let note =
        "Rows of equal text in the whole files: a run that takes a part of the training rows \
                sees a part of these. Where they are not left out, a gain may be memory.";
    let columns = [
        "Scored",
        "Split",
        "#Rows",
        "#Of",
        "#Per cent",
        "Trained on in",
        "Left out",
    ];
    let mut table = Table::new("seen", "Scored rows among training rows", note, &columns);
    table.rows.extend(study.seen.iter().map(|seen| {
        vec![
            Entry::text(&seen.task),
            Entry::text(&seen.split),
            Entry::text(seen.rows.to_string()),
            Entry::text(seen.of.to_string()),
            Entry::text(format!("{:.1}", 100.0 * seen.rows as f64 / seen.of as f64)),
            Entry::text(&seen.training),
            Entry::text(if seen.left_out { "yes" } else { "no" }),
        ]
    }));
    table
}

/// What a score on dev is worth.
const BEST_OF: &str =
    "A score is the best of its run's evaluations on dev (Best of says how many), and so \
better than new data would give, the more so the more they are: dev chose what dev judges.";

/// What to read instead.
const UNJUDGED: &str = "These runs have test scores too: `covalign report --split test`.";

/// What a score on test is worth.
const JUDGED: &str =
    "A score is that of test rows, by the weights of the run's best evaluation on dev (Best of says of \
how many): test had no part in choosing them.";

/// What the reader has to know before the first table, one sentence each.
pub fn remarks(study: &Study, groups: &[Group]) -> Vec<Remark> {
    let count = |state| study.count(state);
    let done = match study.planned {
        true => format!(
            "{} of {} planned runs are done.",
            count(State::Done),
            study.runs.len()
        ),
        false => format!(
            "{} runs with results in a folder that no suite planned: runs that were never begun \
             cannot be seen.",
            count(State::Done)
        ),
    };
    let mut remarks = vec![Remark::from(done)];
    for (state, what) in [
        (State::Missing, "not begun"),
        (State::Unfinished, "begun, without results"),
        (
            State::Unreadable,
            "with a config.yaml or results.json that cannot be read",
        ),
    ] {
        let names: Vec<&str> = study
            .runs
            .iter()
            .filter(|record| record.state == state)
            .map(|record| record.run.name.as_str())
            .collect();
        if !names.is_empty() {
            remarks.push(Remark::naming(&format!("{} {what}", names.len()), &names));
        }
    }
    remarks.extend(second_runs(study, groups));
    if !study.differ_in.is_empty() {
        remarks.push(Remark::from(format!(
            "The runs differ in {}: only runs that are equal in all of these are averaged and \
             compared.",
            study.differ_in.join(", ")
        )));
    }
    let on_test = study.runs.iter().any(|record| record.judge == Judge::Test);
    let worth = match (on_test, study.has_test_scores()) {
        (true, _) => JUDGED.to_owned(),
        (false, true) => format!("{BEST_OF} {UNJUDGED}"),
        (false, false) => BEST_OF.to_owned(),
    };
    remarks.push(worth.into());
    let collapsed: Vec<String> = study.runs.iter().filter_map(collapse).collect();
    remarks.push(match collapsed.len() {
        0 => "No run collapsed (a dev score not above the best constant answer).".to_owned().into(),
        n => Remark::naming(
            &format!(
                "† {n} collapsed {} (a dev score not above the best constant answer), counted in the \
                 means, beside which nothing is bold",
                if n == 1 { "run" } else { "runs" }
            ),
            &collapsed,
        ),
    });
    remarks
}

/// Runs whose scores stand in no table.
fn second_runs(study: &Study, groups: &[Group]) -> Vec<Remark> {
    let shown: BTreeSet<&str> = groups
        .iter()
        .flat_map(|group| group.sample.points.values())
        .flat_map(|point| point.runs.iter().map(String::as_str))
        .collect();
    let celled: BTreeSet<&str> = study.cells.iter().map(|cell| &*cell.run).collect();
    let readable = study
        .runs
        .iter()
        .filter(|record| record.state != State::Unreadable);
    let names = readable.map(|record| record.run.name.as_str());
    let unused: Vec<&str> = names.filter(|name| !shown.contains(name)).collect();
    let (second, other): (Vec<&str>, Vec<&str>) =
        unused.into_iter().partition(|name| celled.contains(name));
    let mut remarks = Vec::new();
    if !second.is_empty() {
        let text = "of the same setting and seed as another run, which counts";
        remarks.push(Remark::naming(&format!("{} {text}", second.len()), &second));
    }
    // Of a plan they are what others start from or wait for.
    if !other.is_empty() && !study.planned {
        let text = "trained in a way that no table has (jointly, after another run)";
        remarks.push(Remark::naming(&format!("{} {text}", other.len()), &other));
    }
    remarks
}

fn collapse(record: &RunRecord) -> Option<String> {
    let tasks = record.collapsed();
    (!tasks.is_empty()).then(|| format!("{} ({})", record.run.name, tasks.join(", ")))
}
