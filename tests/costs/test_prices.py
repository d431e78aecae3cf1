import re
import subprocess
import sys

import pytest

from spiritsafe.costs.prices import (
    FREE,
    USER_FILE,
    KnownPrice,
    batch_discounts,
    batch_price,
    builtin_rows,
    cost_usd,
    host_name,
    is_loopback,
    price_of,
    rates,
)
from spiritsafe.errors import InputError
from spiritsafe.recipe import Price, Teacher
from spiritsafe.records import TeacherId, Usage


@pytest.fixture(autouse=True)
def no_user_file(monkeypatch):
    monkeypatch.delenv(USER_FILE, raising=False)


def api(model: str, host: str) -> TeacherId:
    return TeacherId(wire_name=model, host=host, channel="api")


def user_file(tmp_path, monkeypatch, text: str):
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    monkeypatch.setenv(USER_FILE, str(path))
    return path


def test_every_row_has_a_source_and_a_date():
    rows = builtin_rows()
    assert len(rows) >= 25
    assert len({(row.host, row.model) for row in rows}) == len(rows)
    for row in rows:
        assert row.host and row.source and row.source.startswith("https://")
        assert row.checked and re.fullmatch(r"2026-\d\d(-\d\d)?", row.checked)
        assert row.evidence in ("provider", "report")
        assert 0 < row.input_per_million < row.output_per_million


@pytest.mark.parametrize(
    "host", ["localhost:8000", "LOCALHOST", "127.0.0.1:1", "127.9.9.9", "[::1]:80", "::1"]
)
def test_loopback_is_free(host):
    assert is_loopback(host)
    assert price_of(Teacher(), api("gpt-4o-mini", host)) == FREE


@pytest.mark.parametrize(
    "host", ["localhost.example.com", "127.0.0.1.nip.io:80", "128.0.0.1", "0.0.0.0", "::2", ""]
)
def test_other_hosts_are_not_loopback(host):
    assert not is_loopback(host)
    assert price_of(Teacher(), api("some-model", host)) is None


def test_local_and_scripted_teachers_are_free():
    assert price_of(Teacher(), TeacherId(wire_name="/models/x", channel="local")) == FREE
    assert price_of(Teacher(), TeacherId(wire_name="x", host="scripted", channel="scripted")) == FREE


def test_the_recipe_comes_first():
    own = Price(input_per_million=1, output_per_million=2)
    teacher = Teacher(price=own)
    assert price_of(teacher, api("gpt-4o-mini", "api.openai.com")) == own
    assert price_of(teacher, TeacherId(wire_name="x")) == own


def test_the_table_needs_model_and_host_to_match():
    price = price_of(Teacher(), api("gpt-4o-mini", "api.openai.com:443"))
    assert price is not None
    assert (price.input_per_million, price.output_per_million) == (0.15, 0.6)
    assert price_of(Teacher(), api("gpt-4o-mini", "proxy.example.com")) is None


def test_the_users_file_wins_over_the_table(tmp_path, monkeypatch):
    rows = """
prices:
  - {model: gpt-4o-mini, host: api.openai.com, input_per_million: 9, output_per_million: 10}
  - {model: mine, input_per_million: 3, output_per_million: 4, checked: 2026-02-03}
  - {model: metered, host: localhost, input_per_million: 5, output_per_million: 6}
"""
    user_file(tmp_path, monkeypatch, rows)
    prices = [
        price_of(Teacher(), api(model, host))
        for model, host in [
            ("gpt-4o-mini", "api.openai.com"),
            ("mine", "any.host"),
            ("metered", "localhost:1"),
        ]
    ]
    assert [(p.input_per_million, p.output_per_million) for p in prices if p] == [(9, 10), (3, 4), (5, 6)]
    assert price_of(Teacher(), api("mine", "localhost:1")) == FREE
    assert getattr(prices[1], "checked") == "2026-02-03"  # noqa: B009


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("prices: [", "not valid YAML"),
        ("prices: [{model: x}]", "prices.0.input_per_million: Field required"),
        ("prices: [{model: x, input_per_million: -1, output_per_million: 1}]", "greater than or equal to 0"),
        ("prices: [{model: x, input_per_million: 1, output_per_million: 1, long_from: 9}]", "go together"),
        ("prise: []", "prise: Extra inputs"),
        ("7", "file: Input should be a valid dictionary"),
    ],
)
def test_a_bad_users_file_is_named(tmp_path, monkeypatch, text, problem):
    path = user_file(tmp_path, monkeypatch, text)
    with pytest.raises(InputError, match=re.escape(str(path))) as error:
        price_of(Teacher(), api("x", "h"))
    assert problem in error.value.message
    assert error.value.hint


def test_a_missing_users_file_is_named(monkeypatch):
    monkeypatch.setenv(USER_FILE, "/nowhere/prices.yaml")
    with pytest.raises(InputError, match="cannot read the price file /nowhere"):
        price_of(Teacher(), api("x", "h"))


TIERED = KnownPrice(
    model="m",
    input_per_million=1,
    output_per_million=2,
    cached_input_per_million=0.5,
    long_from=100,
    long_input_per_million=3,
    long_output_per_million=5,
)


def test_long_requests_pay_the_long_rate_for_all_tokens():
    assert rates(TIERED, 99) == (1, 2)
    assert rates(TIERED, 100) == (3, 5)
    assert rates(Price(input_per_million=1, output_per_million=2), 10**9) == (1, 2)


def test_cost_by_hand():
    flat = Price(input_per_million=2, output_per_million=8)
    # 1,000 * 2 + 500 * 8 = 6,000 micro-dollars: reasoning is in the output, no cache rate no discount.
    usage = Usage(input_tokens=1000, output_tokens=500, reasoning_tokens=400, cached_tokens=900)
    assert cost_usd(flat, usage) == pytest.approx(0.006, rel=1e-12)
    # (90 - 40) * 1 + 40 * 0.5 + 10 * 2 = 90 micro-dollars
    assert cost_usd(TIERED, Usage(input_tokens=90, output_tokens=10, cached_tokens=40)) == pytest.approx(9e-5)
    # 100 * 3 + 10 * 5 = 350
    assert cost_usd(TIERED, Usage(input_tokens=100, output_tokens=10)) == pytest.approx(3.5e-4)
    assert cost_usd(FREE, usage) == 0


def test_host_names():
    assert [host_name(h) for h in ("A.com:1", "[::1]:2", "fe80::1", "b")] == ["a.com", "::1", "fe80::1", "b"]


def test_the_library_fills_in_and_is_loaded_late():
    pytest.importorskip("genai_prices")
    price = price_of(Teacher(), api("claude-sonnet-4-5", "api.anthropic.com"))
    assert isinstance(price, KnownPrice)
    assert price.evidence == "library"
    assert (price.input_per_million, price.output_per_million) == (3, 15)
    assert rates(price, 300_000) == (6, 22.5)


def test_the_library_gives_peak_rates_and_refuses_fees_per_request():
    pytest.importorskip("genai_prices")
    price = price_of(Teacher(), api("deepseek-v4-flash", "api.deepseek.com"))
    assert price is not None
    assert (price.input_per_million, price.output_per_million) == (0.3, 1.2)
    assert price_of(Teacher(), api("sonar", "api.perplexity.ai")) is None


def test_table_and_library_agree():
    """Two independent sources, so that a slip in our table shows."""
    genai_prices = pytest.importorskip("genai_prices")
    compared = 0
    for row in builtin_rows():
        try:
            usage = genai_prices.Usage(input_tokens=1, output_tokens=1)
            known = genai_prices.calc_price(
                usage, row.model, provider_api_url=f"https://{row.host}"
            ).model_price
        except LookupError:
            continue
        for rate, ours in (
            (known.input_mtok, row.input_per_million),
            (known.output_mtok, row.output_per_million),
        ):
            base = float(getattr(rate, "base", rate))
            assert base in (ours, ours / 2), f"{row.model}: {ours}"  # half: off-peak
        compared += 1
    assert compared >= 20


def test_the_library_is_not_imported_with_the_module():
    code = "import sys, spiritsafe.costs.prices; sys.exit('genai_prices' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_batches_cost_what_the_table_says():
    """Half at OpenAI and Anthropic, the live price elsewhere; rates of its own come first."""
    live = Price(input_per_million=2.0, output_per_million=8.0)
    for host, share in (
        ("api.openai.com:443", 0.5),
        ("api.anthropic.com:443", 0.5),
        ("openrouter.ai:443", 1),
    ):
        found = batch_price(live, api("m", host))
        assert (found.input_per_million, found.output_per_million) == (2.0 * share, 8.0 * share)
    own = live.model_copy(update={"batch_input_per_million": 0.7, "batch_output_per_million": 3.0})
    found = batch_price(own, api("m", "api.openai.com:443"))
    assert cost_usd(found, Usage(input_tokens=10**6, output_tokens=10**6)) == 3.7
    assert batch_price(None, api("m", "api.openai.com")) is None


def test_batch_prices_of_long_and_cached_input():
    haiku = price_of(Teacher(), api("claude-haiku-5-5", "api.anthropic.com:443"))
    assert rates(batch_price(haiku, api("m", "api.anthropic.com")), 100_000) == (0.25, 1.25)
    mini = price_of(Teacher(), api("gpt-5.4-mini", "api.openai.com:443"))
    half = batch_price(mini, api("m", "api.openai.com"))
    assert (half.input_per_million, half.cached_input_per_million) == (0.375, None)


def test_every_batch_discount_has_a_source_and_a_date():
    assert {row.host for row in batch_discounts()} == {"api.openai.com", "api.anthropic.com"}
    for row in batch_discounts():
        assert row.source.startswith("https://") and re.fullmatch(r"2026-\d\d-\d\d", row.checked)
