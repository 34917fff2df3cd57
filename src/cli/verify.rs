//! `covalign verify`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{bail, Result};
use serde::Serialize;
use serde_json::{json, Value};

use super::saved_run::{self, SavedTask, Weights};
use super::{evaluate, table};
use crate::cli::out::{complain, say};
use crate::config::Config;
use crate::error::{io_error, one_line};
use crate::task::Split;
use crate::telemetry::sealed::{self, SEAL};
use crate::train::evaluate::Scores;
use crate::train::keep::made_of::{Computed, Content, Machine};
use crate::train::keep::reading;
use crate::train::keep::run_folder::{Overall, Results, RunFolder};
use crate::train::keep::same::{self, Difference};
use crate::train::tasks;
use crate::transfer;
use crate::{bail_input, input_error};

/// Recompute a run's scores from its saved weights, and say what has changed since
///
/// Scores are those of `best_per_task/` (each task's, as results.json has them) and of `best/` (their
/// mean at one step). They are the same where they differ by less than 1e-6. Data, task files, the
/// encoder and results.json itself are compared by the checksums that the run wrote.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  covalign verify runs/demo
  covalign verify runs/demo --data /mnt/glue --json

Exit code: 0 all is as reported, 1 a score, or what the run was made of, is another.")]
pub struct VerifyArgs {
    /// A run folder
    run: PathBuf,
    /// Read the data from here instead of from where the run did
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How far scores may be apart that are the same: sums in another order are.
const CLOSE: f64 = 1e-6;

/// A score that was computed again.
#[derive(Serialize)]
struct Score {
    /// `best_per_task/T`, `best`.
    weights: String,
    /// A task, or `mean`.
    of: String,
    split: Split,
    /// Step of the weights, as reported and as they say themselves.
    reported_step: u64,
    step: Option<u64>,
    /// × 1; of the mean × 100.
    reported: f64,
    recomputed: Option<f64>,
    /// Metrics that are others: name, reported, recomputed.
    metrics: Vec<(String, f64, f64)>,
    same: bool,
    /// Why it could not be computed.
    error: Option<String>,
}

/// What is known of a run after all.
#[derive(Default)]
struct Found {
    scores: Vec<Score>,
    /// Data, tasks, encoder, arithmetic.
    changed: Vec<Difference>,
    /// What moves scores by rounding alone, and the program.
    elsewhere: Vec<Difference>,
    /// What could not be compared.
    notes: Vec<String>,
}

pub fn run(args: VerifyArgs) -> Result<()> {
    let whole = saved_run::open(&args.run)?;
    let (results, edited) = results(&RunFolder::new(&args.run))?;
    let mut found = Found {
        changed: edited.into_iter().collect(),
        ..Found::default()
    };
    let mut folders = BTreeSet::new();
    for task in &whole.tasks {
        found.task(&args, &results, task)?;
        folders.insert(transfer::folder_of(&args.run, &whole, task));
    }
    for folder in &folders {
        found.run(&args, folder)?;
    }
    let wrong = found.scores.iter().filter(|score| !score.same).count();
    let same = wrong == 0 && found.changed.is_empty();
    match args.json {
        true => say!(
            "{}",
            json!({"run": args.run, "same": same, "scores": found.scores, "changed": found.changed,
                   "elsewhere": found.elsewhere, "notes": found.notes})
        ),
        false => found.say(),
    }
    if !same {
        bail!(
            "{}: {wrong} of {} scores are not the reported ones, {} of what the run was made of has \
             changed",
            args.run.display(),
            found.scores.len(),
            match found.changed.len() {
                0 => "nothing".to_owned(),
                count => format!("{count}"),
            }
        );
    }
    Ok(())
}

/// What the run reported, and what its file says of an edit.
fn results(folder: &RunFolder) -> Result<(Results, Option<Difference>)> {
    let path = folder.results();
    if !path.is_file() {
        bail_input!(
            "{}: the run has not ended, and has reported nothing yet; let it go on with `covalign train \
             … --resume`",
            folder.root().display()
        );
    }
    let bytes = std::fs::read(&path).map_err(|e| io_error(&path, e))?;
    let shown = path.display();
    let read = |e| input_error!("{shown}: {e}");
    let mut value: Value = serde_json::from_slice(&bytes).map_err(read)?;
    let edited = sealed::unseal(&mut value, SEAL) == Some(false);
    let edited = edited.then(|| Difference {
        what: "results.json".into(),
        was: "as the run wrote it".into(),
        is: "edited or damaged (its checksum is another's)".into(),
    });
    Ok((serde_json::from_value(value).map_err(read)?, edited))
}

impl Found {
    /// Computes a task's reported scores again.
    fn task(&mut self, args: &VerifyArgs, results: &Results, name: &str) -> Result<()> {
        let Some(reported) = results.tasks.get(name) else {
            bail_input!(
                "{}: results.json has no task {name}, which config.yaml names",
                args.run.display()
            );
        };
        let saved = SavedTask::load(&args.run, name, Weights::Best);
        if let Ok(saved) = &saved {
            let step = saved.progress.step;
            if !saved.folder.best_of(name).is_dir() && step != reported.step {
                self.notes.push(format!(
                    "not computed: {name}'s score is that of step {}, whose weights were not kept \
                     (checkpoints.best_per_task: false); best/ is of step {step}",
                    reported.step
                ));
                return Ok(());
            }
        }
        let test = reported.test.as_ref().map(|scores| (Split::Test, scores));
        for (split, scores) in [(Split::Dev, &reported.dev)].into_iter().chain(test) {
            let mut score = Score {
                weights: format!("best_per_task/{name}"),
                of: name.to_owned(),
                split,
                reported_step: reported.step,
                step: None,
                reported: scores.score,
                recomputed: None,
                metrics: Vec::new(),
                same: false,
                error: None,
            };
            match &saved {
                Ok(saved) => {
                    if !saved.folder.best_of(name).is_dir() {
                        score.weights = "best".into();
                    }
                    score.step = Some(saved.progress.step);
                    match evaluate::score(saved, split, args.data.as_deref()) {
                        Ok(now) => score.compare(scores, &now),
                        Err(e) => score.error = Some(one_line(&e)),
                    }
                }
                Err(e) => score.error = Some(one_line(e)),
            }
            self.scores.push(score);
        }
        Ok(())
    }

    /// Computes the best mean of a run's folder again, and compares what it was made of.
    fn run(&mut self, args: &VerifyArgs, root: &Path) -> Result<()> {
        let folder = RunFolder::open(root)?;
        let (reported, edited) = results(&folder)?;
        // The whole run's own was looked at first.
        self.changed.extend(edited.filter(|_| root != args.run));
        let mut config = Config::load(&folder.config(), &[])?;
        let computed = self.overall(args, &config, &reported.best, root);
        if let Some(data) = &args.data {
            config.data.clone_from(data);
        }
        if let (Some(was), Some(is)) = (&reported.program, reading::program()) {
            same::differ("the program (sha256)", was, &is, &mut self.elsewhere);
        }
        let Some(was) = reported.made_of.clone().or(folder.begun()?) else {
            let root = root.display();
            let note = "an older version began the run: what it was made of is not known";
            self.notes.push(format!("{root}: {note}"));
            return Ok(());
        };
        let tasks = tasks::saved_tasks(&folder, &config)?;
        let (is, missing) = Content::read_again(&was.content, &config, &tasks);
        self.notes
            .extend(missing.iter().map(|why| format!("not compared: {why}")));
        self.changed.extend(same::of_content(&was.content, &is));
        if let Some(now) = computed {
            let found = same::of_arithmetic(&was.arithmetic, &now);
            self.elsewhere.extend(found);
        }
        self.elsewhere
            .extend(same::of_machine(&was.machine, &Machine::here(1))?);
        Ok(())
    }

    /// Computes the mean of the weights in `best/` again; what that was computed in, where it was.
    fn overall(
        &mut self,
        args: &VerifyArgs,
        config: &Config,
        reported: &Overall,
        root: &Path,
    ) -> Option<Computed> {
        let (mut step, mut computed) = (None, None);
        let mut of_tasks = || -> Result<f64> {
            let mut sum = 0.0;
            for name in &config.tasks {
                let saved = SavedTask::load(root, name, Weights::Overall)?;
                step = Some(saved.progress.step);
                let engine = saved.model.encoder.engine_name();
                computed = Some(Computed::new(saved.arithmetic, engine));
                sum += evaluate::score(&saved, Split::Dev, args.data.as_deref())?.score;
            }
            Ok(100.0 * sum / config.tasks.len() as f64)
        };
        let mean = of_tasks();
        let close = |mean: &f64| (mean - reported.glue_score).abs() < 100.0 * CLOSE;
        let place = root.strip_prefix(&args.run).unwrap_or(root);
        self.scores.push(Score {
            weights: place.join("best").display().to_string(),
            of: "mean".into(),
            split: Split::Dev,
            reported_step: reported.step,
            step,
            reported: reported.glue_score,
            same: step == Some(reported.step) && mean.as_ref().is_ok_and(close),
            metrics: Vec::new(),
            error: mean.as_ref().err().map(one_line),
            recomputed: mean.ok(),
        });
        computed
    }

    fn say(&self) {
        let header = ["Weights", "Of", "Step", "Reported", "Recomputed", ""].map(String::from);
        let rows = self.scores.iter().map(|score| {
            let times = if score.of == "mean" { 1.0 } else { 100.0 };
            let shown = |value: f64| format!("{:.4}", times * value);
            vec![
                score.weights.clone(),
                match score.split {
                    Split::Dev => score.of.clone(),
                    split => format!("{} ({split})", score.of),
                },
                match score.step {
                    Some(step) if step != score.reported_step => {
                        format!("{step}, reported {}", score.reported_step)
                    }
                    _ => score.reported_step.to_string(),
                },
                shown(score.reported),
                score.recomputed.map_or("-".to_owned(), shown),
                if score.same { "same" } else { "differs" }.to_owned(),
            ]
        });
        say!("{}", table::plain(&header, &rows.collect::<Vec<_>>()));
        for score in &self.scores {
            for (metric, was, is) in &score.metrics {
                say!("{} {}: {metric} was {was}, is {is}", score.of, score.split);
            }
            if let Some(error) = &score.error {
                complain!("{} {}: {error}", score.of, score.split);
            }
        }
        for change in &self.changed {
            say!("changed since: {change}");
        }
        if self.changed.is_empty() && self.notes.is_empty() {
            say!("data, task files and encoder are what the run was begun with");
        }
        for change in &self.elsewhere {
            say!("computed otherwise: {change}");
        }
        for note in &self.notes {
            say!("{note}");
        }
    }
}

impl Score {
    fn compare(&mut self, was: &Scores, is: &Scores) {
        let flat = |scores: &Scores| -> Vec<(String, f64)> {
            let own = scores.metrics.iter().cloned();
            let labels = scores.labels.iter().flat_map(|(label, metrics)| {
                let named = |(metric, value): &(String, f64)| (format!("{label} {metric}"), *value);
                metrics.iter().map(named).collect::<Vec<_>>()
            });
            let score = std::iter::once(("score".to_owned(), scores.score));
            own.chain(labels).chain(score).collect()
        };
        let (was, is) = (flat(was), flat(is));
        let value = |all: &[(String, f64)], name: &str| {
            let found = all.iter().find(|(known, _)| known == name);
            found.map_or(f64::NAN, |(_, value)| *value)
        };
        let names: BTreeSet<&String> = was.iter().chain(&is).map(|(name, _)| name).collect();
        for name in names {
            let (was, is) = (value(&was, name), value(&is, name));
            // What is undefined stays so.
            if (was - is).abs() >= CLOSE || was.is_nan() != is.is_nan() {
                self.metrics.push((name.clone(), was, is));
            }
        }
        self.recomputed = Some(value(&is, "score"));
        self.same = self.metrics.is_empty() && self.step == Some(self.reported_step);
    }
}
