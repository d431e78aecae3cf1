"""Fields of JSON values: what is one, what counts as equal, and F1 by hand."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spiritsafe.tasks.fields import FieldCounts, compare, missing

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
CASES: list[tuple[Any, Any, tuple[int, int, int]]] = [
    ({"a": 1, "b": "x"}, {"a": 1.0, "b": " X "}, (2, 2, 2)),
    ({"a": "1"}, {"a": 1}, (0, 1, 1)),
    ({"a": True}, {"a": 1}, (0, 1, 1)),
    ({"a": 1}, {"b": 1}, (0, 1, 1)),
    ({"items": [{"p": 2}, {"p": 3}]}, {"items": [{"p": 1}, {"p": 2}, {"p": 3}]}, (2, 2, 3)),
    ([1, 1], [1], (1, 2, 1)),
    ({"a": []}, {"a": {}}, (0, 1, 1)),
    ({"a": {"b.c": 1}}, {"a": {"b": {"c": 1}}}, (0, 1, 1)),
]


@pytest.mark.parametrize(("answer", "reference", "counts"), CASES)
def test_counts(answer: Any, reference: Any, counts: tuple[int, int, int]) -> None:
    assert compare(answer, reference) == FieldCounts(*counts)


def test_f1_by_hand() -> None:
    assert FieldCounts(3, 4, 6).f1 == pytest.approx(2 * (3 / 4) * (3 / 6) / (3 / 4 + 3 / 6))
    assert (FieldCounts(3, 4, 6) + missing({"a": 1, "b": [2, 3]})) == FieldCounts(3, 4, 9)
    assert FieldCounts(0, 0, 0).f1 == 1


@given(JSON, JSON)
def test_a_value_has_all_its_own_fields_and_order_of_arguments_does_not_matter(a: Any, b: Any) -> None:
    assert compare(a, a).f1 == 1
    assert compare(a, b).f1 == compare(b, a).f1
