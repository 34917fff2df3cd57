#!/usr/bin/env python3
"""Token ids by transformers of tokenizers that are not plain BERT's, for tests/tokenizer.rs.

    tokenizer_cases.py ENCODER_DIR tests/fixtures/tokenizer_cases.json

needs `pip install transformers` (5.24 made the file that is there). ENCODER_DIR is all-MiniLM-L6-v2,
whose vocab.txt and tokenizer.json some cases use (`encoder` lists them; `append` are tokens that are
added to its tokenizer.json).
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer

TEXTS = ["the film was good. ok! :)", "Bad, film", "A fine LOVELY meal was bad", "ok! good.", "the trip"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROWS = [
    ("the film was good. ok! :)", None, 64), ("Bad, film", "ok! good.", 64), ("", None, 64), ("", "", 64),
    ("[MASK] film [SEP]good. caf\u00e9 \u5317\u4eac \U0001f600 [mask]", "  the\tlovely\n trip ", 64),
    ("the film was good and the meal was bad", "an awful trip, a lovely film", 9), ("the film was good", None, 4),
]
NAMED = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
VOCABULARY = [*SPECIAL, "A", "a", "\u00e9", "e", "film", "##s", "good", "."]


def trained(model, trainer, pre, normalizer=None, processor=None):
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.post_processor = processor or processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    return json.loads(tokenizer.to_str())


def of_file(full, **config):
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **NAMED, **config}
    return {"files": {"tokenizer.json": full, "tokenizer_config.json": config}}


def words(lines, **files):
    files = {name.replace("__", "."): value for name, value in files.items()}
    return {"files": {"vocab.txt": "".join(line + "\n" for line in lines), **files}}


def token(content, special, **flags):
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": not special, **flags}
    return {"content": content, "special": special, **flags}


def cases():
    meta = pre_tokenizers.Metaspace()
    template = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    bpe = trained(models.BPE(unk_token="[UNK]"), trainers.BpeTrainer(vocab_size=60, special_tokens=SPECIAL), meta)
    bytes_ = trained(models.BPE(), trainers.BpeTrainer(vocab_size=300, special_tokens=SPECIAL,
                     initial_alphabet=pre_tokenizers.ByteLevel.alphabet()),
                     pre_tokenizers.ByteLevel(), normalizers.NFC(), template)
    level = trained(models.WordLevel(unk_token="[UNK]"), trainers.WordLevelTrainer(special_tokens=SPECIAL),
                    pre_tokenizers.WhitespaceSplit())
    unigram = trained(models.Unigram(), trainers.UnigramTrainer(vocab_size=40, special_tokens=SPECIAL, unk_token="[UNK]"),
                      meta, normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]))
    space = trained(models.WordPiece(unk_token="[UNK]"), trainers.WordPieceTrainer(vocab_size=50, special_tokens=SPECIAL),
                    pre_tokenizers.WhitespaceSplit())
    plain = trained(models.WordPiece(unk_token="[UNK]"), trainers.WordPieceTrainer(vocab_size=50, special_tokens=SPECIAL),
                    pre_tokenizers.BertPreTokenizer(), normalizers.BertNormalizer(lowercase=False), None)
    added = [("[E1] Berlin [/E1] is a covfefe town", None, 64), ("Covfefe [e1]x[E1]y", "plain text [/E1]", 64),
             ("a covfefe covfefes town", "[E1] covfefe [/E1] [E1] covfefe", 8)]
    old = {"[E1]": 30522, "[/E1]": 30523, "covfefe": 30524}
    decoder = {"13": token("zoo", False, single_word=True), "14": token("<x>", True, lstrip=True, rstrip=True)}
    own = [("A zoo zooa <x>  good", "a \u00e9 films[MASK]", 64), ("A films good zoo A . a", "good a . . A films e zoo", 9)]
    bert = {"do_lower_case": False, "tokenizer_class": "BertTokenizer"}
    yield "added tokens as they used to be saved", added, {"encoder": ["vocab.txt"], **{"files": {
        "added_tokens.json": old, "tokenizer_config.json": {"do_lower_case": True, "tokenizer_class": "BertTokenizer"},
        "special_tokens_map.json": {"additional_special_tokens": ["[E1]", "[/E1]"], **NAMED}}}}
    yield "added tokens as they are saved today", added, {
        "encoder": ["tokenizer.json"],
        "append": [{"id": i, **token(t, t != "covfefe")} for t, i in old.items()],
        "files": {"tokenizer_config.json": {"do_lower_case": True, "tokenizer_class": "BertTokenizer",
                                            "extra_special_tokens": ["[E1]", "[/E1]"]}}}
    chinese = [("\u5317\u4eac\u4eba is \u5927", None, 64), ("x\u5927y", "\u4eba\u4eba", 64)]
    for name in (["vocab.txt"], ["vocab.txt", "tokenizer.json"]):
        yield f"Chinese characters not set apart, {' and '.join(name)}", chinese, {"encoder": name, "files": {
            "tokenizer_config.json": {"do_lower_case": True, "tokenize_chinese_chars": False}}}
    yield "BPE", ROWS, of_file(bpe)
    yield "BPE cut on the left", ROWS, of_file(bpe, truncation_side="left")
    yield "byte BPE with another template", ROWS, of_file(bytes_)
    yield "WordLevel", ROWS, of_file(level)
    yield "Unigram with a normalizer", ROWS, of_file(unigram)
    yield "WordPiece over white space", ROWS, of_file(space)
    yield "WordPiece over white space, special tokens as text", ROWS, of_file(space, split_special_tokens=True)
    yield "plain BERT as a file", ROWS, of_file(plain)
    yield "tokens in the config", own, words(VOCABULARY, tokenizer_config__json={**bert, "added_tokens_decoder": decoder})
    yield "tokens by name", own, words(VOCABULARY, tokenizer_config__json={
        **bert, "topic_token": "zoo", "extra_special_tokens": ["<x>"]})
    yield "a mask that takes the space before it", own, words(VOCABULARY, tokenizer_config__json=bert,
        special_tokens_map__json={"mask_token": token("[MASK]", True, lstrip=True)})
    yield "BERT cut on the left", own, words(VOCABULARY, tokenizer_config__json={**bert, "truncation_side": "left"})
    yield "BERT without segments", own, words(VOCABULARY, tokenizer_config__json={
        **bert, "model_input_names": ["input_ids", "attention_mask"]})
    yield "DistilBERT's", own, words(VOCABULARY, tokenizer_config__json={**bert, "tokenizer_class": "DistilBertTokenizer"})
    yield "special tokens of other names", [("A <unk> films x", "<s> [MASK]", 64)], words(
        ["<pad>", "<unk>", "<s>", "</s>", "<mask>", *VOCABULARY[5:]], tokenizer_config__json={
            **bert, "pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"})


def main():
    encoder, out = map(Path, sys.argv[1:])
    found = []
    for name, rows, case in cases():
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            (folder / "config.json").write_text('{"model_type": "bert"}')
            for file in case.get("encoder", []):
                shutil.copy(encoder / file, folder / file)
            if "append" in case:
                full = json.loads((folder / "tokenizer.json").read_text())
                full["added_tokens"] += case["append"]
                (folder / "tokenizer.json").write_text(json.dumps(full))
            for file, value in case["files"].items():
                (folder / file).write_text(value if isinstance(value, str) else json.dumps(value))
            tokenizer = AutoTokenizer.from_pretrained(folder)
            # transformers 4 gives segments where a file's tokenizer does not list its inputs, 5 does not.
            config = case["files"]["tokenizer_config.json"]
            listed = "model_input_names" in config or "DistilBert" in config.get("tokenizer_class", "")
            encoded = []
            for a, b, most in rows:
                # A single call would take an empty second text for none.
                row = tokenizer([a], None if b is None else [b], truncation=True, max_length=most,
                                return_token_type_ids=None if listed else True)
                ids, types = row["input_ids"][0], row.get("token_type_ids", [[]])[0]
                encoded.append({"a": a, "b": b, "max_length": most, "ids": ids,
                                "second_segment_at": types.index(1) if 1 in types else len(ids)})
            found.append({"name": name, **case, "pad": tokenizer.pad_token_id, "rows": encoded})
    lines = ",\n".join(json.dumps(case) for case in found)
    out.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
