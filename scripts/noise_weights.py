#!/usr/bin/env python3
"""Does noise in a label lower its weight? `covalign reweight` on clean and on noisy labels.

    python3 scripts/noise_weights.py --data data/sentiment [--binary target/release/covalign]

The fifteen pairs of questions and the noise of configs/suites/questions-noise.yaml, four seeds: in how many
cases the noisy label weighs less than without its noise, and the mean change with p over the pairs. Run it in
the project's folder; needs scipy.
"""

import argparse
import itertools
import json
import statistics
import subprocess

from paired_suites import interval

MODULE = "{kind: lstm, width: 50, pool: max, embeddings: all-MiniLM-L6-v2}"


def weight(args, task, label, seed, noise):
    command = [args.binary, "reweight", "configs/words-small.yaml", "--json"]
    name = f"{task}/{label}"
    for key, value in {
        "encoder": MODULE,
        "data": args.data,
        "tasks": f"[configs/questions/{task}.yaml]",
        "method": "multitask",
        "training.seed": seed,
        "training.threads": 1,
        "label_noise": f"{{{name}: {noise}}}",
    }.items():
        command += ["--set", f"{key}={value}"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(told)["objectives"][name]["weight"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--binary", default="target/release/covalign")
    args = parser.parse_args()
    changes = []
    for a, b in itertools.combinations(range(6), 2):
        label = a if (a + b) % 2 else b
        changes.append([])
        for seed in range(1, 5):
            clean, noisy = (weight(args, f"Q{a}{b}", label, seed, noise) for noise in (0, 0.2))
            changes[-1].append(noisy - clean)
    cases = [change for pair in changes for change in pair]
    mean, half, p = interval([statistics.mean(pair) for pair in changes])
    less = sum(change < 0 for change in cases)
    print(f"less in {less} of {len(cases)} cases; mean change {mean:+.3f} ±{half:.3f}, p {p:.3f} over pairs")


if __name__ == "__main__":
    main()
