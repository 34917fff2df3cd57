#!/usr/bin/env python3
"""Writes the demonstration data:  make_demo.py DIR

Three small tasks in GLUE's layouts, of English sentences put together by a grammar: DemoSentiment
(a sentence, two classes), DemoParaphrase (a pair, two classes) and DemoSimilarity (a pair, a number
from 0 to 5); and tickets.csv, a table with three labels as people have them, without splits. The seed is
fixed: every run writes the same bytes. Some labels are wrong on purpose, so that no model reaches a perfect
score.
"""

import csv
import io
import random
import sys
from pathlib import Path

TRAIN, DEV = 500, 120
NOISE = 0.04

# ---- sentiment: a review speaks of two or three sides of a thing, most of them of one polarity

THINGS = {
    "film": ["plot", "acting", "dialogue", "soundtrack", "ending", "camera work", "pacing"],
    "hotel": ["room", "breakfast", "staff", "pool", "location", "bed", "lobby"],
    "phone": ["battery", "screen", "camera", "speaker", "keyboard", "design", "software"],
    "restaurant": ["soup", "service", "wine list", "dessert", "menu", "music", "terrace"],
    "novel": ["prose", "heroine", "opening chapter", "humour", "structure", "final scene", "tone"],
}
GOOD = [
    "wonderful", "a delight", "superb", "better than I had hoped", "charming", "first-rate",
    "a pleasure from start to finish", "impressive", "worth every penny", "hard to fault",
    "brilliant", "lovely", "exactly right", "anything but boring", "not bad at all",
]
BAD = [
    "dreadful", "a disappointment", "clumsy", "worse than I had feared", "tiresome", "third-rate",
    "a chore from start to finish", "forgettable", "a waste of money", "hard to bear",
    "awful", "shabby", "all wrong", "anything but exciting", "not good at all",
]
OPEN_GOOD = ["I would go back to this {} tomorrow", "few things beat a {} like this", "this {} won me over"]
OPEN_BAD = ["I regret choosing this {}", "nobody needs a {} like this", "this {} lost me quickly"]


def review(rng):
    good = rng.random() < 0.5
    thing = rng.choice(sorted(THINGS))
    sides = rng.sample(THINGS[thing], 3)

    def says(side, positive):
        verb = "was" if rng.random() < 0.7 else "is"
        return f"the {side} {verb} {rng.choice(GOOD if positive else BAD)}"

    kind = rng.random()
    if kind < 0.35:  # one side
        text = says(sides[0], good)
    elif kind < 0.6:  # two that agree
        text = f"{says(sides[0], good)} and {says(sides[1], good)}"
    elif kind < 0.85:  # a concession: what follows "but" decides
        text = f"{says(sides[0], not good)} , but {rng.choice(OPEN_GOOD if good else OPEN_BAD).format(thing)}"
    else:
        text = f"although {says(sides[0], not good)} , {says(sides[1], good)} and {says(sides[2], good)}"
    return f"{text} .", str(int(good))


# ---- facts: who did what to whom, where and when, said in several ways

PEOPLE = ["the farmer", "a young doctor", "the teacher", "an old sailor", "the mayor", "my neighbour",
          "a journalist", "the engineer", "the baker", "a tall woman"]
THINGS_DONE = ["the red car", "a wooden boat", "the broken clock", "a letter", "the garden gate",
               "an expensive painting", "the church bell", "a small dog", "the old bridge", "a violin"]
# past, participle, and another verb of the same meaning
VERBS = [("bought", "bought", "purchased", "purchased"), ("repaired", "repaired", "fixed", "fixed"),
         ("found", "found", "discovered", "discovered"), ("stole", "stolen", "made off with", None),
         ("sold", "sold", "got rid of", None), ("photographed", "photographed", "took a picture of", None),
         ("inspected", "inspected", "examined", "examined"), ("hid", "hidden", "concealed", "concealed")]
PLACES = [("in the village", "in the small town"), ("near the harbour", "close to the port"),
          ("at the market", "at the fair"), ("behind the station", "at the back of the station"),
          ("in Paris", "in the French capital")]
TIMES = [("yesterday", "the day before today"), ("on Monday", "at the start of the week"),
         ("at night", "after dark"), ("last summer", "in the summer of last year")]


def fact(rng):
    return [rng.randrange(len(kind)) for kind in (PEOPLE, VERBS, THINGS_DONE, PLACES, TIMES)]


def say(rng, fact, plain):
    """A sentence for a fact; plainly, or with synonyms, in the passive or in another order."""
    who, verb, what, place, time = fact
    past, participle, other, other_participle = VERBS[verb]
    place, time = (pair[0 if plain else rng.randrange(2)] for pair in (PLACES[place], TIMES[time]))
    who, what = PEOPLE[who], THINGS_DONE[what]
    form = 0 if plain else rng.randrange(4)
    if form == 0:
        text = f"{who} {past} {what} {place} {time}"
    elif form == 1:
        text = f"{what} was {other_participle or participle} by {who} {place} {time}"
    elif form == 2:
        text = f"{time} , {who} {other} {what} {place}"
    else:
        text = f"{place} , {what} was {participle} by {who} {time}"
    return text[0].upper() + text[1:] + " ."


def changed(rng, fact, count):
    """The fact with `count` of its five facets replaced."""
    new = list(fact)
    for i in rng.sample(range(5), count):
        kinds = (PEOPLE, VERBS, THINGS_DONE, PLACES, TIMES)
        new[i] = rng.choice([v for v in range(len(kinds[i])) if v != fact[i]])
    return new


def paraphrase(rng):
    first = fact(rng)
    same = rng.random() < 0.55
    # From a near miss, where the words mostly agree, to another story.
    second = first if same else changed(rng, first, rng.choice([1, 2, 3, 4, 4]))
    a = b = say(rng, first, True)
    while a == b:
        b = say(rng, second, False)
    return a, b, str(int(same))


def similarity(rng):
    first = fact(rng)
    differing = rng.choice([0, 0, 1, 2, 3, 4, 5, 5])
    second = changed(rng, first, differing)
    score = min(5.0, max(0.0, 5 - differing + rng.gauss(0, 0.3)))
    return say(rng, first, True), say(rng, second, rng.random() < 0.7), f"{round(score * 5) / 5:.3f}"


# ---- tickets: what customers write, and which team answers

GOODS = ["jacket", "kettle", "lamp", "pair of boots", "backpack", "desk chair", "headset", "raincoat"]
TICKETS = {
    "billing": ["I was charged twice for the {}", "my card was declined when I paid for the {}",
                "the invoice for the {} has the wrong address", "you took more money than the {} costs",
                "can I pay for the {} in two parts", "the discount on the {} is missing from my bill"],
    "shipping": ["where is the {} that I ordered", "the tracking page of my {} has not moved for days",
                 "the courier left my {} with somebody else", "can the {} come on Saturday instead",
                 "the {} should have been here last week", "please send the {} to my office"],
    "returns": ["the {} is broken and I want my money back", "how do I send the {} back to you",
                "I would like to swap the {} for a larger one", "the {} arrived with a crack in it",
                "the {} is not what the picture shows, can I give it back",
                "I sent the {} back and have heard nothing since"],
}
OPENINGS = ["hello, {}", "{}, please help", "hi there, {}", "{}, order number {n}", "{}", "{}, thank you"]


def ticket(rng):
    team = rng.choice(sorted(TICKETS))
    said = rng.choice(TICKETS[team]).format(rng.choice(GOODS))
    text = rng.choice(OPENINGS).replace("{n}", str(rng.randrange(1000, 10000))).format(said)
    return text[0].upper() + text[1:] + ".", team


def tickets(rng, count):
    teams = sorted(TICKETS)
    noisy = lambda team: rng.choice(teams) if rng.random() < NOISE else team
    return [(text, noisy(team)) for text, team in unique(rng, ticket, count)]


# ---- files


def unique(rng, make, count):
    rows, seen = [], set()
    while len(rows) < count:
        row = make(rng)
        if row[:-1] not in seen:
            seen.add(row[:-1])
            rows.append(row)
    return rows


def flip(rng, rows):
    wrong = lambda label: str(1 - int(label)) if rng.random() < NOISE else label
    return [(*row[:-1], wrong(row[-1])) for row in rows]


def write(path, header, rows, dialect=csv.excel_tab):
    text = io.StringIO()
    quoting = csv.QUOTE_NONE if dialect is csv.excel_tab else csv.QUOTE_MINIMAL
    csv.writer(text, dialect, lineterminator="\n", quoting=quoting).writerows([header, *rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(text.getvalue().encode())
    beside.replace(path)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: make_demo.py DIR")
    out = Path(sys.argv[1])
    rng = random.Random(20200626)
    count = TRAIN + DEV
    tasks = {
        "DemoSentiment": (["sentence", "label"], flip(rng, unique(rng, review, count))),
        "DemoParaphrase": (
            ["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"],
            [(label, f"{2 * i}", f"{2 * i + 1}", a, b)
             for i, (a, b, label) in enumerate(flip(rng, unique(rng, paraphrase, count)))],
        ),
        "DemoSimilarity": (
            ["index", "sentence1", "sentence2", "score"],
            [(str(i % TRAIN), *row) for i, row in enumerate(unique(rng, similarity, count))],
        ),
    }
    for task, (header, rows) in tasks.items():
        write(out / task / "train.tsv", header, rows[:TRAIN])
        write(out / task / "dev.tsv", header, rows[TRAIN:])
    rows = tickets(random.Random(20200626), 600)
    write(out / "tickets.csv", ["text", "team"], rows, csv.excel)


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"make_demo.py: {error.filename}: {error.strerror}")
