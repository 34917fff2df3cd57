//! One process at a time in a run folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{bail, Result};

use super::run_folder::RunFolder;
use crate::error::io_error;

/// Holds a run folder by an advisory lock on its `run.lock`. The kernel lets go of it when the
/// process ends, in whatever way.
pub struct RunLock {
    folder: RunFolder,
    /// Whether the folder is of its making.
    made: bool,
    _file: File,
}

impl RunLock {
    /// Takes the lock; makes the folder where there is none.
    ///
    /// # Errors
    /// Another process holds it.
    pub fn take(folder: &RunFolder) -> Result<RunLock> {
        let path = folder.lock();
        let made = !folder.root().exists();
        loop {
            RunFolder::create(folder.root())?;
            let mut options = OpenOptions::new();
            let file = options.write(true).create(true).truncate(false).open(&path);
            let file = file.map_err(|e| io_error(&path, e))?;
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => bail!(
                    "{}: another process is training in this folder; wait for its end, or give \
                     another --out",
                    folder.root().display()
                ),
                Err(TryLockError::Error(error)) => return Err(io_error(&path, error)),
                // Between the two calls its last holder may have removed the file.
                Ok(()) if is_at(&file, &path) => {
                    return Ok(RunLock {
                        folder: folder.clone(),
                        made,
                        _file: file,
                    })
                }
                Ok(()) => {}
            }
        }
    }
}

/// Whether a process trains in a folder now.
pub fn held(folder: &RunFolder) -> bool {
    let file = File::open(folder.lock());
    file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// A run that failed before it began leaves no folder behind.
impl Drop for RunLock {
    fn drop(&mut self) {
        let root = self.folder.root();
        if root.read_dir().is_ok_and(|entries| entries.count() == 1) {
            let _ = std::fs::remove_file(self.folder.lock());
            if self.made {
                let _ = std::fs::remove_dir(root);
            }
        }
    }
}

/// Whether `path` is still the name of `file`.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.metadata()) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}
