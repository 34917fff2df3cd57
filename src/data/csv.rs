//! Comma-separated rows (RFC 4180).
//!
//! By hand, since the `csv` crate takes what follows a quote that never closes for one text, joins
//! what stands behind a closing quote to it, and counts lines wrongly behind blank ones.

use std::borrow::Cow;
use std::path::Path;

use anyhow::Result;

use crate::bail_input;

/// The rows of a text, each with the line that it begins at, from 1. A blank row (one line with
/// nothing in it but white space) has no fields.
pub(super) struct Csv<'a> {
    rest: &'a str,
    /// What stands between fields.
    between: char,
    line: u32,
    path: &'a Path,
    /// Whether a quote that was opened has not closed before the text's end.
    open: bool,
}

type Row<'a> = (u32, Vec<Cow<'a, str>>);

impl<'a> Csv<'a> {
    /// Of a text that begins at the line `from`.
    pub(super) fn new(text: &'a str, between: char, (path, from): (&'a Path, u32)) -> Csv<'a> {
        Csv {
            rest: text,
            between,
            line: from,
            path,
            open: false,
        }
    }

    /// How long the whole rows of a text are whose last one may go on in what comes behind it.
    pub(super) fn whole(text: &str, between: char) -> usize {
        let mut rows = Csv::new(text, between, (Path::new(""), 1));
        let mut whole = 0;
        while !rows.rest.is_empty() {
            match rows.row() {
                Ok(_) => whole = text.len() - rows.rest.len(),
                Err(_) if rows.open => return whole,
                // Reading says what is wrong.
                Err(_) => return text.len(),
            }
        }
        whole
    }

    fn row(&mut self) -> Result<Row<'a>> {
        let number = self.line;
        let mut fields = Vec::new();
        // A line of nothing but white space is blank; one with `""` is a row with an empty text.
        let mut blank = !self.rest.starts_with('"');
        loop {
            let field = match self.rest.strip_prefix('"') {
                Some(rest) => self.quoted(rest)?,
                None => {
                    let end = self
                        .rest
                        .find([self.between, '\n'])
                        .unwrap_or(self.rest.len());
                    let (field, rest) = self.rest.split_at(end);
                    self.rest = rest;
                    match rest.starts_with(self.between) {
                        true => field.into(),
                        false => field.strip_suffix('\r').unwrap_or(field).into(),
                    }
                }
            };
            blank &= field.trim().is_empty();
            fields.push(field);
            match self.rest.strip_prefix(self.between) {
                Some(rest) => (self.rest, blank) = (rest, false),
                None => break,
            }
        }
        self.rest = self.rest.strip_prefix('\n').unwrap_or(self.rest);
        self.line += 1;
        if blank {
            fields.clear();
        }
        Ok((number, fields))
    }

    /// The field whose opening quote stands before `rest`.
    fn quoted(&mut self, mut rest: &'a str) -> Result<Cow<'a, str>> {
        let opened = self.line;
        let place = format!("{}:{opened}", self.path.display());
        let mut text = Cow::Borrowed("");
        loop {
            let Some(end) = rest.find('"') else {
                self.open = true;
                bail_input!(
                    "{place}: a quote opens a field here and never closes; close it, or put the \
                     field into quotes and double the ones in it"
                );
            };
            let (part, behind) = (&rest[..end], &rest[end + 1..]);
            self.line += part.matches('\n').count() as u32;
            text += part;
            match behind.strip_prefix('"') {
                Some(behind) => {
                    text += "\"";
                    rest = behind;
                }
                None => {
                    rest = behind;
                    break;
                }
            }
        }
        rest = match rest {
            "\r" => "",
            rest if rest.starts_with("\r\n") => &rest[1..],
            rest => rest,
        };
        if !(rest.is_empty() || rest.starts_with([self.between, '\n'])) {
            bail_input!(
                "{place}: the quoted field that begins here has text behind its closing quote in \
                 line {}; double the quotes inside a field, and close the field before it",
                self.line
            );
        }
        self.rest = rest;
        Ok(text)
    }
}

impl<'a> Iterator for Csv<'a> {
    type Item = Result<Row<'a>>;

    fn next(&mut self) -> Option<Result<Row<'a>>> {
        (!self.rest.is_empty()).then(|| {
            let row = self.row();
            if row.is_err() {
                self.rest = "";
            }
            row
        })
    }
}
