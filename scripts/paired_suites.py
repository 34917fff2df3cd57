#!/usr/bin/env python3
"""Compare two runs of one study, seed by seed: what a change of the program or of a key did to scores.

    covalign report BEFORE; covalign report AFTER
    python3 scripts/paired_suites.py BEFORE AFTER

A row for each task of each way to train, from the report.csv of both folders: mean ± standard
deviation over the seeds that both have, the difference with its 95 % t interval, and p of the paired
t-test, as it is and with Holm's correction over all rows. The last row is the mean over the tasks,
taken seed by seed, as a test of its own. Needs scipy.
"""

import argparse
import csv
import math
import statistics
from pathlib import Path

from scipy import stats


def scores(folder):
    """{(way, task): {seed: score in points}} of the runs that are done."""
    found = {}
    with open(Path(folder) / "report.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["metric"] == "score" and row["state"] == "done":
                way = " ".join(filter(None, (row["way"], row["supports"], row["variant"])))
                seeds = found.setdefault((way, row["target"]), {})
                seeds[int(row["seed"])] = 100 * float(row["value"])
    return found


def interval(values):
    """Mean, half of its 95 % t interval, p of its being 0."""
    mean = statistics.mean(values)
    if len(values) < 2:
        return mean, math.nan, math.nan
    error = statistics.stdev(values) / math.sqrt(len(values))
    if error == 0:
        return mean, 0.0, 1.0 if mean == 0 else 0.0
    half = stats.t.ppf(0.975, len(values) - 1) * error
    return mean, half, 2 * stats.t.sf(abs(mean / error), len(values) - 1)


def compare(before, after):
    """Differences of pairs: mean, half of the 95 % interval, p."""
    return interval([b - a for a, b in zip(before, after)])


def holm(values):
    """p values with Holm's correction, in the order given."""
    corrected, largest = [0.0] * len(values), 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        corrected[index] = largest
    return corrected


def spread(values):
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("before")
    parser.add_argument("after")
    arguments = parser.parse_args()
    before, after = scores(arguments.before), scores(arguments.after)
    sides = {}
    for key in before.keys() & after.keys():
        seeds = sorted(before[key].keys() & after[key].keys())
        if len(seeds) > 1:
            sides[key] = (seeds, [before[key][s] for s in seeds], [after[key][s] for s in seeds])
    if not sides:
        parser.error("no task has two seeds in both reports")
    keys = [key for key in before if key in sides]
    tests = [compare(*sides[key][1:]) for key in keys]
    corrected = holm([p for _, _, p in tests])
    print("| | | seeds | before | after | difference | 95 % | p | p, Holm |\n|" + "---|" * 9)
    for (way, task), (mean, half, p), adjusted in zip(keys, tests, corrected):
        seeds, a, b = sides[way, task]
        interval = f"{mean - half:+.2f} to {mean + half:+.2f}"
        print(
            f"| {way} | {task} | {len(seeds)} | {spread(a)} | {spread(b)} "
            f"| {mean:+.2f} | {interval} | {p:.2f} | {adjusted:.2f} |"
        )
    common = sorted(set.intersection(*(set(sides[key][0]) for key in keys)))
    if len(common) > 1:
        means = [
            [statistics.mean(side[key][seed] for key in keys) for seed in common]
            for side in (before, after)
        ]
        mean, half, p = compare(*means)
        print(
            f"| | mean of {len(keys)} | {len(common)} | {spread(means[0])} | {spread(means[1])} "
            f"| {mean:+.2f} | {mean - half:+.2f} to {mean + half:+.2f} | {p:.2f} | |"
        )


if __name__ == "__main__":
    main()
