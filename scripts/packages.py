"""Packages from PyPI that a script needs, in a folder of their own below `target`, fetched once.

Into a folder and not a virtual environment: that works without the venv module and on an externally managed
Python.
"""

import os
import subprocess
import sys

from download import Failure
from folders import locked, made, replace

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# What covalign's numbers are compared with.
PEERS = ["torch==2.11.0", "torchvision==0.26.0", "transformers==5.24.0", "scikit-learn==1.9.1"]
PEERS += ["scipy==1.17.1", "onnx==1.23.2", "onnxruntime==1.32.0"]
HERE = "--here"


def argument(parser):
    """For a script that calls `enter`."""
    parser.add_argument(HERE, action="store_true", help="take this Python's packages")


def enter(args):
    """Goes on in a Python that has PEERS, in `target/peers`: 5 GB with CUDA's libraries on Linux, where
    `PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu` takes torch without them. With `--here`, in this one."""
    if args.here:
        return
    try:
        path = folder("peers", PEERS)
    except Failure as failure:
        sys.exit(str(failure))
    environment = dict(os.environ, PYTHONPATH=path)
    os.execve(sys.executable, [sys.executable] + sys.argv + [HERE], environment)


def folder(name, pinned):
    """`target/NAME` with the packages, whole or not at all; a Failure says why it cannot be had."""
    target = os.environ.get("CARGO_TARGET_DIR") or "target"
    path = os.path.join(made(ROOT, target), name)
    wanted = "%s for Python %d.%d\n" % ((" ".join(pinned),) + sys.version_info[:2])
    stamp = os.path.join(path, "installed.txt")
    with locked(os.path.dirname(path)):
        if os.path.exists(stamp):
            with open(stamp) as file:
                if file.read() == wanted:
                    return path
        print("%s: %s into %s" % (name, " ".join(pinned), path), file=sys.stderr)
        new = path + ".partial"
        pip = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check"]
        if not sys.stderr.isatty():
            pip.append("--quiet")
        pip += ["--retries", "1", "install", "--only-binary", ":all:", "--upgrade", "--target", new]
        done = subprocess.run(pip + pinned, stdout=sys.stderr, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["pip failed"]
            wants = " ".join(pinned)
            raise Failure("pip cannot install %s: %s" % (wants, lines[-1].replace("ERROR: ", "")))
        with open(os.path.join(new, "installed.txt"), "w") as file:
            file.write(wanted)
        replace(new, path)
    return path
