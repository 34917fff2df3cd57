#!/usr/bin/env python3
"""Tries to lose runs, and to get wrong numbers out of covalign; writes docs/reliability.md.

    python3 scripts/campaign.py            # under half an hour on two quiet cores
    python3 scripts/campaign.py --minutes 60   # on busy ones; what is not reached is not counted
    python3 scripts/campaign.py --quick    # about a minute, writes nothing

Needs the built binary, the default encoder (`make setup`), and cc. Kills runs and suites at random
moments, lets the disk fail, damages files, and gives hostile inputs. What counts is at the end: a
killed run must come to the weights and scores of an undisturbed one, and what is damaged must be
refused in one line or change nothing.
"""

import argparse
import errno
import hashlib
import json
import os
import platform
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import date
from pathlib import Path

import campaign_hostile as hostile
import campaign_trials as trials
from campaign_trials import KINDS, Count

REPOSITORY = Path(__file__).resolve().parent.parent

CONFIG = """encoder: {encoder}
data: demo
tasks: [DemoSentiment, DemoSimilarity]
training:
  {{max_steps: {steps}, batch_size: 8, learning_rate: 1e-3, max_length: 32, max_train_rows: 48,
   threads: 1, device: cpu}}
evaluation: {{every: 2 steps}}
checkpoints: {{every: 1 step}}
"""
LSTM = "{kind: lstm, width: 8, embeddings: all-MiniLM-L6-v2}"
TINY = """encoder: enc
data: demo
tasks: [DemoSentiment]
training:
  {max_steps: 2, batch_size: 4, learning_rate: 1e-3, max_length: 16, max_train_rows: 16, threads: 1,
   device: cpu}
evaluation: {every: 2 steps}
checkpoints: {every: 2 steps}
"""


class Campaign:
    def __init__(self, binary, folder, quick, seed):
        self.binary, self.folder, self.quick = binary, folder, quick
        self.random = random.Random(seed)
        demo = [sys.executable, REPOSITORY / "scripts/make_demo.py", folder / "demo"]
        subprocess.run(demo, check=True, stdout=subprocess.DEVNULL)
        (folder / "lstm.yaml").write_text(CONFIG.format(encoder=LSTM, steps=24))
        (folder / "bert.yaml").write_text(CONFIG.format(encoder="all-MiniLM-L6-v2", steps=4))
        base = CONFIG.format(encoder=LSTM, steps=6).strip().replace("\n", "\n  ")
        suite = "seeds: [1, 2]\nexperiments: [{name: alone, strategy: single}]\n"
        (folder / "suite.yaml").write_text(f"base:\n  {base}\n{suite}")
        self.rows = []
        self.until = 0

    def time(self):
        """Whether there is time left for another trial of this part."""
        return time.monotonic() < self.until

    def count(self, name):
        print(name, flush=True)
        self.rows.append(Count(name))
        return self.rows[-1]

    def train(self, config, out):
        resume = ["--resume"] if (self.folder / out / "config.yaml").is_file() else []
        return [self.binary, "train", config, "--out", out, *resume]

    def run(self, command, **how):
        return trials.run(command, self.folder, **how)

    def clear(self, *names):
        for name in names:
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def outcome(self, out):
        """What a run came to: scores, and the checksums of all weights that count."""
        place = self.folder / out
        results = json.loads((place / "results.json").read_text())
        kept = {"tasks": results["tasks"], "best": results["best"], "steps": results["steps"]}
        for path in sorted(place.rglob("*.safetensors")):
            if "encoder" != path.parent.name:
                kept[str(path.relative_to(place))] = hashlib.sha256(path.read_bytes()).hexdigest()
        return kept

    # --- kills

    def kills(self, name, config, wanted):
        """Kills runs of a config, up to four times each, then lets them end."""
        row = self.count(name)
        self.clear("whole")
        end = self.run(self.train(config, "whole"))
        assert end.code == 0, end.err
        whole, length = self.outcome("whole"), end.seconds
        signals = [signal.SIGKILL] * 6 + [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT]
        while row.trials < wanted and self.time():
            self.clear("cut")
            for _ in range(self.random.randint(1, 4)):
                started = trials.start(self.train(config, "cut"), self.folder)
                time.sleep(self.random.uniform(0.05, 1.05 * length))
                if started[0].poll() is not None:
                    trials.finish_ended(started)
                    break
                number = self.random.choice(signals)
                os.kill(started[0].pid, number)
                end = trials.finish(started)
                row.trials += 1
                row.note(signal.Signals(number).name)
                # One that was not caught yet, or came as the run ended.
                if end.code not in (-number, 130, 0):
                    row.check(end, f"{number} during {config}")
                    row.add("lost", f"{signal.Signals(number).name}: exit {end.code}: {end.line}")
            end = self.run(self.train(config, "cut"))
            self.goes_on(row, end, "a killed run", lambda: self.outcome("cut") == whole)

    def goes_on(self, row, end, what, same):
        """Counts what was killed, went on and ended so, where it did not come to the same."""
        if end.code != 0:
            row.check(end, what)
            row.add("lost", f"{what}: {end.line or end.err[-300:]}")
        elif not same():
            row.add("resumes", f"{what} came to other weights or scores")

    def kill_suites(self, wanted):
        """Kills suites and the runs in them."""
        row = self.count("kills of suites")
        suite = [self.binary, "suite", "suite.yaml", "--jobs", "2", "--resume", "--out"]
        self.clear("suite-whole")
        end = self.run([*suite, "suite-whole"], timeout=300)
        assert end.code == 0, end.err
        whole, length = self.results("suite-whole"), end.seconds
        assert whole
        while row.trials < wanted and self.time():
            self.clear("suite-cut")
            for _ in range(self.random.randint(2, 5)):
                started = trials.start([*suite, "suite-cut"], self.folder)
                time.sleep(self.random.uniform(0.2, 0.8 * length))
                if started[0].poll() is not None:
                    trials.finish_ended(started)
                    break
                os.kill(started[0].pid, signal.SIGKILL)
                trials.finish(started)
                row.trials += 1
            # A run that the suite left behind may still hold its folder for a moment.
            end = self.run([*suite, "suite-cut"], timeout=300)
            self.goes_on(row, end, "a killed suite", lambda: self.results("suite-cut") == whole)

    def results(self, out):
        found = {}
        for path in sorted((self.folder / out).rglob("results.json")):
            results = json.loads(path.read_text())
            found[str(path.relative_to(self.folder / out))] = results["tasks"]
        return found

    # --- disks

    def disk(self, library, fault=None, log=None):
        env = {"LD_PRELOAD": str(library), "FAILING_DISK_ROOT": str(self.folder)}
        env.update({"FAILING_DISK": fault} if fault else {})
        env.update({"FAILING_DISK_LOG": str(log)} if log else {})
        return env

    def faults(self, library, wanted):
        """Lets calls fail, or files grow no further; afterwards the run must go on."""
        row = self.count("write faults")
        log = Path(tempfile.mkstemp()[1])
        self.clear("whole")
        end = self.run(self.train("lstm.yaml", "whole"), env=self.disk(library, log=log))
        assert end.code == 0, end.err
        whole = self.outcome("whole")
        lines = [line.split() for line in log.read_text().splitlines()]
        calls = Counter(name for kind, name in lines if kind == "C")
        errors = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EROFS": errno.EROFS, "EDQUOT": errno.EDQUOT}
        while row.trials < wanted and self.time():
            self.clear("cut")
            if self.random.random() < 0.25:
                size = int(2 ** self.random.uniform(9, 22))
                what = f"RLIMIT_FSIZE {size}"
                kind = "RLIMIT_FSIZE"
                end = self.run(self.train("lstm.yaml", "cut"), limits=[(resource.RLIMIT_FSIZE, size)])
            else:
                call = self.random.choice(sorted(calls))
                kind = self.random.choice(list(errors))
                many = self.random.choice([1, 3, 10 ** 9])
                what = f"{call}:{self.random.randint(1, calls[call])}:{errors[kind]}:{many}"
                end = self.run(self.train("lstm.yaml", "cut"), env=self.disk(library, what))
            row.trials += 1
            row.note(kind)
            if row.check(end, what) and not (end.code == 0 or end.refused):
                row.add("lost", f"{what}: exit {end.code}: {end.err[-300:]}")
            end = self.run(self.train("lstm.yaml", "cut"))
            if end.code != 0:
                row.check(end, f"after {what}")
                row.add("lost", f"after {what}: {end.line or end.err[-300:]}")
            elif self.outcome("cut") != whole:
                row.add("resumes", f"after {what}: other weights or scores")

    def power(self, library, wanted):
        """Kills runs and takes from the disk what nobody had waited for."""
        row = self.count("power cuts (writes that were not synced are lost)")
        self.clear("whole")
        end = self.run(self.train("lstm.yaml", "whole"))
        whole, length = self.outcome("whole"), end.seconds
        while row.trials < wanted and self.time():
            self.clear("cut")
            log = Path(tempfile.mkstemp()[1])
            for _ in range(2):
                log.write_text("")
                env = self.disk(library, log=log)
                started = trials.start(self.train("lstm.yaml", "cut"), self.folder, env)
                time.sleep(self.random.uniform(0.4 * length, 1.2 * length))
                if started[0].poll() is not None:
                    trials.finish_ended(started)
                    break
                os.kill(started[0].pid, signal.SIGKILL)
                trials.finish(started)
                row.trials += 1
                self.lose(log, self.folder / "cut")
            end = self.run(self.train("lstm.yaml", "cut"))
            if end.code != 0:
                row.check(end, "after a power cut")
                row.add("lost", f"after a power cut: {end.line or end.err[-300:]}")
            elif self.outcome("cut") != whole:
                row.add("resumes", "after a power cut: other weights or scores")

    def lose(self, log, place):
        """Cuts every file that was written and not synced since."""
        unsynced = set()
        for line in log.read_text().splitlines():
            kind, inode = line.split()
            if kind == "W":
                unsynced.add(int(inode))
            elif kind == "S":
                unsynced.discard(int(inode))
        for path in place.rglob("*"):
            if path.is_file() and path.stat().st_ino in unsynced:
                os.truncate(path, self.random.randint(0, path.stat().st_size))

    # --- damaged files

    def damage(self, wanted):
        """Damages each file of a run folder, and asks for numbers."""
        row = self.count("damaged files")
        self.clear("whole", "other", "cut")
        for out, seed in [("whole", 1), ("other", 2)]:
            command = [*self.train("lstm.yaml", out), "--set", f"training.seed={seed}"]
            assert self.run(command).code == 0
        shutil.copytree(self.folder / "whole", self.folder / "cut")
        (self.folder / "cut/results.json").unlink()
        shutil.rmtree(self.folder / "cut/checkpoints/step-24")
        rows = ["demo/DemoSentiment/dev.tsv"]
        resume = [self.binary, "train", "lstm.yaml", "--resume", "--set", "training.seed=1", "--out"]
        asks = {
            "evaluate": ("whole", [self.binary, "evaluate", "bad", "--json"]),
            "predict": ("whole", [self.binary, "predict", "bad", "--task", "DemoSentiment", *rows]),
            "resume": ("cut", [*resume, "bad"]),
            "report": ("whole", [self.binary, "runs", "bad", "--json"]),
        }
        right = {}
        for name, (source, command) in asks.items():
            right[name] = self.ask(source, None, None, name, command)[1]
        whole = self.outcome("whole")
        files = {source: [path.relative_to(self.folder / source) for path in
                          sorted((self.folder / source).rglob("*")) if path.is_file()]
                 for source in ("whole", "cut")}
        every = [(name, path, how) for name, (source, _) in asks.items() if name != "report"
                 for path in files[source] for how in ("truncate", "empty", "flip", "swap", "replace")]
        every += [("report", Path("results.json"), how) for how in ("truncate", "empty", "flip", "replace")]
        self.random.shuffle(every)
        for name, path, how in every[:wanted]:
            if not self.time():
                break
            source, command = asks[name]
            end, said = self.ask(source, path, how, name, command)
            if end is None:
                continue
            row.trials += 1
            what = f"{name} after {how} of {path}"
            if not row.check(end, what):
                continue
            row.note("refused" if end.code else "as before")
            if end.code != 0:
                if not end.refused:
                    row.add("panics", f"{what}: {end.err[-300:]}")
            elif name == "resume":
                if self.outcome("bad")["tasks"] != whole["tasks"]:
                    row.add("numbers", what)
            elif said != right[name] and path.name not in end.err and path.name not in said:
                row.add("numbers", f"{what}: {said[:200]} instead of {right[name][:200]}")

    def ask(self, source, path, how, name, command):
        """The answer to a command on a copy of a run with one file damaged; none where that changes
        nothing."""
        self.clear("bad")
        copied = ["cp", "-rl", self.folder / source, self.folder / "bad"]
        subprocess.run(copied, check=True)
        if path:
            place = self.folder / "bad" / path
            before = place.read_bytes()
            other = self.folder / "other" / path
            if how == "truncate":
                after = before[: self.random.randint(0, max(len(before) - 1, 0))]
            elif how == "empty":
                after = b""
            elif how == "replace":
                after = self.random.randbytes(max(len(before), 16)) if len(before) < 1 << 20 else before[::-1]
            elif how == "swap":
                after = other.read_bytes() if other.is_file() else b""
            else:
                flipped = bytearray(before)
                if flipped:
                    flipped[self.random.randrange(len(flipped))] ^= 1 << self.random.randrange(8)
                after = bytes(flipped)
            if after == before:
                return None, ""
            place.unlink()
            place.write_bytes(after)
        end = self.run(command)
        said = "" if name == "resume" else end.out
        return end, said

    # --- hostile inputs

    def hostile(self, share):
        row = self.count("hostile inputs")
        place = self.folder / "hostile"
        shutil.copytree(self.folder / "demo", place / "demo")
        (place / "c.yaml").write_text(TINY)
        pwned = place / "pwned"
        train = [self.binary, "train", "c.yaml", "--out", "x"]

        def trial(name, files=None, sets=(), harmless=False):
            if self.random.random() > share or not self.time():
                return
            for folder in ("enc", "x"):
                shutil.rmtree(place / folder, ignore_errors=True)
            hostile.encoder(place / "enc", files or {})
            command = train + [part for item in sets for part in ("--set", item)]
            end = trials.run(command, place)
            row.trials += 1
            if row.check(end, name) and not (end.refused or (harmless and end.code == 0)):
                kind = "numbers" if end.code == 0 else "panics"
                row.add(kind, f"{name}: exit {end.code}: {end.err[-300:]}")
            row.note("refused" if end.code else "harmless")
            if pwned.exists() or (place / "enc/pwned").exists():
                row.add("numbers", f"{name}: a command of the file's was run")

        for kind, file in [(hostile.pickles(), "pytorch_model.bin"), (hostile.tensors(), "model.safetensors")]:
            for name, write in kind:
                trial(name, {file: write}, harmless=name in hostile.HARMLESS)
        for kind in (hostile.config_json(), hostile.vocabularies()):
            for name, files in kind:
                trial(name, files, harmless=name in hostile.HARMLESS)
        for name, text in hostile.tasks():
            (place / "t.yaml").write_text(text)
            trial(name, sets=["tasks=[t.yaml]"], harmless=name in hostile.HARMLESS)
        train_file = place / "demo/DemoSentiment/train.tsv"
        whole = train_file.read_bytes()
        for name, content in hostile.rows():
            train_file.write_bytes(content)
            trial(name, harmless=name in hostile.HARMLESS)
        train_file.write_bytes(whole)
        for name, item in hostile.settings():
            trial(name, sets=[item], harmless=name in hostile.HARMLESS)


def table(rows, seconds):
    """The table of docs/reliability.md."""
    lines = ["| | trials | " + " | ".join(KINDS.values()) + " |", "|---|--:|" + "--:|" * len(KINDS)]
    for row in rows:
        wrong = " | ".join(str(len(row.wrong[kind])) for kind in KINDS)
        lines.append(f"| {row.name} | {row.trials} | {wrong} |")
    total = " | ".join(str(sum(len(row.wrong[kind]) for row in rows)) for kind in KINDS)
    lines.append(f"| **all** | {sum(row.trials for row in rows)} | {total} |")
    notes = [f"- {row.name}: " + ", ".join(f"{what} {n}" for what, n in sorted(row.notes.items()))
             for row in rows if row.notes]
    return "\n".join(lines) + "\n\n" + "\n".join(notes) + f"\n\n{seconds / 60:.0f} minutes.\n"


HEAD = """# Reliability

Written by `python3 scripts/campaign.py` on {day}, {machine}. It kills runs and suites at random
moments and lets them go on, lets the disk fail (`scripts/failing_disk.c`: calls that fail with
ENOSPC, EIO, EROFS or EDQUOT; a power cut takes every write that was not synced), damages files of run
folders, and gives hostile encoders, tasks, rows and settings. A run that was stopped must come to the
weights (sha256) and scores of an undisturbed one; what is damaged or hostile must be refused in one
line, or change no number. Anything else is counted here, and none of it may be. Every reader of outside
bytes is fuzzed besides: [fuzzing.md](fuzzing.md).

"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a minute's worth; writes no table")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--binary", type=Path, default=REPOSITORY / "target/release/covalign")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", help="lstm, bert, suites, faults, power, damage, hostile")
    args = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        library = folder / "failing_disk.so"
        source = REPOSITORY / "scripts/failing_disk.c"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
        campaign = Campaign(args.binary.resolve(), folder, args.quick, args.seed)
        quick = args.quick
        # Each with its part of the time.
        parts = {
            "lstm": (0.25, lambda: campaign.kills("kills of training (LSTM)", "lstm.yaml", 5 if quick else 160)),
            "bert": (0.1, lambda: campaign.kills("kills of training (MiniLM)", "bert.yaml", 2 if quick else 20)),
            "suites": (0.15, lambda: campaign.kill_suites(2 if quick else 30)),
            "faults": (0.15, lambda: campaign.faults(library, 4 if quick else 60)),
            "power": (0.1, lambda: campaign.power(library, 2 if quick else 25)),
            "damage": (0.15, lambda: campaign.damage(8 if quick else 200)),
            "hostile": (0.15, lambda: campaign.hostile(0.08 if quick else 1)),
        }
        for name, (part, work) in parts.items():
            if not args.only or name in args.only:
                # What one leaves is for the next.
                shares = sum(share for share, _ in list(parts.values())[: list(parts).index(name) + 1])
                shares = 1 if args.only else shares
                campaign.until = begun + 60 * args.minutes * shares
                work()
                print(f"  {time.monotonic() - begun:.0f} s", flush=True)
        text = table(campaign.rows, time.monotonic() - begun)
    print(text)
    if not quick and not args.only:
        cores = len(os.sched_getaffinity(0))
        head = HEAD.format(day=date.today(), machine=f"{platform.machine()}, {cores} cores")
        (REPOSITORY / "docs/reliability.md").write_text(head + text)
    wrong = sum(len(found) for row in campaign.rows for found in row.wrong.values())
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
