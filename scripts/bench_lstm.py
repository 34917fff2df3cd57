"""Time an epoch of an LSTM over word embeddings: covalign beside PyTorch's nn.LSTM, the same rows.

Two tasks of 600 rows each, in length as CR's (mean 20) and TREC's (mean 10), batches of 32 of one task, a
frozen table (the encoder's), one or more LSTM layers, the state at each row's end, a head for each task,
AdamW. PyTorch's rows are padded, or packed (pack_padded_sequence). The contestants take turns, each in a
process of its own; the ratio is that of their medians. Starts and warm-up are not counted.

    python3 -m venv venv && venv/bin/pip install torch==2.11.0 numpy
    venv/bin/python scripts/bench_lstm.py --encoder DIR
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROWS, BATCH = 600, 32
TASKS = {"A": (20, 2), "B": (10, 6)}


def texts(words, rng):
    """Of each task, its rows as lists of words: 5 to 40 of them."""
    for mean, _ in TASKS.values():
        lengths = [min(40, 5 + int(rng.expovariate(1 / (mean - 5)))) for _ in range(ROWS)]
        yield [rng.sample(words, n) for n in lengths]


def write(folder, rows, encoder, args):
    """What covalign trains by: two tasks and a config."""
    for (name, (_, classes)), own in zip(TASKS.items(), rows):
        lines = "".join(f"{i % classes}\t{' '.join(row)}\n" for i, row in enumerate(own))
        (folder / f"{name}.tsv").write_text("label\ttext\n" + lines)
        labels = [str(label) for label in range(classes)]
        (folder / f"{name}.yaml").write_text(
            f"labels: {json.dumps(labels)}\nmetrics: [accuracy]\nlayout: {{text: text, label: label}}\n"
            f"files: {{train: {name}.tsv, dev: {name}.tsv}}\n"
        )
    tasks = [str(folder / f"{name}.yaml") for name in TASKS]
    module = {"kind": "lstm", "width": args.width, "layers": args.layers, "embeddings": str(encoder)}
    training = {"batch_size": BATCH, "learning_rate": 1e-3, "threads": args.threads, "clip_norm": 0}
    config = {"encoder": module, "data": str(folder), "tasks": tasks, "method": "multitask"}
    config["training"] = training | {"max_length": 64}
    (folder / "c.yaml").write_text(json.dumps(config))


def batches(rows, rng):
    """(task, ids [rows, longest] with zeros behind each row, lengths), tasks mixed."""
    import torch

    made = []
    for task, own in enumerate(rows):
        own = rng.sample(own, len(own))
        for i in range(0, len(own), BATCH):
            some = own[i : i + BATCH]
            ids = [torch.tensor(row) for row in some]
            ids = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
            made.append((task, ids, torch.tensor([len(row) for row in some])))
    rng.shuffle(made)
    return made


def model(vocabulary, width, args, packs):
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding(vocabulary, width)
            self.table.weight.requires_grad_(False)
            self.lstm = torch.nn.LSTM(width, args.width, args.layers, batch_first=True)
            heads = (torch.nn.Linear(args.width, classes) for _, classes in TASKS.values())
            self.heads = torch.nn.ModuleList(heads)

        def forward(self, task, ids, lengths):
            x = self.table(ids)
            if packs:
                packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
                ends = self.lstm(packed)[1][0][-1]
            else:
                states, _ = self.lstm(x)
                ends = states[torch.arange(len(ids)), lengths - 1]
            return self.heads[task](ends)

    return Model()


def pytorch(folder, encoder, args):
    """Seconds of an epoch; the first warms up."""
    import torch

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    words = (encoder / "vocab.txt").read_text().split("\n")
    number = {word: i for i, word in enumerate(words)}
    shape = json.loads((encoder / "config.json").read_text())
    rows = []
    for name in TASKS:
        lines = (folder / f"{name}.tsv").read_text().split("\n")[1:-1]
        own = [line.split("\t")[1].split(" ") for line in lines]
        rows.append([[number[w] for w in ["[CLS]", *row, "[SEP]"]] for row in own])
    net = model(shape["vocab_size"], shape["hidden_size"], args, args.one == "packed")
    trained = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, fused=True)
    labels = torch.randint(0, 2, (BATCH,))
    rng = random.Random(0)
    for turn in range(2):
        made = batches(rows, rng)
        start = time.perf_counter()
        for task, ids, lengths in made:
            loss = torch.nn.functional.cross_entropy(net(task, ids, lengths), labels[: len(ids)])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--encoder", required=True, help="whose words and table")
    parser.add_argument("--binary", default="target/release/covalign")
    parser.add_argument("--width", type=int, default=100)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", choices=("padded", "packed"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    args = parser.parse_args()
    encoder = Path(args.encoder)
    if args.one:
        print(pytorch(Path(args.folder), encoder, args))
        return
    words = (encoder / "vocab.txt").read_text().split("\n")
    words = [word for word in words if word.isascii() and word.isalpha()]
    seconds = {"covalign": [], "padded": [], "packed": []}
    with tempfile.TemporaryDirectory() as folder:
        rows = list(texts(words, random.Random(0)))
        write(Path(folder), rows, encoder.absolute(), args)
        bench = [args.binary, "bench", f"{folder}/c.yaml", "--json"]
        same = [f"--{key}={getattr(args, key)}" for key in ("encoder", "width", "layers", "threads")]
        for _ in range(args.rounds):
            out = subprocess.run(bench, check=True, capture_output=True, text=True).stdout
            seconds["covalign"].append(json.loads(out)["seconds"])
            for way in ("padded", "packed"):
                one = [sys.executable, __file__, *same, "--one", way, "--folder", folder]
                out = subprocess.run(one, check=True, capture_output=True, text=True).stdout
                seconds[way].append(float(out))
    medians = {way: statistics.median(own) for way, own in seconds.items()}
    best = min(medians["padded"], medians["packed"])
    tokens = sum(len(row) + 2 for own in rows for row in own)
    print(f"{len(rows)} tasks of {ROWS} rows, {tokens} tokens; width {args.width}, {args.layers} layers")
    for way, median in medians.items():
        spread = f"{min(seconds[way]):.3f} to {max(seconds[way]):.3f}"
        print(f"{way:9} {median:.3f} s an epoch ({spread}), {median / best:.2f} of PyTorch's faster")


if __name__ == "__main__":
    main()
