//! Where the images are that a task's rows name.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::bail_input;
use crate::data::rows::Example;
use crate::error::io_error;
use crate::task::layout::Layout;
use crate::task::Task;

/// Folders with images.
pub struct Places {
    folders: Vec<PathBuf>,
    /// Which of them has a file of this name; none of them alone where two have one.
    names: HashMap<OsString, Option<usize>>,
    /// Whether a name may also be a path by itself.
    paths: bool,
}

impl Places {
    /// The folders that a layout names, in the task's folder or in `data_dir`; those that are not there
    /// have no images.
    ///
    /// # Errors
    /// Input errors for a folder that cannot be read.
    pub fn of(task: &Task, layout: &Layout, data_dir: &Path) -> Result<Places> {
        let own = data_dir.join(&task.folder);
        let said = layout
            .images
            .as_ref()
            .map_or(&[][..], |images| images.names());
        let mut folders: Vec<PathBuf> = match said {
            [] => vec![own, data_dir.to_owned()],
            said => said
                .iter()
                .flat_map(|name| [own.join(name), data_dir.join(name)])
                .collect(),
        };
        folders.retain(|folder| folder.is_dir());
        folders.dedup();
        let mut names = HashMap::new();
        for (number, folder) in folders.iter().enumerate() {
            let entries = std::fs::read_dir(folder).map_err(|e| io_error(folder, e))?;
            for entry in entries {
                let name = entry.map_err(|e| io_error(folder, e))?.file_name();
                let one = |found: &mut Option<usize>| *found = None;
                names.entry(name).and_modify(one).or_insert(Some(number));
            }
        }
        Ok(Places {
            folders,
            names,
            paths: false,
        })
    }

    /// The same where a name that is in none of them may be a path.
    pub fn or_paths(self) -> Places {
        Places {
            paths: true,
            ..self
        }
    }

    fn find(&self, name: &str) -> Found {
        let flat = !name.contains(['/', '\\']);
        let mut found: Vec<PathBuf> = match self.names.get(&OsString::from(name)) {
            Some(Some(number)) if flat => vec![self.folders[*number].join(name)],
            None if flat => Vec::new(),
            _ => {
                let all = self.folders.iter().map(|folder| folder.join(name));
                all.filter(|path| path.is_file()).collect()
            }
        };
        if found.is_empty() && self.paths && Path::new(name).is_file() {
            found.push(name.into());
        }
        found.dedup();
        match (found.pop(), found.pop()) {
            (Some(path), None) => Found::At(path),
            (Some(one), Some(other)) => Found::Twice([other, one]),
            (None, _) => Found::Nowhere,
        }
    }

    fn described(&self) -> String {
        let folders = self.folders.iter().map(|f| f.display().to_string());
        match folders.collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => "the task's folders of images (key `images`)".into(),
            some => some,
        }
    }
}

enum Found {
    At(PathBuf),
    Twice([PathBuf; 2]),
    Nowhere,
}

/// Puts its path in the place of each image's name.
///
/// # Errors
/// An input error for images that are not there, or are in two folders.
pub fn locate(examples: &mut [Example], files: &[PathBuf], places: &Places) -> Result<()> {
    let place = |e: &Example| format!("{}:{}", files[e.file as usize].display(), e.line);
    let mut missing = None;
    let mut count = 0;
    for example in examples {
        match places.find(&example.text_a) {
            Found::At(path) => example.text_a = path.to_string_lossy().into_owned(),
            Found::Twice([one, other]) => bail_input!(
                "{}: the image `{}` is in {} and in {}",
                place(example),
                example.text_a,
                one.display(),
                other.display()
            ),
            Found::Nowhere => {
                count += 1;
                missing.get_or_insert_with(|| (place(example), example.text_a.clone()));
            }
        }
    }
    match missing {
        Some((place, name)) => bail_input!(
            "{place}: no image `{name}` in {}; the first of {count} such rows",
            places.described()
        ),
        None => Ok(()),
    }
}
