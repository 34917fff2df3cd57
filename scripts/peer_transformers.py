#!/usr/bin/env python3
"""Train the same encoder with PyTorch and transformers, one task at a time, to compare scores.

Writes one JSON line per (task, seed) as it goes; a (task, seed) that the file already holds is
skipped, so the script can be restarted. `epochs` holds each epoch's mean loss, dev metrics and
score, the mean of the metrics with an undefined one as 0; `training_seconds` leaves evaluation out,
`tokens` is what was trained on without padding.

CR has no official split: the tenth of its rows with the smallest SplitMix64 hashes is dev, as
covalign cuts it (src/task/layout.rs).

    python3 -m venv venv
    venv/bin/pip install torch==2.11.0 transformers==5.23.0 \\
        scikit-learn==1.9.1 scipy==1.17.1
    venv/bin/python scripts/peer_transformers.py --data data/glue --encoder DIR --out peer.jsonl
"""

import argparse
import json
import math
import random
import sys
import time
from pathlib import Path

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    get_linear_schedule_with_warmup,
)

METRICS = {
    "CoLA": ["matthews"],
    "RTE": ["accuracy"],
    "MRPC": ["f1", "accuracy"],
    "STS-B": ["pearson", "spearman"],
    "CR": ["accuracy"],
}


def table(path, header=True):
    """The rows of a tab-separated file without quoting, as lists of strings."""
    text = path.read_bytes().decode("utf-8-sig")
    rows = [line.rstrip("\r").split("\t") for line in text.split("\n") if line.strip("\r")]
    return rows[1:] if header else rows


def read_glue(folder, task, split):
    """Rows (first text, second text or None, label) of one split."""
    path = folder / task / f"{split}.tsv"
    if task == "CoLA":
        return [(r[3], None, int(r[1])) for r in table(path, header=False)]
    if task == "RTE":
        names = ["entailment", "not_entailment"]
        return [(r[1], r[2], names.index(r[3])) for r in table(path)]
    if task == "MRPC":
        return [(r[3], r[4], int(r[0])) for r in table(path)]
    if task == "STS-B":
        return [(r[7], r[8], float(r[9])) for r in table(path)]
    sys.exit(f"{task}: not one of {', '.join(METRICS)}")


def splitmix64(x):
    """One output of SplitMix64 (Steele, Lea, Flood 2014) from state `x`."""
    mask = 2**64 - 1
    z = (x + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def read_cr(folder):
    """CR's training and dev rows."""
    places = [folder / "CR", folder, folder.parent / "sentiment"]
    path = next((p / "custrev.all" for p in places if (p / "custrev.all").exists()), None)
    if path is None:
        sys.exit(f"{folder}: found no CR/custrev.all, custrev.all or ../sentiment/custrev.all")
    lines = path.read_text(encoding="ascii").split("\n")
    split = [line.partition(" ") for line in lines if line]
    rows = [(text.strip(), None, int(label)) for label, _, text in split]
    start = splitmix64(0)
    order = sorted(range(len(rows)), key=lambda i: (splitmix64((start + i) % 2**64), i))
    dev = set(order[: int(0.1 * len(rows) + 0.5)])
    train = [row for i, row in enumerate(rows) if i not in dev]
    return train, [rows[i] for i in sorted(dev)]


def read(args, task):
    if task == "CR":
        train, dev = read_cr(args.data)
    else:
        train, dev = (read_glue(args.data, task, split) for split in ("train", "dev"))
    return train[: args.limit], dev[: args.limit]


def encode(tokenizer, rows, max_length):
    """Each row as {input_ids, token_type_ids, label}, truncated longest-first, not padded."""
    first = [row[0] for row in rows]
    second = [row[1] for row in rows] if rows[0][1] is not None else None
    out = tokenizer(first, second, truncation=True, max_length=max_length)
    return [
        {"input_ids": ids, "token_type_ids": kinds, "label": row[2]}
        for ids, kinds, row in zip(out["input_ids"], out["token_type_ids"], rows)
    ]


def grouped(rows, batch_size, rng):
    """Length-grouped batches: shuffle, sort by length in chunks of 50 batches, cut, shuffle."""
    order = list(range(len(rows)))
    rng.shuffle(order)
    batches, chunk = [], 50 * batch_size
    for start in range(0, len(order), chunk):
        part = sorted(order[start : start + chunk], key=lambda i: len(rows[i]["input_ids"]))
        batches += [part[i : i + batch_size] for i in range(0, len(part), batch_size)]
    rng.shuffle(batches)
    return batches


def collate(rows, regression):
    """Tensors of a batch, padded to its longest row."""
    longest = max(len(row["input_ids"]) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    kinds, mask = torch.zeros_like(ids), torch.zeros_like(ids)
    for i, row in enumerate(rows):
        n = len(row["input_ids"])
        ids[i, :n] = torch.tensor(row["input_ids"])
        kinds[i, :n] = torch.tensor(row["token_type_ids"])
        mask[i, :n] = 1
    labels = torch.tensor([row["label"] for row in rows], dtype=torch.float if regression else None)
    return {"input_ids": ids, "token_type_ids": kinds, "attention_mask": mask}, labels


@torch.no_grad()
def evaluate(model, rows, task, batch_size):
    """The task's metrics on `rows`, by name, None where undefined; and their mean, the score."""
    model.eval()
    regression = task == "STS-B"
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]["input_ids"]))
    predicted = [0] * len(rows)
    for start in range(0, len(order), batch_size):
        part = order[start : start + batch_size]
        inputs, _ = collate([rows[i] for i in part], regression)
        logits = model(**inputs).logits
        # covalign clips a prediction to the range of its labels, too.
        answers = logits.squeeze(-1).clamp(0, 5) if regression else logits.argmax(-1)
        for i, answer in zip(part, answers.tolist()):
            predicted[i] = answer
    gold = [row["label"] for row in rows]
    # Here, since what only times training does without them.
    from scipy.stats import pearsonr, spearmanr
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    measure = {
        "matthews": lambda: matthews_corrcoef(gold, predicted),
        "accuracy": lambda: accuracy_score(gold, predicted),
        "f1": lambda: f1_score(gold, predicted, zero_division=0),
        "pearson": lambda: pearsonr(gold, predicted)[0],
        "spearman": lambda: spearmanr(gold, predicted)[0],
    }
    found = {name: float(measure[name]()) for name in METRICS[task]}
    found = {name: None if math.isnan(value) else value for name, value in found.items()}
    return {**found, "score": sum(value or 0.0 for value in found.values()) / len(found)}


def build(encoder, classes):
    """The encoder with a fresh head: N(0, 0.02²) and no bias."""
    model = AutoModelForSequenceClassification.from_pretrained(
        encoder, num_labels=classes, classifier_dropout=0.1, dtype=torch.float32
    )
    torch.nn.init.normal_(model.classifier.weight, std=0.02)
    torch.nn.init.zeros_(model.classifier.bias)
    return model


def optimiser(model, args):
    """AdamW that decays neither biases nor LayerNorm."""
    kept, decayed = [], []
    for name, parameter in model.named_parameters():
        bare = name.endswith("bias") or "LayerNorm" in name
        (kept if bare else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": args.weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.999), eps=1e-8, fused=True)


def train(args, task, seed, tokenizer):
    """One run; returns its JSON record."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    regression = task == "STS-B"
    train_rows, dev_rows = (encode(tokenizer, r, args.max_length) for r in read(args, task))
    model = build(args.encoder, 1 if regression else 2)
    optimizer = optimiser(model, args)
    per_epoch = -(-len(train_rows) // args.batch_size)
    total = per_epoch * args.epochs
    scheduler = get_linear_schedule_with_warmup(optimizer, math.ceil(total * args.warmup), total)
    loss_of = torch.nn.functional.mse_loss if regression else torch.nn.functional.cross_entropy
    epochs, training_seconds, tokens, start = [], 0.0, 0, time.time()
    for _ in range(args.epochs):
        began, losses = time.time(), []
        model.train()
        for batch in grouped(train_rows, args.batch_size, rng):
            inputs, labels = collate([train_rows[i] for i in batch], regression)
            logits = model(**inputs).logits
            loss = loss_of(logits.squeeze(-1) if regression else logits, labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
            tokens += int(inputs["attention_mask"].sum())
        training_seconds += time.time() - began
        scores = evaluate(model, dev_rows, task, args.batch_size)
        epochs.append({"loss": sum(losses) / len(losses), **scores})
    return {
        "task": task,
        "seed": seed,
        "dev": scores,
        "epochs": epochs,
        "train_rows": len(train_rows),
        "dev_rows": len(dev_rows),
        "steps": total,
        "tokens": tokens,
        "training_seconds": round(training_seconds, 2),
        "seconds": round(time.time() - start, 2),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="GLUE folder")
    parser.add_argument("--encoder", type=Path, required=True, help="Hugging Face folder of a BERT")
    parser.add_argument("--tasks", default=",".join(METRICS), help="default: %(default)s")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=5e-5)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--warmup", type=float, default=0.1, help="share of the steps")
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=int, help="first rows only, of each split")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines to append to")
    args = parser.parse_args()
    args.tasks = args.tasks.split(",")
    args.seeds = [int(seed) for seed in args.seeds.split(",")]
    for task in args.tasks:
        if task not in METRICS:
            parser.error(f"{task}: not one of {', '.join(METRICS)}")
    return args


def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    tokenizer = AutoTokenizer.from_pretrained(args.encoder)
    done = set()
    if args.out.exists():
        records = map(json.loads, args.out.read_text().splitlines())
        done = {(record["task"], record["seed"]) for record in records}
    for seed in args.seeds:
        for task in args.tasks:
            if (task, seed) in done:
                continue
            record = train(args, task, seed, tokenizer)
            with args.out.open("a") as out:
                out.write(json.dumps(record) + "\n")
            print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
