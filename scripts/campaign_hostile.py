"""Hostile inputs: what covalign must refuse in one line, or read without harm."""

import io
import json
import os
import pickle
import shutil
import struct
import sys
import types
import zipfile
from pathlib import Path

TINY = Path(__file__).parent.parent / "tests/fixtures/legacy-bert"

TASK = """labels: [0, 1]
metrics: [accuracy]
folder: DemoSentiment
layout: {text: sentence, label: label}
files: {train: train.tsv, dev: dev.tsv}
"""


# --- pickles -------------------------------------------------------------------------------------

class _Storage:
    def __init__(self, key, numel, kind="FloatStorage", device="cpu"):
        self.pid = ("storage", getattr(_torch(), kind), key, device, numel)


def _torch():
    """As much of torch's names as a pickle needs."""
    if "torch" not in sys.modules:
        torch = types.ModuleType("torch")
        torch._utils = types.ModuleType("torch._utils")
        for name in ("FloatStorage", "LongStorage", "StrangeStorage"):
            kind = type(name, (), {"__module__": "torch"})
            setattr(torch, name, kind)
        for name in ("_rebuild_tensor_v2", "_rebuild_parameter", "_rebuild_evil"):
            def function(*_):
                return None
            function.__module__, function.__qualname__, function.__name__ = "torch._utils", name, name
            setattr(torch._utils, name, function)
        sys.modules["torch"], sys.modules["torch._utils"] = torch, torch._utils
    return sys.modules["torch"]


class _Tensor:
    def __init__(self, storage, offset, size, stride, function="_rebuild_tensor_v2"):
        self.args = (storage, offset, size, stride, False, {})
        self.function = function

    def __reduce__(self):
        return getattr(_torch()._utils, self.function), self.args


class _Pickler(pickle.Pickler):
    def persistent_id(self, value):
        return value.pid if isinstance(value, _Storage) else None


def shapes():
    """The tensors of the tiny BERT, all zeros but of their right sizes."""
    c = json.loads((TINY / "config.json").read_text())
    h, i = c["hidden_size"], c["intermediate_size"]
    yield "bert.embeddings.word_embeddings.weight", (c["vocab_size"], h)
    yield "bert.embeddings.position_embeddings.weight", (c["max_position_embeddings"], h)
    yield "bert.embeddings.token_type_embeddings.weight", (c["type_vocab_size"], h)
    for name in ("weight", "bias"):
        yield f"bert.embeddings.LayerNorm.{name}", (h,)
    for layer in range(c["num_hidden_layers"]):
        at = f"bert.encoder.layer.{layer}."
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            yield f"{at}attention.{part}.weight", (h, h)
            yield f"{at}attention.{part}.bias", (h,)
        yield f"{at}intermediate.dense.weight", (i, h)
        yield f"{at}intermediate.dense.bias", (i,)
        yield f"{at}output.dense.weight", (h, i)
        yield f"{at}output.dense.bias", (h,)
        for part in ("attention.output", "output"):
            for name in ("weight", "bias"):
                yield f"{at}{part}.LayerNorm.{name}", (h,)
    yield "bert.pooler.dense.weight", (h, h)
    yield "bert.pooler.dense.bias", (h,)


def numel(size):
    count = 1
    for n in size:
        count *= n
    return count


def contiguous(size):
    strides = []
    for n in range(len(size)):
        strides.append(numel(size[n + 1:]))
    return tuple(strides)


def bin_file(path, change=lambda name, tensor: tensor, pickled=None, compress=False, names=None,
             lengths=None, top=None):
    """Writes a pytorch_model.bin; `change` makes a tensor (storage, offset, size, stride) another."""
    tensors, data = {}, {}
    for number, (name, size) in enumerate(shapes()):
        key = str(number)
        data[key] = bytes(4 * numel(size))
        storage = _Storage(key, numel(size))
        tensors[name] = change(name, _Tensor(storage, 0, size, contiguous(size)))
    out = io.BytesIO()
    _Pickler(out, protocol=2).dump(top(tensors) if top else tensors)
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("archive/data.pkl", pickled if pickled is not None else out.getvalue())
        for key, values in data.items():
            if lengths:
                values = lengths(key, values)
            if values is not None:
                archive.writestr(f"archive/data/{(names or str)(key)}", values)
        archive.writestr("archive/version", "3\n")


WORDS = "bert.embeddings.word_embeddings.weight"


def tensor_with(**changes):
    """Changes the word embeddings' offset, size or stride."""
    def change(name, tensor):
        if name != WORDS:
            return tensor
        storage, offset, size, stride, *rest = tensor.args
        offset = changes.get("offset", offset)
        size, stride = changes.get("size", size), changes.get("stride", stride)
        if "numel" in changes:
            storage = _Storage(storage.pid[2], changes["numel"])
        if "kind" in changes:
            storage = _Storage(storage.pid[2], storage.pid[4], changes["kind"])
        return _Tensor(storage, offset, size, stride, changes.get("function", "_rebuild_tensor_v2"))
    return change


class _System:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def pickles():
    """(name, what writes pytorch_model.bin into a folder); all but the first are to be refused."""
    big = 1 << 62
    rows = json.loads((TINY / "config.json").read_text())["vocab_size"]
    width = json.loads((TINY / "config.json").read_text())["hidden_size"]
    for name, changes in [
        ("whole", {}),
        ("offset -5000", {"offset": -5000}),
        ("offset beyond", {"offset": 10_000}),
        ("offset 2^62", {"offset": big}),
        ("stride beyond", {"stride": (100_000, 1)}),
        ("stride negative", {"stride": (-width, 1)}),
        ("stride 2^62", {"stride": (big, 1)}),
        ("size 2^62", {"size": (big, 16), "stride": (0, 0)}),
        ("size negative", {"size": (-rows, -width)}),
        ("size wraps", {"size": (1 << 33, 1 << 31), "stride": (0, 0)}),
        ("size beyond", {"size": (rows * 100, width)}),
        ("strides too few", {"stride": (1,)}),
        ("a storage said to be larger", {"numel": 1 << 40}),
        ("a storage of an unknown kind", {"kind": "StrangeStorage"}),
        ("an unknown function", {"function": "_rebuild_evil"}),
    ]:
        yield f"pickle: {name}", lambda p, c=changes: bin_file(p, tensor_with(**c))
    deep = b"\x80\x02" + b"(" * 1_000_000 + b"l" * 1_000_000 + b"."
    lists = b"\x80\x02" + b"]" * 500_000 + b"a" * 499_999 + b"."
    tuples = b"\x80\x02)" + b"\x85" * 1_000_000 + b"."
    memo = b"\x80\x02]" + b"q\x00" + b"h\x00a" + b"."
    for name, bytes_ in [
        ("nested 10^6 deep", deep), ("lists 5*10^5 deep", lists), ("tuples 10^6 deep", tuples),
        ("a list in itself", memo), ("empty", b""), ("cut off", b"\x80\x02}q\x00("),
        ("no opcode", b"\x80\x02\xff."), ("pops nothing", b"\x80\x020."), ("a string of 4 GB", b"\x80\x02X\xff\xff\xff\xffabc."),
        ("an integer of 2 GB", b"\x80\x02\x8b\xff\xff\xff\x7fabc."), ("memo 2^32", b"\x80\x02]r\xff\xff\xff\xff."),
        ("memo that is not there", b"\x80\x02j\xff\xff\xff\x7f."), ("a number instead of tensors", b"\x80\x02K\x01."),
    ]:
        yield f"pickle: {name}", lambda p, b=bytes_: bin_file(p, pickled=b)
    yield "pickle: os.system", lambda p: bin_file(p, top=lambda t: dict(t, x=_System(p.parent / "pwned")))
    yield "pickle: compressed", lambda p: bin_file(p, compress=True)
    yield "pickle: a storage that is not there", lambda p: bin_file(p, lengths=lambda k, v: None if k == "0" else v)
    yield "pickle: a storage cut short", lambda p: bin_file(p, lengths=lambda k, v: v[:40] if k == "0" else v)
    yield "pickle: a name with ..", lambda p: bin_file(p, names=lambda k: "../" + k if k == "0" else k)
    yield "pickle: zip bomb", zip_bomb
    yield "pickle: zip without data.pkl", lambda p: zipfile.ZipFile(p, "w").writestr("x", "y")
    yield "pickle: no zip", lambda p: p.write_bytes(b"\x80\x02}q\x00." * 100)
    yield "pickle: zip of nothing", lambda p: zipfile.ZipFile(p, "w").close()

    def truncated(p):
        bin_file(p)
        p.write_bytes(p.read_bytes()[:-2000])
    yield "pickle: zip cut off", truncated

    def flipped(p):
        bin_file(p)
        raw = bytearray(p.read_bytes())
        at = raw.rfind(b"PK\x01\x02")
        raw[at + 42:at + 46] = b"\xff\xff\xff\x7f"
        p.write_bytes(raw)
    yield "pickle: zip with an offset outside", flipped


def zip_bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("archive/data.pkl", "w", force_zip64=True) as file:
            for _ in range(3000):
                file.write(bytes(1 << 20))


# --- safetensors ---------------------------------------------------------------------------------

def safetensors(path, change=lambda header: None, data=None, raw=None, extra=b""):
    header, blob = {}, b""
    for name, size in shapes():
        length = 4 * numel(size)
        header[name] = {"dtype": "F32", "shape": list(size), "data_offsets": [len(blob), len(blob) + length]}
        blob += bytes(length)
    header = change(header) or header
    text = raw if raw is not None else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + (blob if data is None else data) + extra)


def tensors():
    def entry(key, value):
        def change(header):
            header[WORDS][key] = value
        return change

    def twice(header):
        other = WORDS.removeprefix("bert.")
        header[other] = dict(header[WORDS])
        return header

    def lacks(header):
        del header[WORDS]

    end = sum(4 * numel(s) for _, s in shapes())
    for name, change in [
        ("offsets beyond", entry("data_offsets", [0, 1 << 40])),
        ("offsets swapped", entry("data_offsets", [100, 0])),
        ("offsets negative", entry("data_offsets", [-1, 100])),
        ("shape 2^62", entry("shape", [1 << 62, 16])),
        ("shape wraps", entry("shape", [1 << 33, 1 << 31])),
        ("shape negative", entry("shape", [-1, -1])),
        ("dtype unknown", entry("dtype", "F31")),
        ("dtype BOOL", entry("dtype", "BOOL")),
        ("the words by both names", twice),
        ("no words", lacks),
        ("a list", lambda h: [1]),
        ("nested", lambda h: None),
    ]:
        raw = b"[" * 1_000_000 + b"]" * 1_000_000 if name == "nested" else None
        yield f"safetensors: {name}", lambda p, c=change, r=raw: safetensors(p, c, raw=r)
    yield "safetensors: empty", lambda p: p.write_bytes(b"")
    yield "safetensors: 7 bytes", lambda p: p.write_bytes(b"1234567")
    yield "safetensors: a header of 2^63", lambda p: p.write_bytes(struct.pack("<Q", 1 << 63) + b"{}")
    yield "safetensors: a header of 1 GB", lambda p: p.write_bytes(struct.pack("<Q", 1 << 30) + b"{}")
    yield "safetensors: no JSON", lambda p: safetensors(p, raw=b"{" * 100)
    yield "safetensors: no UTF-8", lambda p: safetensors(p, raw=b"\xff\xfe" * 50)
    yield "safetensors: cut off", lambda p: safetensors(p, data=b"")
    yield "safetensors: more than its tensors", lambda p: safetensors(p, extra=b"more")

    def not_finite(p):
        safetensors(p)
        raw = p.read_bytes()
        p.write_bytes(raw[:-end] + struct.pack("<f", float("nan")) * (end // 4))
    yield "safetensors: not a number", not_finite


# --- the other files -----------------------------------------------------------------------------

def config_json():
    whole = json.loads((TINY / "config.json").read_text())
    for key, value in [
        ("hidden_size", 10 ** 9), ("hidden_size", 0), ("hidden_size", -64), ("vocab_size", -1),
        ("vocab_size", 1 << 62), ("max_position_embeddings", 10 ** 12), ("intermediate_size", 0),
        ("num_hidden_layers", -1), ("num_hidden_layers", 10 ** 6), ("num_hidden_layers", 1 << 63),
        ("num_hidden_layers", 2.5), ("num_attention_heads", 0), ("num_attention_heads", 3),
        ("type_vocab_size", 1), ("hidden_act", "swoosh"), ("hidden_dropout_prob", 2),
        ("hidden_dropout_prob", "NaN"), ("layer_norm_eps", 1), ("model_type", "gpt2"),
        ("model_type", ["bert"]), ("is_decoder", True), ("hidden_size", None),
        ("position_embedding_type", "relative_key"), ("vocab_size", 5),
    ]:
        text = json.dumps(dict(whole, **{key: value}))
        yield f"config.json: {key} {value}", {"config.json": text.encode()}
    for name, text in [
        ("empty", b""), ("no JSON", b"{hidden"), ("a list", b"[1, 2]"), ("null", b"null"),
        ("no UTF-8", b"\xff\xfe\x00"), ("nested 10^6 deep", b"[" * 10 ** 6),
        ("the same key twice", json.dumps(whole).encode().replace(b'{', b'{"hidden_size": 8, ', 1)),
        ("1e400", json.dumps(whole).encode().replace(b'{', b'{"initializer_range": 1e400, ', 1)),
    ]:
        yield f"config.json: {name}", {"config.json": text}


def vocabularies():
    words = (TINY / "vocab.txt").read_bytes()
    lines = words.splitlines(keepends=True)
    for name, text in [
        ("empty", b""), ("no [UNK]", words.replace(b"[UNK]", b"unk")), ("no [CLS]", words.replace(b"[CLS]", b"cls")),
        ("cut in half", b"".join(lines[: len(lines) // 2])), ("doubled", words + words),
        ("a blank line", b"".join(lines[:6]) + b"\n" + b"".join(lines[6:])),
        ("no UTF-8", b"\xff" + words), ("NUL bytes", words + b"\0\0\n"), ("one word more", words + b"more\n"),
        ("shuffled", b"".join(sorted(lines, reverse=True))),
    ]:
        yield f"vocab.txt: {name}", {"vocab.txt": text}
    yield "vocab.txt: 10^7 lines", {"vocab.txt": many_words}
    yield "vocab.txt: a line of 10^8", {"vocab.txt": long_word}
    for name, text in [
        ("empty", b""), ("no JSON", b"{"), ("a list", b"[]"), ("nested 10^6 deep", b'{"a":' * 10 ** 6),
        ("no model", b"{}"), ("BPE", b'{"model": {"type": "BPE", "vocab": {}, "merges": []}}'),
        ("ids 2^63", b'{"model": {"type": "WordPiece", "unk_token": "[UNK]", "vocab": {"[UNK]": 9223372036854775808}}}'),
        ("negative ids", b'{"model": {"type": "WordPiece", "unk_token": "[UNK]", "vocab": {"[UNK]": -1}}}'),
        ("a vocabulary of numbers", b'{"model": {"type": "WordPiece", "vocab": 5}}'),
        ("added tokens that are numbers", b'{"added_tokens": [1, 2], "model": {"type": "WordPiece", "vocab": {"[UNK]": 0}}}'),
    ]:
        yield f"tokenizer.json: {name}", {"tokenizer.json": text}
    for name, text in [
        ("no JSON", b"{"), ("a list", b"[]"), ("lower case 5", b'{"do_lower_case": 5}'),
        ("another class", b'{"tokenizer_class": "GPT2Tokenizer"}'), ("pad token 7", b'{"pad_token": 7}'),
    ]:
        yield f"tokenizer_config.json: {name}", {"tokenizer_config.json": text}
    yield "added_tokens.json: ids far away", {"added_tokens.json": b'{"far": 4000000000}'}
    yield "added_tokens.json: negative", {"added_tokens.json": b'{"far": -7}'}


# Piece by piece: what this process has in memory would count as covalign's.

def many_words(path):
    with path.open("wb") as file:
        for start in range(0, 10 ** 7, 10 ** 5):
            file.write(b"".join(b"w%d\n" % n for n in range(start, start + 10 ** 5)))


def long_word(path):
    with path.open("wb") as file:
        for _ in range(100):
            file.write(b"x" * 10 ** 6)


def rows():
    """(name, train.tsv)"""
    head = b"sentence\tlabel\n"
    good = b"".join(b"a fine film %d\t%d\n" % (n, n % 2) for n in range(20))
    yield "rows: empty file", b""
    yield "rows: header alone", head
    yield "rows: no UTF-8", head + b"caf\xe9\t1\n" + good
    yield "rows: NUL", head + b"a\0b\t1\n" + good
    yield "rows: unknown label", head + good + b"x\t7\n"
    yield "rows: label 2^64", head + good + b"x\t18446744073709551616\n"
    yield "rows: a field too few", head + good + b"alone\n"
    yield "rows: a field too many", head + good + b"a\tb\t1\n"
    yield "rows: no label column", b"sentence\tlable\n" + good
    yield "rows: two label columns", b"sentence\tlabel\tlabel\n" + b"x\t1\t0\n"
    yield "rows: UTF-16", (head + good).decode().encode("utf-16")
    yield "rows: a line of 50 MB", head + b"word " * 10 ** 7 + b"\t1\n" + good
    yield "rows: lone carriage returns", (head + good).replace(b"\n", b"\r")
    yield "rows: one label alone", head + good.replace(b"\t0\n", b"\t1\n")
    yield "rows: gzip", bytes.fromhex("1f8b0800000000000003") + good


def tasks():
    """(name, task file)"""
    def swap(old, new):
        assert old in TASK
        return TASK.replace(old, new)
    yield "task: empty", ""
    yield "task: nested 10^5 deep", "labels: " + "[" * 10 ** 5
    yield "task: flow maps 10^5 deep", "labels: " + "{a: " * 10 ** 5
    yield "task: blocks 10^4 deep", "\n".join(" " * n + "a:" for n in range(10 ** 4))
    yield "task: aliases", "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)) + TASK
    yield "task: 10^6 labels", swap("[0, 1]", str([str(n) for n in range(10 ** 6)]))
    yield "task: no labels", swap("[0, 1]", "[]")
    yield "task: one label", swap("[0, 1]", "[0]")
    yield "task: the same label twice", swap("[0, 1]", "[0, 0]")
    yield "task: min above max", swap("[0, 1]", "{min: 5, max: 1}")
    yield "task: min not a number", swap("[0, 1]", "{min: .nan, max: 1}")
    yield "task: max infinite", swap("[0, 1]", "{min: 0, max: .inf}")
    yield "task: an unknown metric", swap("accuracy", "acuracy")
    yield "task: no metrics", swap("[accuracy]", "[]")
    yield "task: folder ../..", swap("DemoSentiment", "../../../../../../../../../etc")
    yield "task: a file with ..", swap("train.tsv", "../../../../../../../etc/passwd")
    yield "task: name ..", "name: ..\n" + TASK
    yield "task: name /tmp/x", "name: /tmp/x\n" + TASK
    yield "task: a tag", "name: !!python/object/apply:os.system ['touch pwned']\n" + TASK
    yield "task: a binary name", "name: !!binary aGFsbG8=\n" + TASK
    yield "task: two documents", TASK + "---\n" + TASK
    yield "task: a key twice", TASK + "labels: [0, 1]\n"
    yield "task: an unknown key", TASK + "colour: red\n"
    yield "task: dev is train's file", swap("dev: dev.tsv", "dev: train.tsv")
    yield "task: a device", swap("train.tsv", "/dev/zero")
    yield "task: a pipe", swap("train.tsv", "/dev/stdin")


def settings():
    """(name, --set …)"""
    for item in [
        "training.learning_rate=1e38", "training.learning_rate=-1", "training.learning_rate=.nan",
        "training.learning_rate=.inf", "training.learning_rate=0", "training.threads=2147483648",
        "training.threads=4294967297", "training.threads=-1", "training.threads=1000000",
        "training.accumulate=1000000", "training.accumulate=0", "training.batch_size=0",
        "training.batch_size=9223372036854775807", "training.max_length=9223372036854775807",
        "training.max_length=0", "training.max_length=2", "training.epochs=1e300", "training.epochs=-1",
        "training.epochs=0", "training.max_steps=0", "training.warmup=2", "training.dropout=1",
        "training.precision=fp17", "training.device=cuda:99", "training.device=tpu", "training.seed=-1",
        "training.seed=18446744073709551616", "training.weight_decay=-1", "training.adam_beta1=1",
        "training.clip_norm=-1", "training.adam_eps=0", "training.layer_decay=1e-300",
        "training.batch_tokens=1", "training.batch_tokens=18446744073709551615",
        "alignment.rank=1000000", "alignment.rank=0", "alignment.learning_rate=1e300x",
        "sampling.temperature=0", "sampling.strategy=best", "sampling.length_window=18446744073709551615",
        "evaluation.every=0 steps", "evaluation.every=1e300 epochs", "evaluation.every=never",
        "evaluation.batch_size=0", "evaluation.batch_size=1000000000000", "checkpoints.keep=0",
        "checkpoints.keep=18446744073709551615", "checkpoints.every=1e-30 epochs", "tasks=[]",
        "tasks=[DemoSentiment, DemoSentiment]", "tasks=[Nothing]", "tasks=[../../etc/passwd]", "data=nowhere",
        "data=/dev/null", "encoder=nowhere", "encoder=/dev/null", "encoder=", "encoder={kind: lstm, width: -1}",
        "encoder={kind: lstm, width: 1000000000, embeddings: all-MiniLM-L6-v2}",
        "encoder={kind: lstm, layers: 1000000, embeddings: all-MiniLM-L6-v2}",
        "encoder={kind: cnn, windows: [0], embeddings: all-MiniLM-L6-v2}",
        "encoder={kind: cnn, windows: [1000000000], embeddings: all-MiniLM-L6-v2}",
        "method=aligned2", "method=[", "=", "training", "training.seed.x=1", "a.b.c.d=1",
        "training={", "start.run=nowhere", "label_noise={DemoSentiment: 2}", "turned={DemoSentiment: .nan}",
        "x" * 100_000 + "=1", "training.seed=" + "[" * 100_000,
    ]:
        yield f"--set {item[:70]}", item


HARMLESS = {
    # What stands in an archive or a file beside what is read.
    "pickle: whole", "pickle: zip with an offset outside", "tokenizer.json: no model",
    # JSON's last value counts, as in transformers.
    "config.json: the same key twice",
    # Another order of words is another vocabulary, whose weights nobody can tell apart.
    "vocab.txt: shuffled", "vocab.txt: cut in half",
    # Said by `data check --overlaps`.
    "task: dev is train's file",
    # Long, or of one label, but right.
    "rows: a line of 50 MB", "rows: one label alone",
    # Large, but bounded by the data.
    "--set training.epochs=1e300", "--set training.layer_decay=1e-300",
    "--set alignment.rank=1000000", "--set evaluation.every=1e300 epochs",
    "--set checkpoints.keep=18446744073709551615", "--set checkpoints.every=1e-30 epochs",
    "--set training.weight_decay=-1", "--set sampling.temperature=0", "--set alignment.learning_rate=1e300x",
}
"""What may be accepted, and why."""


def encoder(folder, files):
    """The tiny BERT with other files."""
    shutil.copytree(TINY, folder, ignore=shutil.ignore_patterns("expected.json"))
    for name, content in files.items():
        if callable(content):
            if name == "model.safetensors":
                (folder / "pytorch_model.bin").unlink()
            content(folder / name)
        else:
            (folder / name).write_bytes(content)
