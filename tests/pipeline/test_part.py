"""Training on a part of the data: which prompts, how many tokens, and what a run makes of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spiritsafe import recipe_file
from spiritsafe.errors import RecipeError
from spiritsafe.pipeline import part
from spiritsafe.recipe import Arm, Train

NAMES = [f"p{n}" for n in range(80)]


def prompts(first, last, seed=0, names=NAMES):
    return part.prompts_of(Arm(data="teacher", eighths=(first, last)), names, seed)


def test_parts_are_nested_disjoint_and_drawn_by_the_seed():
    assert [len(prompts(0, last)) for last in (1, 2, 4, 8)] == [10, 20, 40, 80]
    assert prompts(0, 1) | prompts(1, 2) == prompts(0, 2) < prompts(0, 4)
    assert prompts(0, 1) != prompts(0, 1, seed=1)
    assert prompts(0, 4) == prompts(0, 4, names=[*reversed(NAMES), *NAMES])


@given(st.integers(0, 40), st.integers(0, 7))
def test_the_eighths_are_the_whole(n, seed):
    parts = [prompts(first, first + 1, seed, NAMES[:n]) for first in range(8)]
    assert set().union(*parts) == set(NAMES[:n]) and sum(map(len, parts)) == n


def test_tokens_per_answer_stay():
    arm = Arm(data="teacher", eighths=(0, 2))
    assert part.settings_of(arm, Train(tokens=1_000_000)).tokens == 250_000
    whole = Train(tokens=1_000_001)
    assert part.settings_of(Arm(data="teacher"), whole) == whole


@pytest.mark.parametrize("eighths", ["[4, 4]", "[5, 2]", "[0, 9]", "[-1, 3]"])
def test_a_part_that_is_none_is_refused(eighths):
    with pytest.raises(RecipeError, match="eighths"):
        recipe_file.parse({"arms": {"half": {"data": "teacher"}}}, [f"arms.half.eighths={eighths}"])
