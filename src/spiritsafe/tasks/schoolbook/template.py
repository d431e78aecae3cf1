"""The small language in which problems are written, and the arithmetic behind it.

draw   "n=2..9 m=50..500/50 t:=n*q": n uniform in 2..9, m a multiple of 50, t computed.
ask    wordings with slots: {n} numbers, {A} {B} {C} names, {She:has} pronoun and verb, {things} nouns.
work   sentences with equations: "[c = n * p]" prints "3 * 12 = 36" and binds c; the last one is
       the answer. Equations are computed, never typed, so a worked solution cannot be wrong.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from spiritsafe.tasks.schoolbook.words import PEOPLE, POOLS, person_slots

_EQUATION = re.compile(r"\[(?:(\w+) = )?(\w+) ([*+/-]) (\w+)\]")
_RANGE = re.compile(r"(\w+)=(\d+)\.\.(\d+)(?:/(\d+))?$")
_DERIVED = re.compile(r"(\w+):=(\w+)([*+/-])(\w+)$")
T = TypeVar("T")
Rule = tuple[str, int, int, int] | tuple[str, str, str, str]
SMALLEST = 2  # every number and result is at least 2, so that nouns are always plural


@dataclass(frozen=True, kw_only=True, slots=True)
class Template:
    """One kind of problem. `level` is its number of steps; `big` a draw for the stretch split."""

    name: str
    theme: str
    level: int
    draw: str
    ask: tuple[str, ...]
    work: str
    pool: str = "goods"
    big: str = ""
    unseen: bool = False


def below(rng: random.Random, limit: int) -> int:
    """Uniform in 0..limit-1. Only random() is promised to be the same in every Python."""
    return int(rng.random() * limit)


def pick(rng: random.Random, items: Sequence[T]) -> T:
    """One of `items`, uniformly."""
    return items[below(rng, len(items))]


def apply(left: int, op: str, right: int) -> int | None:
    """The exact integer result, or None where there is none."""
    if op == "/":
        return left // right if right and left % right == 0 else None
    if op == "+":
        return left + right
    return left - right if op == "-" else left * right


@cache
def parse_draw(spec: str) -> tuple[Rule, ...]:
    """The draw string as (name, low, high, step) and (name, left, op, right) rules."""
    rules: list[Rule] = []
    for part in spec.split():
        if found := _RANGE.match(part):
            rules.append((found[1], int(found[2]), int(found[3]), int(found[4] or 1)))
        elif found := _DERIVED.match(part):
            rules.append((found[1], found[2], found[3], found[4]))
        else:
            raise ValueError(f"draw {part!r} is neither 'n=2..9', 'n=50..500/50' nor 't:=n*q'")
    return tuple(rules)


def value_of(word: str, values: dict[str, int]) -> int:
    """A literal number or the value bound to a name."""
    return int(word) if word.isdigit() else values[word]


def draw_numbers(rng: random.Random, spec: str) -> tuple[dict[str, int], tuple[int, ...]] | None:
    """Values by name, and the drawn ones in order; None where a derived one is not whole."""
    values: dict[str, int] = {}
    drawn: list[int] = []
    for name, *rule in parse_draw(spec):
        match rule:
            case int(low), int(high), int(step):
                values[name] = low + step * below(rng, (high - low) // step + 1)
                drawn.append(values[name])
            case str(left), str(op), str(right):
                result = apply(value_of(left, values), op, value_of(right, values))
                if result is None or result < SMALLEST:
                    return None
                values[name] = result
    return values, tuple(drawn)


@cache
def parse_work(work: str) -> tuple[tuple[str | None, str, str, str], ...]:
    """The equations of a work string in order: (bound name, left, op, right)."""
    return tuple((found[1], found[2], found[3], found[4]) for found in _EQUATION.finditer(work))


def solve(work: str, values: dict[str, int]) -> list[tuple[int, str, int, int]] | None:
    """Every equation as (left, op, right, result); None where one is not whole and >= 2."""
    values, done = dict(values), []
    for bind, left, op, right in parse_work(work):
        x, y = value_of(left, values), value_of(right, values)
        result = apply(x, op, y)
        if result is None or result < SMALLEST:
            return None
        done.append((x, op, y, result))
        if bind:
            values[bind] = result
    return done


def slots(rng: random.Random, template: Template) -> dict[str, object]:
    """Names and nouns for one problem: three different people, two different things."""
    first, second, third = _distinct(rng, PEOPLE, 3)
    (thing, things), (other, others) = _distinct(rng, POOLS[template.pool], 2)
    return {
        **person_slots(*first),
        "B": second[0],
        "C": third[0],
        "thing": thing,
        "things": things,
        "Things": things.capitalize(),
        "other": other,
        "others": others,
        "Others": others.capitalize(),
    }


def _distinct(rng: random.Random, items: Sequence[T], count: int) -> list[T]:
    chosen: list[T] = []
    while len(chosen) < count:
        item = pick(rng, items)
        if item not in chosen:
            chosen.append(item)
    return chosen


def render(
    template: Template,
    ask: str,
    words: dict[str, object],
    values: dict[str, int],
    equations: list[tuple[int, str, int, int]],
) -> tuple[str, str]:
    """The question and the worked solution, which ends in `#### answer`."""
    lines = iter(f"{x} {op} {y} = {result}" for x, op, y, result in equations)
    work = _EQUATION.sub(lambda _: next(lines), template.work).format_map(words)
    return ask.format_map({**words, **values}), f"{work}\n#### {equations[-1][3]}"
