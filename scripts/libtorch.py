"""libtorch, the C++ part of PyPI's torch wheel, into `libtorch/{lib,include,build-version}`.

The CPU set takes from the wheel what a CPU needs, and two small libraries of CUDA's that
`libtorch_cpu` is linked to; the CUDA set takes all of it, with the CUDA libraries that this torch
version asks for.
"""

import contextlib
import ctypes
import os
import platform
import re
import shutil
import sys

from download import Failure, fetch
from folders import link, made, need_space, replace, unpack

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
# In a folder of their own, where torch-sys does not see them: it would link the program to them, and
# that would then start neither without them nor without initialising CUDA. covalign loads them.
LOADED_LATER = re.compile(r"libtorch_cuda\.so|libc10_cuda\.so|libtorch_nvshmem\.so")


def set_up(index, cuda):
    """`libtorch/{lib,include,build-version}`, whole or not at all."""
    chosen = {"1": "cuda", "0": "cpu"}.get(cuda)
    there, by_hand = installed()
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


def installed():
    """(`cpu`, `cuda` or None, whether a person chose it) of what lies in `libtorch/`."""
    version = version_of(LIBTORCH)
    lib = os.path.join(LIBTORCH, "lib")
    if not version or version.split("+")[0] != TORCH or not os.path.isdir(lib):
        return None, False
    try:
        with open(os.path.join(LIBTORCH, "chosen")) as file:
            by_hand = file.read().split()[1] == "by-hand"
    except (OSError, IndexError):
        by_hand = False
    cuda = os.path.join(lib, os.pardir, "cuda", "libtorch_cuda.so")
    return "cuda" if os.path.exists(cuda) else "cpu", by_hand


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
        if kind == "cuda" and LOADED_LATER.search(member):
            return member.replace("torch/lib/", "site/torch/cuda/")
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


def finish_tree(tree, kind):
    """The links and the version file that a linker and torch-sys look for."""
    if kind == "cuda":
        # A link as a whole: the libraries look for CUDA's at $ORIGIN/../../nvidia.
        link("site/torch/lib", os.path.join(tree, "lib"))
        link("site/torch/include", os.path.join(tree, "include"))
    if platform.system() == "Linux":
        link("libtorch_cpu.so", os.path.join(tree, "lib", "libtorch.so"))
    with open(os.path.join(tree, "build-version"), "w") as file:
        file.write(TORCH + "\n")


def check_own(path):
    """Names what is wrong with the libtorch of `LIBTORCH=/path`; warns of an untested version."""
    names = ["libtorch_cpu.so", "libtorch_cpu.dylib"]
    if not any(os.path.exists(os.path.join(path, "lib", name)) for name in names):
        raise Failure(
            "LIBTORCH=%s has no lib/libtorch_cpu; give a folder with lib and include, or unset it"
            " and let this command fetch libtorch %s" % (path, TORCH)
        )
    version = version_of(path)
    if version is None or version.split("+")[0] != TORCH:
        print(
            "setup: warning: %s is libtorch %s; covalign is tested with %s and may not compile or"
            " run with another" % (path, version or "of an unknown version", TORCH),
            file=sys.stderr,
        )


def version_of(path):
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
