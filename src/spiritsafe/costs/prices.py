"""What a teacher's tokens cost: the recipe's price, the user's file, our dated table, genai-prices.

A price that may be too low would break a budget, so whatever varies is taken at its dearest: peak hours,
and the long-context rate for every request that could reach it. An unknown remote price is None, never 0.
"""

from __future__ import annotations

import functools
import importlib.metadata
import ipaddress
import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from spiritsafe.errors import InputError
from spiritsafe.recipe import ModelAccess, Price, Section
from spiritsafe.records import TeacherId, Usage

USER_FILE = "SPIRITSAFE_PRICES"
"""Environment variable that names a YAML file of the same shape as prices.yaml; its rows win over ours."""

BUILTIN = Path(__file__).with_name("prices.yaml")
FREE = Price(input_per_million=0.0, output_per_million=0.0)
Rate = Annotated[float, Field(ge=0)]


class KnownPrice(Price):
    """A row of a price table: US dollars per million tokens, with where and when it was read."""

    model: str
    """Exact name on the wire; a dated snapshot is another model, with its own row."""
    host: str | None = None
    """Host name without port; None (user's file only) is any remote host."""
    cached_input_per_million: Rate | None = None
    """Input read from the provider's cache; None: no discount is assumed."""
    long_from: Annotated[int, Field(gt=0)] | None = None
    """Input tokens from which the whole request is billed at the long rates."""
    long_input_per_million: Rate | None = None
    long_output_per_million: Rate | None = None
    source: str | None = None
    """URL of the page that the figures stand on."""
    checked: Annotated[str, Field(pattern=r"^\d{4}-\d{2}(-\d{2})?$")] | None = None
    """ISO date (or month) on which they were seen there."""
    evidence: Literal["provider", "report", "library", "user"] = "user"
    """provider: the provider's own page; report: a third party's dated account; library: genai-prices."""
    note: str | None = None

    @field_validator("checked", mode="before")
    @classmethod
    def _unquoted(cls, value: object) -> object:
        return value.isoformat() if isinstance(value, date) else value  # YAML reads 2026-03-01 as a date

    @model_validator(mode="after")
    def _long_rates(self) -> KnownPrice:
        rates = (self.long_from, self.long_input_per_million, self.long_output_per_million)
        if any(rate is None for rate in rates) and any(rate is not None for rate in rates):
            raise ValueError("long_from, long_input_per_million and long_output_per_million go together")
        return self


class BatchDiscount(Section):
    """What a provider's batches cost, as a share of the live price of every token."""

    host: str
    share: Annotated[float, Field(gt=0, le=1)]
    source: str
    checked: Annotated[str, Field(pattern=r"^\d{4}-\d{2}(-\d{2})?$")]
    evidence: Literal["provider", "report"]


class PriceTable(Section):
    """The shape of prices.yaml."""

    prices: tuple[KnownPrice, ...] = ()
    batch_discounts: tuple[BatchDiscount, ...] = ()


def price_of(settings: ModelAccess, teacher_id: TeacherId) -> Price | None:
    """Price of a teacher's tokens, or None when it is remote and unknown.

    Order: the recipe's own `price`, the user's file, 0 for local, scripted and loopback teachers,
    our table, genai-prices where it is installed. Raises InputError when the user's file is not valid.
    """
    if settings.price is not None:
        return settings.price
    free = teacher_id.channel != "api" or is_loopback(teacher_id.host)
    own = _find(_user_rows(), teacher_id, any_host=not free)
    if own is not None or free:
        return own or FREE
    return _find(builtin_rows(), teacher_id) or _from_library(teacher_id)


def batch_price(price: Price | None, teacher: TeacherId) -> Price | None:
    """The same price in a batch: its own batch rates, the host's discount, or no discount.

    Cached input is not taken for cheaper there. None stays None.
    """
    if price is None:
        return None
    share = next((d.share for d in batch_discounts() if d.host == host_name(teacher.host)), 1.0)
    input_rate, output_rate = price.batch_input_per_million, price.batch_output_per_million
    new: dict[str, float | None] = {
        "input_per_million": price.input_per_million * share if input_rate is None else input_rate,
        "output_per_million": price.output_per_million * share if output_rate is None else output_rate,
    }
    if isinstance(price, KnownPrice):
        new["cached_input_per_million"] = None
        if price.long_from is not None:  # the discount as such: tables give batch rates of short requests
            assert price.long_input_per_million is not None and price.long_output_per_million is not None
            new["long_input_per_million"] = price.long_input_per_million * share
            new["long_output_per_million"] = price.long_output_per_million * share
    return price.model_copy(update=new)


def rates(price: Price, input_tokens: int) -> tuple[float, float]:
    """Dollars per million input and output tokens of a request with so many input tokens."""
    if isinstance(price, KnownPrice) and price.long_from is not None and input_tokens >= price.long_from:
        assert price.long_input_per_million is not None and price.long_output_per_million is not None
        return price.long_input_per_million, price.long_output_per_million
    return price.input_per_million, price.output_per_million


def cost_usd(price: Price, usage: Usage) -> float:
    """Dollars of one request: cached input at its own rate where the table has one, reasoning as output."""
    input_rate, output_rate = rates(price, usage.input_tokens)
    cached_rate = getattr(price, "cached_input_per_million", None)
    cached = min(usage.cached_tokens, usage.input_tokens) if cached_rate is not None else 0
    dollars = (usage.input_tokens - cached) * input_rate + usage.output_tokens * output_rate
    return (dollars + cached * (cached_rate or 0.0)) / 1e6


def is_loopback(host: str) -> bool:
    """True for localhost, 127.0.0.0/8 and ::1, with or without a port; names are not resolved."""
    name = host_name(host)
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def host_name(host: str) -> str:
    """`host` without port and brackets, in lower case: '[::1]:80' is '::1'."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    # More than one colon without brackets is a bare IPv6 address, which has no port.
    return (host if host.count(":") > 1 else host.partition(":")[0]).lower()


@functools.cache
def builtin_rows() -> tuple[KnownPrice, ...]:
    """The rows of prices.yaml."""
    return read_table(BUILTIN)


@functools.cache
def batch_discounts() -> tuple[BatchDiscount, ...]:
    """The batch discounts of prices.yaml."""
    return _table(BUILTIN).batch_discounts


def read_table(path: Path) -> tuple[KnownPrice, ...]:
    """The prices of a file. Raises InputError naming the file and its first problem."""
    return _table(path).prices


def _table(path: Path) -> PriceTable:
    """A price file. Raises InputError naming the file and the row's first problem."""
    hint = "each row needs model, input_per_million and output_per_million, under the key prices"
    try:
        return PriceTable.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"cannot read the price file {path}: {error.strerror}", hint) from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise InputError(f"the price file is not valid YAML: {path}", hint) from None
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"]) or "file"
        raise InputError(f"{path}: {where}: {problem['msg']}", hint) from None


def _user_rows() -> tuple[KnownPrice, ...]:
    path = os.environ.get(USER_FILE)
    return read_table(Path(path)) if path else ()


def _find(rows: tuple[KnownPrice, ...], teacher: TeacherId, any_host: bool = False) -> KnownPrice | None:
    name = host_name(teacher.host)
    for row in rows:
        here = any_host if row.host is None else row.host.lower() == name
        if here and row.model == teacher.wire_name:
            return row
    return None


def _from_library(teacher: TeacherId) -> KnownPrice | None:
    """The price genai-prices gives, at the dearest half-hour of the coming week."""
    try:
        import genai_prices
    except ImportError:
        return None
    usage = genai_prices.Usage(input_tokens=1, output_tokens=1)
    start = datetime.now(UTC)
    found = []
    try:
        for half_hour in range(7 * 48):
            result = genai_prices.calc_price(
                usage,
                teacher.wire_name,
                provider_api_url=f"https://{host_name(teacher.host)}",
                genai_request_timestamp=start + timedelta(minutes=30 * half_hour),
            )
            found.append(result.model_price)
    except LookupError:
        return None
    return _dearest(teacher, found)


def _dearest(teacher: TeacherId, prices: list[Any]) -> KnownPrice | None:
    """One row that is at least each of these prices; None when a price is not by the token alone."""
    if any(getattr(price, "requests_kcount", None) is not None for price in prices):
        return None
    sides = [[getattr(price, side, None) for price in prices] for side in ("input_mtok", "output_mtok")]
    if any(rate is None for side in sides for rate in side):
        return None
    base = [max(float(_base(rate)) for rate in side) for side in sides]
    tiers = [[tier for rate in side for tier in getattr(rate, "tiers", [])] for side in sides]
    long = [max([float(t.price) for t in side], default=low) for side, low in zip(tiers, base, strict=True)]
    start = min((tier.start for side in tiers for tier in side), default=None)
    return KnownPrice(
        model=teacher.wire_name,
        host=host_name(teacher.host),
        input_per_million=base[0],
        output_per_million=base[1],
        long_from=start,
        long_input_per_million=long[0] if start is not None else None,
        long_output_per_million=long[1] if start is not None else None,
        evidence="library",
        note=f"genai-prices {importlib.metadata.version('genai-prices')}",
    )


def _base(rate: Any) -> Any:
    return getattr(rate, "base", rate)  # a tiered price, or a plain number
