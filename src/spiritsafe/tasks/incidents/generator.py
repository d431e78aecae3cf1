"""Incident reports with what a good summary of each says: `generate(split, n, seed)`.

A report is told in several wordings and orders, among asides that name people, times and numbers which no
summary needs. The model summary holds the key facts: what failed and where, when, why, how many were hit for
how long, who mended it, and what comes next. It is the prompt's `solution`: people who bring reports have no
such summaries, so the baseline has none either, and an arm `gold` may be trained on them.

Place, system, time, number and the name of who mended it decide the split.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace

from spiritsafe.records import Prompt
from spiritsafe.tasks.drawing import Draw, Split, draw

TASK = (
    "Summarise this report in two sentences: what failed, where, when and why, how many were affected and "
    "for how long, who mended it and how, and what happens next."
)
# System, who is hit by its failure, and pairs of cause and cure.
SYSTEMS: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    ("water main", "homes", (("a cracked joint", "replaced the joint"), ("frost", "thawed the valve"))),
    ("substation", "flats", (("a burnt relay", "changed the relay"), ("a fallen branch", "cut it away"))),
    ("ticket system", "travellers", (("a full disk", "cleared the disk"), ("an expired key", "renewed it"))),
    ("lift", "tenants", (("a worn cable", "fitted a new cable"), ("a stuck door", "freed the door"))),
    ("phone exchange", "callers", (("a wrong route", "put the route back"), ("flooding", "dried the room"))),
    ("heating plant", "pupils", (("a blocked filter", "cleaned the filter"), ("a lost flame", "relit it"))),
    ("cold store", "crates", (("an open hatch", "closed the hatch"), ("a dry pump", "refilled the pump"))),
    ("booking page", "guests", (("a bad update", "took the update back"), ("a full queue", "emptied it"))),
)
PLACES = (
    *("Harlow", "Milton", "Ashford", "Brigg", "Corby", "Dorking", "Epsom", "Frome", "Goole", "Hexham"),
    *("Ilford", "Kendal", "Leek", "Malton", "Newark", "Otley", "Penrith", "Redcar", "Selby", "Truro"),
)
FIRST = (
    "Ines",
    "Omar",
    "Greta",
    "Pavel",
    "Aisha",
    "Tomas",
    "Lena",
    "Marco",
    "Nadia",
    "Felix",
    "Ruth",
    "Jonas",
)
LAST = (
    "Varga",
    "Hill",
    "Okoro",
    "Lind",
    "Moreau",
    "Stone",
    "Keller",
    "Rossi",
    "Novak",
    "Byrne",
    "Sato",
    "Wolf",
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
NEXT = ("inspect the spare parts", "write to those affected", "order a replacement", "repeat the test")
HIT = (
    "{count} {hit} were affected, and it took {minutes} minutes until all was well.",
    "For {minutes} minutes {count} {hit} had to do without.",
    "We counted {count} {hit} that were hit. The whole thing lasted {minutes} minutes.",
)
FAILED = (
    "At {time} the {system} in {place} failed.",
    "The {system} in {place} went down at {time}.",
    "{place}: the {system} stopped working at {time}.",
)
WHY = (
    "The cause was {cause}.",
    "As it turned out, {cause} was to blame.",
    "We first suspected the supplier, but it was {cause}.",
)
MENDED = (
    "{who} drove out and {cure}.",
    "It was {who} who {cure}, alone and in the rain.",
    "{who} {cure} while the others kept people informed.",
)
AFTER = (
    "{owner} will {task} by {day}.",
    "By {day}, {owner} is to {task}.",
    "We agreed that {owner} will {task}, and that this is done by {day}.",
)
ASIDES = (
    "{other} brought coffee at {late}.",
    "The drill in March had {small} people in it.",
    "{other} asked twice whether the press knew.",
    "It was {small} degrees outside.",
    "The same form was last used {small} weeks ago.",
    "{other} had the day off and called in anyway.",
    "Parking cost {small} pounds, receipt attached.",
    "Nobody found the torch until {late}.",
)
SUMMARY = (
    "The {system} in {place} failed at {time} because of {cause}, and {count} {hit} were affected for "
    "{minutes} minutes. {who} {cure}, and {owner} will {task} by {day}."
)


def generate(split: Split, n: int, seed: int) -> list[Prompt]:
    """`n` different reports with a model summary as solution; raises ValueError where there are fewer."""
    return [replace(p, answer=None, solution=p.answer) for p in draw("incidents", _report, split, n, seed)]


def _report(rng: random.Random) -> Draw:
    facts = _facts(rng)
    told = [rng.choice(wordings).format(**facts) for wordings in (FAILED, HIT, WHY, MENDED, AFTER)]
    if rng.random() < 0.5:
        told[1], told[2] = told[2], told[1]
    asides = rng.sample(ASIDES, rng.randint(1, 4))
    for aside in asides:
        told.insert(rng.randint(1, len(told)), aside.format(**_asides(rng, facts)))
    core = json.dumps([facts[name] for name in ("place", "system", "time", "count", "who")])
    return Draw(
        core=core,
        text=f"{TASK}\n\n{' '.join(told)}",
        answer=SUMMARY.format(**facts),
        tags={"system": facts["system"], "asides": str(len(asides))},
    )


def _facts(rng: random.Random) -> dict[str, str]:
    system, hit, pairs = rng.choice(SYSTEMS)
    cause, cure = rng.choice(pairs)
    who, owner = (" ".join(names) for names in zip(rng.sample(FIRST, 2), rng.sample(LAST, 2), strict=True))
    return {
        "system": system,
        "hit": hit,
        "cause": cause,
        "cure": cure,
        "who": who,
        "owner": owner,
        "place": rng.choice(PLACES),
        "time": f"{rng.randrange(24):02d}:{rng.randrange(60):02d}",
        "count": str(rng.randint(20, 4000)),
        "minutes": str(rng.randint(10, 300)),
        "task": rng.choice(NEXT),
        "day": rng.choice(DAYS),
    }


def _asides(rng: random.Random, facts: dict[str, str]) -> dict[str, str]:
    """People, times and numbers that are not the report's."""
    others = [name for name in FIRST if name not in facts["who"] + facts["owner"]]
    return {
        "other": rng.choice(others),
        "late": f"{rng.randrange(24):02d}:{rng.randrange(60):02d}",
        "small": str(rng.randint(2, 9)),
    }
