//! Which classes a task's dev rows are taken for, as TensorBoard's text page shows it.

use crate::task::confusion::Confusion;

/// The most classes whose table a page can hold.
const MOST: usize = 32;

/// A Markdown table: a row for each class, a column for what its rows are taken for, right answers bold.
/// None of more classes than a page can hold.
pub fn table(confusion: &Confusion) -> Option<String> {
    if confusion.labels.len() > MOST {
        return None;
    }
    let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
    let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let labels: Vec<String> = confusion.labels.iter().map(|label| cell(label)).collect();
    let first = |name: &str, rest: Vec<String>| row([vec![name.to_owned()], rest].concat());
    let mut table = first("is ↓, is taken for →", labels.clone());
    table += &first("---", vec!["---:".to_owned(); labels.len()]);
    for (class, counts) in confusion.counts.iter().enumerate() {
        let shown = |(taken, count): (usize, &u64)| match taken == class {
            true => format!("**{count}**"),
            false => count.to_string(),
        };
        table += &first(
            &labels[class],
            counts.iter().enumerate().map(shown).collect(),
        );
    }
    Some(table)
}
