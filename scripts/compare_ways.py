#!/usr/bin/env python3
"""Compare a study's ways to train over all its pairs (or tasks): one number for each difference.

    python3 scripts/compare_ways.py SUITE --base jointly [--split test] [--similarity similarity.json]

A study's ways are its experiments. Of each way and unit, a pair of tasks trained jointly or a task alone, a
score is the mean over the unit's tasks, in points; a way of single tasks has for a pair the mean of its
two. For each way but the base it prints the mean difference from it, with two 95 % t intervals: over seeds
(each seed's mean over the units: what another draw of rows and starts would give for these units) and over
units (each unit's mean over seeds: what other units would give). p are those over units, as they are and
corrected after Holm for the ways. With --similarity, what `covalign similarity` wrote, it prints Spearman's
correlation over pairs of each difference with the tasks' similarity, with a p by 20,000 permutations. Needs scipy.
"""

import argparse
import itertools
import json
import math
import random
import statistics
from pathlib import Path

from scipy import stats


def scores(suite, split):
    """{experiment: {(unit, seed): points}}, units as tuples of tasks."""
    plan = json.loads((suite / "plan.json").read_text())
    read, found = {}, {}
    for cell in plan["cells"]:
        path = suite / "runs" / cell["run"] / "results.json"
        if cell["run"] not in read:
            read[cell["run"]] = json.loads(path.read_text()) if path.is_file() else None
        run = read[cell["run"]]
        if run is None or split not in run["tasks"][cell["target"]]:
            continue
        variant = " ".join(f"{key.split('.')[-1]}={value}" for key, value in cell.get("variant", {}).items())
        way = " ".join(filter(None, (cell["experiment"], variant)))
        unit = tuple(sorted([cell["target"], *cell["supports"]]))
        if cell["strategy"] in ("stilts", "transfer"):
            unit = (cell["target"],)
        points = 100 * run["tasks"][cell["target"]][split]["score"]
        found.setdefault(way, {}).setdefault((unit, cell["seed"]), []).append(points)
    return {
        way: {key: statistics.mean(points) for key, points in cells.items()}
        for way, cells in found.items()
    }


def paired(cells):
    """Scores of single tasks as scores of their pairs."""
    if any(len(unit) > 1 for unit, _ in cells):
        return cells
    both = {}
    for (a, seed), (b, other) in itertools.combinations(sorted(cells), 2):
        if seed == other and a != b:
            unit = tuple(sorted(a + b))
            both[unit, seed] = (cells[a, seed] + cells[b, seed]) / 2
    return both


def interval(values):
    """Mean, half of the 95 % t interval, p of the mean being 0."""
    mean = statistics.mean(values)
    if len(values) < 2:
        return mean, math.nan, math.nan
    error = statistics.stdev(values) / math.sqrt(len(values))
    if error == 0:
        return mean, 0.0, 1.0 if mean == 0 else 0.0
    half = stats.t.ppf(0.975, len(values) - 1) * error
    return mean, half, 2 * stats.t.sf(abs(mean / error), len(values) - 1)


def holm(ps):
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    corrected, highest = [0.0] * len(ps), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[i]))
        corrected[i] = highest
    return corrected


def foretells(similarity, differences):
    """Spearman's correlation with the similarity of a pair, and p by permutation."""
    data = json.loads(Path(similarity).read_text())
    names, matrix = data["tasks"], data["comparisons"][0]["relative"]
    pairs = [unit for unit in differences if len(unit) == 2]
    near = [matrix[names.index(a)][names.index(b)] for a, b in pairs]
    gains = [differences[unit] for unit in pairs]
    rho = stats.spearmanr(near, gains).statistic
    rng, beyond, tries = random.Random(0), 0, 20000
    for _ in range(tries):
        rng.shuffle(gains)
        beyond += abs(stats.spearmanr(near, gains).statistic) >= abs(rho) - 1e-12
    return rho, (beyond + 1) / (tries + 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("suite", type=Path)
    parser.add_argument("--base", required=True, help="the way that others are compared with")
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument("--similarity", help="similarity.json")
    args = parser.parse_args()
    ways = scores(args.suite, args.split)
    if any(len(unit) > 1 for cells in ways.values() for unit, _ in cells):
        ways = {way: paired(cells) for way, cells in ways.items()}
    base = ways.pop(args.base)
    means = f"{statistics.mean(base.values()):.2f}"
    print(f"{args.base}: {means} on {args.split}, {len({u for u, _ in base})} units, "
          f"{len({s for _, s in base})} seeds")
    rows = []
    for way, cells in ways.items():
        common = sorted(set(base) & set(cells))
        if not common:
            continue
        units, seeds = sorted({u for u, _ in common}), sorted({s for _, s in common})
        gain = {key: cells[key] - base[key] for key in common}
        of_unit = {u: statistics.mean(g for (v, _), g in gain.items() if v == u) for u in units}
        of_seed = [statistics.mean(g for (_, t), g in gain.items() if t == s) for s in seeds]
        mean, over_units, p = interval(list(of_unit.values()))
        _, over_seeds, _ = interval(of_seed)
        ahead = sum(g > 0 for g in of_unit.values())
        level = statistics.mean(cells[key] for key in common)
        rows.append((way, level, mean, over_seeds, over_units, p, ahead, len(units), len(seeds), of_unit))
    for row, corrected in zip(rows, holm([row[5] for row in rows])):
        way, level, mean, over_seeds, over_units, p, ahead, units, seeds, of_unit = row
        line = (f"{way:28} {level:6.2f}  {mean:+.2f} ±{over_seeds:.2f} over {seeds} seeds, "
                f"±{over_units:.2f} over {units} units, p {p:.3f}, Holm {corrected:.3f}, ahead on {ahead}")
        print(line)
        if args.similarity:
            rho, q = foretells(args.similarity, of_unit)
            print(f"{'':28} Spearman with similarity {rho:+.2f}, p {q:.3f}")


if __name__ == "__main__":
    main()
