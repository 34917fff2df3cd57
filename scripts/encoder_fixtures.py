"""Writes what tests/encoder.rs compares with: outputs of transformers' BertModel.

    python3 -m venv venv && venv/bin/pip install torch==2.11.0 transformers safetensors
    venv/bin/python scripts/encoder_fixtures.py ENCODER_DIR tests/fixtures

ENCODER_DIR is all-MiniLM-L6-v2 as `make setup` installs it. Two fixtures:

- minilm.json: token ids and the pooled output of four sentences.
- legacy-bert/: a random two-layer BERT with a cased vocabulary as old checkpoints were saved:
  pytorch_model.bin, names with the prefix `bert.`, LayerNorm's gamma and beta, another task's head,
  with its pooled outputs in expected.json.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoTokenizer, BertConfig, BertModel

TEXTS = [
    ["A fine film.", None],
    ["The cat sat on the mat.", "The mat was sat on by a cat, they said."],
    ["unaffable naïveté", "日本"],
    ["Short", None],
]


def pooled(model, rows):
    width = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([i + [0] * (width - len(i)) for i, _ in rows])
    segments = torch.tensor([s + [0] * (width - len(s)) for _, s in rows])
    mask = torch.tensor([[1] * len(i) + [0] * (width - len(i)) for i, _ in rows])
    with torch.no_grad():
        out = model(input_ids=ids, token_type_ids=segments, attention_mask=mask)
    return out.pooler_output.tolist()


def record(model, rows):
    return {
        "rows": [{"ids": i, "second_segment_at": s.index(1) if 1 in s else len(i)} for i, s in rows],
        "pooled": pooled(model, rows),
    }


def main():
    encoder, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    rows = []
    for a, b in TEXTS:
        row = tokenizer(a, b) if b else tokenizer(a)
        rows.append((row["input_ids"], row["token_type_ids"]))
    model = BertModel.from_pretrained(encoder).eval()
    (out / "minilm.json").write_text(json.dumps(record(model, rows)))

    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "A", "a", "Fine", "fine", "film", "##s", "."]
    config = BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=16, hidden_dropout_prob=0.1,
    )
    model = BertModel(config).eval()
    folder = out / "legacy-bert"
    folder.mkdir(exist_ok=True)
    state = {}
    for name, tensor in model.state_dict().items():
        # Away from the start, where biases are 0 and LayerNorms 1.
        if tensor.is_floating_point():
            tensor += 0.1 * torch.randn(tensor.shape)
        old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        state["bert." + old] = tensor
    model.load_state_dict(model.state_dict())
    state["cls.predictions.bias"] = torch.zeros(len(words))
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}\n')
    shape = {key: getattr(config, key) for key in (
        "attention_probs_dropout_prob", "hidden_act", "hidden_dropout_prob", "hidden_size",
        "initializer_range", "intermediate_size", "layer_norm_eps", "max_position_embeddings",
        "model_type", "num_attention_heads", "num_hidden_layers", "type_vocab_size", "vocab_size")}
    (folder / "config.json").write_text(json.dumps(shape, indent=1) + "\n")
    rows = [([2, 5, 8, 9, 10, 11, 3], [0] * 7), ([2, 6, 9, 3, 7, 9, 3], [0, 0, 0, 0, 1, 1, 1]), ([2, 9, 3], [0] * 3)]
    (folder / "expected.json").write_text(json.dumps(record(model, rows)))


main()
