#!/usr/bin/env python3
"""Gives every reader of outside bytes minutes of libFuzzer; writes docs/fuzzing.md.

    python3 scripts/fuzz.py                     # ten minutes for each reader, two at a time
    python3 scripts/fuzz.py --seconds 60 csv    # a minute for one; --jobs 1 for one at a time

Needs cargo-fuzz (`cargo install cargo-fuzz`) and `make setup`. What libFuzzer finds is left in
tests/fuzz/artifacts/READER/; mended, it is kept in tests/fuzz/found/READER/, which `cargo test` reads. A
reader that is not run keeps its line of an earlier run.
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
FUZZ = REPOSITORY / "tests/fuzz"
PROGRAM = FUZZ / "target/x86_64-unknown-linux-gnu/release/readers"
PAGE = REPOSITORY / "docs/fuzzing.md"
# Found are panics, aborts, and inputs that take longer or more memory than this.
LIMITS = ["-timeout=10", "-rss_limit_mb=1500", "-max_len=8192"]
COLUMNS = ["reader", "minutes", "inputs", "coverage", "found"]

HEAD = """# Fuzzing

`python3 scripts/fuzz.py` gives every reader of outside bytes (`tests/fuzz/readers.rs`) to libFuzzer, which
keeps changing the inputs that reach new code: config, task, suite and simulate files, an encoder's
files, weights, rows in every format, images, and what a run leaves. `cargo install cargo-fuzz` once; the
stable toolchain does. `cargo test --test fuzz` changes the same inputs at random, for seconds.

A find is a panic, an abort, an input that takes over 10 seconds or 1.5 GB, or a broken rule: a config
that was read and written is the same, rows read in parts are those read at once, rows that are predicted
on are those that are evaluated, and an address means to covalign whom the HTTP library asks. Each is
mended, and its input kept in `tests/fuzz/found/`, which `cargo test` reads.

The last run of each reader, on {machine}; `found` counts inputs that are kept, and coverage is libFuzzer's `cov`, the edges reached.

"""


def readers():
    text = (FUZZ / "readers.rs").read_text()
    table = text.split("pub const READERS", 1)[1].split("\n];", 1)[0]
    return re.findall(r'\("([a-z-]+)",', table)


def build():
    shutil.copy(REPOSITORY / "Cargo.lock", FUZZ / "Cargo.lock")
    # Without AddressSanitizer: nearly all of it is safe Rust, and takes half the time to build.
    command = ["cargo", "fuzz", "build", "--fuzz-dir", FUZZ, "-s", "none", "readers"]
    subprocess.run(command, check=True, cwd=REPOSITORY)


def fuzz(name, seconds):
    """The line of the table for a reader, which goes on from the inputs of an earlier run."""
    artifacts = FUZZ / "artifacts" / name
    artifacts.mkdir(parents=True, exist_ok=True)
    shared = Path("/dev/shm")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        env = {**os.environ, "COVALIGN_READER": name, "TMPDIR": folder, "OMP_NUM_THREADS": "1",
               "RAYON_NUM_THREADS": "1"}
        command = ["nice", "-n", "15", PROGRAM, FUZZ / "corpus" / name, *LIMITS,
                   f"-artifact_prefix={artifacts}/", f"-max_total_time={seconds}", "-print_final_stats=1"]
        end = subprocess.run(command, env=env, text=True, errors="replace", capture_output=True)
    minutes = (time.monotonic() - begun) / 60
    (artifacts / "log.txt").write_text(end.stderr)
    if end.returncode:
        print(f"{name}: {end.stderr[-2000:]}", flush=True)
    inputs = last(r"stat::number_of_executed_units:\s*(\d+)", end.stderr)
    coverage = last(r"cov: (\d+)", end.stderr)
    kept = len(list((FUZZ / "found" / name).glob("*")))
    found = f"{kept} and 1 not mended" if end.returncode else kept
    return [name, f"{minutes:.1f}", f"{inputs:,}", f"{coverage:,}", found]


def last(pattern, text):
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


def earlier():
    """The lines that are there, by reader, and what is below them."""
    if not PAGE.is_file():
        return {}, ""
    text = PAGE.read_text()
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    below = text.rsplit("\n| ", 1)[-1].split("\n", 1)[-1]
    return {row[0]: row for row in rows if row[0] != COLUMNS[0]}, below


def write(row):
    rows, below = earlier()
    rows[row[0]] = row
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|--:|--:|--:|--:|"]
    lines += ["| " + " | ".join(map(str, rows[name])) + " |" for name in readers() if name in rows]
    machine = f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores"
    PAGE.write_text(HEAD.format(machine=machine) + "\n".join(lines) + "\n" + below)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("readers", nargs="*", help="all of them")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    build()
    with ThreadPoolExecutor(args.jobs) as pool:
        done = pool.map(lambda name: fuzz(name, args.seconds), args.readers or readers())
        for row in done:
            print(*row, flush=True)
            write(row)


if __name__ == "__main__":
    main()
