//! Event files, read back record by record and, where there is one, by TensorBoard itself.

mod common;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use common::{event_files, events, run, text, train, workplace};
use covalign::telemetry::layout::Layout;
use covalign::telemetry::tensorboard::{Column, EventWriter, HParam, Kind};
use image::GrayImage;
use protobuf::Message;
use tensorboard_proto::event::{Event, SessionLog_SessionStatus};
use tensorboard_proto::plugin_hparams::HParamsPluginData;
use tensorboard_rs::masked_crc32c::crc32c;

const LOSS: &str = "train/CoLA/loss";
const DEPARTURE: &str = "alignment/CoLA/departure";
const MATTHEWS: &str = "dev/CoLA/matthews";

fn picture() -> GrayImage {
    GrayImage::from_raw(2, 1, vec![0, 255]).unwrap()
}

/// A run that is stopped after step 5 and goes on from its checkpoint at step 3.
fn write_run(dir: &Path) {
    let mut first = EventWriter::create(dir).unwrap();
    let column = |name: &str, kind, value, first| Column {
        name: name.to_owned(),
        kind,
        value,
        first,
    };
    let method = HParam::Text("aligned".to_owned());
    let columns = [
        column("method", Kind::Text, Some(method), true),
        column(
            "learning_rate",
            Kind::Number,
            Some(HParam::Number(2e-5)),
            false,
        ),
        column("deduplicate", Kind::Bool, Some(HParam::Bool(true)), false),
        column("max_steps", Kind::Number, None, false),
    ];
    first.hparams(&columns, &[MATTHEWS.to_owned()]).unwrap();
    let mut layout = Layout::default();
    layout.heading("Dev scores", true, &[("CoLA", "^dev/CoLA/")]);
    layout.heading("Training", false, &[("losses", "^train/.*/loss$")]);
    first.layout(&layout).unwrap();
    first.image(DEPARTURE, &picture(), 1).unwrap();
    first.text("config", "method: **aligned**", 0).unwrap();
    for step in 1..=5 {
        first.scalar(LOSS, 10.0 + step as f64, step).unwrap();
    }
    drop(first);

    let mut second = EventWriter::resume(dir, 4).unwrap();
    for step in 4..=6 {
        second.scalar(LOSS, 20.0 + step as f64, step).unwrap();
    }
    let values: Vec<f64> = (0..300).map(|i| i as f64 / 299.0).collect();
    second
        .histogram("alignment/CoLA/singular_values", &values, 6)
        .unwrap();
    second
        .histogram("alignment/RTE/singular_values", &[1.0; 384], 6)
        .unwrap();
    second.scalar(MATTHEWS, 0.5, 3).unwrap();
    second.scalar(MATTHEWS, 0.61, 6).unwrap();
    second.hparams_end().unwrap();
}

#[test]
fn records_hold_what_was_written() {
    // The check value of CRC-32C's definition.
    assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    let dir = tempfile::tempdir().unwrap();
    write_run(dir.path());
    let files = event_files(dir.path());
    assert_eq!(
        files.len(),
        2,
        "a resumed run has a file of its own: {files:?}"
    );

    let (first, second) = (events(&files[0]), events(&files[1]));
    for file in [&first, &second] {
        assert_eq!(file[0].get_file_version(), "brain.Event:2");
        assert!(file.windows(2).all(|w| w[0].wall_time <= w[1].wall_time));
    }
    let status = second[1].get_session_log().get_status();
    assert_eq!(
        (second[1].step, status),
        (4, SessionLog_SessionStatus::START)
    );

    let points = |events: &[Event]| -> Vec<(i64, f32)> {
        let of_loss = events.iter().filter_map(|event| {
            let value = event.get_summary().get_value().first()?;
            (value.get_tag() == LOSS).then(|| (event.step, value.get_simple_value()))
        });
        of_loss.collect()
    };
    let expected: Vec<(i64, f32)> = (1..=5).map(|s| (s, 10.0 + s as f32)).collect();
    assert_eq!(points(&first), expected);
    assert_eq!(points(&second), [(4, 24.0), (5, 25.0), (6, 26.0)]);

    let start = first
        .iter()
        .flat_map(|event| event.get_summary().get_value())
        .find(|value| value.get_tag() == "_hparams_/session_start_info")
        .unwrap();
    let plugin = start.get_metadata().get_plugin_data();
    assert_eq!(plugin.get_plugin_name(), "hparams");
    let data: HParamsPluginData =
        HParamsPluginData::parse_from_bytes(plugin.get_content()).unwrap();
    let values = data.get_session_start_info().get_hparams();
    assert_eq!(values["learning_rate"].get_number_value(), 2e-5);
    assert_eq!(values["method"].get_string_value(), "aligned");
    assert!(values["deduplicate"].get_bool_value());
}

/// The curves of a run folder: tag to step to value.
fn curves(run: &Path) -> BTreeMap<String, BTreeMap<i64, f64>> {
    let mut curves: BTreeMap<String, BTreeMap<i64, f64>> = BTreeMap::new();
    for file in event_files(&run.join("tensorboard")) {
        for event in events(&file) {
            for value in event.get_summary().get_value() {
                if value.has_simple_value() {
                    let curve = curves.entry(value.get_tag().to_owned()).or_default();
                    let point = f64::from(value.get_simple_value());
                    let twice = curve.insert(event.step, point);
                    assert_eq!(twice, None, "{} has two points", value.get_tag());
                }
            }
        }
    }
    curves
}

/// The texts of a tag of a run folder, by step.
fn texts(run: &Path, tag: &str) -> BTreeMap<i64, String> {
    let mut texts = BTreeMap::new();
    for file in event_files(&run.join("tensorboard")) {
        for event in events(&file) {
            for value in event.get_summary().get_value() {
                if value.get_tag() == tag {
                    let bytes = &value.get_tensor().get_string_val()[0];
                    texts.insert(event.step, text(bytes));
                }
            }
        }
    }
    texts
}

#[test]
fn a_runs_curves_are_what_its_other_records_say() {
    let folder = workplace();
    let folder = folder.path();
    let small = "encoder={kind: mlp, width: 16, embeddings: all-MiniLM-L6-v2}";
    let sets = [
        small,
        "tasks=[DemoSentiment, DemoSimilarity]",
        "training.max_steps=25",
        "evaluation.every=20 steps",
        "checkpoints.every=100 steps",
        "alignment.learning_rate=0.5x",
        "training.head_learning_rate=2x",
    ];
    train(folder, "x", &sets);
    let out = folder.join("x");
    let curves = curves(&out);
    let at = |tag: &str, step: i64| {
        let points = curves.get(tag).unwrap_or_else(|| panic!("no {tag}"));
        *points
            .get(&step)
            .unwrap_or_else(|| panic!("no {tag} at {step}"))
    };
    let close = |a: f64, b: f64| (a - b).abs() <= 1e-6 * b.abs().max(1.0);
    // Scores in points, as people read them; errors in their own unit.
    let lines = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let step = line["step"].as_i64().unwrap();
        let accuracy = line["dev"]["DemoSentiment"]["accuracy"].as_f64().unwrap();
        let pearson = line["dev"]["DemoSimilarity"]["pearson"].as_f64().unwrap();
        assert!(close(
            at("dev/DemoSentiment/accuracy", step),
            100.0 * accuracy
        ));
        assert!(close(
            at("dev/DemoSimilarity/pearson", step),
            100.0 * pearson
        ));
        assert!(close(
            at("dev/mean", step),
            line["glue_score"].as_f64().unwrap()
        ));
    }
    // These are no tasks of GLUE's.
    assert!(
        !curves.contains_key("dev/glue_score"),
        "{:?}",
        curves.keys()
    );
    for task in ["DemoSentiment", "DemoSimilarity"] {
        let distance = &curves[&format!("alignment/{task}/distance_from_identity")];
        let steps: Vec<i64> = distance.keys().copied().collect();
        assert_eq!(steps, [0, 10, 20, 25]);
        assert_eq!(distance[&0], 0.0);
        assert!(distance[&25] > 0.0);
        assert!(at(&format!("train/{task}/grad_norm"), 20) > 0.0);
    }
    let share = |task: &str| at(&format!("train/{task}/share"), 20);
    assert!(close(share("DemoSentiment") + share("DemoSimilarity"), 1.0));
    let rate = |part: &str| at(&format!("train/learning_rate{part}"), 20);
    assert!(close(rate("/encoder"), rate("")) && rate("") > 0.0);
    assert!((rate("/heads") / rate("") - 2.0).abs() < 1e-5);
    assert!((rate("/alignments") / rate("") - 0.5).abs() < 1e-5);
    assert!(at("memory/host_peak_gib", 20) > 0.05);

    // Which class is taken for which, as counted by the accuracy of the same step.
    let tables = texts(&out, "dev/DemoSentiment/confusion");
    assert_eq!(Vec::from_iter(tables.keys().copied()), [20, 25]);
    for (step, table) in tables {
        let rows: Vec<&str> = table.lines().collect();
        assert_eq!(rows.len(), 4, "{table}");
        assert!(rows[0].starts_with("| is ↓, is taken for → | "), "{table}");
        let (mut right, mut all) = (0.0, 0.0);
        for (class, row) in rows[2..].iter().enumerate() {
            let counts: Vec<&str> = row.trim_matches('|').split('|').skip(1).collect();
            assert!(counts[class].contains("**"), "{table}");
            let counts = counts.iter().map(|count| count.trim().trim_matches('*'));
            let counts: Vec<f64> = counts.map(|count| count.parse().unwrap()).collect();
            right += counts[class];
            all += counts.iter().sum::<f64>();
        }
        assert!(close(
            at("dev/DemoSentiment/accuracy", step),
            100.0 * right / all
        ));
    }
    assert!(texts(&out, "dev/DemoSimilarity/confusion").is_empty());
}

#[test]
fn a_studys_runs_have_their_names_alone() {
    let folder = workplace();
    let folder = folder.path();
    let study = "title: Two
base:
  encoder: {kind: mlp, width: 8, embeddings: all-MiniLM-L6-v2}
  data: demo
  training: {max_steps: 2}
seeds: [1, 2]
experiments: [{name: alone, strategy: single, tasks: [DemoSentiment]}]
";
    std::fs::write(folder.join("s.yaml"), study).unwrap();
    let done = run(folder, &["suite", "s.yaml", "--out", "s"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let printed = text(&done.stdout);
    assert!(
        printed.contains("tensorboard --logdir s/tensorboard"),
        "{printed}"
    );
    for seed in [1, 2] {
        let shown = folder.join(format!("s/tensorboard/single-DemoSentiment-seed{seed}"));
        assert_eq!(event_files(&shown).len(), 1);
    }
}

#[test]
fn a_histogram_counts_every_finite_value() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = EventWriter::create(dir.path()).unwrap();
    let values = [0.0, 1.0, 1.0, 2.95, 3.0, f64::NAN, f64::INFINITY];
    writer.histogram("h", &values, 0).unwrap();
    writer.histogram("nothing", &[f64::NAN], 0).unwrap();
    drop(writer);
    let events = events(&event_files(dir.path())[0]);
    assert_eq!(events.len(), 2);
    let histogram = events[1].get_summary().get_value()[0].get_histo();
    assert_eq!((histogram.min, histogram.max), (0.0, 3.0));
    assert_eq!((histogram.num, histogram.sum), (5.0, 7.95));
    assert!((histogram.sum_squares - (1.0 + 1.0 + 2.95 * 2.95 + 9.0)).abs() < 1e-12);
    // Width 0.1: 0 in the first bucket, 1 and 1 in the eleventh, 2.95 and 3 in the last.
    let mut expected = vec![0.0; 30];
    (expected[0], expected[10], expected[29]) = (1.0, 2.0, 2.0);
    assert_eq!(histogram.bucket, expected);
}

#[test]
fn events_are_on_the_disk_after_a_flush() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = EventWriter::create(dir.path()).unwrap();
    writer.scalar(LOSS, 1.0, 1).unwrap();
    writer.flush().unwrap();
    assert_eq!(events(&event_files(dir.path())[0]).len(), 2);
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("taken");
    std::fs::write(&file, "").unwrap();
    let error = EventWriter::create(&file.join("tensorboard"))
        .err()
        .unwrap();
    let message = covalign::error::one_line(&error);
    assert!(message.contains("taken/tensorboard: "), "{message}");
}

#[test]
fn a_full_disk_is_an_error_and_no_panic() {
    if !Path::new("/dev/full").exists() {
        println!("skipped: no /dev/full here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut writer = EventWriter::create(dir.path()).unwrap();
    // The open file becomes /dev/full, which refuses every write for want of space.
    let name = event_files(dir.path())[0].canonicalize().unwrap();
    let descriptor = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .flatten()
        .find(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target == name))
        .and_then(|fd| fd.file_name().to_str()?.parse().ok())
        .unwrap();
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    redirect(&full, descriptor);
    writer.scalar(LOSS, 1.0, 1).unwrap();
    let error = writer.flush().unwrap_err();
    let message = covalign::error::one_line(&error);
    assert!(message.contains("no space left on the disk"), "{message}");
}

/// Makes `descriptor` a copy of `file`.
fn redirect(file: &std::fs::File, descriptor: i32) {
    use std::os::fd::AsRawFd;
    extern "C" {
        fn dup2(from: i32, to: i32) -> i32;
    }
    // SAFETY: both descriptors are open, and the one replaced is owned by a live EventWriter.
    assert_eq!(unsafe { dup2(file.as_raw_fd(), descriptor) }, descriptor);
}

#[test]
fn tensorboard_shows_what_was_written() {
    let Ok(python) = std::env::var("COVALIGN_PYTHON") else {
        // Past the test runner, which shows what a test prints only when it fails.
        let line = b"skipped: COVALIGN_PYTHON names no Python with tensorboard\n";
        std::io::stderr().write_all(line).unwrap();
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    write_run(dir.path());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tensorboard_reads.py");
    let mut command = Command::new(python);
    command.arg(script).arg(dir.path()).arg(MATTHEWS);
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let seen: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(seen["warnings"], serde_json::json!([]));

    // [wall time, step, value]; the resumed file replaces steps 4 and 5.
    let curve = |tag: &str| -> Vec<(i64, f64)> {
        let points = seen["scalars"][tag].as_array().unwrap().iter();
        let pairs = points.map(|p| (p[1].as_i64().unwrap(), p[2].as_f64().unwrap()));
        pairs.collect()
    };
    let expected = [
        (1, 11.0),
        (2, 12.0),
        (3, 13.0),
        (4, 24.0),
        (5, 25.0),
        (6, 26.0),
    ];
    assert_eq!(curve(LOSS), expected);

    // A histogram is [[wall time, step, [[left, right, count]…]]…].
    let buckets = &seen["histograms"]["alignment/CoLA/singular_values"][0][2];
    let buckets = buckets.as_array().unwrap();
    assert_eq!(buckets.len(), 30);
    assert!(
        buckets.iter().all(|b| b[2].as_f64() == Some(10.0)),
        "{buckets:?}"
    );
    let equal = seen["histograms"]["alignment/RTE/singular_values"][0][2]
        .as_array()
        .unwrap();
    let count: f64 = equal.iter().map(|b| b[2].as_f64().unwrap()).sum();
    assert_eq!(count, 384.0);

    let text = seen["text"]["config"][0]["text"].as_str().unwrap();
    assert!(text.contains("<strong>aligned</strong>"), "{text}");

    let parameters = seen["experiment"]["hparamInfos"].as_array().unwrap();
    let differs = |p: &serde_json::Value| p["differs"] == true;
    let first: Vec<_> = parameters.iter().filter(|p| differs(p)).collect();
    // A column too for what this run has not set.
    assert_eq!((parameters.len(), first.len()), (4, 1), "{parameters:?}");
    assert_eq!(first[0]["name"], "method");
    let session = &seen["sessions"]["sessionGroups"][0];
    assert_eq!(session["sessions"][0]["status"], "STATUS_SUCCESS");
    assert_eq!(session["hparams"]["method"], "aligned");
    assert_eq!(session["hparams"]["learning_rate"], 2e-5);
    assert_eq!(session["hparams"]["deduplicate"], true);
    assert_eq!(session["hparams"].get("max_steps"), None);

    let headings = seen["layout"]["category"].as_array().unwrap();
    let open: Vec<bool> = headings.iter().map(|h| h["closed"] != true).collect();
    assert_eq!(open, [true, false]);
    let chart = &headings[0]["chart"][0];
    assert_eq!(
        (&chart["title"], &chart["multiline"]["tag"][0]),
        (&"CoLA".into(), &"^dev/CoLA/".into())
    );
    let shown = &seen["images"][DEPARTURE];
    assert_eq!(shown["step"], 1);
    let png: Vec<u8> = serde_json::from_value(shown["png"].clone()).unwrap();
    assert_eq!(
        image::load_from_memory(&png).unwrap().into_luma8(),
        picture()
    );
    let metric = &session["metricValues"][0];
    assert_eq!(metric["name"]["tag"], MATTHEWS);
    assert_eq!(metric["trainingStep"], 6);
    assert!((metric["value"].as_f64().unwrap() - 0.61).abs() < 1e-6);
}
