//! Files and folders that are there whole or not at all, also after the power has failed.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
#[cfg(target_os = "linux")]
use rustix::fs::{renameat_with, RenameFlags, CWD};
use serde::Serialize;

use crate::bail_input;
use crate::error::io_error;

/// Writes a file beside `path` and renames it to `path` once it is on the disk; whatever was at
/// `path` stays until then, and stays for good when anything fails.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<()> {
    replace(path, write).map_err(|e| io_error(path, e))
}

/// As [`write_atomically`], of what may fail by something else than writing.
///
/// # Errors
/// What `fill` fails with.
pub fn fill(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    let mut failed = None;
    let written = replace(path, |file| {
        fill(file).map_err(|error| {
            failed = Some(error);
            io::ErrorKind::Other.into()
        })
    });
    match failed {
        Some(error) => Err(error),
        None => written.map_err(|e| io_error(path, e)),
    }
}

/// Writes `bytes`, atomically.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomically(path, |file| file.write_all(bytes))
}

/// Writes `value` as indented JSON, atomically.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    write_atomically(path, |file| {
        serde_json::to_writer_pretty(&mut *file, value)?;
        file.write_all(b"\n")
    })
}

/// Makes the folder `folder` by `fill`, which is given another beside it: it is there with all that
/// is in it, or not at all.
///
/// # Errors
/// An input error where `folder` is there already and holds something.
pub fn new_folder<T>(folder: &Path, fill: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let empty = |folder: &Path| std::fs::read_dir(folder).is_ok_and(|mut all| all.next().is_none());
    if folder.symlink_metadata().is_ok() && !empty(folder) {
        bail_input!(
            "{}: is there already; name another folder",
            folder.display()
        );
    }
    let above = match folder.parent() {
        Some(above) if above != Path::new("") => above,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(above).map_err(|e| io_error(above, e))?;
    // As any other new folder: what the umask leaves of it.
    let making = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o777))
        .tempdir_in(above)
        .map_err(|e| io_error(above, e))?;
    let filled = fill(making.path())?;
    sync_below(making.path())?;
    // An empty folder gives way, in one step.
    std::fs::rename(making.path(), folder).map_err(|e| io_error(folder, e))?;
    // Under its own name it is nobody's to remove.
    let _ = making.keep();
    sync(above)?;
    Ok(filled)
}

/// Waits until a folder and all that is in it are on the disk.
fn sync_below(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(|e| io_error(folder, e))? {
        let path = entry.map_err(|e| io_error(folder, e))?.path();
        match path.is_dir() {
            true => sync_below(&path)?,
            false => sync(&path)?,
        }
    }
    sync(folder)
}

/// Puts the folder `new`, whose files have been written, in the place of `folder`. What was there
/// goes when the new one is on the disk, with its files and its name.
pub fn replace_folder(new: &Path, folder: &Path) -> Result<()> {
    sync_folder(new)?;
    let old = swap(new, folder)?;
    // The names live in the folder above, whose own name may be new as well.
    let above = folder.parent().into_iter().flat_map(Path::ancestors);
    above.take(2).try_for_each(sync)?;
    remove_folder(&old)
}

/// Waits until a folder's files and their names are on the disk.
pub fn sync_folder(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(|e| io_error(folder, e))? {
        sync(&entry.map_err(|e| io_error(folder, e))?.path())?;
    }
    sync(folder)
}

/// Moves `new` to `folder`, in one step where the system can; where what was there is then.
fn swap(new: &Path, folder: &Path) -> Result<PathBuf> {
    let old = beside(folder, "old");
    remove_folder(&old)?;
    if folder.exists() {
        #[cfg(target_os = "linux")]
        if renameat_with(CWD, new, CWD, folder, RenameFlags::EXCHANGE).is_ok() {
            return Ok(new.to_owned());
        }
        std::fs::rename(folder, &old).map_err(|e| io_error(folder, e))?;
    }
    std::fs::rename(new, folder).map_err(|e| io_error(folder, e))?;
    Ok(old)
}

/// The name of a folder that is on its way to the place of `folder`, or from there.
pub fn beside(folder: &Path, suffix: &str) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(suffix);
    folder.with_file_name(name)
}

/// Removes a folder, if it is there.
pub fn remove_folder(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(io_error(folder, e)),
        _ => Ok(()),
    }
}

/// Waits until a file, or the names in a folder, are on the disk.
fn sync(path: &Path) -> Result<()> {
    let path = match path.as_os_str().is_empty() {
        true => Path::new("."),
        false => path,
    };
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|e| io_error(path, e))
}

fn replace(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .suffix(".tmp")
        // Less the umask, like any new file; tempfile's own default hides it from other users.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    let (file, beside) = beside.into_parts();
    let mut buffered = BufWriter::new(file);
    write(&mut buffered)?;
    buffered
        .into_inner()
        .map_err(|e| e.into_error())?
        .sync_all()?;
    beside.persist(path)?;
    // The rename itself lives in the folder.
    File::open(folder)?.sync_all()
}
