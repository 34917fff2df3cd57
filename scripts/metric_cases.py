#!/usr/bin/env python3
"""Write tests/fixtures/metrics.json: what scikit-learn and scipy say of thousands of random cases.

A case is [seed, rows, classes, kind, expected...]. The labels and predictions are not stored: both
sides draw them from the same generator (Knuth's MMIX LCG, its top 31 bits), see `classes` and
`values` here and in tests/metrics.rs. An expected null is a NaN.
"""

import json
import math
import sys
import warnings
from pathlib import Path

from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    matthews_corrcoef,
    mean_squared_error,
    roc_auc_score,
)

CLASS_KINDS = ["random", "mostly_right", "constant_predictions", "constant_labels", "all_constant"]
LABEL_KINDS = ["random", "ranked", "ties", "rare", "constant"]
VALUE_KINDS = ["random", "correlated", "ties", "constant_predictions", "constant_labels", "opposite"]
SIZES = [1, 2, 3, 5, 10, 30, 100, 300]


class Lcg:
    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return self.state >> 33

    def below(self, n):
        return self.next() % n

    def unit(self):
        return self.next() / 2**31


def classes(seed, rows, count, kind):
    rng = Lcg(seed)
    constant = [rng.below(count), rng.below(count)]
    predicted, gold = [], []
    for _ in range(rows):
        g, p, right = rng.below(count), rng.below(count), rng.below(10) < 8
        if kind == "mostly_right" and right:
            p = g
        if kind in ("constant_predictions", "all_constant"):
            p = constant[0]
        if kind in ("constant_labels", "all_constant"):
            g = constant[1]
        predicted.append(p)
        gold.append(g)
    return predicted, gold


def values(seed, rows, kind):
    rng = Lcg(seed)
    constant = rng.unit() * 5
    predicted, gold = [], []
    for _ in range(rows):
        g, p = rng.unit() * 5, rng.unit() * 5
        if kind == "correlated":
            p = g + 0.1 * p
        elif kind == "ties":
            g, p = math.floor(g), math.floor(p)
        elif kind == "constant_predictions":
            p = constant
        elif kind == "constant_labels":
            g = constant
        elif kind == "opposite":
            p = -g
        predicted.append(p)
        gold.append(g)
    return predicted, gold


def labels(seed, rows, count, kind):
    """Of each label its rows' scores and where it holds."""
    rng = Lcg(seed)
    scores, gold = [[] for _ in range(count)], [[] for _ in range(count)]
    for _ in range(rows):
        for label in range(count):
            g, score = rng.below(20 if kind == "rare" else 2) == 0, 4 * rng.unit() - 2
            if kind == "ranked":
                score += 2 * g - 1
            elif kind == "ties":
                score = float(math.floor(score))
            elif kind == "constant":
                score = 1.0
            scores[label].append(score)
            gold[label].append(g)
    return scores, gold


def short(value):
    return None if math.isnan(value) else float(f"{value:.12g}")


def class_case(seed, rows, count, kind):
    predicted, gold = classes(seed, rows, count, kind)
    found = [
        accuracy_score(gold, predicted),
        f1_score(gold, predicted, labels=[1], average="macro", zero_division=0),
        f1_score(gold, predicted, average="macro", zero_division=0),
        matthews_corrcoef(gold, predicted),
    ]
    return [seed, rows, count, kind, *map(short, found)]


def value_case(seed, rows, kind):
    predicted, gold = values(seed, rows, kind)
    # scipy refuses a single row, whose correlation is as undefined as that of a constant.
    pearson = pearsonr(gold, predicted)[0] if rows > 1 else math.nan
    spearman = spearmanr(gold, predicted)[0] if rows > 1 else math.nan
    found = [pearson, spearman, mean_squared_error(gold, predicted)]
    return [seed, rows, 0, kind, *map(short, found)]


def label_case(seed, rows, count, kind):
    scores, gold = labels(seed, rows, count, kind)
    # Labels that all rows have or none has are no part of the means of ranks.
    ranked = [(s, g) for s, g in zip(scores, gold) if 0 < sum(g) < rows]
    mean = lambda of: sum(of(g, s) for s, g in ranked) / len(ranked) if ranked else math.nan
    by_row = lambda columns: [list(row) for row in zip(*columns)]
    y = by_row(gold)
    predicted = by_row([[s > 0 for s in column] for column in scores])
    f1 = lambda average: f1_score(y, predicted, average=average, zero_division=0)
    if count == 1:
        # One label is no multi-label data to scikit-learn.
        f1 = lambda _: f1_score(gold[0], [s > 0 for s in scores[0]], zero_division=0)
    found = [mean(roc_auc_score), mean(average_precision_score), f1("micro"), f1("macro")]
    return [seed, rows, count, kind, *map(short, found)]


def main():
    warnings.simplefilter("ignore")
    cases = {"classes": [], "values": [], "labels": []}
    for seed in range(2000):
        rows = SIZES[seed % len(SIZES)]
        kind = CLASS_KINDS[seed // 8 % len(CLASS_KINDS)]
        cases["classes"].append(class_case(seed, rows, 2 + seed // 40 % 5, kind))
        kind = VALUE_KINDS[seed // 8 % len(VALUE_KINDS)]
        cases["values"].append(value_case(seed, rows, kind))
        kind = LABEL_KINDS[seed // 8 % len(LABEL_KINDS)]
        if seed % 4 == 0:
            cases["labels"].append(label_case(seed, SIZES[seed // 4 % 8], 1 + seed // 40 % 5, kind))
    default = Path(__file__).parent.parent / "tests" / "fixtures" / "metrics.json"
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    lines = [
        f'"{name}": [\n' + ",\n".join(json.dumps(c, separators=(",", ":")) for c in rows) + "\n]"
        for name, rows in cases.items()
    ]
    out.write_text("{" + ",\n".join(lines) + "}\n")


if __name__ == "__main__":
    main()
