"""Prompts from a generator: `draw` makes the splits, disjoint by construction. No torch, no global state.

Each drawn prompt has a core: the part that decides its answer. A hash of the core names its split, so two
splits share no core, whatever their sizes and seeds.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from spiritsafe.records import Prompt

Split = Literal["train", "validation", "test"]
VALIDATION_PERCENT, TEST_PERCENT = 5, 15
MAX_MISSES = 5000
"""Draws in a row without a new prompt of the split before we say that there are no more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Draw:
    """One drawn problem before it has an id."""

    core: str
    text: str
    answer: str
    tags: Mapping[str, str] = field(default_factory=dict)


def split_of(core: str) -> Split:
    """train, validation or test, by content alone."""
    percent = int.from_bytes(hashlib.sha256(core.encode()).digest()[:8], "big") % 100
    if percent < VALIDATION_PERCENT:
        return "validation"
    return "test" if percent < VALIDATION_PERCENT + TEST_PERCENT else "train"


def draw(task: str, make: Callable[[random.Random], Draw], split: Split, n: int, seed: int) -> list[Prompt]:
    """`n` different prompts of `split`, the same for the same arguments everywhere.

    Raises ValueError where the split has fewer than n prompts.
    """
    rng = random.Random(f"{task}/{split}/{seed}")
    found: dict[str, Prompt] = {}
    misses = 0
    while len(found) < n:
        one = make(rng)
        if split_of(one.core) != split or one.text in found:
            misses += 1
            if misses > MAX_MISSES:
                raise ValueError(f"split {split!r} ran out at {len(found)} prompts; ask for fewer than {n}")
            continue
        found[one.text], misses = _prompt(task, one), 0
    return list(found.values())


def _prompt(task: str, one: Draw) -> Prompt:
    return Prompt(
        prompt_id=f"{task}-{hashlib.sha256(one.text.encode()).hexdigest()[:16]}",
        messages=({"role": "user", "content": one.text},),
        answer=one.answer,
        tags=dict(one.tags),
    )
