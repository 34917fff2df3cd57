"""Running covalign under limits, and judging how it ended."""

import os
import resource
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field

HANG = 60
"""Seconds after which a command hangs."""
MOST_FOR_A_REFUSAL = 1 << 30
"""Bytes of memory that refusing an input may take."""


@dataclass
class End:
    """How a command ended."""

    code: int
    """Negative: the signal that ended it."""
    out: str
    err: str
    seconds: float
    bytes: int
    """The most memory that it had."""
    hung: bool = False

    @property
    def line(self):
        """What it says is wrong."""
        lines = [l for l in self.err.splitlines() if l.startswith(("covalign:", "error:"))]
        return lines[0] if lines else ""

    @property
    def crashed(self):
        """A panic, a signal, a stack trace; what kind."""
        if self.hung:
            return "hang"
        if self.code < 0:
            return f"signal {-self.code}"
        for word in ("panicked", "frame #", "terminate called", "RUST_BACKTRACE"):
            if word in self.err:
                return f"panic ({word})"
        return "" if self.code in (0, 1, 2, 130) else f"exit code {self.code}"

    @property
    def refused(self):
        """Whether it is a refusal as people want it: exit code 1 or 2, and one line."""
        lines = self.err.splitlines().count(self.line)
        return not self.crashed and self.code in (1, 2) and bool(self.line) and lines == 1


def start(command, cwd, env=None, limits=()):
    """Starts a command with resource limits, without a GPU; its process and its files."""
    files = [tempfile.TemporaryFile() for _ in range(2)]

    def limit():
        for what, most in limits:
            resource.setrlimit(what, (most, most))

    whole = dict(os.environ, CUDA_VISIBLE_DEVICES="", **(env or {}))
    process = subprocess.Popen(
        [str(part) for part in command], cwd=cwd, env=whole, stdin=subprocess.DEVNULL,
        stdout=files[0], stderr=files[1], preexec_fn=limit if limits else None,
        start_new_session=True,
    )
    return process, files, time.monotonic()


def finish_ended(started):
    """Forgets a command that has ended by itself."""
    started[0].wait()
    for file in started[1]:
        file.close()


def finish(started, timeout=HANG):
    """Waits for what [`start`] started."""
    process, files, begun = started
    hung = []

    def kill():
        hung.append(True)
        os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(timeout, kill)
    timer.start()
    _, status, usage = os.wait4(process.pid, 0)
    timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - begun
    texts = []
    for file in files:
        file.seek(0)
        texts.append(file.read().decode("utf-8", "replace"))
        file.close()
    return End(process.returncode, *texts, seconds, usage.ru_maxrss * 1024, bool(hung))


def run(command, cwd, env=None, limits=(), timeout=HANG):
    """Runs a command to its end."""
    return finish(start(command, cwd, env, limits), timeout)


@dataclass
class Count:
    """A row of the table: how many trials, and what went wrong."""

    name: str
    trials: int = 0
    wrong: dict = field(default_factory=lambda: {kind: [] for kind in KINDS})
    notes: dict = field(default_factory=dict)

    def add(self, kind, what):
        self.wrong[kind].append(what)
        print(f"  ! {kind}: {what}", flush=True)

    def note(self, what):
        self.notes[what] = self.notes.get(what, 0) + 1

    def check(self, end, what):
        """Counts a crash, a hang, or a refusal that took too much memory; whether there was none."""
        if end.hung:
            self.add("hangs", f"{what}: {end.seconds:.0f} s")
        elif end.crashed:
            kind = "signals" if end.code < 0 else "panics"
            self.add(kind, f"{what}: {end.crashed}: {end.err[-300:]}")
        elif end.code != 0 and end.bytes > MOST_FOR_A_REFUSAL:
            self.add("memory", f"{what}: {end.bytes >> 20} MiB: {end.line}")
        else:
            return True
        return False


KINDS = {
    "lost": "lost runs",
    "resumes": "wrong resumes",
    "numbers": "silent wrong results",
    "panics": "panics",
    "signals": "signals",
    "hangs": "hangs over 60 s",
    "memory": "refusals above 1 GiB",
}
