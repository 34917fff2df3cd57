#!/usr/bin/env bash
# What only a GPU shows, in one call of under eight minutes: scores by precision, speed beside
# PyTorch + transformers on the same card, utilisation at 64 dense rows of 128 tokens, memory with
# gradient checkpointing, and a profile with the calls in it that wait for the device.
#
#   scripts/gpu_report.sh GLUE ENCODER OUT
#
# GLUE holds CoLA, MRPC and RTE; ENCODER is a small BERT (all-MiniLM-L6-v2) for the scores, whose
# vocabulary the large one with random weights takes too. Variables: COVALIGN (the binary), PYTHON
# (with torch and transformers), DEVICE (cuda; cpu for a rehearsal), SHAPE (a config.json), ROWS.
set -euo pipefail
[ $# = 3 ] || { sed -n '6,10p' "$0"; exit 2; }
glue=$(realpath "$1") small=$(realpath "$2")
mkdir -p "$3" && out=$(realpath "$3")
root=$(cd "$(dirname "$0")/.." && pwd)
covalign=${COVALIGN:-$root/target/release/covalign}
python=${PYTHON:-python3} device=${DEVICE:-cuda} rows=${ROWS:-1600}
shape=${SHAPE:-$root/configs/encoders/bert-large-uncased.json}
title() { printf '\n== %s (%s s)\n' "$1" "$SECONDS"; }

title 'The machine'
"$covalign" doctor || true

title "Dev scores of one epoch of MRPC by precision, $small"
printf 'encoder: %s\ndata: %s\ntasks: [MRPC]\nmethod: multitask\n' "$small" "$glue" > "$out/small.yaml"
for precision in fp32 tf32 bf16 fp16; do
  [ "$device" = cpu ] && [ $precision != fp32 ] && continue
  rm -rf "$out/$precision"
  "$covalign" train "$out/small.yaml" --out "$out/$precision" --set training.precision=$precision \
    --set training.epochs=1 --set training.learning_rate=5e-5 --set training.max_train_rows=$rows \
    --set training.device=$device --set checkpoints.after=nothing 2> "$out/train.log" |
    grep -E 'MRPC|steps in' || { cat "$out/train.log"; exit 1; }
done

large=$out/large
[ -d "$large" ] || "$covalign" encoder init "$large" --config "$shape" --vocabulary "$small"

title "Beside transformers, $shape, bf16, batch 32"
precision=bf16
[ "$device" = cpu ] && precision=fp32
"$python" "$root/scripts/bench_vs_transformers.py" --data "$glue" --encoder "$large" \
  --tasks CoLA,RTE --rows "$rows" --rounds 1 --precisions $precision --device "$device" \
  --contestants "$([ "$device" = cpu ] && echo covalign,best || echo covalign,best,compiled)" \
  --covalign "$covalign" --out "$out/beside.jsonl"

title '64 dense rows of 128 tokens'
mkdir -p "$out/dense/Dense"
"$python" - "$out/dense" <<'PY'
import pathlib, sys
folder = pathlib.Path(sys.argv[1])
words = "the film is good and never dull but long".split()
lines = [" ".join(words[(i * 7 + j * j) % 9] for j in range(200)) + f"\t{i % 2}" for i in range(2048)]
for split in ("train", "dev"):
    (folder / "Dense" / f"{split}.tsv").write_text("\n".join(["text\tlabel", *lines]) + "\n")
(folder / "Dense.yaml").write_text(
    "labels: ['0', '1']\nmetrics: [accuracy]\nlayout: {text: text, label: label}\n"
    "files: {train: train.tsv, dev: dev.tsv}\n")
(folder / "dense.yaml").write_text(
    f"encoder: {folder.parent / 'large'}\ndata: {folder}\ntasks: [{folder / 'Dense.yaml'}]\n")
PY
dense() {
  "$covalign" bench "$out/dense/dense.yaml" --warm-up 5 --set training.device=$device \
    --set training.precision=$precision --set training.batch_size="$1" "${@:2}"
}
steps=$([ "$device" = cpu ] && echo 2 || echo 20)
dense 64 --steps "$steps"

title '32 dense rows of 128 tokens with gradient checkpointing'
dense 32 --steps "$steps" --set training.gradient_checkpointing=true

title 'A profile of five steps, and what in them waits for the device'
dense 32 --steps 2 --profile "$out/trace.json" > /dev/null
"$python" - "$out/trace.json" <<'PY'
import collections, json, sys
events = [e for e in json.load(open(sys.argv[1]))["traceEvents"] if e.get("ph") == "X"]
# A copy waits where it is not asynchronous, or where the host's side is not page-locked.
waits = ("Synchronize", "aten::item", "_local_scalar_dense", "Pageable")
count = collections.Counter(
    e["name"] for e in events if any(w in e["name"] for w in waits) or e["name"] == "cudaMemcpy"
)
launches = sum("Launch" in e["name"] for e in events if e.get("cat", "").startswith("cuda_"))
kernels = collections.Counter()
ran = [e for e in events if e.get("cat") == "kernel"]
for e in ran:
    kernels[e["name"][:80]] += e["dur"]
print(f"{launches / 5:.0f} launches and {len(ran) / 5:.0f} kernels a step, the device busy for "
      f"{sum(e['dur'] for e in ran) / 5000:.2f} ms of it")
print(f"waiting calls in five steps and the one at their end: {dict(count) or 'none'}")
for name, time in kernels.most_common(12):
    print(f"{time / 5000:9.2f} ms a step  {name}")
PY
title 'The end'
