"""Times an epoch of PyTorch's nn.LSTM over word embeddings, to compare with `covalign bench`.

Two tasks of 600 rows each of random ids, in length as CR's (mean 20) and TREC's (mean 10), batches of 32
of one task, a frozen table 384 wide, two LSTM layers of width 100, the state at each row's end, a head
for each task, AdamW. Rows are padded or packed (pack_padded_sequence); both are timed in turns and
the medians printed as JSON, with what they would be per token.

    python3 -m venv venv && venv/bin/pip install torch==2.11.0 numpy
    venv/bin/python scripts/bench_lstm.py --threads 2
"""

import argparse
import json
import random
import statistics
import time

import torch
from torch.nn.utils.rnn import pack_padded_sequence

ROWS, BATCH, WORDS, EMBEDDING, WIDTH, LAYERS = 600, 32, 20000, 384, 100, 2


def tasks(rng):
    """Of each task, its rows of ids: lengths from 5 to 40."""
    for mean in (20, 10):
        lengths = [min(40, 5 + int(rng.expovariate(1 / (mean - 5)))) for _ in range(ROWS)]
        yield [[rng.randrange(1, WORDS) for _ in range(n)] for n in lengths]


def batches(rows, rng):
    """(task, ids [rows, longest] with zeros behind each row, lengths), tasks mixed."""
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


class Model(torch.nn.Module):
    def __init__(self, packs):
        super().__init__()
        self.packs = packs
        self.table = torch.nn.Embedding(WORDS, EMBEDDING)
        self.table.weight.requires_grad_(False)
        self.lstm = torch.nn.LSTM(EMBEDDING, WIDTH, LAYERS, batch_first=True)
        self.heads = torch.nn.ModuleList(torch.nn.Linear(WIDTH, n) for n in (2, 6))

    def forward(self, task, ids, lengths):
        x = self.table(ids)
        if self.packs:
            packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            ends = self.lstm(packed)[1][0][-1]
        else:
            states, _ = self.lstm(x)
            ends = states[torch.arange(len(ids)), lengths - 1]
        return self.heads[task](ends)


def epoch(model, optimizer, made, labels):
    """Seconds."""
    start = time.perf_counter()
    for task, ids, lengths in made:
        loss = torch.nn.functional.cross_entropy(model(task, ids, lengths), labels[: len(ids)])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    rng = random.Random(0)
    rows = list(tasks(rng))
    labels = torch.randint(0, 2, (BATCH,))
    ways = {}
    for way in ("padded", "packed"):
        model = Model(packs=way == "packed")
        trained = [p for p in model.parameters() if p.requires_grad]
        ways[way] = (model, torch.optim.AdamW(trained, lr=1e-3, fused=True), [])
    for number in range(args.epochs + 1):
        made = batches(rows, rng)
        for model, optimizer, seconds in ways.values():
            took = epoch(model, optimizer, made, labels)
            if number > 0:  # the first warms up
                seconds.append(took)
    tokens = sum(len(row) for own in rows for row in own)
    medians = {way: statistics.median(seconds) for way, (_, _, seconds) in ways.items()}
    best = min(medians, key=medians.get)
    print(json.dumps({
        "torch": torch.__version__,
        "threads": args.threads,
        "tokens": tokens,
        "epoch_seconds": medians,
        "best": best,
        "tokens_per_second": tokens / medians[best],
    }))


if __name__ == "__main__":
    main()
