//! Labels of which a row has none, one or several: read in each way that files have them, trained,
//! scored and predicted; and their losses' weights.

mod common;

use std::path::Path;

use common::{fails, json, refused, run, text, train, workplace};
use covalign::config::Config;
use covalign::data::{read_split, Batch, Split};
use covalign::error::exit_code;
use covalign::model::Mode;
use covalign::task::metric::Metric;
use covalign::task::{Label, Task};
use covalign::train::keep::run_folder::Results;
use covalign::train::prepare::prepare;
use covalign::train::step::learner::Learner;
use covalign::train::tasks::load_tasks;
use covalign::weighting::svd::svd_weights;
use covalign::weighting::{self, Objectives, Seen};
use nalgebra::DMatrix;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

const NAMES: &str = "any_of: [good, long, but]";

/// A way to write the labels of rows, and how a task says it.
const WRITTEN: [(&str, &str, &str); 7] = [
    (
        "more",
        "{any_of: [good, long, but], separator: ;, ignore: [other]}",
        "{header: false, text: 2, label: 1}",
    ),
    ("list", "{any_of: [good, long, but]}", "{text: t, label: l}"),
    (
        "csv",
        "{any_of: [good, long, but], separator: ', ', none: Nothing}",
        "{format: csv, text: t, label: l}",
    ),
    (
        "columns",
        "{any_of: [good, long, but]}",
        "{format: csv, text: t, label: [good, long, but]}",
    ),
    (
        "bare",
        "{any_of: [good, long, but]}",
        "{header: false, text: 1, label: [4, 2, 3]}",
    ),
    (
        "jsonl",
        "{any_of: [good, long, but]}",
        "{format: jsonl, text: t, label: l}",
    ),
    (
        "keys",
        "{any_of: [good, long, but]}",
        "{format: jsonl, text: t, label: [good, long, but]}",
    ),
];

/// The texts of the demonstration's reviews of a split, with labels made of them.
fn rows(folder: &Path, split: &str) -> Vec<(String, [bool; 3])> {
    let path = folder.join(format!("demo/DemoSentiment/{split}.tsv"));
    let lines = std::fs::read_to_string(path).unwrap();
    let row = |line: &str| {
        let (text, label) = line.split_once('\t').unwrap();
        let (text, label) = match label.len() {
            1 => (text, label),
            _ => (label, text),
        };
        let but = text.split(' ').any(|word| word == "but");
        (text.to_owned(), [label == "1", text.len() > 70, but])
    };
    lines.lines().skip(1).map(row).collect()
}

fn written(name: &str, rows: &[(String, [bool; 3])]) -> String {
    let list = |holds: &[bool; 3]| -> Vec<&str> {
        let names = ["good", "long", "but"].into_iter().zip(holds);
        names.filter(|(_, holds)| **holds).map(|(n, _)| n).collect()
    };
    let mut lines = match name {
        "list" => "l\tt\n",
        "csv" => "t,l\n",
        "columns" => "good,but,t,long\n",
        _ => "",
    }
    .to_owned();
    for (text, holds) in rows {
        let [good, long, but] = holds.map(u8::from);
        let quoted = format!("\"{}\"", text.replace('"', "\"\""));
        let line = match name {
            "more" => format!(
                "{}\t{text}",
                [vec!["other"], list(holds)].concat().join("; ")
            ),
            "list" => format!("{}\t{text}", list(holds).join("|")),
            "csv" => match list(holds).is_empty() {
                true => format!("{quoted},Nothing"),
                false => format!("{quoted},\"{}\"", list(holds).join(", ")),
            },
            "columns" => format!("{good},{but}.0,{quoted},{long}"),
            "bare" => format!("{text}\t{long}\t{but}\t{good}"),
            "jsonl" => serde_json::json!({"l": list(holds), "t": text}).to_string(),
            _ => serde_json::json!({"t": text, "good": good, "long": long == 1, "but": but})
                .to_string(),
        };
        lines += &line;
        lines.push('\n');
    }
    lines
}

/// Writes the task `Made` in one of [`WRITTEN`]'s ways, its task file `Made.yaml` beside the data.
fn write(folder: &Path, at: usize) {
    let (name, labels, layout) = WRITTEN[at];
    let data = folder.join("demo/Made");
    std::fs::create_dir_all(&data).unwrap();
    for split in ["train", "dev"] {
        let text = written(name, &rows(folder, split));
        std::fs::write(data.join(format!("{split}.x")), text).unwrap();
    }
    let task = format!(
        "name: Made\nlabels: {labels}\nmetrics: [auroc, average_precision, micro_f1, macro_f1]\n\
         layout: {layout}\nfiles: {{train: train.x, dev: dev.x}}\n"
    );
    std::fs::write(folder.join("Made.yaml"), task).unwrap();
}

fn set(holds: &[bool; 3]) -> Label {
    let bits = holds.iter().enumerate();
    Label::Set(bits.fold(0, |set, (index, &holds)| set | u128::from(holds) << index))
}

const TRAINED: [&str; 5] = [
    "encoder={kind: mlp, width: 16, embeddings: all-MiniLM-L6-v2}",
    "tasks=[Made.yaml]",
    "method=multitask",
    "training={learning_rate: 1e-2, epochs: 9, max_steps: 200, batch_size: 16, max_train_rows: 600}",
    "evaluation={every: 100 steps}",
];

#[test]
fn labels_are_the_same_in_every_way_that_files_have_them() {
    let folder = workplace();
    let folder = folder.path();
    let expected = rows(folder, "train");
    assert!(expected.iter().any(|(_, holds)| *holds == [false; 3]));
    for at in 0..WRITTEN.len() {
        write(folder, at);
        let task = Task::load(&folder.join("Made.yaml").to_string_lossy()).unwrap();
        let read = read_split(&task, &folder.join("demo"), Split::Train).unwrap();
        assert_eq!(read.examples.len(), expected.len());
        for (row, (text, holds)) in read.examples.iter().zip(&expected) {
            assert_eq!((&row.text_a, row.label), (text, Some(set(holds))));
        }
    }
}

#[test]
fn a_set_is_trained_scored_and_predicted() {
    let folder = workplace();
    let folder = folder.path();
    write(folder, 2);
    train(folder, "x", &TRAINED);
    let results: Results = serde_json::from_value(json(&folder.join("x/results.json"))).unwrap();
    let dev = &results.tasks["Made"].dev;
    assert!(dev.metrics[0].1 > 0.75, "{:?}", dev.metrics);
    assert!(dev.score > results.constant_answer["Made"] + 0.1);
    // What predict answers on the labelled rows gives the scores that train told.
    let args = ["predict", "x", "--task", "Made", "demo/Made/dev.x"];
    let asked = [&args[..], &["--probabilities", "--format", "jsonl"]].concat();
    let answers = text(&run(folder, &asked).stdout);
    let gold = rows(folder, "dev");
    let mut labels = vec![(Vec::new(), Vec::new()); 3];
    for (answer, (_, holds)) in answers.lines().zip(&gold) {
        let answer: serde_json::Value = serde_json::from_str(answer).unwrap();
        for (index, name) in ["good", "long", "but"].into_iter().enumerate() {
            let p = answer["probabilities"][name].as_f64().unwrap();
            let predicted = answer["prediction"].as_array().unwrap().iter();
            assert_eq!(predicted.filter(|n| *n == name).count() == 1, p > 0.5);
            labels[index].0.push(p - 0.5);
            labels[index].1.push(holds[index]);
        }
    }
    for (metric, (name, told)) in [
        Metric::Auroc,
        Metric::AveragePrecision,
        Metric::MicroF1,
        Metric::MacroF1,
    ]
    .into_iter()
    .zip(&dev.metrics)
    {
        assert_eq!(metric.name(), name);
        assert!((metric.of_labels(&labels) - told).abs() < 1e-9, "{name}");
    }
    let (name, own) = &dev.labels[2];
    assert_eq!((name.as_str(), own[0].0.as_str()), ("but", "auroc"));
    let auroc = Metric::Auroc.of_label(&labels[2].0, &labels[2].1);
    assert!((own[0].1 - auroc).abs() < 1e-9);
    // The table's answers are as the files list them.
    let table = text(&run(folder, &args).stdout);
    let listed: Vec<&str> = table
        .lines()
        .skip(1)
        .map(|l| l.split('\t').nth(1).unwrap())
        .collect();
    assert!(listed.contains(&"Nothing") && listed.iter().any(|l| l.contains(", ")));
    let evaluated = text(&run(folder, &["evaluate", "x"]).stdout);
    assert!(evaluated.contains("Made, by label"), "{evaluated}");
}

#[test]
fn what_is_no_set_of_the_labels_is_refused() {
    let folder = workplace();
    let folder = folder.path();
    for (at, rows, expected) in [
        (
            1,
            "l\tt\ngood|great\tx\n",
            "train.x:2: unknown label `great`; Made's are `good`, `long`, `but`",
        ),
        (
            1,
            "l\tt\ngood|good\tx\n",
            "train.x:2: the label `good` twice",
        ),
        (2, "t,l\nx,\n", "train.x:2: unknown label ``"),
        (
            3,
            "good,but,t,long\n1,2,x,0\n",
            "train.x:2: label but: `2` is neither 0 nor 1",
        ),
        (
            3,
            "good,but,t,long\n1,,x,0\n",
            "train.x:2: label but: `` is neither 0 nor 1",
        ),
        (
            5,
            "{\"t\": \"x\", \"l\": [[1]]}\n",
            "train.x:1: unknown label `[1]`",
        ),
        (
            5,
            "{\"t\": \"x\", \"l\": {\"good\": 1}}\n",
            "train.x:1: key `l` is neither a text nor a number",
        ),
        (5, "{\"t\": \"x\"}\n", "train.x:1: no key `l`"),
    ] {
        write(folder, at);
        std::fs::write(folder.join("demo/Made/train.x"), rows).unwrap();
        let line = refused(folder, &TRAINED);
        assert!(line.contains(expected), "{line}");
    }
    // No list is no set without labels, where the file says how those look.
    let task = |labels: &str, metrics: &str, layout: &str| {
        let yaml = format!(
            "labels: {{{labels}}}\nmetrics: [{metrics}]\nlayout: {layout}\nfiles: {{train: a, dev: b}}"
        );
        let error = Task::from_yaml(&yaml, "T.yaml").unwrap_err();
        assert_eq!(exit_code(&error), 2);
        error.to_string()
    };
    let (auroc, layout) = ("auroc", "{text: t, label: l}");
    for (error, expected) in [
        (
            task(NAMES, "accuracy", layout),
            "key `metrics`: `accuracy` is for classes",
        ),
        (task(NAMES, "f1", layout), "take `micro_f1` or `macro_f1`"),
        (
            task("any_of: []", auroc, layout),
            "`any_of` needs at least one label",
        ),
        (
            task("any_of: [a, a]", auroc, layout),
            "key `labels`: has `a` twice",
        ),
        (
            task("any_of: [a|b]", auroc, layout),
            "give another `separator`",
        ),
        (task("any_of: [a/b]", auroc, layout), "has a `/` in it"),
        (
            task("any_of: [a], none: a", auroc, layout),
            "`none: a` is one of the labels",
        ),
        (
            task("any_of: [a], min: 1", auroc, layout),
            "needs `min` and `max`, or `any_of`",
        ),
        (
            task("any_of: [a], nil: a", auroc, layout),
            "unknown key `nil`",
        ),
        (
            task(NAMES, auroc, "{text: t, label: [a, b]}"),
            "label`: has 2 columns for 3 labels",
        ),
        (
            task("min: 0, max: 1", "pearson", "{text: t, label: [a, b]}"),
            "several columns are for labels `{any_of: […]}`",
        ),
        (
            task("any_of: [a], ignore: [a]", auroc, layout),
            "`ignore` names `a`, one of the labels",
        ),
    ] {
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn rows_of_a_patient_are_in_one_split() {
    let folder = workplace();
    let folder = folder.path();
    let made = rows(folder, "train");
    let mut text = String::from("patient\tl\tt\n");
    for (row, (sentence, _)) in made.iter().enumerate() {
        text += &format!("{}\tgood\t{sentence}\n", row * row % 101);
    }
    std::fs::write(folder.join("all.tsv"), text).unwrap();
    let yaml = "labels: {any_of: [good]}\nmetrics: [micro_f1]\n\
                layout: {text: t, label: l, index: patient}\nfiles: {train: all.tsv}\n\
                split: {dev: 0.2, test: 0.2, by: patient}";
    let task = Task::from_yaml(yaml, "T.yaml").unwrap();
    let patients = |split: Split| -> std::collections::BTreeSet<String> {
        let rows = read_split(&task, folder, split).unwrap().examples;
        assert!(rows.len() > made.len() / 10, "{split}");
        rows.into_iter().map(|row| row.index.unwrap()).collect()
    };
    let [train, dev, test] = Split::ALL.map(patients);
    assert!(train.is_disjoint(&dev) && train.is_disjoint(&test) && dev.is_disjoint(&test));
    let missing = yaml.replace("by: patient", "by: person");
    let task = Task::from_yaml(&missing, "T.yaml").unwrap();
    let error = read_split(&task, folder, Split::Dev)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("no column `person` in the header"),
        "{error}"
    );
}

// ---- weights

fn learner(folder: &Path, sets: &[&str]) -> Learner {
    let data = format!("data={}", folder.join("demo").display());
    let task = format!("tasks=[{}]", folder.join("Made.yaml").display());
    let sets = [&TRAINED[..], &[&data, &task, "training.threads=1"], sets].concat();
    let sets: Vec<String> = sets.into_iter().map(str::to_owned).collect();
    let config = Config::load(&folder.join("c.yaml"), &sets).unwrap();
    let tasks = load_tasks(&config).unwrap();
    prepare(&config, tasks).unwrap().learner
}

fn close(found: f64, expected: f64, what: &str) {
    assert!(
        (found - expected).abs() < 1e-6,
        "{what}: {found} != {expected}"
    );
}

#[test]
fn an_objective_is_the_methods_formula() {
    let folder = workplace();
    write(folder.path(), 1);
    let task = Task::load(&folder.path().join("Made.yaml").to_string_lossy()).unwrap();
    let objectives = Objectives::new([&task].into_iter());
    assert_eq!(objectives.names, ["Made/good", "Made/long", "Made/but"]);
    let losses = Tensor::from_slice(&[0.5f32, 1.0, 3.0]);
    let of = |yaml: &str| {
        let config = serde_yaml::from_str(yaml).unwrap();
        let variables = VarStore::new(Device::Cpu);
        let built = weighting::build(&config, &objectives, &[&task], &variables).unwrap();
        let seen = Seen {
            which: 0..3,
            losses: &losses,
            gramian: None,
        };
        let value = weighting::objective(built.as_ref(), &seen).unwrap();
        (value, variables)
    };
    let value = |yaml| f64::try_from(of(yaml).0).unwrap();
    close(value("{}"), 1.5, "equal");
    let fixed = "{method: fixed, weights: {Made: 2.0, Made/but: 0.5}}";
    close(value(fixed), (1.0 + 2.0 + 1.5) / 3.0, "fixed");
    // Σ ½ e^{−s} L + ½ s, whose slope at s = 0 is ½ (1 − L).
    let (objective, variables) = of("{method: uncertainty}");
    close(f64::try_from(&objective).unwrap(), 0.75, "uncertainty");
    objective.backward();
    let slope = variables.variables()["Made.log_variance"].grad();
    let slope = Vec::<f64>::try_from(slope).unwrap();
    for (slope, loss) in slope.into_iter().zip([0.5, 1.0, 3.0]) {
        close(slope, 0.5 * (1.0 - loss) / 3.0, "slope");
    }
}

#[test]
fn weights_are_those_of_the_labels_products_with_the_features() {
    let folder = workplace();
    write(folder.path(), 1);
    let learner = learner(folder.path(), &["weighting={method: svd, rank: 2}"]);
    // X and Y in memory, all rows at once.
    let data = &learner.data[0];
    let shape = learner.model.encoder.batch_shape(learner.pad);
    let batch = Batch::collate(&data.train, &data.rows, shape, Device::Cpu).unwrap();
    let x = tch::no_grad(|| {
        let embedded = learner
            .model
            .embed(0, &batch, None, Mode::Evaluate)
            .unwrap();
        learner
            .model
            .encoder
            .pooled(&embedded, &batch, Mode::Evaluate)
            .unwrap()
    });
    let (m, d) = x.size2().unwrap();
    let x = Vec::<f64>::try_from(x.to_kind(Kind::Double).view([-1])).unwrap();
    let x = DMatrix::from_row_slice(m as usize, d as usize, &x);
    let y = DMatrix::from_fn(m as usize, 3, |row, label| {
        let label_of = data.train.label(data.rows[row] as usize).unwrap();
        f64::from(u8::from(label_of.holds(label)))
    });
    let centred = DMatrix::from_fn(m as usize, 3, |row, label| {
        y[(row, label)] - y.column(label).mean()
    });
    let theta = x.tr_mul(&centred);
    let streamed = learner.theta().unwrap();
    let largest = (streamed * m as f64 - &theta).amax() / theta.amax();
    assert!(largest < 1e-6, "{largest}");
    // Algorithm 2 by the eigenvectors of θᵀθ, another way than the program's.
    let eigen = (theta.transpose() * &theta).symmetric_eigen();
    let mut order: Vec<usize> = (0..3).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
    let length = |task: usize| {
        let square = |&at: &usize| eigen.eigenvalues[at] * eigen.eigenvectors[(task, at)].powi(2);
        order[..2].iter().map(square).sum::<f64>().sqrt()
    };
    let sum: f64 = (0..3).map(length).sum();
    for (task, weight) in svd_weights(&theta, 2).into_iter().enumerate() {
        close(weight, 3.0 * length(task) / sum, "weight");
    }
}

#[test]
fn weights_are_recorded_resumed_and_told() {
    let folder = workplace();
    let folder = folder.path();
    write(folder, 3);
    for method in ["{method: uncertainty}", "{method: svd, rank: 1}"] {
        let weighting = format!("weighting={method}");
        let name = &method[9..12];
        let (whole, halves) = (format!("{name}-whole"), format!("{name}-halves"));
        let sets = [&TRAINED[..], &[&weighting, "checkpoints.every=100 steps"]].concat();
        train(folder, &whole, &sets);
        train(
            folder,
            &halves,
            &[&sets[..], &["checkpoints.keep=2"]].concat(),
        );
        // As if cut off after the first half.
        std::fs::remove_file(folder.join(&halves).join("results.json")).unwrap();
        std::fs::remove_dir_all(folder.join(&halves).join("checkpoints/step-200")).unwrap();
        let mut args = vec!["train", "c.yaml", "--out", &halves, "--resume"];
        [&sets[..], &["checkpoints.keep=2"]]
            .concat()
            .iter()
            .for_each(|set| args.extend(["--set", set]));
        let resumed = run(folder, &args);
        assert!(resumed.status.success(), "{}", text(&resumed.stderr));
        let [whole, halves] =
            [whole, halves].map(|out| json(&folder.join(out).join("results.json")));
        assert_eq!(whole["tasks"], halves["tasks"]);
        assert_eq!(whole["weights"], halves["weights"]);
        let weights = whole["weights"].as_object().unwrap();
        assert_eq!(weights.len(), 3);
        let sum: f64 = weights.values().map(|w| w.as_f64().unwrap()).sum();
        if name == "svd" {
            close(sum, 3.0, "mean");
            let sets = [&TRAINED[..]].concat();
            let mut args = vec!["reweight", "c.yaml", "--json"];
            sets.iter().for_each(|set| args.extend(["--set", set]));
            let told = run(folder, &args);
            let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
            for (name, weight) in weights {
                let told = &told["objectives"][name]["weight"];
                close(told.as_f64().unwrap(), weight.as_f64().unwrap(), name);
            }
        } else {
            assert!((sum - 1.5).abs() > 1e-3, "{sum}");
        }
    }
}

#[test]
fn noise_in_one_label_leaves_the_others() {
    let folder = workplace();
    write(folder.path(), 1);
    let clean = learner(folder.path(), &[]);
    let noisy = learner(folder.path(), &["label_noise={Made/long: 0.5}"]);
    let labels = |learner: &Learner| -> Vec<Label> {
        let data = &learner.data[0];
        let rows = data.rows.iter();
        rows.map(|&row| data.train.label(row as usize).unwrap())
            .collect()
    };
    let differing = |index: usize| {
        let pairs = labels(&clean).into_iter().zip(labels(&noisy));
        pairs
            .filter(|(a, b)| a.holds(index) != b.holds(index))
            .count()
    };
    assert_eq!([differing(0), differing(2)], [0, 0]);
    let rows = clean.data[0].rows.len();
    let quarter = rows / 4;
    assert!((quarter - rows / 12..quarter + rows / 12).contains(&differing(1)));
}

#[test]
fn names_of_nothing_are_refused() {
    let folder = workplace();
    let folder = folder.path();
    write(folder, 1);
    for (set, expected) in [
        (
            "label_noise={Made/lng: 0.5}",
            "no task of the run is called `Made/lng`",
        ),
        (
            "weighting={method: fixed, weights: {Mde: 1}}",
            "key `weighting.weights`: no task of the run is called `Mde`",
        ),
        (
            "weighting={method: fixed}",
            "key `weighting.weights` are `fixed`'s",
        ),
        (
            "weighting={method: svd, rank: 0}",
            "key `weighting.rank` must be above 0",
        ),
        (
            "weighting={method: equal, rank: 1}",
            "key `weighting.rank` is `svd`'s",
        ),
    ] {
        let line = refused(folder, &[&TRAINED[..], &[set]].concat());
        assert!(line.contains(expected), "{line}");
    }
    let trec = "labels: [a, b, c]\nmetrics: [accuracy]\nlayout: {text: t, label: l}\n\
                files: {train: t.tsv, dev: t.tsv}";
    std::fs::write(folder.join("Three.yaml"), trec).unwrap();
    std::fs::write(folder.join("demo/t.tsv"), "t\tl\nx\ta\ny\tb\nz\tc\n").unwrap();
    let sets = ["tasks=[Three.yaml]", "method=multitask"];
    let mut args = vec!["reweight", "c.yaml"];
    sets.iter().for_each(|set| args.extend(["--set", set]));
    let line = fails(folder, &args, 2);
    assert!(line.contains("Three has 3 classes"), "{line}");
}
