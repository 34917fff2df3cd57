#!/usr/bin/env python3
"""Time an epoch of covalign beside PyTorch + transformers: same encoder, rows, batch size, dropout.

The contestants take turns, each in a process of its own, and the ratio is that of their medians:

    covalign   `covalign bench`, in fp32 and bf16
    padded     run_glue's habit: shuffled rows, padded to 128 tokens, fp32
    best       transformers at its best in eager mode: rows grouped by length, padded to the longest
               of the batch, SDPA, fused AdamW; in fp32 and in bf16 under autocast
    compiled   the same under torch.compile

Loading, tokenising and a warm-up (three steps; on CUDA and for `compiled` an epoch, so that every shape
is known) are not counted; losses are never read back. Memory is the process's peak, on CUDA that of its
tensors on the device. `share` is of the machine's own product of two large matrices, as PyTorch takes it.

    make bench DATA=data/glue
    python3 scripts/bench_vs_transformers.py --data data/glue --encoder DIR --contestants covalign,compiled

It fetches PyTorch and transformers into target/peers; see packages.py.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import packages

ROOT = Path(__file__).resolve().parent.parent
CLASSES = {"CoLA": 2, "MRPC": 2, "RTE": 2, "SST-2": 2, "STS-B": 1}
HEADLESS = {"CoLA"}
WARM_UP = 3
HOME = Path(os.environ.get("COVALIGN_HOME") or Path.home() / ".cache/covalign")
ENCODER = HOME / "encoders/all-MiniLM-L6-v2"
# Rows and columns of the matrices whose product is the machine's measure.
PRODUCT = 2048


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="GLUE folder")
    parser.add_argument("--encoder", type=Path, default=ENCODER, help="Hugging Face folder of a BERT (%(default)s)")
    parser.add_argument("--tasks", default="CoLA,MRPC,RTE,SST-2", help="default: %(default)s")
    parser.add_argument("--rows", type=int, default=5000, help="first rows of a task (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--precisions", default="fp32,bf16", help="default: %(default)s")
    parser.add_argument("--contestants", default="covalign,best,padded", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--covalign", type=Path, default=ROOT / "target/release/covalign")
    parser.add_argument("--out", type=Path, help="append each measurement to these JSON lines")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    packages.argument(parser)
    return parser.parse_args()


def shorten(args, folder):
    """Copies the first rows of each task, in GLUE's layout."""
    for task in args.tasks.split(","):
        (folder / task).mkdir()
        for split in ("train", "dev"):
            lines = (args.data / task / f"{split}.tsv").read_bytes().split(b"\n")
            rows = args.rows + (task not in HEADLESS)
            text = b"\n".join(line for line in lines[:rows] if line) + b"\n"
            (folder / task / f"{split}.tsv").write_bytes(text)


def measured(command, **more):
    """The JSON that a command prints, with the peak memory of its process."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, **more)
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"failed: {' '.join(map(str, command))}")
    unit = 1 if sys.platform == "darwin" else 1024
    return {**json.loads(text), "peak_host_bytes": usage.ru_maxrss * unit}


def covalign(args, folder, task, precision):
    config = folder / "bench.yaml"
    config.write_text(
        f"encoder: {args.encoder.resolve()}\ndata: {folder}\ntasks: [{task}]\nmethod: multitask\n"
        f"training: {{epochs: 1, batch_size: {args.batch_size}, learning_rate: 5e-5, max_length: 128,"
        f" threads: {args.threads}, precision: {precision}, device: {args.device}}}\n"
    )
    warm_up = WARM_UP
    if args.device == "cuda":
        rows = len((folder / task / "train.tsv").read_bytes().splitlines()) - (task not in HEADLESS)
        warm_up = -(-rows // args.batch_size)
    return measured([args.covalign, "bench", config, "--json", "--warm-up", str(warm_up)])


def peer(args, folder, task, precision, contestant):
    order = {
        **{name: getattr(args, name) for name in ("threads", "batch_size", "device")},
        **{"data": str(folder), "encoder": str(args.encoder), "task": task},
        **{"precision": precision, "contestant": contestant},
    }
    given = ["--data", folder, "--encoder", args.encoder, "--worker", json.dumps(order)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    return measured([sys.executable, __file__, *given], env=environment)


def work(order):
    """In a process of its own: trains an epoch with transformers and prints what it cost."""
    import torch
    from peer_transformers import build, collate, encode, grouped, optimiser, table
    from transformers import AutoTokenizer, get_linear_schedule_with_warmup
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(order["threads"])
    torch.manual_seed(1)
    # On Hopper cuDNN's attention builds a plan for each shape, seconds in all.
    torch.backends.cuda.enable_cudnn_sdp(False)
    device, task, size = order["device"], order["task"], order["batch_size"]
    half = order["precision"] == "bf16"
    habit = order["contestant"] == "padded"
    rows = read(table, Path(order["data"]), task)
    rows = encode(AutoTokenizer.from_pretrained(order["encoder"]), rows, 128)
    model = build(order["encoder"], CLASSES[task]).to(device).train()
    if order["contestant"] == "compiled":
        model = torch.compile(model, dynamic=True)
    rates = argparse.Namespace(lr=5e-5, weight_decay=0.01)
    optimizer = optimiser(model, rates)
    regression = CLASSES[task] == 1
    loss_of = torch.nn.functional.mse_loss if regression else torch.nn.functional.cross_entropy
    rng = random.Random(1)
    batches = grouped(rows, size, rng)
    if habit:
        places = list(range(len(rows)))
        rng.shuffle(places)
        batches = [places[i : i + size] for i in range(0, len(places), size)]
    scheduler = get_linear_schedule_with_warmup(optimizer, len(batches) // 10, len(batches))

    def step(batch):
        inputs, labels = collate([rows[i] for i in batch], regression)
        if habit:
            longest = inputs["input_ids"].shape[1]
            inputs = {k: torch.nn.functional.pad(v, (0, 128 - longest)) for k, v in inputs.items()}
        cells = inputs["input_ids"].numel()
        if device == "cuda":
            inputs = {k: v.pin_memory().to(device, non_blocking=True) for k, v in inputs.items()}
            labels = labels.to(device, non_blocking=True)
        with torch.autocast(device, torch.bfloat16, enabled=half):
            logits = model(**inputs).logits
        loss = loss_of(logits.float().squeeze(-1) if regression else logits.float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        return cells

    def wait():
        if device == "cuda":
            torch.cuda.synchronize()

    for group in optimizer.param_groups:
        group["lr"] = 0.0
    knows = device == "cuda" or order["contestant"] == "compiled"
    for batch in batches if knows else batches[:WARM_UP]:
        step(batch)
    wait()
    start = time.perf_counter()
    cells = sum(step(batch) for batch in batches)
    wait()
    seconds = time.perf_counter() - start
    tokens = sum(len(row["input_ids"]) for row in rows)
    record = {"seconds": seconds, "steps": len(batches), "tokens": tokens, "padded_tokens": cells}
    record["matmul_flops"] = product_rate(torch.bfloat16 if half else torch.float32, device, wait)
    if device == "cuda":
        record["peak_device_bytes"] = torch.cuda.max_memory_allocated()
    print(json.dumps(record))


def product_rate(kind, device, wait):
    """Floating-point operations a second of the product of two large matrices, the best of five."""
    import torch

    left, right = (torch.randn(PRODUCT, PRODUCT, device=device).to(kind) for _ in range(2))
    best = float("inf")
    for _ in range(6):
        start = time.perf_counter()
        torch.mm(left, right)
        wait()
        best = min(best, time.perf_counter() - start)
    return 2 * PRODUCT**3 / best


def machine(args):
    """The processor and the libraries, in a line."""
    import torch
    import transformers

    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(": ")[1] for line in lines if line.startswith("model name")), name)
    if args.device == "cuda":
        name = torch.cuda.get_device_name()
    version = subprocess.run([args.covalign, "--version"], capture_output=True, text=True).stdout
    said = f"{name}, {args.threads} threads; {version.strip()}, torch {torch.__version__}"
    return f"{said} ({torch.backends.cpu.get_cpu_capability()}), transformers {transformers.__version__}"


def read(table, folder, task):
    """Rows (first text, second text or None, label) to train on."""
    from peer_transformers import read_glue

    if task == "SST-2":
        return [(r[0], None, int(r[1])) for r in table(folder / task / "train.tsv")]
    return read_glue(folder, task, "train")


def contests(args):
    """(contestant, precision) in their order."""
    for precision in args.precisions.split(","):
        for contestant in args.contestants.split(","):
            if contestant != "padded" or precision == "fp32":
                yield contestant, precision


def main():
    args = arguments()
    if args.worker:
        return work(json.loads(args.worker))
    packages.enter(args)
    if not (args.encoder / "config.json").exists():
        sys.exit(f"{args.encoder}: no encoder is here; `make setup` fetches one, or say --encoder")
    print(machine(args), file=sys.stderr, flush=True)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        shorten(args, folder)
        for turn in range(args.rounds):
            for task in args.tasks.split(","):
                order = list(contests(args))
                for contestant, precision in order if turn % 2 == 0 else reversed(order):
                    if contestant == "covalign":
                        record = covalign(args, folder, task, precision)
                    else:
                        record = peer(args, folder, task, precision, contestant)
                    found.setdefault((task, contestant, precision), []).append(record)
                    line = {"task": task, "contestant": contestant, "precision": precision}
                    line = {**line, "round": turn + 1, **record}
                    if args.out:
                        with args.out.open("a") as out:
                            out.write(json.dumps(line) + "\n")
                    text = "round {round}  {task:6} {contestant:9} {precision}  {seconds:7.2f} s"
                    print(text.format(**line), file=sys.stderr, flush=True)
    report(args, found)


def report(args, found):
    head = f"seconds an epoch, median of {args.rounds}"
    print(f"{head:30} covalign      peer  ratio  memory  share     of")
    for contestant, precision in contests(args):
        if contestant == "covalign":
            continue
        total = [0.0, 0.0]
        for task in args.tasks.split(","):
            sides = [("covalign", precision), (contestant, precision)]
            runs = [found.get((task, *side)) for side in sides]
            if None in runs:
                continue
            ours, theirs = (statistics.median(r["seconds"] for r in side) for side in runs)
            total = [total[0] + ours, total[1] + theirs]
            place = "peak_device_bytes" if args.device == "cuda" else "peak_host_bytes"
            memory = [max(r[place] for r in side) for side in runs]
            # Both take the products of the rows' tokens; what is padding besides is not counted.
            rate = max(r["matmul_flops"] for side in runs for r in side)
            flops = statistics.median(r["model_flops"] for r in runs[0]) / rate
            more = f"{memory[0] / memory[1]:8.2f}  {flops:4.0%}  {flops * ours / theirs:4.0%}"
            row(f"{contestant} {precision}, {task}", ours, theirs, more)
        if total[1]:
            row(f"{contestant} {precision}, all", *total)
    for precision in args.precisions.split(","):
        rates = {}
        for (_, contestant, of), runs in found.items():
            if of == precision:
                side = "covalign" if contestant == "covalign" else "PyTorch"
                rates.setdefault(side, []).extend(r["matmul_flops"] for r in runs)
        best = ", ".join(f"{side} {max(rate) / 1e9:.0f}" for side, rate in rates.items())
        print(f"GFLOP/s of a large product in {precision}: {best}")


def row(title, ours, theirs, more=""):
    print(f"{title:30} {ours:8.2f}  {theirs:8.2f}  {ours / theirs:5.2f}{more}")


if __name__ == "__main__":
    main()
