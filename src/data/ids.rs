//! Rows of a file chosen by a list of ids in another.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::Path;

use anyhow::Result;

use super::lines::{decode, lines, read_file, Line};
use super::sources::Source;
use crate::bail_input;
use crate::task::layout::{Column, Ids, Layout};

/// The ids of which a file's rows are kept or dropped.
pub(super) struct IdFilter<'a> {
    pub(super) ids: HashSet<Vec<String>>,
    pub(super) keep: bool,
    pub(super) columns: &'a [Column],
    pub(super) path: &'a Path,
}

impl<'a> IdFilter<'a> {
    pub(super) fn read(source: &'a Source) -> Result<Option<IdFilter<'a>>> {
        let file = source.file;
        let (Some(Ids { columns, .. }), Some(path)) = (
            file.keep_ids.as_ref().or(file.drop_ids.as_ref()),
            &source.ids,
        ) else {
            return Ok(None);
        };
        let bytes = read_file(path)?;
        let text = decode(&bytes, None, (path, 1))?;
        let mut ids = HashSet::new();
        for line in lines(&text, &Layout::default(), &[], (path, 1)) {
            let Line { number, fields } = line?;
            if fields.is_empty() {
                continue;
            }
            if fields.len() != columns.len() {
                bail_input!(
                    "{}:{number}: {} columns; an id has {} (key `columns`)",
                    path.display(),
                    fields.len(),
                    columns.len()
                );
            }
            ids.insert(fields.into_iter().map(Cow::into_owned).collect());
        }
        Ok(Some(IdFilter {
            ids,
            keep: file.keep_ids.is_some(),
            columns,
            path,
        }))
    }
}
