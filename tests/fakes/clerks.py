"""Teachers that sort or read short messages, for the fake server: right, divided, or out of order.

A message reads `The parcel 17 is late.`; its number decides what the clerks out of order answer.
"""

import json
import re

LABELS = {"parcel": "delivery", "bill": "money", "screen": "repair"}


def label(asked: str) -> str:
    """Always right, and nothing but the label."""
    return next(name for word, name in LABELS.items() if word in asked)


def untidy(asked: str) -> str:
    """Of ten answers one is a sentence, one a label outside the set, one empty and one a refusal."""
    bad = {
        3: f"I would say that it is about {label(asked)}, or so.",
        4: "shipping",
        5: " ",
        6: "I'm sorry, but I can't help with that.",
    }
    return bad.get(number(asked) % 10, label(asked))


def sentences(asked: str) -> str:
    """Never a label."""
    return "That is hard to say without more context."


def fields(asked: str) -> str:
    """The message as JSON; of ten answers one is cut off, one of another shape, one without JSON."""
    right = json.dumps({"thing": asked.split()[1], "number": number(asked)})
    bad = {3: right[:-4], 4: json.dumps({"thing": asked.split()[1]}), 5: f"It is a {asked.split()[1]}."}
    return bad.get(number(asked) % 10, right)


def number(asked: str) -> int:
    return int(re.search(r"\d+", asked)[0])
