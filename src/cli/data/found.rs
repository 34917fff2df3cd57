//! What the files of a task hold.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::data::overlap::Texts;
use crate::data::sources::{sources, Source};
use crate::data::{images, Intake, Skipped, Split, TokenizedSplit, Tokenizer};
use crate::error::one_line;
use crate::task::{Label, Labels, Task};

/// What a file of a task holds, or a split that is cut out of one.
pub struct FileReport {
    pub split: Split,
    pub path: PathBuf,
    /// Set for rows that make a split of their own, as dev cut out of train.
    pub cut: bool,
    pub official: Option<usize>,
    /// Rows of each class, or with each label.
    pub labels: BTreeMap<usize, usize>,
    pub values: Vec<Label>,
    pub lengths: Vec<usize>,
    pub truncated: usize,
    /// The share of its tokens that stand for what the vocabulary cannot spell; none of images.
    pub unknown: Option<f64>,
    pub skipped: Vec<Skipped>,
}

pub struct TaskReport {
    pub task: Task,
    pub max_length: usize,
    pub files: Vec<FileReport>,
    /// A line for each file that cannot be used.
    pub wrong: Vec<String>,
    /// Splits whose files are not there.
    pub absent: Vec<String>,
    pub texts: Vec<Texts>,
}

impl TaskReport {
    /// Reads every file of `task` in `dir`, with `decode` images too; what cannot be read is told, and
    /// hides nothing else.
    pub fn read(
        task: &Task,
        dir: &Path,
        intake: &Intake,
        max_length: usize,
        decode: bool,
    ) -> TaskReport {
        let mut report = TaskReport {
            task: task.clone(),
            max_length,
            files: Vec::new(),
            wrong: Vec::new(),
            absent: Vec::new(),
            texts: Vec::new(),
        };
        for split in Split::ALL
            .into_iter()
            .filter(|&split| task.has_split(split))
        {
            let found = match sources(task, dir, split) {
                Ok(found) => found,
                // Test files are not needed for training.
                Err(_) if split == Split::Test => {
                    report.absent.push(format!("{split}: not there"));
                    continue;
                }
                Err(e) => {
                    report.wrong.push(one_line(&e));
                    continue;
                }
            };
            let read = intake.load_split(task, dir, split, max_length, None, &|_, _| {});
            match read {
                Ok(tokens) => {
                    for (number, source) in found.iter().enumerate() {
                        let file = FileReport::new(
                            task,
                            split,
                            number,
                            source,
                            &tokens,
                            intake.tokenizer().and_then(Tokenizer::unknown_id),
                            report.max_length,
                        );
                        report.files.push(file);
                    }
                    let texts = Texts::of_tokens(&task.name, split, &tokens);
                    report.texts.push(texts);
                    if decode && tokens.has_images() {
                        let broken = images::check(&tokens).err();
                        report.wrong.extend(broken.iter().map(one_line));
                    }
                }
                Err(e) if report.wrong.contains(&one_line(&e)) => {}
                Err(e) => report.wrong.push(one_line(&e)),
            }
        }
        report
    }
}

impl FileReport {
    fn new(
        task: &Task,
        split: Split,
        number: usize,
        source: &Source,
        tokens: &TokenizedSplit,
        unknown: Option<i32>,
        max_length: usize,
    ) -> FileReport {
        let rows: Vec<usize> = (0..tokens.len())
            .filter(|&row| tokens.file(row) == number)
            .collect();
        let mut lengths: Vec<usize> = rows.iter().map(|&row| tokens.full_length(row)).collect();
        lengths.sort_unstable();
        let unknown = unknown.map(|unknown| {
            let ids = rows.iter().flat_map(|&row| tokens.ids(row));
            let count = ids.clone().filter(|&&id| id == unknown).count();
            // [CLS], and a [SEP] behind each text, are none of a text's.
            let special = rows.len() * (task.inputs() + 1);
            count as f64 / (ids.count().saturating_sub(special)).max(1) as f64
        });
        let values: Vec<Label> = rows.iter().filter_map(|&row| tokens.label(row)).collect();
        let mut labels = BTreeMap::new();
        for label in &values {
            match (&task.labels, label) {
                (Labels::Classes(_), Label::Number(class)) => {
                    *labels.entry(*class as usize).or_default() += 1;
                }
                (Labels::AnyOf(any), label) => (0..any.names.len())
                    .filter(|&index| label.holds(index))
                    .for_each(|index| *labels.entry(index).or_default() += 1),
                _ => {}
            }
        }
        let skipped = tokens
            .skipped
            .iter()
            .filter(|s| s.file == source.path)
            .cloned()
            .collect();
        FileReport {
            split,
            path: source.path.clone(),
            cut: task.cut().is_some() && source.of == Split::Train,
            official: source.file.rows,
            labels,
            values,
            unknown,
            truncated: lengths.iter().filter(|&&n| n > max_length).count(),
            lengths,
            skipped,
        }
    }
}
