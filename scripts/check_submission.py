"""Checks a GLUE submission: `python3 scripts/check_submission.py submission.zip`.

Written from the server's rules alone, without covalign: the zip holds one TSV file for each of the
eleven names, with the header `index<TAB>prediction`, a row for each row of the official test file in
its order, and the task's own labels; STS-B has numbers from 0 to 5. Prints what is wrong, a line
each, and ends with 1; or prints "ok" and ends with 0.
"""

import sys
import zipfile

ROWS = {
    "CoLA": 1063,
    "SST-2": 1821,
    "MRPC": 1725,
    "STS-B": 1379,
    "QQP": 390965,
    "MNLI-m": 9796,
    "MNLI-mm": 9847,
    "QNLI": 5463,
    "RTE": 3000,
    "WNLI": 146,
    "AX": 1104,
}
BINARY = {"0", "1"}
NLI = {"entailment", "neutral", "contradiction"}
LABELS = {
    "CoLA": BINARY,
    "SST-2": BINARY,
    "MRPC": BINARY,
    "QQP": BINARY,
    "WNLI": BINARY,
    "MNLI-m": NLI,
    "MNLI-mm": NLI,
    "AX": NLI,
    "QNLI": {"entailment", "not_entailment"},
    "RTE": {"entailment", "not_entailment"},
}


def in_range(text):
    try:
        return 0.0 <= float(text) <= 5.0
    except ValueError:
        return False


def wrong_in_file(name, data):
    lines = data.decode("utf-8").split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    if not lines or lines[0].rstrip("\r") != "index\tprediction":
        yield f"{name}.tsv: the header is not index<TAB>prediction"
        return
    if len(lines) - 1 != ROWS[name]:
        yield f"{name}.tsv: {len(lines) - 1} rows instead of {ROWS[name]}"
    for number, line in enumerate(lines[1:]):
        fields = line.split("\t")
        if len(fields) != 2 or fields[0] != str(number):
            yield f"{name}.tsv:{number + 2}: not row {number}: {line!r}"
            return
        fits = in_range(fields[1]) if name == "STS-B" else fields[1] in LABELS[name]
        if not fits:
            yield f"{name}.tsv:{number + 2}: no label of the task: {fields[1]!r}"
            return


def wrong(path):
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        yield f"{path}: {error}"
        return
    with archive:
        names = archive.namelist()
        for name in ROWS:
            if names.count(f"{name}.tsv") != 1:
                yield f"{name}.tsv: {names.count(f'{name}.tsv')} times in the zip"
            else:
                yield from wrong_in_file(name, archive.read(f"{name}.tsv"))
        for name in sorted(set(names) - {f"{name}.tsv" for name in ROWS}):
            yield f"{name}: does not belong there"


def main():
    found = list(wrong(sys.argv[1]))
    print("\n".join(found) if found else "ok")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
