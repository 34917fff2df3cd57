//! What a task file's values must keep to, alone and together.

use std::collections::BTreeSet;

use anyhow::Result;

use super::label::normalized;
use super::layout::{Column, File, Format, Layout};
use super::metric::Metric;
use super::{Classes, Labels, Loss, Split, Task};
use crate::input_error;

/// Makes the error that names a key.
type Fail<'a> = &'a dyn Fn(&str, String) -> Result<()>;

impl Task {
    /// # Errors
    /// An input error that names the key.
    pub(super) fn validate(&self, source: &str) -> Result<()> {
        let fail = |key: &str, what: String| Err(input_error!("{source}: key `{key}`: {what}"));
        self.validate_labels(&fail)?;
        self.validate_metrics(&fail)?;
        if let Some(cut) = &self.cut {
            if !(cut.dev > 0.0 && cut.dev < 1.0) {
                return fail("split.dev", "must lie between 0 and 1".into());
            }
            if !(cut.test >= 0.0 && cut.dev + cut.test < 1.0) {
                let demand = "must not be negative, and leave training rows beside split.dev";
                return fail("split.test", demand.into());
            }
            if cut.test > 0.0 && self.files.test.is_some() {
                let demand = "cuts test out of files.train, where files.test is not given";
                return fail("split.test", demand.into());
            }
            if self.files.train.is_none() || self.files.dev.is_some() {
                return fail(
                    "split",
                    "cuts dev out of files.train, where files.dev is not given".into(),
                );
            }
        }
        if !Split::ALL.iter().any(|&s| self.has_split(s)) {
            return fail("files", "names no file".into());
        }
        for split in Split::ALL {
            let files = self.files_of(split).unwrap_or_default();
            let key = format!("files.{split}");
            if files.is_empty() && self.files_of(split).is_some() {
                return fail(&key, "is an empty list".into());
            }
            for file in files {
                self.validate_file(split, file, &fail)?;
            }
            validate_parts(&key, files, &fail)?;
        }
        Ok(())
    }

    fn validate_labels(&self, fail: Fail) -> Result<()> {
        if let Some(fault) = self.labels.fault() {
            return fail("labels", fault);
        }
        if self.loss != Loss::of(&self.labels) {
            let what = "cross_entropy is for classes, mean_squared_error for a range, \
                        binary_cross_entropy for `any_of`";
            return fail("loss", what.into());
        }
        Ok(())
    }

    fn validate_metrics(&self, fail: Fail) -> Result<()> {
        if self.metrics.is_empty() {
            return fail("metrics", "needs at least one metric".into());
        }
        for (at, &metric) in self.metrics.iter().enumerate() {
            let name = metric.name();
            if !metric.judges(&self.labels) {
                let (kind, instead) = match (&self.labels, metric) {
                    (Labels::Classes(_), Metric::F1) => {
                        ("the second of two labels'", "; take `macro_f1` for more")
                    }
                    (Labels::AnyOf(_), Metric::F1) => (
                        "the second of two labels'",
                        "; take `micro_f1` or `macro_f1`",
                    ),
                    _ => (metric.kind(), ""),
                };
                return fail("metrics", format!("`{name}` is {kind}{instead}"));
            }
            if self.metrics[..at].contains(&metric) {
                return fail("metrics", format!("has `{name}` twice"));
            }
        }
        Ok(())
    }

    fn validate_file(&self, split: Split, file: &File, fail: Fail) -> Result<()> {
        let layout = self.layout_of(file);
        let key = |name: &str| format!("files.{split}.layout.{name}");
        let format = layout.format.unwrap_or_default();
        let texts = layout.input_columns();
        let labels = layout.label_columns();
        let input = layout.image.as_ref().map_or("text", |_| "image");
        self.validate_images(&layout, &|name, what| fail(&key(name), what))?;
        if format != Format::LabelText {
            if texts.is_empty() {
                let what = "say which column holds the text, or with `image` an image's name";
                return fail(&key("text"), what.into());
            }
            if file.labelled && layout.label.is_none() {
                let what = "say which column holds the label, or `labelled: false`";
                return fail(&key("label"), what.into());
            }
            if texts.len() == 2 && texts[0] == texts[1] {
                return fail(&key("text"), format!("has {} twice", texts[0]));
            }
            if let Some(label) = labels.iter().find(|label| texts.contains(label)) {
                return fail(&key("label"), format!("{label} is the {input}'s"));
            }
        }
        self.validate_label_columns(&layout, &labels, &|what| fail(&key("label"), what))?;
        if texts.len() != self.inputs() {
            let what = "as many text columns as the task's other files";
            return fail(&key("text"), format!("needs {what}: {}", self.inputs()));
        }
        let by_name = format.has_keys() || layout.has_header();
        let valid = |key: &str, column: &Column| match column {
            Column::Number(0) => fail(key, "columns count from 1".into()),
            Column::Name(name) if !by_name => {
                fail(key, format!("`{name}`: without a header, give numbers"))
            }
            Column::Number(n) if format.has_keys() => {
                let what = "columns have names, not numbers";
                fail(key, format!("{n}: in {} {what}", format.title()))
            }
            Column::Number(n) if format == Format::LabelText && *n > 2 => {
                fail(key, format!("{n}: LABEL TEXT lines have two columns"))
            }
            _ => Ok(()),
        };
        texts.iter().try_for_each(|c| valid(&key(input), c))?;
        let mut labels = labels.iter().filter(|_| format != Format::LabelText);
        labels.try_for_each(|c| valid(&key("label"), c))?;
        layout
            .index
            .as_ref()
            .map_or(Ok(()), |c| valid(&key("index"), c))?;
        if file.keep_ids.is_some() && file.drop_ids.is_some() {
            let what = "a file has `keep_ids` or `drop_ids`, not both";
            return fail(&format!("files.{split}.drop_ids"), what.into());
        }
        for (name, ids) in [("keep_ids", &file.keep_ids), ("drop_ids", &file.drop_ids)] {
            let key = format!("files.{split}.{name}.columns");
            if ids.as_ref().is_some_and(|ids| ids.columns.is_empty()) {
                return fail(&key, "say which columns make an id".into());
            }
            let mut columns = ids.iter().flat_map(|ids| &ids.columns);
            columns.try_for_each(|c| valid(&key, c))?;
        }
        self.validate_spelling(&layout, &|name, what| fail(&key(name), what))?;
        if let Some(label) = &layout.encoding {
            if encoding_rs::Encoding::for_label(label.as_bytes()).is_none() {
                return fail(
                    &key("encoding"),
                    format!("`{label}` is no encoding; try windows-1252"),
                );
            }
        }
        let by = self.cut.as_ref().and_then(|cut| cut.by.as_ref());
        if let Some(by) = by.filter(|_| split == Split::Train) {
            if format == Format::LabelText {
                return fail("split.by", "LABEL TEXT lines have no such column".into());
            }
            valid("split.by", by)?;
        }
        match &file.otherwise {
            Some(other) => self.validate_file(split, other, fail),
            None => Ok(()),
        }
    }

    /// What labels and columns look like in a file.
    fn validate_spelling(&self, layout: &Layout, fail: Fail) -> Result<()> {
        let format = layout.format.unwrap_or_default();
        if let Some(between) = layout.delimiter {
            if !matches!(format, Format::Csv | Format::Tsv) {
                return fail("delimiter", "is for CSV and TSV".into());
            }
            if matches!(between, '"' | '\n' | '\r') {
                return fail(
                    "delimiter",
                    format!("{between:?} cannot stand between columns"),
                );
            }
        }
        if let Some(prefix) = &layout.label_prefix {
            if format != Format::LabelText {
                return fail("label_prefix", "is for `format: label_text`".into());
            }
            if prefix.trim().is_empty() {
                return fail("label_prefix", "is empty".into());
            }
        }
        if layout.skip_labels.is_some() && layout.has_label_columns() {
            return fail("skip_labels", "is for labels in one column".into());
        }
        let Labels::Classes(Classes { names, said }) = &self.labels else {
            return match layout.normalize_labels {
                Some(true) => fail("normalize_labels", "is for a list of labels".into()),
                _ => Ok(()),
            };
        };
        let said = said.as_ref().unwrap_or(names);
        if layout.normalize_labels == Some(true) {
            let mut seen = BTreeSet::new();
            if let Some(name) = said.iter().find(|name| !seen.insert(normalized(name))) {
                let what = "is another label's but for case and blanks";
                return fail("normalize_labels", format!("`{name}` {what}"));
            }
        }
        match said.iter().find(|name| layout.skips(name)) {
            Some(name) => fail("skip_labels", format!("`{name}` is one of the labels")),
            None => Ok(()),
        }
    }

    fn validate_images(&self, layout: &Layout, fail: Fail) -> Result<()> {
        if layout.image.is_some() != self.has_images() {
            return fail("image", "a task's files have images, all or none".into());
        }
        let by_line = layout.format == Some(Format::LabelText);
        if layout.image.is_some() && (layout.text.is_some() || by_line) {
            let what = "a row is an image or texts; images are in TSV, CSV or JSON lines";
            return fail("image", what.into());
        }
        let Some(images) = &layout.images else {
            return Ok(());
        };
        if layout.image.is_none() {
            let what = "say with `image` which column holds the names of the images in them";
            return fail("images", what.into());
        }
        match images.names() {
            [] => fail("images", "is an empty list".into()),
            _ => Ok(()),
        }
    }

    fn validate_label_columns(
        &self,
        layout: &Layout,
        columns: &[Column],
        fail: &dyn Fn(String) -> Result<()>,
    ) -> Result<()> {
        let twice = |at: &usize| columns[..*at].contains(&columns[*at]);
        match &self.labels {
            Labels::AnyOf(any) if layout.has_label_columns() => {
                if columns.len() != any.names.len() {
                    let (has, labels) = (columns.len(), any.names.len());
                    return fail(format!("has {has} columns for {labels} labels"));
                }
                match (0..columns.len()).find(twice) {
                    Some(at) => fail(format!("has {} twice", columns[at])),
                    None => Ok(()),
                }
            }
            Labels::AnyOf(_) => Ok(()),
            _ if layout.has_label_columns() => {
                fail("several columns are for labels `{any_of: […]}`".into())
            }
            _ => Ok(()),
        }
    }
}

/// The names of parts are in those of metrics: each part has its own, or none of them has one.
fn validate_parts(key: &str, files: &[File], fail: Fail) -> Result<()> {
    let mut seen = BTreeSet::new();
    for file in files {
        let fine = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        match &file.part {
            Some(part) if part.is_empty() || !part.chars().all(fine) => {
                let what = "is no name of a part; letters, digits, `_` and `-` are fine";
                return fail(key, format!("{part:?} {what}"));
            }
            Some(part) if !seen.insert(part) => {
                return fail(key, format!("has the part `{part}` twice"));
            }
            None if files.iter().any(|file| file.part.is_some()) => {
                return fail(
                    key,
                    "give each of its files a `part`, or none of them".into(),
                );
            }
            _ => {}
        }
    }
    Ok(())
}
