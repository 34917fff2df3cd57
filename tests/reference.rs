//! What people may write is written down, and what they have written is checked as training does.

mod common;

use std::path::{Path, PathBuf};

use common::{fails, json, root, run, text, workplace};
use covalign::config::Config;
use covalign::reference::{keys, markdown, Kind};
use covalign::task::Task;
use serde::Deserialize;

#[test]
fn the_reference_has_every_key_with_a_meaning_and_an_example_and_is_not_stale() {
    for kind in Kind::ALL {
        let examples = markdown::examples(kind);
        for section in keys::sections(&kind.schema()) {
            assert!(!section.keys.is_empty(), "{kind:?} {}", section.path);
            for key in &section.keys {
                let name = format!("{kind:?}: {}.{}", section.name(), key.name);
                assert!(!key.meaning.is_empty(), "{name} has no doc comment");
                assert!(
                    !key.kind.contains("anything") || key.kind.starts_with("by name"),
                    "{name}"
                );
                let example = markdown::example(&section, &key.name, &examples);
                assert!(example.is_some(), "{name} stands in no example of its kind");
            }
        }
    }
    let page = std::fs::read_to_string(root().join("docs/reference.md")).unwrap();
    assert!(
        page == markdown::page(),
        "docs/reference.md is stale; renew it: covalign config reference > docs/reference.md"
    );
}

#[test]
fn the_examples_of_the_reference_are_files_that_covalign_takes() {
    let folder = tempfile::tempdir().unwrap();
    let documents = |kind: Kind| kind.examples().split("\n---\n").enumerate();
    for (at, document) in documents(Kind::Train) {
        Config::parse(document, &format!("train {at}"), &[]).unwrap();
    }
    for (at, document) in documents(Kind::Task) {
        Task::from_yaml(document, &format!("task {at}")).unwrap();
    }
    for (kind, command) in [(Kind::Suite, "suite"), (Kind::Simulate, "simulate")] {
        for (at, document) in documents(kind) {
            let path = folder.path().join(format!("{command}-{at}.yaml"));
            std::fs::write(&path, document).unwrap();
            match kind {
                Kind::Suite => drop(covalign::suite::file::SuiteFile::read(&path).unwrap()),
                _ => drop(covalign::simulate::config::SimulateConfig::load(&path, &[]).unwrap()),
            }
        }
    }
}

/// The YAML files below a folder.
fn yaml_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => yaml_files(&path, found),
            false if path.extension().is_some_and(|e| e == "yaml") => found.push(path),
            false => {}
        }
    }
}

#[test]
fn shipped_files_keep_to_their_schema_and_wrong_ones_do_not() {
    let kept = |kind: Kind, yaml: &str| {
        // As an editor reads it: without what serde makes of a value.
        let schema = jsonschema::validator_for(&kind.schema()).unwrap();
        let deserializer = serde_yaml::Deserializer::from_str(yaml);
        let tree = serde_json::Value::deserialize(deserializer).unwrap();
        let errors = schema.iter_errors(&tree);
        errors
            .map(|error| format!("{} at {}", error, error.instance_path))
            .collect::<Vec<_>>()
    };
    let mut files = Vec::new();
    yaml_files(&root().join("configs"), &mut files);
    assert!(files.len() > 40, "{}", files.len());
    let mut seen = std::collections::BTreeMap::new();
    for path in files {
        let yaml = std::fs::read_to_string(&path).unwrap();
        let place = path.strip_prefix(root().join("configs")).unwrap();
        let meant = match place.iter().next().unwrap().to_str().unwrap() {
            "tasks" | "held-out" | "questions" => Kind::Task,
            "suites" => Kind::Suite,
            "simulate" => Kind::Simulate,
            _ => Kind::Train,
        };
        let kind = Kind::of(&serde_yaml::from_str(&yaml).unwrap());
        assert_eq!(kind, meant, "{}", path.display());
        assert_eq!(kept(kind, &yaml), [""; 0], "{}", path.display());
        *seen.entry(kind.title()).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
    for kind in Kind::ALL {
        for document in kind.examples().split("\n---\n") {
            assert_eq!(kept(kind, document), [""; 0], "{document}");
        }
    }
    for (kind, wrong) in [
        (Kind::Train, "tasks: [CoLA]\nlerning_rate: 1"),
        (Kind::Train, "tasks: [CoLA]\nmethod: alined"),
        (
            Kind::Train,
            "tasks: [CoLA]\nalignment: {learning_rate: fast}",
        ),
        (Kind::Train, "tasks: [CoLA]\nevaluation: {every: 3 days}"),
        (Kind::Train, "tasks: [CoLA]\ntraining: {max_train_rows: 0}"),
        (Kind::Train, "tasks: []"),
        (
            Kind::Task,
            "labels: [a, b]\nmetrics: [acuracy]\nfiles: {train: x.tsv}",
        ),
        (
            Kind::Task,
            "labels: {min: 0}\nmetrics: [pearson]\nfiles: {train: x.tsv}",
        ),
        (
            Kind::Task,
            "labels: [a, b]\nmetrics: [f1]\nfiles: {train: {part: x}}",
        ),
        (
            Kind::Suite,
            "base: x.yaml\nexperiments: [{name: a, strategy: pears}]",
        ),
        (Kind::Simulate, "study: [transfer]\nmap: {r: 1}"),
    ] {
        assert_ne!(kept(kind, wrong), [""; 0], "{wrong}");
    }
}

#[test]
fn config_check_says_all_that_is_wrong_each_on_its_line_and_writes_nothing() {
    let folder = workplace();
    let folder = folder.path();
    let check = |yaml: &str, args: &[&str]| {
        std::fs::write(folder.join("bad.yaml"), yaml).unwrap();
        let output = run(folder, &[&["config", "check", "bad.yaml"], args].concat());
        assert_eq!(output.status.code(), Some(2), "{yaml}");
        assert!(output.stdout.is_empty());
        let errors = text(&output.stderr);
        errors.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let said = |lines: &[String], wanted: &[&str]| {
        assert_eq!(lines.len(), wanted.len() + 1, "{lines:?}");
        for words in wanted {
            assert!(
                lines.iter().any(|line| line.contains(words)),
                "{words}: {lines:?}"
            );
        }
    };
    let lines = check(
        "tasks: [DemoSentiment]\nmetod: single\ntraining:\n  lerning_rate: 3\n  epochs: many\n\
         sampling: {strategy: propotional}\n",
        &[],
    );
    said(
        &lines,
        &[
            "bad.yaml:2: key `metod`: unknown key",
            "bad.yaml:4: key `training.lerning_rate`: unknown key",
            "bad.yaml:5: key `training.epochs`: invalid type",
            "bad.yaml:6: key `sampling.strategy`: unknown value `propotional`",
        ],
    );
    let lines = check(
        "tasks: [DemoSentiment]\ntraining: {epochs: -1, batch_size: 0}\n",
        &[],
    );
    said(
        &lines,
        &["`training.epochs` must", "`training.batch_size` must"],
    );
    let lines = check(
        "encoder: nowhere\ndata: gone\ntasks: [DemoSentiment, Nosuch]\n",
        &[],
    );
    said(
        &lines,
        &[
            "encoder `nowhere`",
            "gone: no such folder",
            "unknown task `Nosuch`",
        ],
    );
    // What only all of it together shows: training stops at the same line.
    let long = common::CONFIG.replace("max_length: 32", "max_length: 4096");
    let lines = check(&long, &[]);
    said(&lines, &["`training.max_length`: 4096 is more than"]);
    let trained = fails(folder, &["train", "bad.yaml", "--out", "x"], 2);
    assert_eq!(trained, format!("covalign: {}", lines[0]));
    let dynamic = format!("{}sampling: {{strategy: dynamic}}\n", common::CONFIG);
    said(
        &check(&dynamic, &[]),
        &["`sampling.reference.DemoSentiment` is missing"],
    );
    // Other kinds, by their keys.
    let task = "labels: [a, b]\nmetrics: [acuracy]\nlayot: {}\nfiles: {train: t.tsv}\n";
    said(
        &check(task, &[]),
        &["bad.yaml:2: key `metrics[0]`", "bad.yaml:3: key `layot`"],
    );
    std::fs::write(folder.join("own.yaml"), task).unwrap();
    said(
        &check("tasks: [DemoSentiment, own.yaml]\ndata: gone\n", &[]),
        &[
            "own.yaml:2: key `metrics[0]`",
            "own.yaml:3: key `layot`",
            "encoder `bert-large-uncased`",
            "gone: no such folder",
        ],
    );
    let suite = "base: c.yaml\nexperiments:\n  - {name: a, strategy: pair, metod: x}\n  \
                 - {name: b, strategy: all, grd: {}}\n";
    let lines = check(suite, &[]);
    said(
        &lines,
        &[
            "bad.yaml:3: key `experiments[0].metod`",
            "bad.yaml:4: key `experiments[1].grd`",
        ],
    );
    let suite = "base: c.yaml\nset: {data: gone}\nexperiments: [{name: a, strategy: single}]\n";
    let lines = check(suite, &[]);
    assert!(lines[0].contains("gone: no such folder"), "{lines:?}");
    assert!(!folder.join("runs").exists() && !folder.join("x").exists());
}

#[test]
fn config_check_prints_the_file_with_every_key_and_that_is_the_same_config() {
    let folder = workplace();
    let folder = folder.path();
    let set = ["--set", "training.seed=7"];
    let output = run(folder, &[&["config", "check", "c.yaml"], &set[..]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    let path = folder.join("c.yaml");
    let config = Config::load(&path, &["training.seed=7".to_owned()]).unwrap();
    assert_eq!(Config::parse(&shown, "shown", &[]).unwrap(), config);
    for section in keys::sections(&Kind::Train.schema()) {
        // The encoder is one name here.
        for key in section
            .keys
            .iter()
            .filter(|_| !["encoder", "start"].contains(&&*section.path))
        {
            let there = shown.lines().any(|line| {
                let line = line.trim_start();
                line.trim_start_matches("# ")
                    .starts_with(&format!("{}:", key.name))
            });
            assert!(there, "{}.{}: {shown}", section.path, key.name);
        }
    }
    assert!(shown.contains("\n  # dropout: number\n"), "{shown}");
    let whole = run(root(), &["config", "check", "configs/tasks/CoLA.yaml"]);
    let whole = text(&whole.stdout);
    assert!(whole.contains("\nloss: cross_entropy\n"), "{whole}");
    assert_eq!(Task::from_yaml(&whole, "CoLA.yaml").unwrap().name, "CoLA");
}

#[test]
fn a_dry_run_says_what_the_run_then_takes_and_writes_nothing() {
    let folder = workplace();
    let folder = folder.path();
    let tiny = root().join("tests/fixtures/legacy-bert");
    let encoder = format!("encoder={}", tiny.display());
    let sets = [
        &*encoder,
        "training.max_length=16",
        "training.max_steps=20",
        "training.epochs=9",
    ];
    let mut args = vec!["train", "c.yaml"];
    sets.iter().for_each(|set| args.extend(["--set", set]));
    let output = run(folder, &[&args[..], &["--dry-run"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    assert!(!folder.join("runs").exists());
    common::train(folder, "x", &sets);
    let results = json(&folder.join("x/results.json"));
    let steps = format!(
        "steps    {}, an epoch has 12.0; 7 evaluations\n",
        results["steps"]
    );
    assert!(shown.contains(&steps), "{shown}");
    let state = json(&folder.join("x/checkpoints/step-20/state.json"));
    let tokens = format!("tokens   {} to train on, ", state["tokens"]);
    assert!(shown.contains(&tokens), "{tokens} {shown}");
    // Two checkpoints, three sets of weights.
    let sizes = |folder: &Path| -> u64 {
        let files = std::fs::read_dir(folder).unwrap().flatten();
        files.map(|file| file.metadata().unwrap().len()).sum()
    };
    let saved = std::fs::read_dir(folder.join("x/checkpoints")).unwrap();
    let saved: Vec<u64> = saved.map(|step| sizes(&step.unwrap().path())).collect();
    assert_eq!(saved.len(), 2);
    let at_end = saved.iter().sum::<u64>() + 3 * sizes(&folder.join("x/best"));
    let told = shown.split("while it trains, ").nth(1).unwrap();
    let told: f64 = told.split(' ').next().unwrap().parse().unwrap();
    let ratio = 1e6 * told / at_end as f64;
    assert!((0.9..1.1).contains(&ratio), "{told} {at_end}");
}

#[test]
fn runs_are_listed_with_their_state_in_a_hundred_columns() {
    let folder = workplace();
    let folder = folder.path();
    let tiny = root().join("tests/fixtures/legacy-bert");
    let encoder = format!("encoder={}", tiny.display());
    let sets = [&*encoder, "training.max_length=16"];
    let long =
        "runs/a study of a rather long name/runs/aligned-DemoSentiment+DemoSimilarity-seed42";
    common::train(folder, long, &sets);
    common::train(folder, "runs/cut", &sets);
    common::train(
        folder,
        "runs/each",
        &[&sets[..], &["method=single"]].concat(),
    );
    common::train(folder, "runs/early", &sets);
    std::fs::remove_file(folder.join("runs/cut/results.json")).unwrap();
    for left in ["results.json", "metrics.jsonl"] {
        std::fs::remove_file(folder.join("runs/early").join(left)).unwrap();
    }
    let output = run(folder, &["runs", "--json"]);
    let runs: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let runs = runs.as_array().unwrap();
    let of = |name: &str| {
        runs.iter()
            .find(|run| run["run"].as_str().unwrap().ends_with(name))
    };
    assert_eq!(runs.len(), 4);
    let whole = of("seed42").unwrap();
    let results = json(&folder.join(long).join("results.json"));
    assert_eq!(
        (&whole["score"], &whole["state"]),
        (&results["glue_score"], &"finished".into())
    );
    let cut = of("cut").unwrap();
    assert_eq!(
        (&cut["step"], &cut["of"], &cut["state"]),
        (&6.into(), &6.into(), &"stopped".into())
    );
    assert_eq!(of("each").unwrap()["step"], 12);
    let table = text(&run(folder, &["runs"]).stdout);
    assert!(
        table.lines().all(|line| line.chars().count() <= 100),
        "{table}"
    );
    let flat = table.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in ["finished", "never", "aligned", "single"] {
        assert!(flat.contains(word), "{word}: {table}");
    }
    let line = fails(folder, &["runs", "none"], 2);
    assert!(line.contains("none: no such folder"), "{line}");
}

#[test]
fn completions_name_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&run(root(), &["completions", shell]).stdout);
        for command in ["train", "config", "runs", "dry-run"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
}
