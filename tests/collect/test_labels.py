"""Shares of labels: hard from one answer, votes from several, log-probabilities by hand."""

import math

import pytest

from spiritsafe.collect.labels import label_masses, targets
from spiritsafe.records import Origin, Sample, TopK, Usage

LABELS = ("refund", "refund_status", "login")
ORIGIN = Origin(teacher="t", channel="api", fingerprint=None, date="2026-11-22")


def answer(text: str, prompt: str = "p", index: int = 0, accepted: bool = True) -> Sample:
    return Sample(
        request_hash=f"{prompt}/{index}",
        prompt_id=prompt,
        messages=({"role": "user", "content": prompt},),
        text=text,
        reasoning=None,
        finish_reason="stop",
        index=index,
        usage=Usage(),
        cost_usd=0.0,
        origin=ORIGIN,
        accepted=accepted,
    )


def top(*rows: dict[str, float]) -> TopK:
    """Alternatives by position, with their probabilities, best first."""
    return TopK(
        tokens=tuple(tuple(row) for row in rows),
        logprobs=tuple(tuple(math.log(p) for p in row.values()) for row in rows),
    )


def test_one_answer_is_a_hard_label_and_several_are_votes() -> None:
    samples = [
        answer("login"),
        answer("Refund", "q", 0),
        answer("login", "q", 1),
        answer("refund", "q", 2),
        answer("login", "q", 3, accepted=False),
    ]
    made, counts = targets(samples, LABELS, {})
    assert [t.prompt_id for t in made] == ["p", "q"]
    assert made[0].shares == (0.0, 0.0, 1.0)
    assert made[1].shares == pytest.approx((2 / 3, 0, 1 / 3))
    assert counts == {"prompts": 2, "answers": 4, "from_logprobs": 0, "mean_mass": None}


def test_the_first_token_divides_the_labels() -> None:
    # " log" can only become login; " ref" may become either refund: the next token decides.
    rows = top({" ref": 0.6, " log": 0.3, "\n": 0.05}, {"und": 0.9, "use": 0.1}, {"_status": 0.7, ".": 0.2})
    masses = label_masses(" refund_status", LABELS, rows)
    assert masses == pytest.approx([0.6 * 0.9 * 0.2, 0.6 * 0.9 * 0.7, 0.3])
    made, counts = targets([answer(" refund_status")], LABELS, {"p/0": rows})
    assert sum(made[0].shares) == pytest.approx(1)
    assert made[0].shares[2] == pytest.approx(0.3 / (0.3 + 0.54 * 0.9))
    assert (counts["from_logprobs"], counts["mean_mass"]) == (1, pytest.approx(0.786))


def test_the_label_behind_other_words_is_followed() -> None:
    rows = top({"Label": 1.0}, {":": 1.0}, {" Login": 0.8, " refund_status": 0.15}, {"!": 1.0})
    assert label_masses("Label: Login!", LABELS, rows) == pytest.approx([0, 0.15, 0.8])


def test_a_text_that_ends_within_a_longer_label_is_the_shorter_one() -> None:
    assert label_masses("refund", LABELS, top({"refund": 0.9, "login": 0.1})) == pytest.approx([0.9, 0, 0.1])


@pytest.mark.parametrize(
    "rows",
    [
        top({"login": 0.4, "login7": 0.6}),  # another word
        top({"Sure": 0.9, "login": 0.1}),  # the answer was drawn from outside the alternatives
        top({"login": 0.2, "hello": 0.8}),  # most of the mass is on no label
    ],
)
def test_what_was_not_found_is_not_made_up(rows: TopK) -> None:
    made, counts = targets([answer("login")], LABELS, {"p/0": rows})
    assert made[0].shares == (0.0, 0.0, 1.0)
    assert counts["from_logprobs"] == 0
