"""Runs a command whose tests may ask TensorBoard itself: `with_tensorboard.py cargo test`.

TensorBoard comes from PyPI into `target/tensorboard`, once. The command sees COVALIGN_PYTHON, a Python
that can import it. Where it cannot be had, the command runs without, and its test is skipped.
"""

import os
import subprocess
import sys

from folders import locked, made, replace

PINNED = ["tensorboard==2.21.0"]


def main():
    environment = dict(os.environ)
    if not environment.get("COVALIGN_PYTHON"):
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        target = os.environ.get("CARGO_TARGET_DIR") or "target"
        folder = os.path.join(made(root, target), "tensorboard")
        with locked(os.path.dirname(folder)):
            reason = install(folder)
        if reason:
            print("test: pip cannot install TensorBoard: %s" % reason, file=sys.stderr)
        else:
            environment["COVALIGN_PYTHON"] = sys.executable
            environment["PYTHONPATH"] = folder
    return subprocess.run(sys.argv[1:], env=environment).returncode


def install(folder):
    """Puts the packages into `folder`, whole or not at all; returns why it could not."""
    wanted = "%s for Python %d.%d\n" % ((" ".join(PINNED),) + sys.version_info[:2])
    stamp = os.path.join(folder, "installed.txt")
    if os.path.exists(stamp):
        with open(stamp) as file:
            if file.read() == wanted:
                return None
    print("test: %s into %s" % (" ".join(PINNED), folder), file=sys.stderr)
    new = folder + ".partial"
    # Into a folder, as that works without the venv module and on an externally managed Python.
    pip = [sys.executable, "-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check"]
    pip += ["--retries", "1", "install", "--only-binary", ":all:", "--upgrade", "--target", new]
    done = subprocess.run(pip + PINNED, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["pip failed"]
        return lines[-1].replace("ERROR: ", "")
    with open(os.path.join(new, "installed.txt"), "w") as file:
        file.write(wanted)
    replace(new, folder)
    return None


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
