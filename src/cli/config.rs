//! `covalign config`.

use std::path::{Path, PathBuf};

use anyhow::{Error, Result};
use serde_yaml::Value;

use crate::cli::out::{self, complain, say};
use crate::config::{yaml, Config};
use crate::error::{one_line, read_text};
use crate::reference::resolved::resolved;
use crate::reference::{markdown, Kind};
use crate::simulate::config::SimulateConfig;
use crate::suite::compose::Wishes;
use crate::suite::file::{Settings, SuiteFile};
use crate::suite::{build, check};
use crate::task::Task;
use crate::train::own;
use crate::{bail_input, input_error, transfer};

#[derive(Debug, clap::Subcommand)]
pub enum ConfigCommand {
    Check(CheckArgs),
    Schema(SchemaArgs),
    /// Print docs/reference.md: every key with type, default, meaning and an example
    #[command(after_help = "Example:\n  covalign config reference | less")]
    Reference,
}

/// Say all that is wrong with a file, or print it with every key
///
/// Knows training configs, tasks, suites and simulations by their keys. A training config's data,
/// task files and encoder are read as training reads them; nothing is trained or written.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  covalign config check configs/glue-small.yaml --set data=data/glue
  covalign config check configs/tasks/CoLA.yaml
  covalign config check configs/suites/glue-pairs-small.yaml > resolved.yaml

Keys that are not set are comments in what it prints. Exit code 2 where something is wrong.")]
pub struct CheckArgs {
    /// A YAML file
    file: PathBuf,
    /// Change a key of the config (a suite's: of every run's); may be repeated
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    overrides: Vec<String>,
    /// What the file is [default: what its keys say]
    #[arg(long = "as", value_name = "KIND", value_enum)]
    kind: Option<Kind>,
}

/// Print the JSON Schema of a kind of file, for editors
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  covalign config schema > covalign.schema.json
  covalign config schema task")]
pub struct SchemaArgs {
    /// Which file
    #[arg(value_enum, default_value_t)]
    kind: Kind,
}

pub fn run(command: ConfigCommand) -> Result<()> {
    match command {
        ConfigCommand::Check(args) => check_file(&args),
        ConfigCommand::Schema(args) => {
            say!("{}", serde_json::to_string_pretty(&args.kind.schema())?);
            Ok(())
        }
        ConfigCommand::Reference => {
            out::print(markdown::page().as_bytes());
            Ok(())
        }
    }
}

fn check_file(args: &CheckArgs) -> Result<()> {
    let shown = args.file.display();
    let text = read_text(&args.file)?;
    let kind = match args.kind {
        Some(kind) => kind,
        None => Kind::of(&yaml::from_str(&text, &shown.to_string())?),
    };
    let checked = match kind {
        Kind::Train => train(args, &text),
        Kind::Task => task(args, &text),
        Kind::Suite => suite(args, &text),
        Kind::Simulate => simulate(args, &text),
    };
    let faults = match checked {
        Ok(text) => {
            out::print(text.as_bytes());
            complain!("{shown}: a {}; nothing is wrong with it", kind.title());
            return Ok(());
        }
        Err(faults) => faults,
    };
    for fault in &faults {
        complain!("{}", one_line(fault));
    }
    match faults.len() {
        1 => bail_input!("{shown}: a {} with one fault", kind.title()),
        count => bail_input!("{shown}: a {} with {count} faults", kind.title()),
    }
}

/// The file with every key, or all that is wrong.
type Checked = Result<String, Vec<Error>>;

fn one<T>(result: Result<T>) -> Result<T, Vec<Error>> {
    result.map_err(|error| vec![error])
}

fn train(args: &CheckArgs, text: &str) -> Checked {
    let source = args.file.display().to_string();
    let mut config = Config::parse_all(text, &source, &args.overrides)?;
    own::tasks(&args.file, &mut config);
    let faults = transfer::check::faults(&config);
    if !faults.is_empty() {
        return Err(faults);
    }
    let tree = one(serde_yaml::to_value(&config).map_err(Error::from))?;
    Ok(resolved(&Kind::Train.schema(), &tree))
}

fn task(args: &CheckArgs, text: &str) -> Checked {
    let source = args.file.display().to_string();
    if let Some(item) = args.overrides.first() {
        return Err(vec![input_error!("--set {item}: a task has no such keys")]);
    }
    let task = Task::load_all(&source)?;
    let mut tree: Value = one(yaml::from_str(text, &source))?;
    tree["name"] = task.name.as_str().into();
    tree["folder"] = task.folder.as_str().into();
    tree["loss"] = one(serde_yaml::to_value(task.loss).map_err(Error::from))?;
    let text = resolved(&Kind::Task.schema(), &tree);
    let rows = format!("covalign data check DATA --task {source}");
    Ok(format!("{text}# what its files hold: {rows}\n"))
}

fn suite(args: &CheckArgs, text: &str) -> Checked {
    let source = args.file.display().to_string();
    yaml::from_str_all::<SuiteFile>(text, &source)?;
    let suite = one(SuiteFile::read(&args.file))?;
    let wishes = Wishes {
        overrides: args.overrides.clone(),
        data: None,
        seeds: None,
        threads: 1,
    };
    let plan = one(build::plan(&suite, &args.file, &wishes))?;
    let missing = one(check::missing(&plan))?;
    if !missing.is_empty() {
        return Err(missing);
    }
    let mut tree: Value = one(yaml::from_str(text, &source))?;
    let base = one(with_settings(&suite.base(&args.file), &suite.set))?;
    // Its keys are another file's, and stand below.
    tree["base"] = Value::Null;
    let text = resolved(&Kind::Suite.schema(), &tree);
    let base = resolved(&Kind::Train.schema(), &base);
    let base: String = base.lines().map(|line| format!("  {line}\n")).collect();
    let (runs, cells) = (plan.runs.len(), plan.cells.len());
    let text: String = text
        .lines()
        .filter(|line| !line.starts_with("# base:"))
        .map(|line| format!("{line}\n"))
        .collect();
    Ok(format!(
        "# {runs} runs for {cells} cells\n{text}# with `set`:\nbase:\n{base}"
    ))
}

/// A suite's base with the keys that the suite sets for every run.
fn with_settings(base: &Result<Config>, set: &Settings) -> Result<Value> {
    let base = base.as_ref().map_err(|e| input_error!("{e:#}"))?;
    let mut tree = serde_yaml::to_value(base)?;
    for (key, value) in set {
        crate::config::assign(&mut tree, key, value.clone(), "set")?;
    }
    Ok(tree)
}

fn simulate(args: &CheckArgs, text: &str) -> Checked {
    let source = args.file.display().to_string();
    yaml::from_str_all::<SimulateConfig>(text, &source)?;
    let config = one(SimulateConfig::load(Path::new(&args.file), &args.overrides))?;
    let tree = one(serde_yaml::to_value(&config).map_err(Error::from))?;
    Ok(resolved(&Kind::Simulate.schema(), &tree))
}
