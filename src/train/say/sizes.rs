//! Files that are not the official ones, by their number of rows.

use anyhow::Result;

use crate::config::Config;
use crate::data::sources::sources;
use crate::data::Split;
use crate::train::tasks::TaskData;

/// A line for each file of a run that has more or fewer rows than the official one: its scores are
/// no scores of that data set. `covalign data check` shows the same.
pub fn unofficial(config: &Config, data: &[TaskData]) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for data in data.iter().filter(|data| data.task.cut().is_none()) {
        for (split, tokens) in [(Split::Train, &data.train), (Split::Dev, &data.dev)] {
            for (number, source) in sources(&data.task, &config.data, split)?.iter().enumerate() {
                let rows = (0..tokens.len()).filter(|&row| tokens.file(row) == number);
                let rows = rows.count();
                if let Some(official) = source.file.rows.filter(|&official| official != rows) {
                    lines.push(format!(
                        "task {}: {} has {rows} rows, the official file {official}: scores are not \
                         those of the whole data set",
                        data.task.name,
                        source.path.display()
                    ));
                }
            }
        }
    }
    Ok(lines)
}
