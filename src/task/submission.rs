//! A GLUE submission: eleven TSV files in a zip, as gluebenchmark.com wants them.
//!
//! The server scores nothing of a zip that lacks a file or has one with other rows or labels, and
//! says little about why; so every file is checked here before it is sent.

use std::io::{Cursor, Read, Write};

use anyhow::{Context, Result};
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use crate::config::yaml::list;
use crate::{bail_input, input_error};

/// The first line of every file.
const HEADER: &str = "index\tprediction";

/// What a file's answers may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Answers {
    OneOf(&'static [&'static str]),
    /// A real number from the first to the second.
    Between(f64, f64),
}

/// One file of a submission.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SubmissionFile {
    /// Without `.tsv`.
    pub name: &'static str,
    pub task: &'static str,
    /// The part of the task's test split, where it has several.
    pub part: Option<&'static str>,
    /// Rows of the official test file.
    pub rows: usize,
    pub answers: Answers,
    /// What stands in every row of a task that nothing was trained for: the commonest answer of the
    /// training rows (STS-B: their mean), QQP's after Wang et al. (2018); MNLI's three are equally
    /// common.
    pub filler: &'static str,
}

const NO_YES: Answers = Answers::OneOf(&["0", "1"]);
const TWO_WAY: Answers = Answers::OneOf(&["entailment", "not_entailment"]);
const THREE_WAY: Answers = Answers::OneOf(&["entailment", "neutral", "contradiction"]);

const fn file(
    name: &'static str,
    rows: usize,
    answers: Answers,
    filler: &'static str,
) -> SubmissionFile {
    SubmissionFile {
        name,
        task: name,
        part: None,
        rows,
        answers,
        filler,
    }
}

const fn mnli(name: &'static str, part: &'static str, rows: usize) -> SubmissionFile {
    SubmissionFile {
        task: "MNLI",
        part: Some(part),
        ..file(name, rows, THREE_WAY, "contradiction")
    }
}

/// All files of a submission.
pub const FILES: [SubmissionFile; 11] = [
    file("CoLA", 1063, NO_YES, "1"),
    file("SST-2", 1821, NO_YES, "1"),
    file("MRPC", 1725, NO_YES, "1"),
    file("STS-B", 1379, Answers::Between(0.0, 5.0), "2.701"),
    file("QQP", 390_965, NO_YES, "0"),
    mnli("MNLI-m", "matched", 9796),
    mnli("MNLI-mm", "mismatched", 9847),
    file("QNLI", 5463, TWO_WAY, "not_entailment"),
    file("RTE", 3000, TWO_WAY, "entailment"),
    file("WNLI", 146, NO_YES, "0"),
    file("AX", 1104, THREE_WAY, "contradiction"),
];

/// Whether GLUE scores a task of that name.
pub fn is_of_glue(task: &str) -> bool {
    FILES.iter().any(|file| file.task == task)
}

impl SubmissionFile {
    /// The file's text, checked.
    ///
    /// # Errors
    /// Input errors for what the server would refuse.
    pub fn text(&self, answers: &[String]) -> Result<String> {
        let mut text = format!("{HEADER}\n");
        for (row, answer) in answers.iter().enumerate() {
            text.push_str(&format!("{row}\t{answer}\n"));
        }
        self.check(&text)?;
        Ok(text)
    }

    /// The text with `filler` in every row.
    pub fn filled(&self) -> Result<String> {
        self.text(&vec![self.filler.to_owned(); self.rows])
    }

    /// Whether the server would take it.
    pub fn check(&self, text: &str) -> Result<()> {
        let name = self.name;
        let mut lines = text.lines();
        if lines.next() != Some(HEADER) {
            bail_input!("{name}.tsv:1: the header must be `index`, a tab, `prediction`");
        }
        let mut rows = 0;
        for line in lines {
            let place = || format!("{name}.tsv:{}", rows + 2);
            let Some((index, answer)) = line.split_once('\t') else {
                bail_input!("{}: needs an index, a tab and a prediction", place());
            };
            if index != rows.to_string() {
                bail_input!("{}: index `{index}` where {rows} must stand", place());
            }
            match self.answers {
                Answers::OneOf(labels) if !labels.contains(&answer) => bail_input!(
                    "{}: prediction `{answer}` is none of {}",
                    place(),
                    list(labels)
                ),
                Answers::Between(min, max)
                    if !answer.parse().is_ok_and(|n| (min..=max).contains(&n)) =>
                {
                    bail_input!(
                        "{}: prediction `{answer}` is no number from {min} to {max}",
                        place()
                    )
                }
                _ => rows += 1,
            }
        }
        if rows != self.rows {
            bail_input!(
                "{name}.tsv: {rows} rows; the official test file has {}",
                self.rows
            );
        }
        Ok(())
    }
}

/// The zip of all files' texts, in the order of [`FILES`], checked as it would be sent.
pub fn zip(texts: &[String]) -> Result<Vec<u8>> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (file, text) in FILES.iter().zip(texts) {
        writer.start_file(format!("{}.tsv", file.name), SimpleFileOptions::default())?;
        writer.write_all(text.as_bytes())?;
    }
    let bytes = writer.finish()?.into_inner();
    check_zip(&bytes)?;
    Ok(bytes)
}

/// Whether the server would take a zip: all files and no other, each as it must be.
pub fn check_zip(bytes: &[u8]) -> Result<()> {
    let mut archive = ZipArchive::new(Cursor::new(bytes))
        .map_err(|e| input_error!("the submission is no zip file: {e}"))?;
    for file in &FILES {
        let name = format!("{}.tsv", file.name);
        let mut text = String::new();
        archive
            .by_name(&name)
            .map_err(|e| input_error!("{name}: {e}"))?
            .read_to_string(&mut text)
            .with_context(|| name.clone())?;
        file.check(&text)?;
    }
    if archive.len() != FILES.len() {
        bail_input!(
            "the submission holds {} files, it must hold {}",
            archive.len(),
            FILES.len()
        );
    }
    Ok(())
}
