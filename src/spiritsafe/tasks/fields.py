"""Fields of a JSON answer compared with the reference's: which leaves are there, and which have the value.

A field is a leaf of the JSON value: its path and its value. Places in a list are not part of the path
(`items[].price`), so an item that is missing costs its own fields and does not shift the others. Texts are
compared without regard to case and white space, numbers by value (12 is 12.0); a text is never a number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from spiritsafe.records import canonical_json
from spiritsafe.tasks.extract import squeeze


@dataclass(frozen=True, slots=True)
class FieldCounts:
    """Fields that agree, fields of the answer, fields of the reference."""

    agreeing: int
    given: int
    wanted: int

    def __add__(self, other: FieldCounts) -> FieldCounts:
        return FieldCounts(
            self.agreeing + other.agreeing, self.given + other.given, self.wanted + other.wanted
        )

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall over fields; 1 where there is no field on either side."""
        return 2 * self.agreeing / (self.given + self.wanted) if self.given + self.wanted else 1.0


def compare(answer: Any, reference: Any) -> FieldCounts:
    """Count the fields of two JSON values; equal fields are matched one to one."""
    given, wanted = Counter(_leaves(answer)), Counter(_leaves(reference))
    return FieldCounts((given & wanted).total(), given.total(), wanted.total())


def missing(reference: Any) -> FieldCounts:
    """The counts of an answer that is no JSON: it has no fields."""
    return FieldCounts(0, 0, sum(1 for _ in _leaves(reference)))


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """(path, normalised value) of every leaf; an empty object or list is one."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{canonical_json(name)}")
    elif isinstance(value, list) and value:
        for inner in value:
            yield from _leaves(inner, f"{path}[]")
    else:
        yield path, _normal(value)


def _normal(value: Any) -> str:
    if isinstance(value, str):
        return canonical_json(squeeze(value))
    if isinstance(value, float) and value.is_integer():
        return canonical_json(int(value))
    return canonical_json(value)
