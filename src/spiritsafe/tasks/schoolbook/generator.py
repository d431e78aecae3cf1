"""Schoolbook word problems: `generate(split, n, seed)`. Pure functions, no torch, no global state.

The split of a problem is a hash of (template, numbers), so train, validation and test share no
pair, whatever n and seed. `unseen` has templates that are never trained on; `stretch` (level 5)
has larger numbers or longer chains than any trained problem.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import Literal, get_args

from spiritsafe.tasks.schoolbook.template import Template, draw_numbers, pick, render, slots, solve
from spiritsafe.tasks.schoolbook.themes.every import TEMPLATES

Split = Literal["train", "validation", "test", "unseen", "stretch"]
Choices = dict[int, list[tuple[Template, str]]]  # (template, draw) pairs by level
SPLITS: tuple[str, ...] = get_args(Split)
LEVEL_SHARES = {1: 0.15, 2: 0.30, 3: 0.30, 4: 0.25}
VALIDATION_PERCENT, TEST_PERCENT = 5, 10
STRETCH_LEVEL = 5
MAX_MISSES = 2000  # repeats in a row before we say that there are no more
MAX_DRAWS = 500  # a template of a split with few numbers may still miss; then another is picked


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One word problem. `numbers` are the drawn numbers; `level` the number of steps (5: stretch)."""

    problem_id: str
    template: str
    theme: str
    numbers: tuple[int, ...]
    level: int
    question: str
    solution: str
    answer: str

    @property
    def bare(self) -> str:
        """The answer line alone, without worked steps."""
        return f"#### {self.answer}"


def split_of(template: str, numbers: tuple[int, ...]) -> str:
    """train, validation or test, by content alone."""
    digest = hashlib.sha256(f"{template}|{numbers}".encode()).digest()
    percent = int.from_bytes(digest[:8], "big") % 100
    if percent < VALIDATION_PERCENT:
        return "validation"
    return "test" if percent < VALIDATION_PERCENT + TEST_PERCENT else "train"


def templates_of(split: str) -> Choices:
    """(template, draw) choices of a split by level."""
    chosen: Choices = {}
    for template in TEMPLATES:
        if split == "stretch":
            draw = template.draw if template.level >= STRETCH_LEVEL else template.big
            if draw:
                chosen.setdefault(STRETCH_LEVEL, []).append((template, draw))
        elif template.level < STRETCH_LEVEL and template.unseen == (split == "unseen"):
            chosen.setdefault(template.level, []).append((template, template.draw))
    return chosen


def generate(split: Split, n: int, seed: int) -> list[Problem]:
    """`n` different problems of `split`, the same for the same arguments everywhere.

    Raises ValueError for an unknown split, or where the split has fewer than n problems.
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is unknown; use one of {', '.join(SPLITS)}")
    rng = random.Random(f"schoolbook/{split}/{seed}")
    choices = templates_of(split)
    found: dict[str, Problem] = {}
    misses = 0
    while len(found) < n:
        problem = _one(rng, pick(rng, choices[_level(rng, choices)]), split)
        if problem and problem.problem_id not in found:
            found[problem.problem_id], misses = problem, 0
            continue
        misses += 1
        if misses > MAX_MISSES:
            raise ValueError(f"split {split!r} ran out at {len(found)} problems; ask for fewer than {n}")
    return list(found.values())


def _one(rng: random.Random, choice: tuple[Template, str], split: str) -> Problem | None:
    """Draws until the numbers fit, so that templates with rare whole results are not rarer."""
    for _ in range(MAX_DRAWS):
        if problem := attempt(rng, *choice, split):
            return problem
    return None


def attempt(rng: random.Random, template: Template, draw: str, split: str) -> Problem | None:
    """One draw; None where the numbers do not work out or belong to another split."""
    drawn = draw_numbers(rng, draw)
    if drawn is None:
        return None
    values, numbers = drawn
    equations = solve(template.work, values)
    if equations is None:
        return None
    name = template.name if split != "stretch" or template.level >= STRETCH_LEVEL else f"{template.name}_big"
    if split in ("train", "validation", "test") and split_of(name, numbers) != split:
        return None
    question, solution = render(template, pick(rng, template.ask), slots(rng, template), values, equations)
    digest = hashlib.sha256(f"{name}|{question}".encode()).hexdigest()
    return Problem(
        problem_id=f"schoolbook-{digest[:16]}",
        template=name,
        theme=template.theme,
        numbers=numbers,
        level=STRETCH_LEVEL if split == "stretch" else template.level,
        question=question,
        solution=solution,
        answer=str(equations[-1][3]),
    )


def _level(rng: random.Random, choices: Choices) -> int:
    """A level by LEVEL_SHARES among those that the split has."""
    levels = sorted(choices)
    if len(levels) == 1:
        return levels[0]
    point = rng.random() * sum(LEVEL_SHARES[level] for level in levels)
    for level in levels[:-1]:
        point -= LEVEL_SHARES[level]
        if point < 0:
            return level
    return levels[-1]
