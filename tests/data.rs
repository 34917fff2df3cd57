//! Tasks, reading and the token cache: the real files, the layouts that are not among them, a
//! person's own files, and bad input.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::real_data;
use covalign::cli::data::DataCommand;
use covalign::config::values::LengthWindow;
use covalign::config::Sampling;
use covalign::data::planned::TaskRows;
use covalign::data::sampling::{BatchSize, Sampler};
use covalign::data::{load_split, read_split, Rows, Split, TokenizedSplit, Tokenizer};
use covalign::error::exit_code;
use covalign::hub::encoder_dir;
use covalign::task::{Label, Labels, Task};
use tempfile::TempDir;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn task(name: &str) -> Task {
    Task::load(name).expect(name)
}

fn read(name: &str, dir: &Path, split: Split) -> Rows {
    read_split(&task(name), dir, split).expect(name)
}

/// A data folder with files of these names and contents.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (name, bytes) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }
    dir
}

/// The message of an error that must be an input error.
fn message<T>(result: anyhow::Result<T>) -> String {
    let error = result.err().expect("an error");
    assert_eq!(exit_code(&error), 2, "{error:#}");
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

/// A class's number or a value, as rows have it.
fn number(number: f32) -> Option<Label> {
    Some(Label::Number(number))
}

fn value(label: Option<Label>) -> f32 {
    label.and_then(Label::number).expect("a number")
}

fn cased() -> Tokenizer {
    Tokenizer::from_folder(&fixtures().join("cased")).expect("a vocabulary")
}

// ---- the real files

#[test]
fn every_real_file_has_its_published_rows() {
    let Some(data) = real_data() else { return };
    let glue = [
        ("CoLA", [8551, 1043, 1063]),
        ("SST-2", [67349, 872, 1821]),
        ("MRPC", [3668, 408, 1725]),
        ("STS-B", [5749, 1500, 1379]),
        ("RTE", [2490, 277, 3000]),
        ("WNLI", [635, 71, 146]),
        ("QNLI", [4463, 1000, 5463]),
        ("AX", [0, 0, 1104]),
    ];
    let sentiment = [
        ("MR", [9596, 1066, 0]),
        ("CR", [3397, 378, 0]),
        ("SUBJ", [9000, 1000, 0]),
        ("MPQA", [9545, 1061, 0]),
        ("SST", [6920, 872, 1821]),
        ("TREC", [4907, 545, 500]),
    ];
    for (dir, tasks) in [("glue", &glue[..]), ("sentiment", &sentiment[..])] {
        for (name, counts) in tasks {
            for (split, &count) in Split::ALL.into_iter().zip(counts) {
                assert_eq!(task(name).has_split(split), count > 0, "{name} {split}");
                if count > 0 {
                    let rows = read(name, &data.join(dir), split);
                    assert_eq!(rows.examples.len(), count, "{name} {split}");
                    assert!(rows.skipped.is_empty());
                    let labelled = rows.examples.iter().all(|e| e.label.is_some());
                    let expected = split != Split::Test || dir == "sentiment";
                    assert_eq!(labelled, expected, "{name} {split}");
                    let pairs = rows.examples.iter().all(|e| e.text_b.is_some());
                    assert_eq!(pairs, task(name).inputs() == 2, "{name} {split}");
                }
            }
        }
    }
}

#[test]
fn batches_of_like_length_hardly_pad_and_small_windows_spare_most_of_it() {
    let Some(data) = real_data() else { return };
    let encoder = encoder_dir::resolve("all-MiniLM-L6-v2").expect("`make setup` first");
    let tokenizer = Tokenizer::from_folder(&encoder).expect("a vocabulary");
    let glue = ["CoLA", "SST-2", "MRPC", "STS-B", "RTE", "WNLI", "QNLI"];
    let sentiment = ["MR", "CR", "SUBJ", "MPQA", "SST", "TREC"];
    for (dir, names) in [("glue", &glue[..]), ("sentiment", &sentiment[..])] {
        for name in names {
            let rows = read(name, &data.join(dir), Split::Train);
            let split = TokenizedSplit::from_examples(&rows.examples, &tokenizer, 128).unwrap();
            let lengths: Vec<u32> = split.lengths().iter().map(|&n| n as u32).collect();
            let all: usize = split.lengths().iter().sum();
            let density = |size: BatchSize, length_window: LengthWindow| {
                let task = TaskRows {
                    rows: (0..lengths.len() as u32).collect(),
                    lengths: lengths.clone(),
                };
                let config = Sampling {
                    length_window,
                    ..Sampling::default()
                };
                let sampler = Sampler::new(vec![task], &config, size, 1);
                let plan = sampler.epoch(0, &sampler.shares(0, 1, None));
                let longest = |rows: &[u32]| rows.iter().map(|&r| lengths[r as usize]).max();
                let cells = plan.iter().flatten();
                let cells: usize = cells
                    .map(|b| b.rows.len() * longest(&b.rows).unwrap() as usize)
                    .sum();
                all as f64 / cells as f64
            };
            for size in [BatchSize::Rows(32), BatchSize::Tokens(2048)] {
                let density = density(size, LengthWindow::Batches(100));
                let least = match size {
                    // Sorted as a whole: 635 rows spread over 20 batches.
                    BatchSize::Rows(_) if *name == "WNLI" => 0.93,
                    BatchSize::Rows(_) => 0.95,
                    // Batches of many tokens span more lengths.
                    BatchSize::Tokens(_) => 0.85,
                };
                assert!(density >= least, "{name}, {size:?}: {density:.3}");
            }
            let padding = |window| 1.0 / density(BatchSize::Rows(32), window) - 1.0;
            let left = padding(LengthWindow::Small) / padding(LengthWindow::Batches(1));
            // Where there are few batches, chance matters more than padding.
            let most = match lengths.len().div_ceil(32) {
                128.. => 0.35,
                64.. => 0.5,
                _ => 1.1,
            };
            assert!(left < most, "{name}: {left:.3}");
        }
    }
}

#[test]
fn texts_come_as_they_stand_in_the_file() {
    let Some(data) = real_data() else { return };
    let dev = read("MRPC", &data.join("glue"), Split::Dev);
    // A lone quotation mark is text.
    let second = dev.examples[0].text_b.as_deref();
    let expected = "\"The foodservice pie business does not fit our long-term growth strategy.";
    assert_eq!(second, Some(expected));
    assert_eq!(
        (dev.examples[0].label, dev.examples[0].line),
        (number(1.0), 2)
    );

    let cola = read("CoLA", &data.join("glue"), Split::Dev);
    assert_eq!(
        cola.examples[0].text_a,
        "The sailors rode the breeze clear of the rocks."
    );
    let test = read("CoLA", &data.join("glue"), Split::Test);
    assert_eq!(test.examples[1062].index.as_deref(), Some("1062"));

    let sts = read("STS-B", &data.join("glue"), Split::Train);
    assert_eq!(sts.examples[0].label, number(5.0));
    assert!(sts
        .examples
        .iter()
        .all(|e| (0.0..=5.0).contains(&value(e.label))));

    // 0x85 is a dot-dot-dot inside a line, not the end of one.
    let mr = read("MR", &data.join("sentiment"), Split::Train);
    assert!(mr
        .examples
        .iter()
        .any(|e| e.text_a.starts_with("\u{2026}the maudlin way")));
    let empty = |name| {
        let both = [Split::Train, Split::Dev].map(|s| read(name, &data.join("sentiment"), s));
        both.iter()
            .flat_map(|r| &r.examples)
            .filter(|e| e.text_a.is_empty())
            .count()
    };
    assert_eq!((empty("CR"), empty("MPQA")), (4, 3));
}

#[test]
fn mrpc_from_microsofts_files_equals_the_archives() {
    let Some(data) = real_data() else { return };
    let raw = tempfile::tempdir().expect("a temporary folder");
    for file in [
        "msr_paraphrase_train.txt",
        "msr_paraphrase_test.txt",
        "dev_ids.tsv",
    ] {
        fs::copy(data.join("glue/MRPC").join(file), raw.path().join(file)).expect(file);
    }
    for split in Split::ALL {
        let key = |rows: Rows| -> Vec<(String, Option<String>, Option<u32>)> {
            let label = |l: Option<Label>| {
                let number = l.filter(|_| split != Split::Test).and_then(Label::number);
                number.map(f32::to_bits)
            };
            rows.examples
                .into_iter()
                .map(|e| (e.text_a, e.text_b, label(e.label)))
                .collect()
        };
        let (mut a, mut b) = (
            key(read("MRPC", raw.path(), split)),
            key(read("MRPC", &data.join("glue"), split)),
        );
        a.sort();
        b.sort();
        assert!(a == b, "{split}");
    }
}

#[test]
fn a_cut_gives_every_row_to_one_split_in_the_files_order() {
    let Some(data) = real_data() else { return };
    let dir = data.join("sentiment");
    let lines = |split| -> Vec<u32> {
        read("TREC", &dir, split)
            .examples
            .iter()
            .map(|e| e.line)
            .collect()
    };
    let (train, dev) = (lines(Split::Train), lines(Split::Dev));
    assert!(train.is_sorted() && dev.is_sorted());
    let mut all = [train, dev.clone()].concat();
    all.sort();
    assert!(all.into_iter().eq(1..=5452));
    // By a few lines of Python with SplitMix64: the cut is the same on every machine.
    assert_eq!(dev[..6], [6, 8, 15, 34, 35, 54]);
    assert_eq!(dev.iter().sum::<u32>(), 1506540);
}

// ---- layouts that the real files do not show

#[test]
fn qqp_leaves_short_rows_out_and_says_where() {
    let train = read("QQP", &fixtures(), Split::Train);
    assert_eq!(train.examples.len(), 3);
    assert_eq!(train.examples[1].text_a, "How do I control my \"temper?");
    assert_eq!(train.examples[1].index.as_deref(), Some("402555"));
    assert_eq!(train.skipped.len(), 1);
    assert_eq!(
        (train.skipped[0].line, train.skipped[0].reason.as_str()),
        (4, "2 columns, needs 6")
    );
    assert_eq!(
        read("QQP", &fixtures(), Split::Test).examples[1]
            .index
            .as_deref(),
        Some("1")
    );
}

#[test]
fn mnli_has_matched_and_mismatched_parts() {
    let train = read("MNLI", &fixtures(), Split::Train);
    let labels: Vec<_> = train.examples.iter().map(|e| e.label).collect();
    assert_eq!(labels, [number(1.0), number(0.0), number(2.0)]);
    assert_eq!(train.examples[1].text_a, "you know during the season");
    for split in [Split::Dev, Split::Test] {
        let rows = read("MNLI", &fixtures(), split);
        let parts: Vec<_> = rows
            .parts
            .iter()
            .map(|p| (p.name.as_deref(), p.rows.len()))
            .collect();
        let matched = if split == Split::Dev { 2 } else { 1 };
        assert_eq!(parts, [(Some("matched"), matched), (Some("mismatched"), 1)]);
        assert_eq!(rows.examples[matched].file, 1);
        assert!(rows.examples[matched].text_a.starts_with(['Y', 'H']));
    }
}

#[test]
fn bom_crlf_blank_lines_and_a_missing_last_newline_are_no_trouble() {
    let text = b"\xef\xbb\xbfsentence\tlabel\r\none \"two\t1\r\n\r\nthree\x0b\xe2\x80\xa8four\t0";
    let dir = folder(&[("SST-2/train.tsv", text)]);
    let rows = read("SST-2", dir.path(), Split::Train);
    let found: Vec<_> = rows
        .examples
        .iter()
        .map(|e| (e.text_a.as_str(), e.label, e.line))
        .collect();
    let expected = [
        ("one \"two", number(1.0), 2),
        ("three\u{b}\u{2028}four", number(0.0), 4),
    ];
    assert_eq!(found, expected);
}

#[test]
fn files_may_lie_in_the_data_folder_itself() {
    let dir = folder(&[("train.tsv", b"sentence\tlabel\na\t1\n")]);
    assert_eq!(read("SST-2", dir.path(), Split::Train).examples.len(), 1);
}

// ---- a person's own files

const OWN: &str = "
labels: [ham, spam]
metrics: [accuracy]
layout: {format: FORMAT, text: [subject, body], label: kind, index: id}
files: {train: {path: mail.FORMAT}}
";

#[test]
fn own_tsv_csv_and_jsonl_are_read_by_column_name() {
    let rows = |format: &str, text: &str| {
        let task = Task::from_yaml(&OWN.replace("FORMAT", format), "mail.yaml").expect("a task");
        assert_eq!(
            (task.name.as_str(), task.outputs(), task.inputs()),
            ("mail", 2, 2)
        );
        let dir = folder(&[(&format!("mail.{format}"), text.as_bytes())]);
        read_split(&task, dir.path(), Split::Train)
            .expect(format)
            .examples
    };
    let tsv = rows(
        "tsv",
        "id\tkind\tsubject\tbody\n7\tspam\twin, now\tsay \"yes\"\n",
    );
    let csv = rows(
        "csv",
        "kind,body,id,subject\nspam,\"say \"\"yes\"\"\",7,\"win, now\"\n",
    );
    let json = r#"{"id": 7, "kind": "spam", "subject": "win, now", "body": "say \"yes\""}"#;
    let jsonl = rows("jsonl", json);
    assert_eq!(
        (tsv[0].text_a.as_str(), tsv[0].label),
        ("win, now", number(1.0))
    );
    assert_eq!(tsv[0].index.as_deref(), Some("7"));
    assert_eq!(tsv[0].text_b.as_deref(), Some("say \"yes\""));
    assert_eq!(tsv, csv);
    assert_eq!(tsv[0].text_b, jsonl[0].text_b);
    assert_eq!((jsonl[0].label, jsonl[0].line), (number(1.0), 1));

    let two_lines = rows("csv", "id,kind,subject,body\n1,ham,\"a\nb\",c\n2,ham,d,e\n");
    assert_eq!(
        (two_lines[0].text_a.as_str(), two_lines[1].line),
        ("a\nb", 4)
    );
}

#[test]
fn a_task_is_one_yaml_file_by_path() {
    let yaml = "labels: {min: -1, max: 1}\nmetrics: [pearson]\nlayout: {header: false, text: 1, label: 2}\n\
                files: {dev: {path: x.tsv}}\n";
    let dir = folder(&[("mine.yaml", yaml.as_bytes()), ("x.tsv", b"warm\t0.5\n")]);
    let task = Task::load(&dir.path().join("mine.yaml").to_string_lossy()).expect("a task");
    assert_eq!(
        task.labels,
        Labels::Range {
            min: -1.0,
            max: 1.0
        }
    );
    assert!(task.is_regression() && task.source() == yaml && !task.has_split(Split::Train));
    let rows = read_split(&task, dir.path(), Split::Dev).expect("rows");
    assert_eq!(rows.examples[0].label, number(0.5));
}

// ---- rows that would lose or shift what is in them

/// A task with one file `d` for each split, read.
fn one(layout: &str, split: Split, text: &[u8]) -> anyhow::Result<Rows> {
    let yaml = format!(
        "labels: [0, 1]\nmetrics: [accuracy]\nlayout: {layout}\nfiles: {{train: d, test: d}}\n\
         split: {{dev: 0.5}}\n"
    );
    let dir = folder(&[("d", text)]);
    read_split(&Task::from_yaml(&yaml, "t.yaml")?, dir.path(), split)
}

fn texts(rows: &Rows) -> Vec<(&str, u32)> {
    let rows = rows.examples.iter();
    rows.map(|e| (e.text_a.as_str(), e.line)).collect()
}

#[test]
fn a_csv_quote_that_never_closes_is_an_error_with_its_line() {
    const CSV: &str = "{format: csv, text: text, label: label}";
    let mut rows = String::from("label,text\n");
    for n in 0..40 {
        let open = if n == 3 { "\"" } else { "" };
        rows += &format!("{},{open}the film number {n} was fine\n", n % 2);
    }
    let text = message(one(CSV, Split::Test, rows.as_bytes()));
    assert!(
        text.contains("d:5: a quote opens a field here and never closes"),
        "{text}"
    );
    for (rows, expected) in [
        // The next field's opening quote closes it.
        (
            "label,text\n0,\"a\n1,\"b, c\"\n",
            "d:2: the quoted field that begins here has text behind \
          its closing quote in line 3",
        ),
        (
            "label,text\n0,\"he said \"hi\" to me\"\n",
            "d:2: the quoted field that begins here",
        ),
        ("label,text\n0,\"", "d:2: a quote opens a field here"),
        (
            "label,text\n0,good film, fine cast\n",
            "d:2: 3 columns, the header has 2",
        ),
    ] {
        let text = message(one(CSV, Split::Test, rows.as_bytes()));
        assert!(text.contains(expected), "{text}\n  should have {expected}");
    }
    let fine = "label,text\n\n0,\"\"\r\n\r\n1,\"a\r\n\"\"b\"\"\"\n  \n0,5\" disk\n1,\"last\"";
    let rows = one(CSV, Split::Test, fine.as_bytes()).expect("rows");
    let expected = [("", 3), ("a\r\n\"b\"", 5), ("5\" disk", 8), ("last", 9)];
    assert_eq!(texts(&rows), expected);
}

#[test]
fn rows_longer_than_their_header_are_errors_or_counted() {
    let rows = b"label\ttext\n1\tgood film\tand a fine cast\n0\tbad film\n1\tgood\t\t\n";
    let text = message(one("{text: text, label: label}", Split::Test, rows));
    assert!(
        text.contains("d:2: 3 columns, the header has 2; mend the row"),
        "{text}"
    );
    assert!(text.contains("`long_rows: skip` or `keep`"), "{text}");
    let skipped = one(
        "{text: text, label: label, long_rows: skip}",
        Split::Test,
        rows,
    )
    .expect("rows");
    assert_eq!(texts(&skipped), [("bad film", 3), ("good", 4)]);
    assert_eq!((skipped.skipped.len(), skipped.skipped[0].line), (1, 2));
    let kept = one(
        "{text: text, label: label, long_rows: keep}",
        Split::Test,
        rows,
    )
    .expect("rows");
    assert_eq!(texts(&kept)[0], ("good film", 2));

    // As in SNLI's files with five labels a row under a header with one: the label read was another.
    let snli = "index\tsentence1\tsentence2\tlabel1\tgold_label\n0\ta\tb\tneutral\tneutral\n\
                1\ta\tb\tneutral\tentailment\tneutral\tneutral\tneutral\tneutral\n";
    let yaml = "labels: [contradiction, neutral, entailment]\nmetrics: [accuracy]\n\
                layout: {text: [sentence1, sentence2], label: gold_label}\nfiles: {dev: d}\n";
    let task = Task::from_yaml(yaml, "Nli.yaml").expect("a task");
    let dir = folder(&[("d", snli.as_bytes())]);
    let text = message(read_split(&task, dir.path(), Split::Dev));
    assert!(text.contains("d:3: 9 columns, the header has 5"), "{text}");

    // Without a header the first row says how many there are.
    let bare = "{header: false, text: 2, label: 1}";
    for (rows, expected) in [
        ("1\ta\n0\tb\tc\n", "d:2: 3 columns, the first row has 2"),
        ("1\ta\tb\n0\tc\n", "d:2: 2 columns, the first row has 3"),
    ] {
        let text = message(one(bare, Split::Test, rows.as_bytes()));
        assert!(text.contains(expected), "{text}\n  should have {expected}");
    }
}

#[test]
fn a_cut_names_rows_by_their_lines_whatever_ends_and_fills_them() {
    let layouts = [
        (
            "{text: t, label: l}",
            "t\tl\r\n\r\na\t1\r\nb\t0\r\n\r\nc\t1\r\nd\t0\r\n",
        ),
        (
            "{format: csv, text: t, label: l}",
            "t,l\r\n\r\na,1\r\nb,0\r\n\r\nc,1\r\nd,0\r\n",
        ),
    ];
    for (layout, text) in layouts {
        let mut lines = Vec::new();
        for split in [Split::Train, Split::Dev] {
            let rows = one(layout, split, text.as_bytes()).expect("rows");
            lines.extend(texts(&rows).into_iter().map(|(t, n)| (n, t.to_owned())));
        }
        lines.sort();
        let expected = [(3, "a"), (4, "b"), (6, "c"), (7, "d")];
        assert_eq!(lines, expected.map(|(n, t)| (n, t.to_owned())), "{layout}");
    }
}

#[test]
fn test_rows_without_labels_are_rows_without_labels() {
    for (rows, count) in [
        ("text\tlabel\nfine day\t-1\nbad day\t-1\n", 2),
        ("text\tlabel\nfine day\t\nbad day\t\n", 2),
        ("text\tlabel\nfine day\nbad day\n", 2),
        ("text\nfine day\nbad day\n", 2),
        ("text\tlabel\nfine day\t1\nbad day\t-1\n", 1),
    ] {
        let read = one("{text: text, label: label}", Split::Test, rows.as_bytes()).expect(rows);
        assert_eq!(texts(&read), [("fine day", 2), ("bad day", 3)]);
        let without = read.examples.iter().filter(|e| e.label.is_none());
        assert_eq!(without.count(), count, "{rows}");
        // A training row has a label.
        message(one(
            "{text: text, label: label}",
            Split::Train,
            rows.as_bytes(),
        ));
    }
    let text = message(one("{text: t, label: l}", Split::Test, b"t\tl\na\t2\n"));
    assert!(text.contains("d:2: unknown label `2`"), "{text}");
    // A label that is called -1 is one.
    let yaml =
        "labels: [-1, 1]\nmetrics: [accuracy]\nlayout: {text: t, label: l}\nfiles: {test: d}\n";
    let dir = folder(&[("d", b"t\tl\na\t-1\n")]);
    let rows = read_split(
        &Task::from_yaml(yaml, "t.yaml").unwrap(),
        dir.path(),
        Split::Test,
    );
    assert_eq!(rows.expect("rows").examples[0].label, number(0.0));
}

#[test]
fn labels_keep_the_spelling_of_the_task_file() {
    for (labels, text) in [
        ("[False, True]", "True"),
        ("[false, true]", "true"),
        ("[0, 1.0]", "1.0"),
        ("[00, 01]", "01"),
        ("[1_000, 1e3]", "1e3"),
        ("[no, yes]", "yes"),
        ("[\"0\", \"1\"]", "1"),
        ("[~, null]", "null"),
    ] {
        let yaml = format!(
            "labels: {labels}\nmetrics: [f1]\nlayout: {{text: t, label: l}}\nfiles: {{dev: d}}\n"
        );
        let task = Task::from_yaml(&yaml, "L.yaml").expect(labels);
        let dir = folder(&[("d", format!("t\tl\nfine\t{text}\n").as_bytes())]);
        let rows = read_split(&task, dir.path(), Split::Dev).expect(labels);
        assert_eq!(rows.examples[0].label, number(1.0), "{labels}");
    }
}

#[test]
fn ids_choose_rows_or_are_refused() {
    let read = |keep: &str, ids: &str| {
        let yaml = format!(
            "labels: [0, 1]\nmetrics: [accuracy]\nlayout: {{text: t, label: l}}\nfiles:\n  dev: \
             {{path: d, {keep}: {{path: ids, columns: [i, j]}}}}\n"
        );
        let task = Task::from_yaml(&yaml, "t.yaml").expect("a task");
        let rows = b"i\tj\tt\tl\n1\t2\ta\t0\n3\t4\tb\t1\n";
        let dir = folder(&[("d", rows), ("ids", ids.as_bytes())]);
        let rows = read_split(&task, dir.path(), Split::Dev)?;
        let all = rows.examples.into_iter().map(|e| e.text_a);
        anyhow::Ok(all.collect::<Vec<_>>())
    };
    assert_eq!(read("keep_ids", "3\t4\n\n").unwrap(), ["b"]);
    assert_eq!(read("drop_ids", "3\t4\n").unwrap(), ["a"]);
    assert!(message(read("drop_ids", "3\n")).contains("ids:1: 1 columns; an id has 2"));
    assert!(message(read("drop_ids", "4\t3\n")).contains("d: no row has an id of the list"));
}

#[test]
fn files_without_a_part_are_one_part() {
    let yaml = "labels: [0, 1]\nmetrics: [accuracy]\nlayout: {text: t, label: l}\n\
                files: {dev: [{path: a}, {path: b}]}\n";
    let dir = folder(&[("a", b"t\tl\nx\t0\n"), ("b", b"t\tl\ny\t1\nz\t1\n")]);
    let rows = read_split(
        &Task::from_yaml(yaml, "t.yaml").unwrap(),
        dir.path(),
        Split::Dev,
    );
    let parts = rows.expect("rows").parts;
    assert_eq!((parts.len(), parts[0].rows.clone()), (1, 0..3));
}

// ---- bad input

#[test]
fn bad_files_are_input_errors_that_name_the_place() {
    let cases: &[(&str, &[u8], &str)] = &[
        (
            "SST-2",
            b"sentence\tlable\na\t1\n",
            "train.tsv:1: no column `label` in the header; there are `sentence`, `lable`",
        ),
        (
            "SST-2",
            b"sentence\tlabel\na\t1\nb\n",
            "train.tsv:3: 1 columns, needs 2; mend the row",
        ),
        (
            "SST-2",
            b"sentence\tlabel\na\tgood\n",
            "train.tsv:2: unknown label `good`; SST-2's are `0`, `1`",
        ),
        (
            "SST-2",
            b"sentence\tlabel\na\t1\n\xff\t1\n",
            "train.tsv:3: not valid UTF-8; set `encoding:`",
        ),
        (
            "SST-2",
            b"sentence\tlabel\na\t1\nb\x00\t1\n",
            "train.tsv:3: a NUL byte",
        ),
        (
            "SST-2",
            b"sentence\tlabel\n",
            "train.tsv: no rows for the train split of SST-2",
        ),
        ("SST-2", b"", "train.tsv: no rows"),
        (
            "CoLA",
            b"",
            "train.tsv: no rows for the train split of CoLA",
        ),
        (
            "CoLA",
            b"gj04\t1\tonly three\n",
            "train.tsv:1: 3 columns, needs 4",
        ),
        (
            "SST-2",
            b"sentence\tlabel\tlabel\na\t1\t0\n",
            "train.tsv:1: the header has the column `label` more than once",
        ),
        (
            "SST-2",
            b"\xff\xfes\0e\0",
            "train.tsv:1: not valid UTF-8; set `encoding:` (as utf-16)",
        ),
        (
            "SST-2",
            b"sentence\tlabel\ra\t1\r",
            "train.tsv:1: its lines end in carriage returns alone",
        ),
        (
            "DemoSimilarity",
            b"index\tsentence1\tsentence2\tscore\n0\ta\tb\tnan\n",
            "train.tsv:2: label NaN is not within 0 to 5",
        ),
        (
            "DemoSimilarity",
            b"index\tsentence1\tsentence2\tscore\n0\ta\tb\tinf\n",
            "train.tsv:2: label inf is not within",
        ),
        (
            "DemoSimilarity",
            b"index\tsentence1\tsentence2\tscore\n0\ta\tb\thigh\n",
            "train.tsv:2: label `high` is not a number",
        ),
    ];
    for (name, bytes, expected) in cases {
        let dir = folder(&[(&format!("{name}/train.tsv"), bytes)]);
        let text = message(read_split(&task(name), dir.path(), Split::Train));
        assert!(text.contains(expected), "{text}\n  should have {expected}");
        assert!(text.starts_with(&*dir.path().to_string_lossy()), "{text}");
    }
}

#[test]
fn bad_json_lines_name_their_line() {
    let task = Task::from_yaml(&OWN.replace("FORMAT", "jsonl"), "mail.yaml").expect("a task");
    for (line, expected) in [
        ("{", "mail.jsonl:1: not readable as JSON"),
        ("[1]", "mail.jsonl:1: not a JSON object"),
        (
            r#"{"subject": "a"}"#,
            "mail.jsonl:1: no key `body`; there are `subject`",
        ),
        (
            r#"{"subject": "a", "body": "b", "kind": "ham", "id": 1, "body": "c"}"#,
            "mail.jsonl:1: has the key `body` twice",
        ),
        (
            r#"{"subject": null, "body": "b", "kind": "ham", "id": 1}"#,
            "mail.jsonl:1: key `subject` is neither a text nor a number",
        ),
        (
            r#"{"subject": ["a"]}"#,
            "mail.jsonl:1: key `subject` is neither a text nor a number",
        ),
    ] {
        let dir = folder(&[("mail.jsonl", line.as_bytes())]);
        let text = message(read_split(&task, dir.path(), Split::Train));
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn a_missing_file_names_where_it_was_looked_for() {
    let dir = folder(&[("MRPC/readme", b"")]);
    let text = message(read_split(&task("MRPC"), dir.path(), Split::Train));
    assert!(
        text.contains("MRPC/train.tsv: no such file; task MRPC reads its train split from"),
        "{text}"
    );
    assert!(
        text.contains("train.tsv (or msr_paraphrase_train.txt)"),
        "{text}"
    );
    let gone = dir.path().join("gone");
    assert!(message(read_split(&task("MRPC"), &gone, Split::Train))
        .contains("gone: no such folder; the key `data`"));
    assert!(message(read_split(&task("AX"), dir.path(), Split::Train))
        .contains("task AX has no train split"));
}

#[test]
fn an_unknown_task_or_a_bad_task_file_names_what_is_near() {
    assert!(message(Task::load("COLA")).contains("unknown task `COLA`; did you mean `CoLA`?"));
    assert!(message(Task::load("Sentiments")).contains("known are `CoLA`, `SST-2`"));
    assert!(message(Task::load("absent.yaml")).contains("absent.yaml: no such file"));
    let good = "labels: [a, b]\nmetrics: [accuracy]\nlayout: {text: t, label: l}\nfiles:\n  train: {path: x.tsv}\n";
    assert!(Task::from_yaml(good, "x.yaml").is_ok());
    for (old, new, expected) in [
        (
            "metrics:",
            "metrix:",
            "x.yaml:2: key `metrix`: unknown key `metrix`; did you mean `metrics`?",
        ),
        (
            "path: x.tsv",
            "pth: x.tsv",
            "x.yaml:5: key `files.train.pth`: unknown key `pth`; did you mean `path`?",
        ),
        (
            "accuracy",
            "acuracy",
            "x.yaml:2: key `metrics[0]`: unknown value `acuracy`; did you mean `accuracy`?",
        ),
        (
            "accuracy",
            "pearson",
            "key `metrics`: `pearson` is for a range",
        ),
        ("[a, b]", "[a, a]", "key `labels`: has `a` twice"),
        ("[a, b]", "[a]", "key `labels`: needs at least two labels"),
        (
            "[a, b]",
            "{min: 1, max: 1}",
            "key `labels`: 1 to 1 is not a range",
        ),
        (
            ", label: l",
            "",
            "key `files.train.layout.label`: say which column holds the label",
        ),
        (
            "text: t",
            "text: 0",
            "key `files.train.layout.text`: columns count from 1",
        ),
        (
            "label: l",
            "label: 0",
            "key `files.train.layout.label`: columns count from 1",
        ),
        (
            "label: l",
            "label: l, index: 0",
            "key `files.train.layout.index`: columns count from 1",
        ),
        (
            "x.tsv",
            "x.tsv, keep_ids: {path: i, columns: [0]}",
            "key `files.train.keep_ids.columns`: columns count from 1",
        ),
        (
            "x.tsv",
            "x.tsv, drop_ids: {path: i, columns: []}",
            "key `files.train.drop_ids.columns`: say which columns",
        ),
        (
            "x.tsv",
            "x.tsv, drop_ids: {path: i, columns: [a]}, keep_ids: {path: i, columns: [a]}",
            "`keep_ids` or `drop_ids`, not both",
        ),
        (
            "label: l",
            "label: t",
            "key `files.train.layout.label`: `t` is the text's",
        ),
        (
            "text: t",
            "text: [t, t]",
            "key `files.train.layout.text`: has `t` twice",
        ),
        (
            "[a, b]\nmetrics: [accuracy]",
            "[a, b, c]\nmetrics: [f1]",
            "key `metrics`: `f1` is the second of two labels'; take `macro_f1` for more",
        ),
        (
            "[accuracy]",
            "[accuracy, accuracy]",
            "key `metrics`: has `accuracy` twice",
        ),
        (
            "[a, b]",
            "[a, \"\"]",
            "key `labels`: \"\" cannot be a label",
        ),
        ("[a, b]", "[a, [b]]", "key `labels"),
        (
            "x.tsv}",
            "x.tsv}\nsplit: {dev: 1.0}",
            "key `split.dev`: must lie between 0 and 1",
        ),
        (
            "x.tsv}",
            "x.tsv}\nsplit: {dev: .nan}",
            "key `split.dev`: must lie between 0 and 1",
        ),
        (
            "x.tsv}",
            "x.tsv}\n  dev: [{path: y, part: p}, {path: z, part: p}]",
            "key `files.dev`: has the part `p` twice",
        ),
        (
            "x.tsv}",
            "x.tsv}\n  dev: [{path: y, part: p}, {path: z}]",
            "key `files.dev`: give each of its files a `part`",
        ),
        (
            "x.tsv}",
            "x.tsv}\n  dev: [{path: y, part: p/q}]",
            "\"p/q\" is no name of a part",
        ),
        (
            "x.tsv}",
            "x.tsv}\n  dev: {path: y, layout: {text: [t, u]}}",
            "as many text columns as the task's other files: 1",
        ),
        (
            "text: t",
            "text: t, encoding: latin-17",
            "`latin-17` is no encoding",
        ),
    ] {
        let text = message(Task::from_yaml(&good.replace(old, new), "x.yaml"));
        assert!(text.contains(expected), "{text}\n  should have {expected}");
    }
}

// ---- the token cache

const ROWS: &[u8] = b"sentence\tlabel\nthe first row\t1\nThe second , longer row\t0\n\t1\n";

fn cache_files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir.join("tokens"))
        .map(|entries| entries.map(|e| e.expect("an entry").path()).collect())
        .unwrap_or_default();
    files.sort();
    files
}

#[test]
fn a_cached_split_equals_the_one_that_was_made() {
    let (tokenizer, cache) = (cased(), folder(&[]));
    let load = |name: &str, split| {
        load_split(
            &task(name),
            &fixtures(),
            split,
            &tokenizer,
            24,
            Some(cache.path()),
        )
        .expect(name)
    };
    for (name, split) in [
        ("MNLI", Split::Dev),
        ("QQP", Split::Train),
        ("QQP", Split::Test),
    ] {
        let (made, mut found) = (load(name, split), load(name, split));
        assert!(!made.from_cache && found.from_cache);
        assert_eq!(made.id_range(), found.id_range());
        // Another label is this split's alone.
        found.relabel(0, Label::Number(7.0));
        assert_eq!(found.label(0), Some(Label::Number(7.0)));
        let found = load(name, split);
        assert_eq!(made.len(), found.len());
        for row in 0..made.len() {
            assert_eq!(made.ids(row), found.ids(row));
            assert_eq!(made.second_segment_at(row), found.second_segment_at(row));
            assert_eq!(made.label(row), found.label(row));
            assert_eq!(made.full_length(row), found.full_length(row));
            let place = |s: &covalign::data::TokenizedSplit| {
                (s.file(row), s.line(row), s.index(row).map(str::to_string))
            };
            assert_eq!(place(&made), place(&found));
        }
        assert_eq!(made.parts(), found.parts());
        assert_eq!(
            (made.files(), &made.skipped),
            (found.files(), &found.skipped)
        );
    }
}

#[test]
fn the_cache_knows_a_change_of_anything_that_it_depends_on() {
    let (tokenizer, cache) = (cased(), folder(&[]));
    let dir = folder(&[("SST-2/train.tsv", ROWS), ("SST-2/dev.tsv", ROWS)]);
    let path = dir.path().join("SST-2/train.tsv");
    let hit = |task: &Task, split, max_length| {
        let split = load_split(
            task,
            dir.path(),
            split,
            &tokenizer,
            max_length,
            Some(cache.path()),
        );
        split.expect("a split").from_cache
    };
    let sst = task("SST-2");
    assert!(!hit(&sst, Split::Train, 32));
    assert!(hit(&sst, Split::Train, 32));
    assert!(!hit(&sst, Split::Train, 16));
    assert!(!hit(&sst, Split::Dev, 32));
    let other =
        Task::from_yaml(&format!("# another\n{}", sst.source()), "SST-2.yaml").expect("a task");
    assert!(!hit(&other, Split::Train, 32));
    // Touched, not changed.
    fs::write(&path, ROWS).expect("a file");
    assert!(hit(&sst, Split::Train, 32));
    fs::write(&path, b"sentence\tlabel\nthe first row\t0\n").expect("a file");
    assert!(!hit(&sst, Split::Train, 32));
}

#[test]
fn a_damaged_cache_file_is_made_again() {
    let (tokenizer, cache) = (cased(), folder(&[]));
    let dir = folder(&[("SST-2/train.tsv", ROWS)]);
    let load = || {
        load_split(
            &task("SST-2"),
            dir.path(),
            Split::Train,
            &tokenizer,
            32,
            Some(cache.path()),
        )
        .expect("a split")
    };
    load();
    let file = cache_files(cache.path()).remove(0);
    let whole = fs::read(&file).expect("the cache file");
    for cut in [0, 10, 60, whole.len() / 2, whole.len() - 4] {
        fs::write(&file, &whole[..cut]).expect("a file");
        assert!(!load().from_cache, "cut at {cut}");
        assert!(load().from_cache, "made again after a cut at {cut}");
    }
    for at in [0, 20, 50, 70, whole.len() - 1] {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        fs::write(&file, flipped).expect("a file");
        assert!(!load().from_cache, "a flipped bit at {at}");
    }
    assert_eq!(cache_files(cache.path()).len(), 1, "nothing is left beside");
}

#[test]
fn a_cache_that_cannot_be_written_is_a_warning() {
    let dir = folder(&[
        ("SST-2/train.tsv", ROWS),
        ("cache", b"a file where the folder should be"),
    ]);
    let cache = dir.path().join("cache");
    let split = load_split(
        &task("SST-2"),
        dir.path(),
        Split::Train,
        &cased(),
        32,
        Some(&cache),
    );
    let split = split.expect("a split");
    assert_eq!((split.len(), split.warnings.len()), (3, 1));
    assert!(
        split.warnings[0].contains("the token cache could not be written"),
        "{:?}",
        split.warnings
    );
}

// ---- covalign data, and the demonstration set

fn data_command(name: &str, dir: &Path) -> DataCommand {
    #[derive(clap::Parser)]
    struct Cli {
        #[command(subcommand)]
        command: DataCommand,
    }
    let encoder = fixtures().join("cased");
    let (dir, encoder) = (dir.to_string_lossy(), encoder.to_string_lossy());
    let arguments = ["covalign", name, &dir, "--encoder", &encoder];
    <Cli as clap::Parser>::try_parse_from(arguments)
        .expect("arguments")
        .command
}

#[test]
fn data_check_reads_everything_and_fails_when_a_file_is_bad() {
    for name in ["check", "stats"] {
        covalign::cli::data::run(data_command(name, &fixtures())).expect("good files");
    }
    let dir = folder(&[
        ("SST-2/train.tsv", ROWS),
        ("SST-2/dev.tsv", b"sentence\tlabel\na\t2\n"),
        ("RTE/train.tsv", ROWS),
    ]);
    let text = message(covalign::cli::data::run(data_command("check", dir.path())));
    // SST-2's dev has a label that is none, RTE's train other columns, RTE's dev is missing.
    assert!(text.ends_with("3 files cannot be used"), "{text}");
    let empty = folder(&[]);
    let text = message(covalign::cli::data::run(data_command(
        "check",
        empty.path(),
    )));
    assert!(text.contains("no known task in this folder"), "{text}");
}

#[test]
fn the_demonstration_set_is_the_same_every_time_and_readable() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/make_demo.py");
    let made = [folder(&[]), folder(&[])];
    for dir in &made {
        let status = std::process::Command::new("python3")
            .arg(&script)
            .arg(dir.path())
            .status();
        assert!(status.expect("python3").success());
    }
    for name in ["DemoSentiment", "DemoParaphrase", "DemoSimilarity"] {
        for (split, rows) in [(Split::Train, 500), (Split::Dev, 120)] {
            let file = format!("{name}/{split}.tsv");
            let bytes = made
                .each_ref()
                .map(|dir| fs::read(dir.path().join(&file)).expect("a file"));
            assert!(bytes[0] == bytes[1], "{file}");
            let examples = read(name, made[0].path(), split).examples;
            assert_eq!(examples.len(), rows);
            if !task(name).is_regression() {
                let ones = examples.iter().filter(|e| e.label == number(1.0)).count();
                assert!(
                    (rows * 3 / 10..rows * 7 / 10).contains(&ones),
                    "{file}: {ones}"
                );
            }
        }
    }
}
