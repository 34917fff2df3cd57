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
    let found = files.iter().map(|file| found(task, data_dir, of, file));
    Ok(found.collect::<Result<Vec<_>>>()?.concat())
}

fn found<'t>(task: &Task, data_dir: &Path, of: Split, file: &'t File) -> Result<Vec<Source<'t>>> {
    let mut next = Some(file);
    while let Some(file) = next {
        let ids = file.keep_ids.as_ref().or(file.drop_ids.as_ref());
        let paths = find(task, data_dir, &file.path);
        if let Some(first) = paths.first() {
            let ids = ids.map(|Ids { path: ids, .. }| {
                find(task, data_dir, ids).pop().ok_or_else(|| {
                    input_error!(
                        "{}: needs the list {ids} beside it, which is not there",
                        first.display()
                    )
                })
            });
            let ids = ids.transpose()?;
            let source = |path| Source {
                file,
                path,
                ids: ids.clone(),
                of,
            };
            return Ok(paths.into_iter().map(source).collect());
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

/// The files of a path in the task's folder, or else in the data folder; with a `*` in its name several,
/// by name.
fn find(task: &Task, data_dir: &Path, path: &str) -> Vec<PathBuf> {
    let places = [data_dir.join(&task.folder).join(path), data_dir.join(path)];
    let found = places.iter().map(|place| match path.contains('*') {
        true => matching(place),
        false => Vec::from_iter(place.is_file().then(|| place.clone())),
    });
    found
        .into_iter()
        .find(|found| !found.is_empty())
        .unwrap_or_default()
}

/// The files whose names are that of `pattern`, in which one `*` stands for anything.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().unwrap_or_default().to_string_lossy();
    let (Some((start, end)), Some(folder)) = (name.split_once('*'), pattern.parent()) else {
        return Vec::new();
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let fits = |name: &str| {
        let rest = name.strip_prefix(start);
        rest.is_some_and(|rest| rest.ends_with(end))
    };
    let files = entries.filter(|entry| fits(&entry.file_name().to_string_lossy()));
    let mut files: Vec<PathBuf> = files
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}
