"""A part of the training data, in eighths: drawn by a seed, nested, with its part of the training tokens.

The answers of one prompt stay together, so that twice the part is twice the prompts. Tokens per answer are
the same in every part: more data for as many epochs is what more money buys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from spiritsafe.recipe import Arm, Train


def prompts_of(arm: Arm, prompt_ids: Iterable[str], seed: int) -> set[str]:
    """The prompts that an arm is trained on; a part holds each smaller one that begins at the same eighth."""
    order = sorted(set(prompt_ids), key=lambda name: _place(name, seed))
    first, last = (len(order) * eighth // 8 for eighth in arm.eighths)
    return set(order[first:last])


def settings_of(arm: Arm, train: Train) -> Train:
    """The training settings with the tokens of an arm's part."""
    first, last = arm.eighths
    return train.model_copy(update={"tokens": max(1, train.tokens * (last - first) // 8)})


def _place(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"spiritsafe-part-1\n{seed}\n{name}".encode()).digest()
