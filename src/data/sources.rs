//! Which files on disk a split is read from.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::task::layout::{File, Ids};
use crate::task::{Split, Task};
use crate::{bail_input, input_error};

/// A file of a split that is there.
#[derive(Debug, Clone)]
pub struct Source<'t> {
    pub file: &'t File,
    pub path: PathBuf,
    /// The list of ids that `file` is filtered with, where it is.
    pub ids: Option<PathBuf>,
    /// The split that `file` belongs to: train where `split` is cut out of it.
    pub of: Split,
}

/// The files of `split`. A file is looked up as `data_dir/FOLDER/PATH` and else as `data_dir/PATH`.
pub fn sources<'t>(task: &'t Task, data_dir: &Path, split: Split) -> Result<Vec<Source<'t>>> {
    let of = match split {
        split if task.cut().is_some_and(|cut| cut.makes(split)) => Split::Train,
        split => split,
    };
    let Some(files) = task.files_of(of) else {
        let cut =
            match split {
                Split::Train => String::new(),
                _ => {
                    format!(
                "; name its file under `files.{split}`, or cut it out of the training file by \
                 `split: {{dev: 0.1{}}}` in the task's file",
                if split == Split::Test { ", test: 0.1" } else { "" }
            )
                }
            };
        bail_input!("task {} has no {split} split{cut}", task.name);
    };
    files
        .iter()
        .map(|file| source(task, data_dir, of, file))
        .collect()
}

fn source<'t>(task: &Task, data_dir: &Path, of: Split, file: &'t File) -> Result<Source<'t>> {
    let mut next = Some(file);
    while let Some(file) = next {
        let ids = file.keep_ids.as_ref().or(file.drop_ids.as_ref());
        if let Some(path) = find(task, data_dir, &file.path) {
            let ids = ids.map(|Ids { path: ids, .. }| {
                find(task, data_dir, ids).ok_or_else(|| {
                    input_error!(
                        "{}: needs the list {ids} beside it, which is not there",
                        path.display()
                    )
                })
            });
            return Ok(Source {
                file,
                path,
                ids: ids.transpose()?,
                of,
            });
        }
        next = file.otherwise.as_deref();
    }
    let other = file
        .otherwise
        .as_ref()
        .map(|o| format!(" (or {})", o.path))
        .unwrap_or_default();
    let wanted = data_dir.join(&task.folder).join(&file.path);
    if !data_dir.is_dir() {
        bail_input!(
            "{}: no such folder; the key `data` names the one that holds the tasks' folders",
            data_dir.display()
        );
    }
    bail_input!(
        "{}: no such file; task {} reads its {of} split from {}{other} in {} or {}",
        wanted.display(),
        task.name,
        file.path,
        data_dir.join(&task.folder).display(),
        data_dir.display(),
    )
}

fn find(task: &Task, data_dir: &Path, path: &str) -> Option<PathBuf> {
    let inside = data_dir.join(&task.folder).join(path);
    let beside = data_dir.join(path);
    [inside, beside].into_iter().find(|p| p.is_file())
}
