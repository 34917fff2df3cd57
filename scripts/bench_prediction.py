#!/usr/bin/env python3
"""Time predictions of a fine-tuned encoder: covalign beside transformers and ONNX Runtime, the same rows.

A task's dev rows, twenty times over, as a file without labels. The contestants take turns, each a whole command
in a process of its own, that reads the rows, tokenises them and writes a label a row:

    covalign      `covalign predict`, in fp32 and bf16
    transformers  rows sorted by length, SDPA, in fp32 and in bf16 under autocast
    onnx          ONNX Runtime on what `covalign export` wrote, rows sorted by length, in fp32

`rows/s` leaves out what the same command takes for one row: Python's imports and covalign's loading.
`whole` counts everything. Memory is the process's peak. Answers must be the same but for ties in rounding.

    python3 scripts/bench_prediction.py --data data/glue

It fetches PyTorch, transformers and ONNX Runtime into target/peers; see packages.py.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import packages
from bench_vs_transformers import ENCODER, ROOT, machine

TIMES = 20
CONFIG = """
encoder: %s
data: %s
tasks: [%s]
method: single
training: {max_train_rows: 600, batch_size: 32, learning_rate: 5e-5, max_length: 128, threads: %d, device: cpu,
           precision: %s}
checkpoints: {after: best}
"""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="GLUE folder")
    parser.add_argument("--encoder", type=Path, default=ENCODER, help="default: %(default)s")
    parser.add_argument("--tasks", default="SST-2,RTE", help="default: %(default)s")
    parser.add_argument("--contestants", default="covalign,transformers,onnx", help="default: %(default)s")
    parser.add_argument("--precisions", default="fp32,bf16", help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=64, help="of the others (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--covalign", type=Path, default=ROOT / "target/release/covalign")
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    packages.argument(parser)
    args = parser.parse_args()
    args.device = "cpu"
    return args


def work(args):
    """A peer's whole command: the labels of a file's rows, as numbers, to a file."""
    contestant, folder, rows, out = args.worker
    from transformers import AutoTokenizer

    texts = [line.split("\t") for line in Path(rows).read_text().splitlines()]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    columns = [list(column) for column in zip(*texts)]
    encoded = tokenizer(*columns, truncation=True, max_length=128)
    order = sorted(range(len(texts)), key=lambda row: len(encoded["input_ids"][row]))
    forward = runtime(args, folder) if contestant == "onnx" else torch_model(args, contestant, folder)
    answers = [0] * len(texts)
    for at in range(0, len(order), args.batch_size):
        places = order[at : at + args.batch_size]
        batch = {name: [values[row] for row in places] for name, values in encoded.items()}
        batch = tokenizer.pad(batch, return_tensors="np")
        for row, answer in zip(places, forward(batch)):
            answers[row] = int(answer)
    Path(out).write_text("\n".join(map(str, answers)))


def torch_model(args, contestant, folder):
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.set_num_threads(args.threads)
    model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="sdpa").eval()

    @torch.inference_mode()
    def forward(batch):
        with torch.autocast("cpu", torch.bfloat16, enabled=contestant.endswith("bf16")):
            return model(**{name: torch.from_numpy(v) for name, v in batch.items()}).logits.argmax(-1)

    return forward


def runtime(args, folder):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    session = onnxruntime.InferenceSession(
        os.path.join(folder, "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    wanted = {place.name for place in session.get_inputs()}

    def forward(batch):
        [logits] = session.run(["logits"], {n: v for n, v in batch.items() if n in wanted})
        return logits.argmax(-1)

    return forward


def call(args, *command):
    command = [args.covalign, *map(str, command)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"failed: {' '.join(map(str, command))}\n{done.stderr}")
    return done.stdout


def texts(args, task, folder):
    """The dev rows as plain lines, twenty times over, and one of them alone."""
    lines = (args.data / task / "dev.tsv").read_text().rstrip("\n").split("\n")[1:]
    columns = {"SST-2": [0], "RTE": [1, 2], "MRPC": [3, 4]}[task]
    rows = ["\t".join(line.split("\t")[i] for i in columns) + "\n" for line in lines]
    paths = folder / f"{task}.txt", folder / f"{task}-one.txt"
    paths[0].write_text("".join(rows * TIMES))
    paths[1].write_text(rows[0])
    return paths, len(rows) * TIMES


def timed(command, environment):
    start = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), env=environment, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"failed: {' '.join(map(str, command))}")
    return time.perf_counter() - start, usage.ru_maxrss * 1024


def contestants(args):
    for contestant in args.contestants.split(","):
        for precision in ["fp32"] if contestant == "onnx" else args.precisions.split(","):
            yield contestant, precision


def main():
    args = arguments()
    if args.worker:
        return work(args)
    packages.enter(args)
    print(machine(args), file=sys.stderr, flush=True)
    print("| task | | rows/s | whole | memory |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="bench-prediction-") as folder:
        for task in args.tasks.split(","):
            bench(args, task, Path(folder))


def bench(args, task, folder):
    runs = {}
    for precision in args.precisions.split(","):
        config = CONFIG % (args.encoder.resolve(), args.data.resolve(), task, args.threads, precision)
        (folder / "c.yaml").write_text(config)
        runs[precision] = folder / f"{task}-{precision}"
        call(args, "train", folder / "c.yaml", "--out", runs[precision])
    exported = folder / f"{task}-exported"
    call(args, "export", runs["fp32"], "--out", exported)
    labels = list(json.loads((exported / "config.json").read_text())["label2id"])
    paths, rows = texts(args, task, folder)
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    found, answers = {}, {}
    for turn in range(args.rounds):
        for contestant, precision in contests(args, turn):
            name = f"{contestant} {precision}"
            out = folder / "answers"
            commands = []
            for path in paths:
                if contestant == "covalign":
                    commands.append([args.covalign, "predict", runs[precision], "--task", task, path, "--out", out])
                else:
                    kind = "onnx" if contestant == "onnx" else name
                    given = ["--data", args.data, "--threads", args.threads, "--batch-size", args.batch_size]
                    worker = ["--worker", kind, exported, path, out]
                    commands.append([sys.executable, __file__, *given, *worker])
            start, _ = timed(commands[1], environment)
            whole, memory = timed(commands[0], environment)
            found.setdefault(name, []).append((whole, whole - start, memory))
            answers[name] = read(contestant, out, labels)
            print(f"round {turn + 1}  {task:6} {name:18} {whole:6.2f} s", file=sys.stderr, flush=True)
    for name, measures in found.items():
        whole, alone, memory = (statistics.median(column) for column in zip(*measures))
        same = sum(a == b for a, b in zip(answers[name], answers["covalign fp32"])) / rows
        if len(answers[name]) != rows or (name.endswith("fp32") and same < 0.999):
            sys.exit(f"{name}: other answers than covalign's ({same:.2%} the same)")
        print(f"| {task} | {name} | {rows / alone:.0f} | {whole:.1f} s | {memory / 2**20:.0f} MB |", flush=True)


def contests(args, turn):
    order = list(contestants(args))
    return order if turn % 2 == 0 else reversed(order)


def read(contestant, out, labels):
    lines = out.read_text().splitlines()
    if contestant == "covalign":
        # A header, then the row and its label.
        return [line.split("\t")[1] for line in lines[1:]]
    return [labels[int(line)] for line in lines]


if __name__ == "__main__":
    main()
