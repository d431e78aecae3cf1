"""A server that answers badly in every way, and proof that the fake one speaks the real protocol."""

import asyncio

import openai
import pytest

from spiritsafe.collect.generate import collect
from spiritsafe.errors import BudgetReached, TeacherError
from spiritsafe.recipe import Budget, Price, Teacher
from spiritsafe.store.ledger import Ledger
from spiritsafe.teachers.connect import connect

FAULTS = {"429": 0.10, "500": 0.05, "timeout": 0.05, "malformed": 0.02, "truncated": 0.01}
PRICE = Price(input_per_million=1.0, output_per_million=2.0)


def gather(server, ledger, requests):
    settings = Teacher(model=server.ref, deadline_s=1.5, max_concurrency=32)

    async def run():
        async with connect(server.ref, settings=settings) as sampler:
            return await collect(requests, sampler, ledger, purpose="train", price=PRICE, max_attempts=6)

    return asyncio.run(run())


def bill(server) -> tuple[int, float]:
    """What the server charged: tokens and dollars, answers that never arrived included."""
    rows = server.rows()
    given, made = sum(row["input"] for row in rows), sum(row["output"] for row in rows)
    return given + made, (given * 1.0 + made * 2.0) / 1e6


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch):
    monkeypatch.setattr("spiritsafe.teachers.pace.BACKOFF_S", 0.02)


def test_every_prompt_is_settled_or_failed_with_a_reason(tmp_path, start_server, make_requests):
    server = start_server(latency=0.002, faults=FAULTS, retry_after=0.01)
    with Ledger(tmp_path / "l") as ledger:
        totals = gather(server, ledger, make_requests(400))
        failed = ledger.failed_attempts()
    assert totals.settled + totals.failed == 400
    assert sum(totals.reasons.values()) == totals.failed <= 4
    assert set(failed) == {"http_429", "http_500", "timeout", "malformed_json", "truncated"}
    assert totals.unknown_attempts == failed["timeout"] + failed["malformed_json"] + failed["truncated"]
    assert totals.in_flight == totals.planned == totals.unknown == 0
    tokens, dollars = bill(server)
    assert tokens <= totals.charged_tokens
    assert dollars <= totals.charged_usd


@pytest.mark.parametrize("budget", [Budget(usd=0.006), Budget(tokens=4_000)])
def test_the_bill_stays_below_the_budget(tmp_path, start_server, make_requests, budget):
    server = start_server(latency=0.002, faults={**FAULTS, "timeout": 0.0}, retry_after=0.01)
    with Ledger(tmp_path / "l", budget) as ledger:
        for _ in range(2):  # resuming does not spend more
            with pytest.raises(BudgetReached):
                gather(server, ledger, make_requests(400))
        totals = ledger.totals()
    tokens, dollars = bill(server)
    assert totals.settled > 50
    assert totals.in_flight == 0
    assert tokens <= totals.charged_tokens <= (budget.tokens or 10**9)
    assert dollars <= totals.charged_usd <= (budget.usd or 10**9)


def test_a_server_with_few_places_is_not_overrun(tmp_path, start_server, make_requests):
    server = start_server(latency=0.02, concurrency=4, retry_after=0.01)
    with Ledger(tmp_path / "l") as ledger:
        totals = gather(server, ledger, make_requests(150))
    assert totals.settled == 150
    turned_away = sum(row["outcome"] == "429" for row in server.rows())
    assert turned_away < 150


def test_a_wrong_key_or_model_is_found_before_anything_is_sent(
    tmp_path, start_server, make_requests, monkeypatch
):
    server = start_server(key="sk-right")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong")
    with Ledger(tmp_path / "l") as ledger:
        with pytest.raises(TeacherError, match="refuses the key"):
            gather(server, ledger, make_requests(3))
        monkeypatch.setenv("OPENAI_API_KEY", "sk-right")
        assert gather(server, ledger, make_requests(3)).settled == 3


def test_the_real_openai_client_understands_the_fake_server(start_server):
    server = start_server(key="sk-right")
    base = f"http://127.0.0.1:{server.port}/v1"
    with openai.OpenAI(base_url=base, api_key="sk-right", max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["fake"]
        chat = client.chat.completions.create(
            model="fake",
            messages=[{"role": "user", "content": "six and eight?"}],
            logprobs=True,
            top_logprobs=2,
            max_tokens=8,
        )
        plain = client.completions.create(model="fake", prompt="six and eight?", logprobs=2, max_tokens=8)
        with pytest.raises(openai.NotFoundError):
            client.completions.create(model="other", prompt="x")
    assert chat.choices[0].message.content.startswith("The answer is ####")
    assert len(chat.choices[0].logprobs.content[0].top_logprobs) == 2
    assert chat.usage.total_tokens == chat.usage.prompt_tokens + chat.usage.completion_tokens
    assert plain.choices[0].text.startswith("The answer is ####")
    assert len(plain.choices[0].logprobs.top_logprobs[0]) == 2


def test_the_real_openai_client_sees_the_faults(start_server):
    server = start_server(faults={"429": 1.0}, retry_after=2)
    base = f"http://127.0.0.1:{server.port}/v1"
    asked = {"model": "fake", "messages": [{"role": "user", "content": "x"}]}
    with (
        openai.OpenAI(base_url=base, api_key="any", max_retries=0) as client,
        pytest.raises(openai.RateLimitError) as error,
    ):
        client.chat.completions.create(**asked)
    assert error.value.response.headers["Retry-After"] == "2.0"
