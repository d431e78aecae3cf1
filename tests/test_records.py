"""Records: JSON round trips, and an identity that is content and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spiritsafe.records import Reply, Request, Sampling, TopK, Usage, canonical_json


def request(**changes):
    values = {
        "prompt_id": "p",
        "messages": ({"role": "user", "content": "1 + 1?"},),
        "teacher": "t@local",
        "sampling": Sampling(),
        "index": 0,
    }
    return Request(**{**values, **changes})


def test_identity_is_teacher_messages_sampling_index():
    base = request().request_hash
    assert base == request(prompt_id="other").request_hash
    for changes in (
        {"teacher": "u@local"},
        {"index": 1},
        {"sampling": Sampling(temperature=0.5)},
        {"messages": ({"role": "user", "content": "1 + 2?"},)},
    ):
        assert request(**changes).request_hash != base


def test_identity_is_stable_over_versions():
    assert request().request_hash.startswith("8598a946293c8a54")


def test_seed_is_a_31_bit_number_from_the_identity():
    assert request().seed == int(request().request_hash[:8], 16) & 0x7FFFFFFF


def test_nan_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("inf"))


@given(st.text(), st.none() | st.text(), st.integers(0, 9), st.lists(st.floats(-9, 0), max_size=3))
def test_reply_round_trip(text, reasoning, tokens, logprobs):
    top = TopK(tokens=(tuple(map(str, logprobs)),), logprobs=(tuple(logprobs),))
    reply = Reply(text=text, reasoning=reasoning, usage=Usage(output_tokens=tokens), top_logprobs=top)
    assert Reply.from_json(reply.to_json()) == reply


def test_request_round_trip():
    one = request(sampling=Sampling(stop=("a", "b"), top_logprobs=2))
    assert Request.from_json(one.to_json()) == one


def test_usage_adds_up():
    total = Usage(input_tokens=1, output_tokens=2) + Usage(input_tokens=10, reasoning_tokens=3)
    assert total == Usage(input_tokens=11, output_tokens=2, reasoning_tokens=3)
