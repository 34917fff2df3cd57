"""Runs a command whose tests may ask TensorBoard itself: `with_tensorboard.py cargo test`.

TensorBoard comes from PyPI into `target/tensorboard`, once. The command sees COVALIGN_PYTHON, a Python
that can import it. Where it cannot be had, the command runs without, and its test is skipped.
"""

import os
import subprocess
import sys

import packages
from download import Failure

PINNED = ["tensorboard==2.21.0"]


def main():
    environment = dict(os.environ)
    if not environment.get("COVALIGN_PYTHON"):
        try:
            environment["PYTHONPATH"] = packages.folder("tensorboard", PINNED)
            environment["COVALIGN_PYTHON"] = sys.executable
        except Failure as failure:
            print("test: %s" % failure, file=sys.stderr)
    return subprocess.run(sys.argv[1:], env=environment).returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
