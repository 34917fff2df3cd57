//! `covalign advise`.

use std::path::PathBuf;

use anyhow::Result;

use super::table;
use crate::analysis::advice::{shown_p, Advice, Known, Verdict};
use crate::analysis::evidence::Evidence;
use crate::bail_input;
use crate::cli::out::say;
use crate::config::yaml::suggest;
use crate::data::overlap;
use crate::task::Split;
use crate::train::own;
use crate::train::tasks;

/// Say how the config's tasks may help a target: STILTs, multi-task training, or not at all
///
/// With finished runs of the same encoder (`--runs`), what they measured decides. Without, the sizes
/// say which way to try, and not whether it helps. What has no evidence is not said.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  covalign advise configs/glue-small.yaml RTE --runs runs
  covalign advise configs/sentiment-small.yaml --runs runs/pairs --json")]
pub struct AdviseArgs {
    /// A training config: its encoder, data, tasks, and how many rows of each
    config: PathBuf,
    /// Tasks to advise on [default: all of the config's]
    #[arg(value_name = "TARGET")]
    positional: Vec<String>,
    /// The same, by name; may be repeated
    #[arg(long = "target", value_name = "T")]
    named: Vec<String>,
    /// Change a key of the config; may be repeated
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    overrides: Vec<String>,
    /// A folder with runs or suites in it or below it; may be repeated
    #[arg(long, value_name = "DIR")]
    runs: Vec<PathBuf>,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
}

pub fn run(args: AdviseArgs) -> Result<()> {
    let config = own::config(&args.config, &args.overrides)?;
    let tasks = tasks::load_tasks(&config)?;
    let names: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
    let mut targets: Vec<String> = args.positional.clone();
    targets.extend(args.named.clone());
    for target in &targets {
        if !names.contains(&target.as_str()) {
            let near = suggest(target, &names);
            bail_input!("the config has no task `{target}`; {near}");
        }
    }
    if targets.is_empty() {
        targets = names.iter().map(|name| name.to_string()).collect();
    }
    let evidence = Evidence::read(&args.runs, &config.encoder.to_string())?;
    let training = overlap::texts_of_files(&tasks, &config.data, &[Split::Train])?;
    let scored = overlap::texts_of_files(&tasks, &config.data, &[Split::Dev, Split::Test])?;
    let limit = config.training.max_train_rows.as_ref();
    let most = |task: &str| limit.and_then(|limit| limit.of(task)).unwrap_or(usize::MAX);
    let known = Known {
        tasks: &tasks,
        rows: training
            .iter()
            .map(|texts| (texts.task.clone(), texts.len().min(most(&texts.task))))
            .collect(),
        overlaps: &overlap::find(&training, &scored),
        evidence: &evidence,
    };
    let advice: Vec<Advice> = targets.iter().flat_map(|t| known.advise(t)).collect();
    if args.json {
        say!("{}", serde_json::to_string_pretty(&advice)?);
        return Ok(());
    }
    for target in &targets {
        let rows: Vec<_> = advice
            .iter()
            .filter(|a| a.target == *target)
            .map(row)
            .collect();
        say!("{target}, {} training rows", known.rows[target]);
        if rows.is_empty() {
            say!("no other task in the config or in the runs: nothing to advise on\n");
            continue;
        }
        let header = ["With", "Advice", "How sure", "Evidence"].map(String::from);
        say!("{}\n", table::plain(&header, &rows));
    }
    match (args.runs.len(), evidence.runs) {
        (0, _) => say!("No runs were looked at; --runs DIR names folders that have some."),
        (_, all) => say!(
            "{all} finished runs read; {} of them are of other encoders than {} and left out.\n\
             {HOW_SURE}",
            evidence.other_encoders,
            config.encoder
        ),
    }
    Ok(())
}

fn row(advice: &Advice) -> Vec<String> {
    let mut sure = match (advice.p, advice.verdict) {
        (Some(p), _) => in_words(p),
        (None, Verdict::Rather(_)) => "a rule of thumb, nothing measured".to_owned(),
        (None, Verdict::Undecided) => "measured, but it may be chance".to_owned(),
        (None, _) => String::new(),
    };
    if let Some(next) = &advice.next {
        let not = if next.surely_worse { "" } else { "not " };
        sure.push_str(&format!("; {not}surely better than {}", next.name));
    }
    let setting = match advice.setting.as_str() {
        "" => String::new(),
        setting => format!(" ({setting})"),
    };
    vec![
        advice.supports.join(", "),
        format!("{}{setting}", advice.verdict.text()),
        sure,
        advice.evidence.join("\n"),
    ]
}

/// How often chance alone would show as much.
fn in_words(p: f64) -> String {
    let word = match p {
        p if p < 0.01 => "very sure",
        p if p < 0.05 => "quite sure",
        _ => "rather sure",
    };
    let often = match p < 0.001 {
        true => "less than once in 1000 times".to_owned(),
        false => format!("about once in {:.0} times", 1.0 / p),
    };
    format!("{word}: by chance {often} (p {})", shown_p(p))
}

/// What p means here, and what it does not cover.
const HOW_SURE: &str = "\
How sure: two-sided t tests, paired by seed, over runs that differ in nothing but the ways compared;
three seeds at least. p is after Holm's correction: of the ways against alone over all that were
tried for the target, of the ways against each other over every two with the same supports. Below
0.1 is decided. A score is the best of its run's evaluations on dev: better than new data give.";
