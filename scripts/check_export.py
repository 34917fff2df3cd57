#!/usr/bin/env python3
"""Hold `covalign export` to transformers and ONNX Runtime: the same rows, the same logits.

Trains small runs on a demonstration set (single, multi-task, aligned in every form; classes, pairs,
scores, several labels a row), exports them, and compares the logits of `covalign predict --logits` with
those of `AutoModelForSequenceClassification.from_pretrained` and of ONNX Runtime on the exported
folders, text by text. Prints a Markdown table; exit code 1 where a logit is more than 1e-4 away.

    make build
    python3 scripts/check_export.py

It fetches PyTorch, transformers and ONNX Runtime into target/peers; see packages.py.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import packages

ROOT = Path(__file__).resolve().parent.parent
CLOSE = 1e-4
ROWS = 60

CONFIG = """
encoder: %s
data: data
tasks: %s
method: %s
training: {max_steps: 12, batch_size: 8, learning_rate: 1e-4, max_length: 40, max_train_rows: 96,
           threads: 2, device: cpu, precision: fp32}
evaluation: {every: 6 steps}
checkpoints: {after: best}
%s
"""

COMMENTS = """
name: Comments
labels: {any_of: [good, bad, long]}
metrics: [micro_f1]
layout: {format: csv, text: text, label: [good, bad, long]}
files: {train: train.csv, dev: dev.csv}
"""

THREE = ["DemoSentiment", "DemoParaphrase", "DemoSimilarity"]
# A random start moves every task's R from the identity.
RUNS = [
    ("single", ["DemoSentiment"], "single", ""),
    ("single, each", ["DemoSentiment", "DemoSimilarity"], "single", ""),
    ("multitask", THREE + ["comments.yaml"], "multitask", ""),
    ("scores from 0 to 1", ["DemoSimilarity"], "single", "TRAINING scores: unit"),
    ("aligned, at the identity", THREE, "aligned", "alignment: {learning_rate: 0x}"),
    ("aligned, full", THREE + ["comments.yaml"], "aligned", "alignment: {init: random}"),
    ("aligned, rank 8", THREE, "aligned", "alignment: {rank: 8, init: random, learning_rate: 50x}"),
    ("aligned, diagonal", THREE, "aligned", "alignment: {form: diagonal, init: random}"),
    ("aligned, orthogonal", THREE, "aligned", "alignment: {form: orthogonal, init: random}"),
    ("aligned, shared", THREE, "aligned", "alignment: {form: shared, init: random}"),
    ("random rotation", THREE, "aligned", "alignment: {form: random_rotation}"),
    ("turned and aligned", THREE, "aligned", "alignment: {init: random}\nturned: {DemoParaphrase: 45}"),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--covalign", type=Path, default=ROOT / "target/release/covalign")
    parser.add_argument("--encoder", default="all-MiniLM-L6-v2")
    parser.add_argument("--only", help="runs whose name holds this")
    packages.argument(parser)
    args = parser.parse_args()
    packages.enter(args)
    with tempfile.TemporaryDirectory(prefix="check-export-") as folder:
        return check_all(args, Path(folder))


def check_all(args, folder):
    subprocess.run([sys.executable, ROOT / "scripts/make_demo.py", folder / "data"], check=True, stdout=2)
    several_labels(folder)
    print("| run | task | outputs | in transformers | max. difference | in ONNX Runtime |\n|---|---|---|---|---|---|")
    worst = 0.0
    for number, run in enumerate(RUNS):
        if args.only and args.only not in run[0]:
            continue
        place = "run-%d" % number
        for cells, difference in check(args, folder, place, run):
            worst = max(worst, difference)
            print("| %s |" % " | ".join([run[0]] + cells), flush=True)
        # Each is a gigabyte.
        for name in ("runs", "exported"):
            shutil.rmtree(folder / name / place)
    print("\nLargest difference of a logit: %.1e." % worst)
    return 0 if worst <= CLOSE else 1


def several_labels(folder):
    """A task of which any of three labels may hold, made of DemoSentiment's rows."""
    (folder / "comments.yaml").write_text(COMMENTS)
    (folder / "data/Comments").mkdir()
    for split in ("train", "dev"):
        text = (folder / "data/DemoSentiment" / (split + ".tsv")).read_text().splitlines()
        header, rows = text[0].split("\t"), [line.split("\t") for line in text[1:]]
        label, sentence = header.index("label"), header.index("sentence")
        with open(folder / "data/Comments" / (split + ".csv"), "w", newline="") as file:
            out = csv.writer(file)
            out.writerow(["text", "good", "bad", "long"])
            for row in rows:
                good = row[label] == "1"
                out.writerow([row[sentence], int(good), int(not good), int(len(row[sentence]) > 45)])


def call(args, folder, *arguments):
    done = subprocess.run([args.covalign] + list(arguments), cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit("covalign %s: %s" % (" ".join(arguments), done.stderr))
    return done.stdout


def check(args, folder, name, run):
    """Trains, exports and compares a run; a row of the table for each task."""
    _, tasks, method, more = run
    config = CONFIG % (args.encoder, json.dumps(tasks), method, more if "TRAINING" not in more else "")
    (folder / (name + ".yaml")).write_text(config)
    sets = ["--set", "training.scores=unit"] if "TRAINING" in more else []
    call(args, folder, "train", name + ".yaml", "--out", "runs/" + name, *sets)
    call(args, folder, "export", "runs/" + name, "--out", "exported/" + name)
    for task in tasks:
        task = "Comments" if task == "comments.yaml" else task
        exported = folder / "exported" / name / (task if len(tasks) > 1 else "")
        split = folder / "data" / task / ("dev.csv" if task == "Comments" else "dev.tsv")
        answers = call(args, folder, "predict", "runs/" + name, "--task", task, str(split), "--format", "jsonl", "--logits")
        answers = [json.loads(line) for line in answers.splitlines()][:ROWS]
        yield compare(exported, task, answers)


def compare(folder, task, answers):
    import onnx
    import onnxruntime
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    config = json.loads((folder / "config.json").read_text())
    own = "auto_map" in config
    if own:
        try:
            AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=False)
            sys.exit("%s: loads without its module, and would answer wrongly" % folder)
        except (ValueError, KeyError):
            pass
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=own)
    model, found = AutoModelForSequenceClassification.from_pretrained(
        folder, trust_remote_code=own, output_loading_info=True
    )
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if found[what]:
            sys.exit("%s: %s %s" % (folder, what, found[what]))
    model.eval()
    names = [model.config.id2label[i] for i in range(model.config.num_labels)]
    graph = str(folder / "model.onnx")
    onnx.checker.check_model(graph, full_check=True)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    furthest = [0.0, 0.0]
    # Batches of several sizes and lengths, with padding and without.
    at = 0
    for size in [1, 7, 32, len(answers)]:
        rows = answers[at : at + size]
        at += size
        if not rows:
            continue
        texts = [[row["text"] for row in rows]]
        if "second_text" in rows[0]:
            texts.append([row["second_text"] for row in rows])
        batch = tokenizer(*texts, truncation=True, padding=True, return_tensors="pt")
        with torch.no_grad():
            logits = model(**batch).logits
        inputs = {name: value.numpy() for name, value in batch.items()}
        [computed] = session.run(["logits"], inputs)
        wanted = torch.tensor([[row["logits"][name] for name in names] for row in rows])
        for i, got in enumerate([logits, torch.from_numpy(computed)]):
            furthest[i] = max(furthest[i], (got - wanted).abs().max().item())
    kind = "%d, %s" % (len(names), config["problem_type"].replace("_", " "))
    how = "trust_remote_code" if own else "as it is"
    return [task, kind, how, "%.1e" % furthest[0], "%.1e" % furthest[1]], max(furthest)


if __name__ == "__main__":
    sys.exit(main())
