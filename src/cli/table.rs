//! The score table at a run's end.

use comfy_table::{presets, CellAlignment, ContentArrangement, Table};

use crate::train::keep::run_folder::Results;

/// One row per task with the metrics of its best evaluation, and their mean; 100 columns at most.
pub fn score_table(results: &Results, unit: &str) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(100)
        .set_header(["Task", "Metrics on dev", "Score", "at step", "Last"]);
    let judged = results.tasks.values().all(|task| task.test.is_some());
    if judged {
        table.set_header(["Task", "Metrics on dev", "Score", "at step", "Last", "Test"]);
    }
    for (name, task) in &results.tasks {
        let collapsed = results.collapsed_on(name);
        let mut row = vec![
            name.clone(),
            task.dev.shown().join("  "),
            marked(task.dev.score, collapsed),
            task.step.to_string(),
            format!("{:.2}", 100.0 * task.last.score),
        ];
        let test = task.test.iter().filter(|_| judged);
        row.extend(test.map(|test| format!("{:.2}", 100.0 * test.score)));
        table.add_row(row);
    }
    if results.tasks.len() > 1 {
        table.add_row([
            format!("mean of {}", results.tasks.len()),
            String::new(),
            format!("{:.2}", results.glue_score),
        ]);
    }
    for column in 2..6 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut notes = chosen(results);
    if judged {
        notes.push_str("Test: the weights that dev chose\n");
    }
    for name in results
        .tasks
        .keys()
        .filter(|task| results.collapsed_on(task))
    {
        let level = results.constant_answer.get(name).copied();
        notes.push_str(&format!("{}\n", constant(name, level)));
    }
    if let Some(why) = &results.ended_early {
        notes.push_str(&format!("{why}\n"));
    }
    format!(
        "{table}\n{notes}{} steps in {:.0} s, {:.0} {unit}/s on {} in {}",
        results.steps,
        results.seconds,
        results.tokens_per_second,
        results.device,
        results.precision
    )
}

/// A score × 100, marked where it is not above the best constant answer's.
pub fn marked(score: f64, collapsed: bool) -> String {
    let mark = if collapsed { " †" } else { "" };
    format!("{:.2}{mark}", 100.0 * score)
}

/// What the mark at a task's score says; `level` is the best constant answer's.
pub fn constant(task: &str, level: Option<f64>) -> String {
    let level = level.map_or(String::new(), |level| format!(" ({:.2})", 100.0 * level));
    format!("† {task}: not above the constant answer, the same for every row{level}: nothing was learned")
}

/// Of how many evaluations a score is the best, where the run says it.
fn chosen(results: &Results) -> String {
    let tasks = results.tasks.values();
    let counts = tasks
        .filter_map(|task| task.chosen_from)
        .map(|from| from.evaluations);
    let (least, most) = (counts.clone().min(), counts.max());
    match (least, most) {
        (Some(least), Some(most)) if least < most => {
            format!("Score: best of {least} to {most} evaluations on dev\n")
        }
        (Some(1), _) => "Score: the only evaluation on dev\n".into(),
        (Some(count), _) => format!("Score: best of {count} evaluations on dev\n"),
        _ => String::new(),
    }
}

/// A table of texts, 100 columns at most; columns of numbers are set to the right.
pub fn plain(header: &[String], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(100)
        .set_header(header)
        .add_rows(rows.iter().cloned());
    for (number, column) in table.column_iter_mut().enumerate() {
        let numbers = |row: &Vec<String>| row[number].parse::<f64>().is_ok();
        if !rows.is_empty() && rows.iter().all(numbers) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}
