//! A task's files to examples.

use std::path::Path;

use anyhow::Result;

use super::ids::IdFilter;
use super::images::{locate, Places};
use super::lines::{read_file, text};
use super::reader::{LabelUse, Reader};
use super::rows::{Example, Part, Rows};
use super::sources::sources;
use crate::bail_input;
use crate::task::{Split, Task};

/// Reads a split from the files that the task's YAML names.
pub fn read_split(task: &Task, data_dir: &Path, split: Split) -> Result<Rows> {
    let mut rows = Rows::default();
    for source in sources(task, data_dir, split)? {
        let bytes = read_file(&source.path)?;
        let layout = task.layout_of(source.file);
        let from = rows.examples.len();
        let text = text(&bytes, task, &layout, (&source.path, 1))?;
        let cut = task.cut().filter(|_| source.of == Split::Train);
        let reader = Reader {
            task,
            layout: &layout,
            labels: match source.file.labelled {
                false => LabelUse::Ignored,
                // Published test files have −1 or nothing there.
                true if source.of == Split::Test => LabelUse::Optional,
                true => LabelUse::Required,
            },
            plain: false,
            group: cut.and_then(|cut| cut.by.as_ref()),
            path: &source.path,
        };
        reader.read(&text, IdFilter::read(&source)?.as_ref(), &mut rows)?;
        if let Some(cut) = cut {
            let own = &rows.examples[from..];
            let group = |row: &Example| row.group.clone();
            let splits = match own.iter().map(group).collect::<Option<Vec<String>>>() {
                Some(groups) => {
                    cut.splits_of(&groups.iter().map(String::as_str).collect::<Vec<_>>())
                }
                None => cut.splits(own.len()),
            };
            let mut chosen = splits.iter().map(|&of| of == split);
            let mut row = 0;
            rows.examples.retain(|_| {
                row += 1;
                row <= from || chosen.next().unwrap_or(false)
            });
        }
        if task.has_images() {
            let places = Places::of(task, &layout, data_dir)?;
            locate(&mut rows.examples[from..], &rows.files, &places)?;
        }
        if rows.examples.len() == from {
            bail_input!(
                "{}: no rows for the {split} split of {}",
                source.path.display(),
                task.name
            );
        }
        let to = rows.examples.len();
        match rows.parts.last_mut() {
            // So are files without a name, and those of one name with a `*`.
            Some(last) if last.name == source.file.part => last.rows.end = to,
            _ => rows.parts.push(Part {
                name: source.file.part.clone(),
                rows: from..to,
            }),
        }
    }
    Ok(rows)
}
