"""Messages to a shop's support, each with one matter out of eight intents: `generate(split, n, seed)`.

A message is a matter among asides: an opening, a matter of another kind that is settled or taken back,
chatter, a closing, in an order that varies, with the typing errors of people in a hurry. Single words do not
tell the intent, since any of them may stand in an aside. The filled-in matter decides the split.
"""

from __future__ import annotations

import random

from spiritsafe.records import Prompt
from spiritsafe.tasks.drawing import Draw, Split, draw
from spiritsafe.tasks.tickets.words import ASKS, CHATTER, CLOSINGS, OPENINGS, QUOTED, SETTLED, SLOTS

INTENTS = tuple(ASKS)
SETTLED_SHARE, QUOTED_SHARE, CHATTER_SHARE = 0.35, 0.25, 0.6
LOWER_SHARE = 0.15
"""Messages written without capitals."""
TYPO_SHARE = 0.03
"""Words with a typing error, in messages that have any."""
HASTY_SHARE = 0.6


def generate(split: Split, n: int, seed: int) -> list[Prompt]:
    """`n` different messages with their intent as answer; raises ValueError where there are fewer."""
    return draw("tickets", _message, split, n, seed)


def _message(rng: random.Random) -> Draw:
    intent = rng.choice(INTENTS)
    slots = _slots(rng)
    matter = rng.choice(ASKS[intent]).format(**slots)
    parts = [matter]
    if aside := _aside(rng, intent):
        parts.insert(rng.randrange(2), aside)
    if rng.random() < CHATTER_SHARE:
        parts.insert(rng.randrange(len(parts) + 1), rng.choice(CHATTER).format(**slots))
    whole = [rng.choice(OPENINGS), *parts, rng.choice(CLOSINGS)]
    text = " ".join(part for part in whole if part)
    return Draw(core=matter, text=_typed(rng, text), answer=intent, tags={"intent": intent})


def _aside(rng: random.Random, intent: str) -> str:
    """Another matter that needs no answer; in some messages there is none."""
    point, slots = rng.random(), _slots(rng)
    if point < SETTLED_SHARE:
        return rng.choice(SETTLED).format(**slots)
    if point < SETTLED_SHARE + QUOTED_SHARE:
        other = rng.choice([name for name in INTENTS if name != intent])
        return rng.choice(QUOTED).format(quoted=rng.choice(ASKS[other]).format(**slots), **slots)
    return ""


def _slots(rng: random.Random) -> dict[str, str]:
    product, other = rng.sample(SLOTS["product"], 2)
    drawn = {name: rng.choice(values) for name, values in SLOTS.items()}
    return drawn | {
        "product": product,
        "other": other,
        "n": str(rng.randint(2, 9)),
        "order": f"{rng.choice('ABCKTX')}{rng.randint(1000, 9999)}",
        "amount": f"{rng.choice('$£€')}{rng.randint(5, 240)}",
    }


def _typed(rng: random.Random, text: str) -> str:
    """The text as somebody typed it: errors in letters only, never in numbers."""
    if rng.random() < HASTY_SHARE:
        text = " ".join(_slip(rng, w) if rng.random() < TYPO_SHARE else w for w in text.split(" "))
    return text.lower() if rng.random() < LOWER_SHARE else text


def _slip(rng: random.Random, word: str) -> str:
    """Two letters swapped, one left out or one doubled; short words stay."""
    if len(word) < 4 or not word.isalpha():
        return word
    i = rng.randrange(1, len(word) - 1)
    return rng.choice(
        (
            word[:i] + word[i + 1] + word[i] + word[i + 2 :],
            word[:i] + word[i + 1 :],
            word[:i] + word[i] + word[i:],
        )
    )
