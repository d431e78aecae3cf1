"""The OpenAI-compatible client against a real HTTP server."""

import asyncio
import json
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug import Response

from spiritsafe.errors import TeacherError
from spiritsafe.recipe import Teacher
from spiritsafe.records import Failure, Reply, Request, Sampling, TopK, Usage
from spiritsafe.teachers.connect import connect
from spiritsafe.teachers.wire import http_failure, parse_reply

SECRET = "sk-not-for-logs"
PROMPT = "what is six and eight?"


def request(**sampling) -> Request:
    messages = ({"role": "system", "content": "be brief"}, {"role": "user", "content": PROMPT})
    return Request(prompt_id="p", messages=messages, teacher="m@x", sampling=Sampling(**sampling))


def chat(content="14", **more):
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
    return {
        "model": "m-2026",
        "choices": [choice],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2},
    } | more


def sampler(server, **settings):
    return connect(f"http://127.0.0.1:{server.port}/v1#m", settings=Teacher(**settings))


def models(server, *names, status=200):
    rows = [{"id": name} for name in names]
    server.expect_request("/v1/models").respond_with_json({"data": rows}, status=status)


def attempt(server, asked=None, **settings):
    """One attempt, with what the server saw of it."""

    async def run():
        async with sampler(server, **settings) as teacher:
            return await teacher.sample([asked or request()])

    (outcome,) = asyncio.run(run())
    return outcome


def answering(server, body=None, **response):
    """Serve one answer for chat; returns the requests that came."""
    seen = []

    def handler(http):
        seen.append(http)
        data = body if isinstance(body, str | bytes) else json.dumps(body or chat())
        return Response(data, content_type="application/json", **response)

    models(server, "m")
    server.expect_request("/v1/chat/completions", method="POST").respond_with_handler(handler)
    return seen


def test_everything_that_a_server_would_choose_is_sent(httpserver):
    seen = answering(httpserver)
    asked = request(max_tokens=77, temperature=0.5, top_p=0.9, stop=("\n\n",), top_logprobs=3)
    attempt(httpserver, asked)
    assert json.loads(seen[0].data) == {
        "model": "m",
        "messages": list(asked.messages),
        "max_tokens": 77,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": asked.seed,
        "stop": ["\n\n"],
        "logprobs": True,
        "top_logprobs": 3,
    }
    assert seen[0].headers["Idempotency-Key"] == asked.request_hash
    assert "Authorization" not in seen[0].headers


def test_the_key_goes_into_the_header_only(httpserver, monkeypatch):
    monkeypatch.setenv("TEACHER_KEY", f"{SECRET}\n")
    seen = answering(httpserver)
    attempt(httpserver, api_key_env="TEACHER_KEY")
    assert seen[0].headers["Authorization"] == f"Bearer {SECRET}"
    assert SECRET not in seen[0].get_data(as_text=True)


def test_proxies_are_not_used_for_this_machine(httpserver, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    answering(httpserver)
    assert isinstance(attempt(httpserver), Reply)


def test_a_reply_with_everything(httpserver):
    body = chat(
        system_fingerprint="fp_1",
        usage={
            "prompt_tokens": 9,
            "completion_tokens": 7,
            "completion_tokens_details": {"reasoning_tokens": 5},
            "prompt_tokens_details": {"cached_tokens": 4},
        },
    )
    body["choices"][0]["message"]["reasoning_content"] = "six, seven, ..."
    body["choices"][0]["logprobs"] = {
        "content": [
            {
                "token": "14",
                "logprob": -0.1,
                "top_logprobs": [{"token": "15", "logprob": -3.0}, {"token": "14", "logprob": -0.1}],
            }
        ]
    }
    answering(httpserver, body)
    reply = attempt(httpserver, request(top_logprobs=2))
    assert isinstance(reply, Reply) and reply.latency_s > 0
    assert reply == Reply(
        text="14",
        reasoning="six, seven, ...",
        usage=Usage(input_tokens=9, output_tokens=7, reasoning_tokens=5, cached_tokens=4),
        model="m-2026",
        fingerprint="fp_1",
        top_logprobs=TopK(tokens=(("14", "15"),), logprobs=((-0.1, -3.0),)),
        latency_s=reply.latency_s,
    )


def test_completions_take_plain_text(httpserver):
    seen = []

    def handler(http):
        seen.append(json.loads(http.data))
        logprobs = {"top_logprobs": [{" 14": -0.1, " 15": -3.0}]}
        choice = {"text": " 14", "finish_reason": "length", "logprobs": logprobs}
        return Response(json.dumps({"choices": [choice], "usage": None}))

    models(httpserver, "m")
    httpserver.expect_request("/v1/completions").respond_with_handler(handler)
    reply = attempt(httpserver, request(top_logprobs=2), endpoint="completions")
    assert seen[0]["prompt"] == f"be brief\n\n{PROMPT}"
    assert seen[0]["logprobs"] == 2
    assert (reply.text, reply.finish_reason, reply.usage) == (" 14", "length", Usage())
    assert reply.top_logprobs == TopK(tokens=((" 14", " 15"),), logprobs=((-0.1, -3.0),))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"choices": [', "malformed_json"),
        ("<html>", "malformed_json"),
        (b"\xff\xfe\x00", "malformed_json"),
        ("[]", "malformed_json"),
        ('{"choices": [{}]}', "malformed_json"),
        ('{"choices": [{"message": {"content": 14}}]}', "malformed_json"),
        ('{"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": NaN}}', "malformed_json"),
        ('{"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": -1}}', "malformed_json"),
        ("[" * 100_000, "malformed_json"),
        ('{"choices": []}', "empty_choices"),
        ('{"error": {"message": "upstream"}}', "empty_choices"),
    ],
)
def test_damaged_answers_may_have_been_billed(httpserver, body, reason):
    answering(httpserver, body)
    assert attempt(httpserver) == Failure(reason=reason, retryable=True, maybe_billed=True)


@pytest.mark.parametrize(
    ("status", "retryable"), [(400, False), (404, False), (422, False), (429, True), (500, True), (503, True)]
)
def test_http_errors_are_not_billed(httpserver, status, retryable):
    answering(httpserver, {"error": PROMPT}, status=status)
    assert attempt(httpserver) == Failure(reason=f"http_{status}", retryable=retryable, maybe_billed=False)


def test_retry_after_in_seconds(httpserver):
    answering(httpserver, {}, status=429, headers={"Retry-After": "7"})
    assert attempt(httpserver).retry_after_s == 7.0


NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("1.5", 1.5),
        ("-3", 0.0),
        ("99999999", 3600.0),
        (format_datetime(NOON + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOON - timedelta(seconds=90), usegmt=True), 0.0),
        ("soon", None),
        ("nan", None),
        (None, None),
    ],
)
def test_forms_of_retry_after(header, seconds):
    assert http_failure(429, header, NOON.timestamp()).retry_after_s == seconds


def test_the_deadline_ends_an_attempt(httpserver):
    async def silent(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET"):
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    assert raw(silent, deadline_s=0.3) == Failure(reason="timeout", retryable=True, maybe_billed=True)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"choices"', "truncated"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{", "truncated"),
        (b"", "disconnected"),
        (b"HTTP/1.1 nonsense\r\n\r\n", "disconnected"),
    ],
)
def test_broken_connections_may_have_been_billed(answer, reason):
    async def broken(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET"):
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        else:
            writer.write(answer)
        await writer.drain()

    assert raw(broken) == Failure(reason=reason, retryable=True, maybe_billed=True)


def raw(handler, **settings):
    """One attempt against a handler of bare connections, which is closed when it returns."""
    connections = []

    async def serve(reader, writer):
        connections.append(asyncio.current_task())
        await handler(reader, writer)
        writer.close()
        await writer.wait_closed()

    async def run():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            async with connect(f"http://127.0.0.1:{port}/v1#m", settings=Teacher(**settings)) as teacher:
                outcomes = await teacher.sample([request()])
            await asyncio.gather(*connections)
        return outcomes[0]

    return asyncio.run(run())


def test_a_server_that_is_gone_was_not_billed(httpserver):
    models(httpserver, "m")

    async def run():
        teacher = sampler(httpserver)
        await teacher.open()
        teacher._url = f"http://127.0.0.1:{free_port()}/v1/chat/completions"
        outcomes = await teacher.sample([request(), request()])
        await teacher.close()
        await teacher.close()
        return outcomes

    gone = Failure(reason="connection", retryable=True, maybe_billed=False)
    assert asyncio.run(run()) == [gone, gone]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def opening(teacher) -> str:
    """The error of opening, message and hint, which never shows a key."""

    async def run():
        await teacher.open()

    with pytest.raises(TeacherError) as error:
        asyncio.run(run())
    text = f"{error.value.message} | {error.value.hint}"
    assert SECRET not in text
    return text


def test_unreachable_server():
    text = opening(connect(f"http://127.0.0.1:{free_port()}/v1#m"))
    assert "cannot reach the teacher at http://127.0.0.1:" in text
    assert "is the server running" in text


def test_wrong_model_names_the_nearest(httpserver):
    models(httpserver, "other", "m2-large")
    text = opening(connect(f"http://127.0.0.1:{httpserver.port}/v1#m2-lage"))
    assert "does not serve the model 'm2-lage', did you mean 'm2-large'?" in text
    assert "it serves: m2-large, other" in text


@pytest.mark.parametrize("status", [401, 403])
def test_wrong_key_names_the_variable(httpserver, monkeypatch, status):
    monkeypatch.setenv("TEACHER_KEY", SECRET)
    models(httpserver, status=status)
    text = opening(sampler(httpserver, api_key_env="TEACHER_KEY"))
    assert "refuses the key" in text and "TEACHER_KEY" in text


def test_not_ready_and_not_this_kind_of_server(httpserver):
    httpserver.expect_ordered_request("/v1/models").respond_with_data("", status=503)
    httpserver.expect_ordered_request("/v1/models").respond_with_data("<html>welcome</html>")
    assert "not ready" in opening(sampler(httpserver))
    assert "no OpenAI-compatible server" in opening(sampler(httpserver))


@pytest.mark.parametrize("status", [404, 405, 500])
def test_a_server_without_a_list_of_models_is_taken(httpserver, status):
    httpserver.expect_request("/v1/models").respond_with_data("", status=status)
    httpserver.expect_request("/v1/chat/completions").respond_with_json(chat())
    assert attempt(httpserver).text == "14"


def test_folders_need_not_be_listed(httpserver):
    models(httpserver, "cached/model")

    async def run():
        async with connect(f"http://127.0.0.1:{httpserver.port}/v1#/models/mine") as teacher:
            return teacher.hinted_identity

    assert asyncio.run(run()) is None


def test_vllm_says_what_it_serves(httpserver):
    rows = [{"id": "m", "root": "Qwen/Qwen3-32B"}]
    httpserver.expect_request("/v1/models").respond_with_json({"data": rows})

    async def run():
        async with sampler(httpserver) as teacher:
            return teacher.hinted_identity

    assert asyncio.run(run()) == "Qwen/Qwen3-32B"


def test_a_sampler_outlives_its_event_loop(httpserver):
    answering(httpserver)
    teacher = sampler(httpserver)

    async def run():
        await teacher.open()
        await teacher.open()
        outcomes = await teacher.sample([request()])
        await teacher.close()
        return outcomes[0].text

    assert [asyncio.run(run()), asyncio.run(run())] == ["14", "14"]


def test_content_of_other_forms():
    def text(content):
        return parse_reply(json.dumps(chat(content)).encode(), chat=True, latency_s=0.0).text

    assert text(None) == ""
    assert text([{"type": "text", "text": "1"}, {"type": "text", "text": "4"}]) == "14"
    assert text("\U0001f600 \u4f60") == "\U0001f600 \u4f60"
    lone = parse_reply(b'{"choices":[{"message":{"content":"a\\ud800b"}}]}', chat=True, latency_s=0.0)
    assert lone.text == "a\ufffdb"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def some(**fields):
    """An object with any of these fields, or anything else."""
    return st.fixed_dictionaries({}, optional=fields) | JSON


CHOICE = some(
    message=some(content=JSON, reasoning=JSON),
    text=JSON,
    finish_reason=JSON,
    logprobs=some(content=JSON, top_logprobs=JSON),
)
SHAPES = some(
    choices=st.lists(CHOICE, max_size=2),
    usage=some(prompt_tokens=JSON, completion_tokens=JSON),
    model=JSON,
    system_fingerprint=JSON,
)


@given(value=SHAPES, is_chat=st.booleans())
def test_no_answer_however_odd_raises(value, is_chat):
    outcome = parse_reply(json.dumps(value).encode(), chat=is_chat, latency_s=0.0)
    if isinstance(outcome, Reply):
        json.dumps(outcome.to_json(), allow_nan=False).encode()
        outcome.text.encode()
    else:
        assert outcome.reason in ("malformed_json", "empty_choices")
