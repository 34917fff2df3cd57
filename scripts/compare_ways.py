#!/usr/bin/env python3
"""Compare a study's ways to train over all its pairs (or tasks): one number for each difference.

    python3 scripts/compare_ways.py SUITE [--split dev] [--choose KEY] [--units]
    python3 scripts/compare_ways.py SUITE --base jointly [--units] [--similarity similarity.json]

A study's ways are its experiments, by the values of its grid. Of each way and unit, tasks trained jointly or a
task alone, a score is the mean over the unit's tasks, in points. Without --base each way's mean is printed, with
its standard deviation over the seeds; --choose KEY takes of each unit the value of a grid's key that is best on
dev. With --base, a way of single tasks has for a pair the mean of its two, and for each other way the mean
difference is printed, with two 95 % t intervals: over seeds (each seed's mean over the units: what another draw
of rows and starts would give for these units) and over units (each unit's mean over seeds: what other units
would give). p are those over units, as they are and corrected after Holm for the ways. --units has each unit's
mean or difference too; --similarity, what `covalign similarity` wrote, Spearman's correlation over pairs of the difference
with the tasks' similarity, with a p by 20,000 permutations. Needs scipy.
"""

import argparse
import itertools
import json
import random
import statistics
from pathlib import Path

from paired_suites import holm, interval
from scipy import stats


def scores(suite, split, without=None):
    """{way: {(unit, seed): points}}, units as tuples of tasks; with a grid's key to leave out, by its value."""
    plan = json.loads((suite / "plan.json").read_text())
    read, found, values = {}, {}, {}
    for cell in plan["cells"]:
        path = suite / "runs" / cell["run"] / "results.json"
        if cell["run"] not in read:
            read[cell["run"]] = json.loads(path.read_text()) if path.is_file() else None
        run = read[cell["run"]]
        if run is None or split not in run["tasks"][cell["target"]]:
            continue
        variant = dict(cell.get("variant", {}))
        value = variant.pop(without, None)
        variant = " ".join(f"{key.split('.')[-1]}={value}" for key, value in variant.items())
        way = " ".join(filter(None, (cell["experiment"], variant)))
        unit = tuple(sorted([cell["target"], *cell["supports"]]))
        if cell["strategy"] in ("stilts", "transfer"):
            unit = (cell["target"],)
        points = 100 * run["tasks"][cell["target"]][split]["score"]
        found.setdefault((value, way), {}).setdefault((unit, cell["seed"]), []).append(points)
    for (value, way), cells in found.items():
        means = {key: statistics.mean(points) for key, points in cells.items()}
        values.setdefault(value, {})[way] = means
    return values if without else values[None]


def chosen(suite, split, key):
    """As `scores`, of each unit with the value of `key` that is best on dev over the seeds."""
    dev, judged = scores(suite, "dev", key), scores(suite, split, key)
    best = {}
    for value, ways in dev.items():
        for way, cells in ways.items():
            for unit in {unit for unit, _ in cells}:
                mean = statistics.mean(p for (u, _), p in cells.items() if u == unit)
                if mean > best.get((way, unit), (-1.0, None))[0]:
                    best[way, unit] = (mean, value)
    found = {}
    for (way, unit), (_, value) in best.items():
        own = {key: p for key, p in judged[value][way].items() if key[0] == unit}
        found.setdefault(way, {}).update(own)
    return found


def levels(ways, by_unit):
    for way, cells in ways.items():
        seeds = sorted({seed for _, seed in cells})
        means = [statistics.mean(p for (_, s), p in cells.items() if s == seed) for seed in seeds]
        spread = f" ± {statistics.stdev(means):.2f}" if len(means) > 1 else ""
        units = len({unit for unit, _ in cells})
        print(f"{way:40} {statistics.mean(means):6.2f}{spread} over {len(seeds)} seeds, {units} units")
        for unit in sorted({unit for unit, _ in cells}) if by_unit else ():
            mean = statistics.mean(p for (u, _), p in cells.items() if u == unit)
            print(f"{'':40} {mean:6.2f} {'+'.join(unit)}")


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
    parser.add_argument("--base", help="the way that others are compared with")
    parser.add_argument("--choose", metavar="KEY", help="a grid's key whose value dev chooses")
    parser.add_argument("--units", action="store_true", help="each unit's difference too")
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument("--similarity", help="similarity.json")
    args = parser.parse_args()
    if args.choose:
        ways = chosen(args.suite, args.split, args.choose)
    else:
        ways = scores(args.suite, args.split)
    if not args.base:
        levels(ways, args.units)
        return
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
        row = (way, level, mean, over_seeds, over_units, p, ahead, len(units), len(seeds))
        rows.append((*row, of_unit, gain))
    for row, corrected in zip(rows, holm([row[5] for row in rows])):
        way, level, mean, over_seeds, over_units, p, ahead, units, seeds, of_unit, gain = row
        line = (f"{way:28} {level:6.2f}  {mean:+.2f} ±{over_seeds:.2f} over {seeds} seeds, "
                f"±{over_units:.2f} over {units} units, p {p:.3f}, Holm {corrected:.3f}, ahead on {ahead}")
        print(line)
        for unit in of_unit if args.units else ():
            own, half, q = interval([g for (v, _), g in gain.items() if v == unit])
            print(f"{'':28} {'+'.join(unit):14} {own:+.2f} ±{half:.2f}, p {q:.4f}")
        if args.similarity:
            rho, q = foretells(args.similarity, of_unit)
            print(f"{'':28} Spearman with similarity {rho:+.2f}, p {q:.3f}")


if __name__ == "__main__":
    main()
