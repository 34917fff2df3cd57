//! `predict` reads what training and evaluation read, over every layout; and what it makes of inputs
//! that are none of them.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::{fails, run, text};
use covalign::data::{read_split, Example, Input, InputAs, InputFormat, Rows, Split};
use covalign::error::exit_code;
use covalign::task::layout::Column;
use covalign::task::{Label, Task};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A row: its texts and its label.
struct Row {
    a: String,
    b: String,
    label: &'static str,
}

/// A way to write rows.
struct Written {
    name: &'static str,
    /// What follows `labels` in the task's YAML, without its files.
    layout: &'static str,
    header: &'static str,
    row: fn(&Row) -> String,
    /// Characters that a text may have here.
    odd: &'static [&'static str],
    encoding: Option<&'static str>,
}

fn quoted(field: &str) -> String {
    match field.contains([',', '"', '\n']) || field.len().is_multiple_of(3) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.to_owned(),
    }
}

fn string(field: &str) -> String {
    serde_json::to_string(field).unwrap()
}

const LINE: &[&str] = &[
    "\"",
    "say \"yes\"",
    "x, y",
    "'",
    "1 star",
    "-1",
    "{",
    "a;b",
    "naïve",
    "…",
];
const ANY: &[&str] = &[
    "\"",
    "x, y",
    "two\nlines",
    "\"\n\n\"",
    "a\ttab",
    "1",
    "café",
    "é\r\né",
];

/// Every layout that a task file can describe.
const ALL: &[Written] = &[
    Written {
        name: "Tsv",
        layout: "layout: {text: t, label: l, index: id}",
        header: "id\tl\tt\n",
        row: |r| format!("r{}\t{}\t{}", r.a.len(), r.label, r.a),
        odd: LINE,
        encoding: None,
    },
    Written {
        name: "TsvByNumber",
        layout: "layout: {text: 2, label: 3}",
        header: "one\ttwo\tthree\n",
        row: |r| format!("x\t{}\t{}", r.a, r.label),
        odd: LINE,
        encoding: None,
    },
    Written {
        name: "TsvBare",
        layout: "layout: {header: false, text: 4, label: 2}",
        header: "",
        row: |r| format!("gj04\t{}\t*\t{}", r.label, r.a),
        odd: LINE,
        encoding: None,
    },
    Written {
        name: "TsvBareTextFirst",
        layout: "layout: {header: false, text: 1, label: 2, encoding: windows-1252}",
        header: "",
        row: |r| format!("{}\t{}", r.a, r.label),
        odd: LINE,
        encoding: Some("windows-1252"),
    },
    Written {
        name: "Csv",
        layout: "layout: {format: csv, text: review text, label: label}",
        header: "label,\"review text\"\n",
        row: |r| format!("{},{}", r.label, quoted(&r.a)),
        odd: ANY,
        encoding: None,
    },
    Written {
        name: "CsvBare",
        layout: "layout: {format: csv, header: false, text: 1, label: 2, encoding: windows-1252}",
        header: "",
        row: |r| format!("{},{}", quoted(&r.a), r.label),
        odd: ANY,
        encoding: Some("windows-1252"),
    },
    Written {
        name: "Jsonl",
        layout: "layout: {format: jsonl, text: t, label: l, index: id}",
        header: "",
        row: |r| {
            format!(
                "{{\"id\": {}, \"t\": {}, \"l\": {}}}",
                r.a.len(),
                string(&r.a),
                r.label
            )
        },
        odd: ANY,
        encoding: None,
    },
    Written {
        name: "LabelText",
        layout: "layout: {format: label_text, encoding: windows-1252}",
        header: "",
        row: |r| format!("{} {}", r.label, r.a),
        odd: LINE,
        encoding: Some("windows-1252"),
    },
    Written {
        name: "Pair",
        layout: "layout: {text: [a, b], label: l}",
        header: "a\tl\tb\n",
        row: |r| format!("{}\t{}\t{}", r.a, r.label, r.b),
        odd: LINE,
        encoding: None,
    },
    Written {
        name: "PairBare",
        layout: "layout: {header: false, text: [1, 2], label: 3}",
        header: "",
        row: |r| format!("{}\t{}\t{}", r.a, r.b, r.label),
        odd: LINE,
        encoding: None,
    },
    Written {
        name: "PairJsonl",
        layout: "layout: {format: jsonl, text: [a, b], label: l}",
        header: "",
        row: |r| {
            format!(
                "{{\"b\": {}, \"l\": {}, \"a\": {}}}",
                string(&r.b),
                r.label,
                string(&r.a)
            )
        },
        odd: ANY,
        encoding: None,
    },
    Written {
        // Every fifth row or so is broken off, and left out.
        name: "Short",
        layout: "layout: {text: [a, b], label: l, short_rows: skip}",
        header: "a\tb\tl\n",
        row: |r| match r.a.len() % 5 {
            0 => r.a.clone(),
            _ => format!("{}\t{}\t{}", r.a, r.b, r.label),
        },
        odd: LINE,
        encoding: None,
    },
];

impl Written {
    fn yaml(&self, files: &str) -> String {
        let (name, layout) = (self.name, self.layout);
        format!("name: {name}\nfolder: .\nlabels: [0, 1]\nmetrics: [accuracy]\n{layout}\nfiles: {files}\n")
    }

    fn rows(&self, seed: u64, count: usize) -> Vec<Row> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let words = ["good", "bad", "a", "film", "the", "cast"];
        let mut sentence = || {
            let count = random.gen_range(1..6);
            let word = |_| match random.gen_bool(0.2) {
                true => *self.odd.choose(&mut random).unwrap(),
                false => *words.choose(&mut random).unwrap(),
            };
            let words: Vec<&str> = (0..count).map(word).collect();
            words.join(" ")
        };
        let mut row = || Row {
            a: format!("the {}", sentence()),
            b: sentence(),
            label: "",
        };
        let mut rows: Vec<Row> = (0..count).map(|_| row()).collect();
        rows.iter_mut()
            .for_each(|row| row.label = ["0", "1"].choose(&mut random).unwrap());
        rows
    }

    /// A file of these rows, with blank lines among them, and the line that each row begins at.
    fn file(&self, rows: &[Row], seed: u64) -> (Vec<u8>, Vec<u32>) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let end = *["\n", "\r\n"].choose(&mut random).unwrap();
        let mut text = self.header.replace('\n', end);
        let mut starts = Vec::new();
        for row in rows {
            while random.gen_bool(0.1) {
                text += end;
            }
            starts.push(text.matches('\n').count() as u32 + 1);
            text += &(self.row)(row);
            text += end;
        }
        if random.gen_bool(0.5) {
            text.truncate(text.trim_end_matches(['\r', '\n']).len());
        }
        let bytes = match self.encoding {
            None if random.gen_bool(0.5) => [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            None => text.into_bytes(),
            Some(name) => {
                let encoding = encoding_rs::Encoding::for_label(name.as_bytes()).unwrap();
                encoding.encode(&text).0.into_owned()
            }
        };
        (bytes, starts)
    }
}

/// All rows of an input, and what it was taken for.
fn read_input(
    task: &Task,
    bytes: &[u8],
    source: &str,
    given: &InputAs,
) -> anyhow::Result<(Rows, String)> {
    let stream = std::io::Cursor::new(bytes.to_vec());
    let mut input = Input::open(task, Box::new(stream), source, given)?;
    let mut all = Rows::default();
    while let Some(rows) = input.rows()? {
        all.examples.extend(rows.examples);
        all.skipped.extend(rows.skipped);
        all.blank.extend(rows.blank);
        all.odd_labels.extend(rows.odd_labels);
    }
    Ok((all, input.taken_for))
}

type Seen = (String, Option<String>, Option<String>, u32);

fn seen(examples: &[Example]) -> Vec<Seen> {
    let of = |e: &Example| (e.text_a.clone(), e.text_b.clone(), e.index.clone(), e.line);
    examples.iter().map(of).collect()
}

#[test]
fn an_input_in_the_tasks_layout_has_the_rows_that_evaluation_scores() {
    let place = tempfile::tempdir().unwrap();
    for written in ALL {
        let task = Task::from_yaml(&written.yaml("{dev: dev}"), "t.yaml").expect(written.name);
        for seed in 0..40 {
            let rows = written.rows(seed, 12);
            let (bytes, starts) = written.file(&rows, seed);
            let what = format!("{} {seed}: {}", written.name, text(&bytes));
            fs::write(place.path().join("dev"), &bytes).unwrap();
            let scored = read_split(&task, place.path(), Split::Dev).expect(&what);
            // In one part, and in parts of a row or two: their rows are the same.
            for block in [1 << 20, bytes.len() / 2, bytes.len() / 5] {
                let given = InputAs {
                    block,
                    ..InputAs::default()
                };
                let read = read_input(&task, &bytes, "dev", &given);
                let (rows, taken_for) = read.expect(&what);
                assert!(!taken_for.starts_with("plain"), "{what}");
                assert_eq!(seen(&rows.examples), seen(&scored.examples), "{what}");
                assert_eq!(rows.skipped.len(), scored.skipped.len());
                assert!(rows.examples.iter().all(|e| e.label.is_none()));
            }
            // And they are the rows that were written, each at its line.
            let whole = |row: &Row| written.name != "Short" || !row.a.len().is_multiple_of(5);
            let expected: Vec<(&str, Option<f32>, u32)> = rows
                .iter()
                .zip(starts)
                .filter(|(row, _)| whole(row))
                .map(|(row, line)| (row.a.as_str(), row.label.parse().ok(), line))
                .collect();
            let found: Vec<_> = scored
                .examples
                .iter()
                .map(|e| (e.text_a.as_str(), e.label.and_then(Label::number), e.line))
                .collect();
            assert_eq!(found, expected, "{what}");
        }
    }
}

#[test]
fn labels_may_be_missing_or_say_nothing_in_what_is_predicted() {
    for written in ALL {
        let task = Task::from_yaml(&written.yaml("{dev: dev}"), "t.yaml").expect(written.name);
        let rows = written.rows(1, 8);
        let texts = |rows: &[Row]| {
            let (bytes, _) = written.file(rows, 1);
            let input = read_input(&task, &bytes, "stdin", &InputAs::default());
            seen(&input.expect(written.name).0.examples)
        };
        let labelled = texts(&rows);
        for label in ["-1", "\"\""] {
            // What a CSV or a TSV file has for nothing is nothing.
            let label = if label == "-1" || written.name.contains("Json") {
                label
            } else {
                ""
            };
            let rows: Vec<Row> = rows
                .iter()
                .map(|row| Row {
                    a: row.a.clone(),
                    b: row.b.clone(),
                    label,
                })
                .collect();
            assert_eq!(texts(&rows), labelled, "{} {label:?}", written.name);
        }
    }
    let read = |layout: &str, text: &str| {
        let yaml =
            format!("labels: [0, 1]\nmetrics: [accuracy]\nlayout: {layout}\nfiles: {{dev: d}}\n");
        let task = Task::from_yaml(&yaml, "t.yaml").unwrap();
        let given = InputAs::default();
        let (rows, _) = read_input(&task, text.as_bytes(), "stdin", &given).unwrap();
        let texts = rows.examples.into_iter().map(|e| e.text_a);
        texts.collect::<Vec<_>>()
    };
    // No column of labels at all; rows that end before it.
    assert_eq!(read("{text: t, label: l}", "t\na b\nc\n"), ["a b", "c"]);
    assert_eq!(
        read("{text: t, label: l}", "t\tl\na b\nc\t1\n"),
        ["a b", "c"]
    );
    assert_eq!(
        read("{format: csv, text: t, label: l}", "t,l\na b\n\"c\",\n"),
        ["a b", "c"]
    );
    assert_eq!(
        read(
            "{format: jsonl, text: t, label: l}",
            "{\"t\": \"a\", \"l\": null}\n"
        ),
        ["a"]
    );
}

/// What an input is read as: the texts by line, or the message.
fn one_text(input: &[u8], given: &InputAs) -> Result<Vec<(u32, String)>, String> {
    read_as("{text: text, label: label}", "in", input, given)
}

fn read_as(
    layout: &str,
    source: &str,
    input: &[u8],
    given: &InputAs,
) -> Result<Vec<(u32, String)>, String> {
    let yaml =
        format!("labels: [0, 1]\nmetrics: [accuracy]\nlayout: {layout}\nfiles: {{dev: d}}\n");
    let task = Task::from_yaml(&yaml, "Mood.yaml").unwrap();
    match read_input(&task, input, source, given) {
        Ok((rows, _)) => {
            let examples = rows.examples.into_iter();
            Ok(examples.map(|e| (e.line, e.text_a)).collect())
        }
        Err(e) => {
            assert_eq!(exit_code(&e), 2, "{e:#}");
            Err(e.to_string())
        }
    }
}

#[test]
fn plain_text_is_read_line_by_line_or_refused() {
    let plain = InputAs::default();
    let rows = |input: &[u8]| one_text(input, &plain).unwrap();
    let line = |number: u32, text: &str| (number, text.to_owned());
    let fine = [
        line(1, "good film"),
        line(3, "bad film"),
        line(5, "fine day"),
    ];
    assert_eq!(rows(b"good film\n\nbad film\n   \nfine day\n"), fine);
    assert_eq!(rows(b"good film\r\n\r\nbad film\r\n   \r\nfine day"), fine);
    assert_eq!(
        rows(b"\xef\xbb\xbfgood film\nbad\n"),
        [line(1, "good film"), line(2, "bad")]
    );
    assert_eq!(rows(b"text\nbad film\n"), [line(2, "bad film")]);
    assert_eq!(rows(b"id\ttext\tlabel\n7\tgood\t1\n"), [line(2, "good")]);
    let refused = |input: &[u8], says: &str| {
        let message = one_text(input, &plain).expect_err(says);
        assert!(message.contains(says), "{message}\n  should have {says}");
    };
    refused(
        b"bad film\ngood film\tbut a bad end\n",
        "in:2: a tab too many for plain text",
    );
    refused(b"Text\nbad film\n", "in:1: looks like a header");
    refused(b"\"text\"\n\"bad film\"\n", "in:1: looks like a header");
    refused(b"text,label\n\"bad film\",0\n", "in:1: looks like a header");
    refused(
        b"{\"text\": \"bad film\"}\n",
        "in:1: a JSON object with the keys `text`",
    );
    refused(
        b"good film\r\rbad film\r",
        "in:1: its lines end in carriage returns alone",
    );
    refused(b"good film\0x\nbad\n", "in:1: a NUL byte");
    refused(b"caf\xe9\n", "in:1: not valid UTF-8");
    refused(b"\n \n", "no rows");
    refused(
        b"text\tlabel\tmore\nbad film\t0\t\t5\n",
        "in:2: 4 columns, the header has 3",
    );
    let csv = read_as(
        "{text: text, label: label}",
        "r.csv",
        b"review\nbad\n",
        &plain,
    );
    assert!(csv
        .unwrap_err()
        .contains("r.csv:1: not in the layout of Mood's files"));

    // Of LABEL TEXT, too, one cannot know where some lines begin with a label.
    let labels = |input: &[u8]| read_as("{format: label_text}", "in", input, &plain);
    assert_eq!(
        labels(b"1 good\n-1 bad\n").unwrap(),
        [line(1, "good"), line(2, "bad")]
    );
    assert_eq!(
        labels(b"good\nbad 1\n").unwrap(),
        [line(1, "good"), line(2, "bad 1")]
    );
    assert!(labels(b"good\n1 star\n")
        .unwrap_err()
        .contains("in:2: begins with a label, line 1"));
    // With columns by number a first line may be a header.
    let numbers = |input: &[u8]| read_as("{text: 1, label: 2}", "in", input, &plain);
    assert_eq!(numbers(b"t\tl\ngood\t1\n").unwrap(), [line(2, "good")]);
    assert!(numbers(b"good film\nbad\n")
        .unwrap_err()
        .contains("--input-format tsv or text"));
    // UTF-8 where a terminal writes it, else the encoding of the task's files.
    let western = |input: &[u8]| {
        let layout = "{text: text, label: label, encoding: windows-1252}";
        read_as(layout, "in", input, &plain).unwrap()
    };
    assert_eq!(western("café\n".as_bytes()), [line(1, "café")]);
    assert_eq!(western(b"caf\xe9\n"), [line(1, "café")]);
}

#[test]
fn other_layouts_are_read_as_the_flags_say() {
    let given = |format, columns: &[&str], encoding: Option<&str>| InputAs {
        format,
        text: columns
            .iter()
            .map(|c| c.parse().map_or(Column::Name((*c).into()), Column::Number))
            .collect(),
        encoding: encoding.map(str::to_owned),
        data: std::path::PathBuf::new(),
        ..InputAs::default()
    };
    let texts = |input: &[u8], given: &InputAs| -> Result<Vec<String>, String> {
        let rows = one_text(input, given)?;
        Ok(rows.into_iter().map(|(_, text)| text).collect())
    };
    let csv = given(Some(InputFormat::Csv), &[], None);
    assert_eq!(texts(b"text,n\n\"a, b\",1\n", &csv).unwrap(), ["a, b"]);
    assert!(texts(b"review,n\na,1\n", &csv)
        .unwrap_err()
        .contains("in:1: no column `text`"));
    let review = given(Some(InputFormat::Csv), &["review"], None);
    assert_eq!(texts(b"n,review\n1,\"a\nb\"\n", &review).unwrap(), ["a\nb"]);
    let second = given(Some(InputFormat::Csv), &["2"], None);
    assert_eq!(texts(b"1,a\n2,b\n", &second).unwrap(), ["a", "b"]);
    let json = given(Some(InputFormat::Jsonl), &["review"], None);
    assert_eq!(
        texts(b"{\"review\": \"a\\tb\"}\n", &json).unwrap(),
        ["a\tb"]
    );
    let labelled = given(Some(InputFormat::LabelText), &[], None);
    assert_eq!(texts(b"1 star\n", &labelled).unwrap(), ["star"]);
    let plain = given(Some(InputFormat::Text), &[], None);
    assert_eq!(
        texts(b"text\n{\"a\": 1}\n", &plain).unwrap(),
        ["text", "{\"a\": 1}"]
    );
    assert!(texts(b"a\tb\n", &plain)
        .unwrap_err()
        .contains("in:1: a tab too many"));
    let western = given(None, &[], Some("windows-1252"));
    assert_eq!(texts(b"caf\xe9\n", &western).unwrap(), ["café"]);
    for (bad, says) in [
        (
            given(Some(InputFormat::Text), &["a"], None),
            "plain text has no columns",
        ),
        (given(None, &["a", "b"], None), "2 columns; Mood has 1 text"),
        (given(None, &["0"], None), "give names, or numbers from 1"),
        (
            given(Some(InputFormat::Jsonl), &["1"], None),
            "columns have names, not numbers",
        ),
        (
            given(None, &[], Some("latin-17")),
            "`latin-17` is no encoding",
        ),
    ] {
        let message = texts(b"a\n", &bad).expect_err(says);
        assert!(message.contains(says), "{message}");
    }
}

/// A run of some of the layouts, a dev split of two parts among them.
fn trained(folder: &Path) -> Vec<&'static Written> {
    let names = ["TsvBare", "Csv", "Jsonl", "LabelText", "Short"];
    let layouts: Vec<&Written> = ALL.iter().filter(|w| names.contains(&w.name)).collect();
    fs::create_dir(folder.join("data")).unwrap();
    for written in &layouts {
        let name = written.name;
        for (split, seed, count) in [("train", 1, 16), ("dev", 2, 24), ("more", 3, 17)] {
            let (bytes, _) = written.file(&written.rows(seed, count), seed);
            fs::write(folder.join(format!("data/{name}.{split}")), bytes).unwrap();
        }
        let dev = match written.name {
            "Short" => "[{part: one, path: Short.dev}, {part: two, path: Short.more}]".to_owned(),
            _ => format!("{name}.dev"),
        };
        let files = format!("{{train: {name}.train, dev: {dev}}}");
        fs::write(folder.join(format!("{name}.yaml")), written.yaml(&files)).unwrap();
    }
    let tasks: Vec<String> = names.iter().map(|name| format!("{name}.yaml")).collect();
    let config = format!(
        "encoder: all-MiniLM-L6-v2\ndata: data\ntasks: [{}]\nmethod: multitask\ntraining: {{max_steps: \
         12, batch_size: 8, learning_rate: 5e-4, max_length: 16, threads: 1}}\ncheckpoints: \
         {{best_per_task: false}}\n",
        tasks.join(", ")
    );
    fs::write(folder.join("c.yaml"), config).unwrap();
    common::train(folder, "run", &[]);
    layouts
}

#[test]
fn predictions_on_a_labelled_file_give_the_score_of_evaluate() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let layouts = trained(folder);
    let output = run(
        folder,
        &["evaluate", "run", "--json", "--weights", "overall"],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let scores: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut answers = BTreeMap::new();
    for written in layouts {
        let parts = match written.name {
            "Short" => &[
                ("one_accuracy", "dev", 2, 24),
                ("two_accuracy", "more", 3, 17),
            ][..],
            _ => &[("accuracy", "dev", 2, 24)],
        };
        for &(metric, split, seed, count) in parts {
            let file = format!("data/{}.{split}", written.name);
            let args = ["predict", "run", "--task", written.name, &file];
            let args = [&args[..], &["--weights", "overall", "--format", "jsonl"]].concat();
            let output = run(folder, &args);
            assert!(output.status.success(), "{}", text(&output.stderr));
            let said = text(&output.stderr);
            let said = said.lines().filter(|line| line.contains("read as")).count();
            assert_eq!(said, 1, "{}", text(&output.stderr));
            let rows = written.rows(seed, count);
            let (_, starts) = written.file(&rows, seed);
            let gold: BTreeMap<u64, &str> = starts
                .into_iter()
                .zip(&rows)
                .filter(|(_, row)| written.name != "Short" || !row.a.len().is_multiple_of(5))
                .map(|(line, row)| (line.into(), row.label))
                .collect();
            let (mut right, mut answered) = (0, 0);
            for line in text(&output.stdout).lines() {
                let row: serde_json::Value = serde_json::from_str(line).unwrap();
                let gold = gold.get(&row["line"].as_u64().unwrap());
                let answer = row["prediction"].as_str();
                assert_eq!(answer.is_some(), gold.is_some(), "{file}: {line}");
                if let (Some(answer), Some(gold)) = (answer, gold) {
                    *answers.entry(answer.to_owned()).or_insert(0) += 1;
                    answered += 1;
                    right += usize::from(answer == *gold);
                }
            }
            assert_eq!(answered, gold.len(), "{file}");
            let score = scores["tasks"][written.name][metric].as_f64();
            let own = right as f64 / answered as f64;
            assert!(
                (own - score.unwrap()).abs() < 1e-9,
                "{file}: {own} {score:?}"
            );
        }
    }
    assert_eq!(answers.len(), 2, "all answers are one: {answers:?}");

    // One answer for each line, by its number; the file's own index where it has one.
    fs::write(folder.join("plain.txt"), "good film\n\nbad film\n").unwrap();
    let predict = |args: &[&str]| {
        let output = run(folder, &[&["predict", "run", "--task"], args].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        (text(&output.stdout), text(&output.stderr))
    };
    let (table, said) = predict(&["Csv", "plain.txt", "--probabilities"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], "line\tprediction\tp(0)\tp(1)");
    assert!(
        lines[1].starts_with("1\t") && lines[3].starts_with("3\t"),
        "{table}"
    );
    assert_eq!((lines[2], lines.len()), ("2\t\t\t", 4));
    assert!(said.contains("plain.txt: read as plain text, one text a line, no header, UTF-8"));
    assert!(said.contains("1 of 3 lines without an answer"), "{said}");
    fs::write(
        folder.join("own.jsonl"),
        "\n{\"id\": 77, \"t\": \"good\"}\n",
    )
    .unwrap();
    let (table, _) = predict(&["Jsonl", "own.jsonl"]);
    assert!(
        table.starts_with("index\tprediction\n77\t") && table.lines().count() == 2,
        "{table}"
    );
    fs::write(
        folder.join("odd.jsonl"),
        "{\"id\": \"a\\tb\", \"t\": \"good\"}\n",
    )
    .unwrap();
    let line = fails(
        folder,
        &["predict", "run", "--task", "Jsonl", "odd.jsonl"],
        2,
    );
    assert!(line.contains("odd.jsonl:1: its index has a tab"), "{line}");
    fs::write(
        folder.join("tab.txt"),
        "good film\tbut a bad end\nbad film\n",
    )
    .unwrap();
    let line = fails(
        folder,
        &["predict", "run", "--task", "LabelText", "tab.txt"],
        2,
    );
    assert!(line.contains("tab.txt:1: a tab too many"), "{line}");
}
