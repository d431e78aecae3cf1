"""Cheap measures of summaries, by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spiritsafe.evaluate.summaries import covered, faithful, length_ratio, rouge_l, stated

SOURCE = "At 14:30 the pump in Harlow failed. Ines Varga closed the valve; 1,200 homes had no water."


def test_numbers_and_names_but_not_the_first_word_of_a_sentence():
    assert stated(SOURCE) == {"14:30", "Harlow", "Varga", "1200"}
    assert stated("It rose.\n\nThen it fell! However, Bob stayed.") == {"Bob"}
    assert stated('"The pump," she said: "Nobody knew."') == set()
    assert stated("") == set()


def test_a_summary_is_faithful_as_far_as_it_invents_nothing():
    assert faithful("The pump in Harlow failed at 14:30; 1200 homes were dry.", SOURCE) == 1.0
    assert faithful("The pump in Hull failed at 14:30.", SOURCE) == 0.5
    assert faithful("The pump failed.", SOURCE) == 1.0


def test_a_summary_covers_what_it_repeats_of_the_reference():
    reference = "The pump in Harlow failed at 14:30 and 1,200 homes had no water."
    assert covered("Pump failure, 14:30, Harlow.", reference) == pytest.approx(2 / 3)
    assert covered("x", "the pump failed") is None


def test_length_is_in_characters():
    assert length_ratio(" ab ", "abcdefgh") == 0.25
    assert length_ratio("ab", "") == 2.0


@pytest.mark.parametrize(
    ("text", "other", "value"),
    [
        ("police killed the gunman", "police kill the gunman", 3 / 4),  # the example of the paper
        ("the gunman kill police", "police kill the gunman", 2 / 4),
        ("a b", "A, b.", 1.0),
        ("a b c", "x y", 0.0),
        ("", "x", 0.0),
        ("", "", 0.0),
        ("a b c d", "b d", 2 * 2 / 6),
    ],
)
def test_rouge_l(text, other, value):
    assert rouge_l(text, other) == pytest.approx(value)


@given(st.lists(st.sampled_from("abcd"), max_size=8), st.lists(st.sampled_from("abcd"), max_size=8))
def test_rouge_l_is_symmetric_and_bounded(first, second):
    a, b = " ".join(first), " ".join(second)
    assert 0 <= rouge_l(a, b) == rouge_l(b, a) <= 1
    assert rouge_l(a, a) == (1.0 if first else 0.0)
