//! `covalign report`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use comfy_table::{presets, CellAlignment, ColumnConstraint, ContentArrangement, Table, Width};

use crate::analysis::statistics::mean;
use crate::cli::out::say;
use crate::report::answer::{answers, told};
use crate::report::contrasts::{Contrast, Verdict};
use crate::report::groups::Group;
use crate::report::results::Judge;
use crate::report::table::{bracket, p_value, points, signed, Entry, MISSING};
use crate::report::tables::stilts;
use crate::report::way::Way;
use crate::report::{export, figures, read, sections, write};

/// Tables, significance tests and pictures of a suite's runs
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  covalign report runs/glue-pairs
  covalign report runs/five --out report
  covalign report runs/pairs --split test --out report-test --latex

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
    /// The tables as LaTeX (booktabs) too: report.tex
    #[arg(long)]
    latex: bool,
    /// Print what report.json has instead of the first screen
    #[arg(long)]
    json: bool,
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
    let paths = write::write(&report, &out, args.latex)?;
    if args.json {
        say!("{}", export::json(&report));
        return Ok(());
    }
    say!("{}", report.title);
    let answers = answers(&report.contrasts);
    answers.iter().for_each(|answer| say!("{answer}"));
    match report.contrasts.is_empty() {
        true => say!("{}", overview(&report.groups)),
        false => say!("{}", forest(&report.contrasts)),
    }
    let state = report.section("state");
    let remarks = state.iter().flat_map(|section| &section.paragraphs);
    remarks.for_each(|remark| say!("{}", shortened(&remark.text)));
    let verdicts = stilts::verdicts(&report.ordered_pairs);
    verdicts.iter().for_each(|verdict| say!("{verdict}"));
    for path in paths {
        say!("{}", shown(&path));
    }
    Ok(())
}

/// What the first screen tells: the settings of each question with their interval in numbers and as a
/// line.
fn forest(contrasts: &[Contrast]) -> String {
    let told = told(contrasts);
    let range = figures::forest::range(&told);
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(100)
        .set_header(["", "points [95 %]", "p", "Holm", "n", "worse | better"]);
    for question in told.chunk_by(|a, b| (a.arm, a.base) == (b.arm, b.base)) {
        if question.len() > 1 {
            table.add_row([question[0].question()]);
        }
        for contrast in question {
            let setting = contrast.setting();
            let name = match (question.len(), setting.is_empty()) {
                (1, true) => contrast.question(),
                (1, false) => format!("{} ({setting})", contrast.question()),
                (_, true) => "  plain".to_owned(),
                (_, false) => format!("  {setting}"),
            };
            table.add_row(row(name, contrast, range));
        }
    }
    if let Some(column) = table.column_mut(0) {
        column.set_constraint(ColumnConstraint::UpperBoundary(Width::Fixed(36)));
    }
    format!("{table}\nn: sets of tasks × seeds; ● decided, ○ undecided, † a run collapsed")
}

fn row(name: String, contrast: &Contrast, range: (f64, f64)) -> [String; 6] {
    let comparison = contrast.shown();
    let interval = comparison
        .interval
        .map_or(String::new(), |interval| format!(" {}", bracket(interval)));
    let collapsed = if contrast.over_seeds.collapsed {
        " †"
    } else {
        ""
    };
    [
        name,
        format!(
            "{}{interval}{collapsed}",
            signed(contrast.over_seeds.difference)
        ),
        contrast.over_seeds.p().map_or(MISSING.into(), p_value),
        contrast.corrected.map_or(MISSING.into(), p_value),
        format!("{}×{}", contrast.sets.len(), contrast.seeds.len()),
        line(contrast, range),
    ]
}

/// `  ├──○─┼┤`: the interval, the mean and 0 over the range.
fn line(contrast: &Contrast, (low, high): (f64, f64)) -> String {
    const WIDTH: usize = 21;
    let place = |value: f64| {
        let share = ((value - low) / (high - low)).clamp(0.0, 1.0);
        (share * (WIDTH - 1) as f64).round() as usize
    };
    let mut letters = vec![' '; WIDTH];
    letters[place(0.0)] = '│';
    if let Some(interval) = contrast.shown().interval {
        let (from, to) = (place(interval.low), place(interval.high));
        for letter in &mut letters[from..=to] {
            *letter = if *letter == '│' { '┼' } else { '─' };
        }
    }
    letters[place(contrast.over_seeds.difference)] = match contrast.verdict() {
        Verdict::Undecided => '○',
        _ => '●',
    };
    letters.into_iter().collect()
}

/// One line per way to train where nothing is compared: what it came to over all its cells.
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
        Some("tex") => "LaTeX",
        Some("json") => "JSON",
        _ => "pictures",
    };
    format!("{what:<10} {}", path.display())
}
