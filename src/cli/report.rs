//! `covalign report`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use comfy_table::{presets, CellAlignment, ContentArrangement, Table};

use crate::analysis::statistics::mean;
use crate::cli::out::say;
use crate::report::groups::Group;
use crate::report::results::Judge;
use crate::report::table::{points, Entry, MISSING};
use crate::report::way::Way;
use crate::report::{read, sections, write};

/// Tables, significance tests and pictures of a suite's runs
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  covalign report runs/glue-pairs
  covalign report runs/five --out report
  covalign report runs/pairs --split test --out report-test

The folder is a suite's, or holds run folders side by side. Written are report.html (one file, with
everything in it), report.md with figures/, report.csv and report.json.")]
pub struct ReportArgs {
    /// A suite's folder, or one of run folders
    folder: PathBuf,
    /// Where to write the report [default: the folder itself]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Whose scores
    #[arg(long, value_enum, default_value_t)]
    split: Judge,
}

pub fn run(args: ReportArgs) -> Result<()> {
    let mut study = read::study(&args.folder)?;
    if args.split == Judge::Test {
        study.judge_by_test()?;
    }
    let (out, way) = match args.out {
        None => (args.folder.clone(), PathBuf::new()),
        // Links from elsewhere go by the whole path.
        Some(out) => (out, std::path::absolute(&args.folder)?),
    };
    let report = sections::report(study, &way)?;
    let paths = write::write(&report, &out)?;
    say!("{}", report.title);
    say!("{}", overview(&report.groups));
    let remarks = report
        .section("state")
        .into_iter()
        .chain(report.section("stilts"));
    for (section, paragraphs) in remarks.map(|section| (&section.id, &section.paragraphs)) {
        // Of the heuristic's section the verdict, of the first all.
        let from = if section == "stilts" { 1 } else { 0 };
        for paragraph in paragraphs.iter().skip(from) {
            say!("{}", shortened(paragraph));
        }
    }
    for path in paths {
        say!("{}", shown(&path));
    }
    Ok(())
}

/// One line per way to train: what it came to over all its cells.
fn overview(groups: &[Group]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(100)
        .set_header([
            "Trained",
            "Cells",
            "Runs there",
            "Missing",
            "Collapsed",
            "Best of",
            "Mean of cells",
        ]);
    let mut ways: Vec<Way> = groups.iter().map(|group| group.way).collect();
    ways.sort_unstable();
    ways.dedup();
    for way in ways {
        let own: Vec<&Group> = groups.iter().filter(|group| group.way == way).collect();
        let sum = |count: fn(&Group) -> usize| own.iter().map(|g| count(g)).sum::<usize>();
        let there = sum(|group| group.sample.scores().len());
        let planned = sum(|group| group.sample.points.len());
        let means: Vec<f64> = own.iter().filter_map(|group| group.sample.mean()).collect();
        table.add_row([
            way.label().to_owned(),
            own.len().to_string(),
            there.to_string(),
            (planned - there).to_string(),
            sum(|group| group.sample.collapsed()).to_string(),
            Entry::best_of(own.iter().map(|group| &group.sample)).text,
            mean(&means).map_or(MISSING.into(), points),
        ]);
    }
    for column in 1..7 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Long lists of names are for the report itself.
fn shortened(paragraph: &str) -> String {
    const MOST: usize = 300;
    match paragraph.char_indices().nth(MOST) {
        Some((end, _)) => format!("{} …", &paragraph[..end]),
        None => paragraph.to_owned(),
    }
}

fn shown(path: &Path) -> String {
    let what = match path.extension().and_then(|e| e.to_str()) {
        Some("html") => "page",
        Some("md") => "Markdown",
        Some("csv") => "CSV",
        Some("json") => "JSON",
        _ => "pictures",
    };
    format!("{what:<10} {}", path.display())
}
