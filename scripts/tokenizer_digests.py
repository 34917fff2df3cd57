#!/usr/bin/env python3
"""Token ids by transformers, for tests/tokenizer.rs to compare with.

    tokenizer_digests.py ENCODER_DIR DATA_DIR tests/fixtures

needs `pip install transformers`. DATA_DIR holds glue/ and sentiment/. Writes, into the fixtures
folder, tokenizer_digests.json (a SHA-256 per file, vocabulary and maximum length over the ids of
its rows), cased/ (a small cased vocabulary) and awkward.json (awkward texts with their ids).
"""

import hashlib
import json
import string
import struct
import sys
from pathlib import Path

from transformers import BertTokenizer

# file: text columns, header or not; LABEL TEXT lines have none
GLUE = {
    "CoLA": {"train": (3, None, False), "dev": (3, None, False), "test": (1, None, True)},
    "SST-2": {"train": (0, None, True), "dev": (0, None, True), "test": (1, None, True)},
    "MRPC": {s: (3, 4, True) for s in ("train", "dev", "test")},
    "STS-B": {s: (7, 8, True) for s in ("train", "dev", "test")},
    **{t: {s: (1, 2, True) for s in ("train", "dev", "test")} for t in ("QNLI", "RTE", "WNLI")},
    "AX": {"diagnostic": (1, 2, True)},
}
SENTIMENT = {
    "rt-polarity.all": "cp1252", "custrev.all": "ascii", "subj.all": "cp1252", "mpqa.all": "ascii",
    "stsa.binary.train": "utf-8", "stsa.binary.dev": "utf-8", "stsa.binary.test": "utf-8",
    "TREC.train.all": "cp1252", "TREC.test.all": "cp1252",
}
AWKWARD = [
    "", " ", "\t", "a\tb\u00a0c\u2003d\u3000e", "caf\u00e9 cafe\u0301 \u00c5ngstr\u00f6m A\u030a",
    "\u6f22\u5b57\u304b\u306a\u30ab\u30ca \ud55c\uad6d\uc5b4 x\u4e00y", "I \u2764\ufe0f \U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467!",
    "wait\u2026what \u2014 \u201cquoted\u201d \u2018it\u2019s\u2019", "a\u0085\u0085 b", "a\x01b\x1fc\x7fd\x0be\x0cf",
    "zero\u200bwidth\u200cjoin\u200der\ufeff soft\u00adhyphen", "the [MASK] sat on[MASK]the [mask] [SEP] [CLS][PAD] [UNK]",
    "[MA\u200bSK] [[MASK]] [MASK", "x" * 99, "x" * 100, "x" * 101, "\u00e9" * 101, "e\u0301" * 60,
    "\u0130stanbul I\u0307stanbul \u0131s\u0131k", "Stra\u00dfe STRASSE \u1e9e", "\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2 \u03a3\u0399\u03a3\u03a5\u03a6\u039f\u03a3",
    "a\u2260b a\u037eb \u1fef", "\ufb01ne \u2460 \u00bd \u00b2 \u2122", "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22 \u0939\u093f\u0928\u094d\u0926\u0940 \u05e2\u05b4\u05d1\u05e8\u05b4\u05d9\u05ea \u0627\u0644\u0639\u0631\u0628\u064a\u0629",
    "\ufffd bad \ue000 private \U000e0041 tag \U000f0000", "$5.00, 50%! #tag @user e-mail: a@b.c https://x.y/z?q=1&r=2",
    "don't can't I'm ``quoted'' -- ---", "\U0002b820\U0002b8ff\U0002b920 \u2f9f4 \uf900", "1,234.56 \u0661\u0662\u0663 \uff11\uff12 \uff21\uff22", "\u2028line\u2029para\u1680og\u180emn",
    "\u1ebc\u0303 \u01d5 \u1e69 \uac00\u11a8", "`~!@#$%^&*()_+-={}|[]\\:\";'<>?,./", "unaffable Unaffable UNAFFABLE",
]


def rows(data, folder, name):
    if folder == "sentiment":
        text = (data / folder / name).read_bytes().decode(SENTIMENT[name])
        lines = [line.removesuffix("\r") for line in text.split("\n")]
        return [line.partition(" ")[2] for line in lines if line], None
    task, file = name.split("/")
    a, b, header = GLUE[task][file.removesuffix(".tsv")]
    text = (data / folder / name).read_bytes().decode("utf-8-sig")
    lines = [line.removesuffix("\r").split("\t") for line in text.split("\n") if line][int(header):]
    return [r[a] for r in lines], None if b is None else [r[b] for r in lines]


def encode(tokenizer, a, b, max_length):
    out = tokenizer(a, b, truncation=True, max_length=max_length)
    segments = (s.index(1) if 1 in s else len(s) for s in out["token_type_ids"])
    return list(zip(out["input_ids"], segments))


def digest(encoded):
    sha = hashlib.sha256()
    for ids, second in encoded:
        sha.update(struct.pack(f"<{len(ids) + 2}i", *ids, -1, second))
    return sha.hexdigest()


def write_cased(folder, texts):
    """A cased vocabulary of single characters and the commonest words of `texts`."""
    counts = {}
    for text in texts:
        for word in text.split():
            if word.isascii() and word.isalpha():
                counts[word] = counts.get(word, 0) + 1
    words = sorted(counts, key=lambda w: (-counts[w], w))
    words = [w for w in words if len(w) > 1][:600]
    letters = list(string.ascii_letters + string.digits + "\u00e9\u00df\u0130\u03a3\u4e00")
    marks = list(string.punctuation + "\u2014\u2018\u2019\u2026")
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *marks, *letters]
    # "##s" comes with the endings: a vocabulary has no token twice.
    parts = ["[unused1]" if c == "s" else f"##{c}" for c in letters]
    tokens += parts + ["##\u0301", "##\u0307"] + words
    tokens += ["##ing", "##ed", "##s", "##er", "##tion", "##ly"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    config = {"do_lower_case": False, "tokenizer_class": "BertTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config) + "\n")


def main():
    encoder, data, fixtures = map(Path, sys.argv[1:])
    names = [("glue", f"{t}/{f}.tsv") for t, files in GLUE.items() for f in files]
    names += [("sentiment", name) for name in SENTIMENT]
    read = {f"{folder}/{name}": rows(data, folder, name) for folder, name in names}
    write_cased(fixtures / "cased", read["glue/MRPC/train.tsv"][0])
    tokenizers = {
        "uncased": BertTokenizer.from_pretrained(encoder),
        "cased": BertTokenizer.from_pretrained(fixtures / "cased"),
    }
    digests = {}
    for vocabulary, tokenizer in tokenizers.items():
        for name, (a, b) in read.items():
            entry = digests.setdefault(name, {"rows": len(a)})
            entry[vocabulary] = {n: digest(encode(tokenizer, a, b, n)) for n in (32, 128)}
    (fixtures / "tokenizer_digests.json").write_text(json.dumps(digests, indent=1) + "\n")
    awkward = []
    for i, a in enumerate(AWKWARD):
        for b in (None, AWKWARD[-1 - i]):
            ids = {v: encode(t, [a], None if b is None else [b], 40)[0][0] for v, t in tokenizers.items()}
            awkward.append({"a": a, "b": b, **ids})
    lines = ",\n".join(json.dumps(entry) for entry in awkward)
    (fixtures / "awkward.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
