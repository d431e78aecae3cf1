"""Lines of batch files: requests out, results in, for each provider's format."""

import asyncio
import json

import pytest

from spiritsafe.errors import InputError, UsageError
from spiritsafe.recipe import Teacher
from spiritsafe.records import Failure, Reply, Request, Sampling, Usage
from spiritsafe.teachers import wire
from spiritsafe.teachers.batch_anthropic import outcome_of
from spiritsafe.teachers.batch_openai import OpenAiLines, OpenRouterBatches
from spiritsafe.teachers.connect import connect, connect_batch, only_by_batch, teacher_id

MESSAGES = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "6 * 7?"})
COMPLETION = {
    "model": "m-1",
    "system_fingerprint": "fp",
    "choices": [
        {
            "message": {"role": "assistant", "content": "42", "reasoning_content": "six sevens"},
            "finish_reason": "stop",
            "logprobs": {
                "content": [
                    {"token": "42", "logprob": -0.1, "top_logprobs": [{"token": "42", "logprob": -0.1}]}
                ]
            },
        }
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14},
}


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "sk-not-for-logs")


def request(**sampling) -> Request:
    return Request(
        prompt_id="p", messages=MESSAGES, teacher="m@here", sampling=Sampling(max_tokens=64, **sampling)
    )


def line_of(ref, asked):
    key = asked.request_hash
    return json.loads(connect_batch(ref, settings=Teacher(model=ref)).line(key, asked))


def lines_of(ref="openai:gpt-x", **settings):
    chosen = Teacher(model=ref, **settings)
    return OpenAiLines(teacher_id(ref, chosen), chosen)


def test_a_line_for_openai_is_the_live_request_in_an_envelope():
    asked = request(temperature=0.5, top_logprobs=3, stop=("\n",))
    row = line_of("openai:gpt-x", asked)
    assert (row["custom_id"], row["method"], row["url"]) == (
        asked.request_hash,
        "POST",
        "/v1/chat/completions",
    )
    assert len(row["custom_id"]) == 64
    live = wire.payload(asked, asked.request_hash, "gpt-x", chat=True, max_tokens="max_completion_tokens")
    assert row["body"] == json.loads(live)


def test_completions_have_their_own_url():
    row = json.loads(lines_of(endpoint="completions").line("ab" * 32, request()))
    assert (row["url"], row["body"]["prompt"]) == ("/v1/completions", "Be brief.\n\n6 * 7?")


def test_a_result_is_read_as_a_live_answer():
    row = {"custom_id": "k", "response": {"status_code": 200, "body": COMPLETION}, "error": None}
    key, reply = lines_of().result(row)
    assert key == "k"
    assert reply == wire.parse_reply(json.dumps(COMPLETION).encode(), chat=True, latency_s=0.0)
    assert (reply.text, reply.reasoning, reply.fingerprint) == ("42", "six sevens", "fp")
    assert reply.top_logprobs.tokens == (("42",),)


@pytest.mark.parametrize(
    ("row", "reason", "retryable"),
    [
        ({"response": {"status_code": 400, "body": {}}}, "http_400", False),
        ({"response": {"status_code": 429, "body": {}}}, "http_429", True),
        ({"response": None, "error": {"code": "batch_expired"}}, "batch_expired", True),
        ({"response": None, "error": {"code": "batch_cancelled"}}, "batch_cancelled", True),
        ({"response": None, "error": {"code": "request_timeout"}}, "batch_request_timeout", True),
        ({"response": None}, "batch_failed", True),
    ],
)
def test_what_was_not_run_is_not_billed(row, reason, retryable):
    _, failure = lines_of().result({"custom_id": "k", **row})
    assert failure == Failure(reason=reason, retryable=retryable, maybe_billed=False)


def test_a_status_that_is_none_may_have_been_billed():
    """Reported of the real provider: completed requests with status_code 0."""
    _, failure = lines_of().result({"custom_id": "k", "response": {"status_code": 0, "body": {}}})
    assert failure == Failure(reason="batch_status_0", retryable=True, maybe_billed=True)


@pytest.mark.parametrize("row", [[], "text", {"custom_id": "k", "response": {"body": []}}])
def test_lines_that_are_none(row):
    assert lines_of().result(row)[1] == wire.MALFORMED


def test_openrouter_wants_the_model_before_the_requests():
    settings = Teacher(model="https://openrouter.ai/api/v1#a/b")
    api = connect_batch(settings.model, settings=settings)
    assert isinstance(api, OpenRouterBatches)
    asked = request()
    body = asyncio.run(api.prepare([api.line(asked.request_hash, asked)], "mark"))
    assert list(json.loads(body)) == ["endpoint", "model", "requests"]
    (row,) = json.loads(body)["requests"]
    assert (row["custom_id"], row["body"]["model"]) == (asked.request_hash, "a/b")
    assert api.limits.requests == 5_000


def test_a_line_for_anthropic():
    row = line_of("anthropic:claude-x", request(stop=("END",)))
    assert row["params"] == {
        "model": "claude-x",
        "max_tokens": 64,
        "messages": [{"role": "user", "content": "6 * 7?"}],
        "system": "Be brief.",
        "temperature": 0.0,
        "stop_sequences": ["END"],
    }
    assert "temperature" not in line_of("anthropic:claude-x", request(temperature=1.0))["params"]
    assert line_of("anthropic:claude-x", request(temperature=1.0, top_p=0.9))["params"]["top_p"] == 0.9


@pytest.mark.parametrize(
    ("sampling", "match"),
    [
        ({"top_logprobs": 5}, "api.anthropic.com:443 gives no log-probabilities"),
        ({"temperature": 1.5}, "temperatures up to 1, got 1.5"),
        ({"temperature": 0.5, "top_p": 0.9}, "temperature or top_p, not both"),
    ],
)
def test_anthropic_refuses_by_name(sampling, match):
    with pytest.raises(UsageError, match=match):
        line_of("anthropic:claude-x", request(**sampling))


def test_an_anthropic_message_is_a_reply():
    message = {
        "model": "claude-x",
        "content": [
            {"type": "thinking", "thinking": "six sevens", "signature": "s"},
            {"type": "text", "text": "It is "},
            {"type": "text", "text": "42."},
        ],
        "stop_reason": "max_tokens",
        "usage": {
            "input_tokens": 4,
            "cache_read_input_tokens": 3,
            "cache_creation_input_tokens": 2,
            "output_tokens": 7,
        },
    }
    assert outcome_of({"type": "succeeded", "message": message}) == Reply(
        text="It is 42.",
        reasoning="six sevens",
        finish_reason="length",
        usage=Usage(input_tokens=9, output_tokens=7, cached_tokens=3),
        model="claude-x",
    )


@pytest.mark.parametrize(
    ("result", "reason", "retryable"),
    [
        ({"type": "expired"}, "batch_expired", True),
        ({"type": "canceled"}, "batch_canceled", True),
        ({"type": "errored", "error": {"error": {"type": "api_error"}}}, "batch_api_error", True),
        (
            {"type": "errored", "error": {"error": {"type": "invalid_request_error"}}},
            "batch_invalid_request_error",
            False,
        ),
        ({}, "batch_missing", True),
    ],
)
def test_anthropic_results_without_an_answer(result, reason, retryable):
    assert outcome_of(result) == Failure(reason=reason, retryable=retryable, maybe_billed=False)


def test_a_damaged_anthropic_message_may_have_been_billed():
    assert outcome_of({"type": "succeeded", "message": {"content": [{"type": "text"}]}}) == wire.MALFORMED


def test_names_of_batch_teachers(monkeypatch):
    claude = teacher_id("anthropic:claude-x", Teacher())
    assert (claude.wire_name, claude.host, claude.channel) == ("claude-x", "api.anthropic.com:443", "api")
    offline = teacher_id("batch-file:out/put#org/name", Teacher())
    assert (offline.wire_name, offline.host, offline.channel) == ("org/name", "offline", "batch")
    assert [only_by_batch(ref) for ref in ("anthropic:x", "batch-file:a#b", "openai:x")] == [
        True,
        True,
        False,
    ]
    with pytest.raises(UsageError, match="asked by the batch alone"):
        connect("anthropic:claude-x")
    with pytest.raises(UsageError, match="needs a folder and a model name"):
        connect_batch("batch-file:folder")
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    with pytest.raises(UsageError, match="ANTHROPIC_API_KEY is not set"):
        connect_batch("anthropic:claude-x")


def test_half_a_line_of_answers_is_named(tmp_path):
    ref = f"batch-file:{tmp_path}#m"
    api = connect_batch(ref, settings=Teacher(model=ref))
    (tmp_path / "batch-x.answers.jsonl").write_text('{"custom_id": "k", "error": {"code": "c"}}\n{"custom')

    async def read():
        return [row async for row in api.results("batch-x")]

    with pytest.raises(InputError, match=r"answers.jsonl, line 2: not valid JSON"):
        asyncio.run(read())
