"""Invoices and orders as text in several layouts, each with six fields as JSON: `generate(split, n, seed)`.

Layouts differ in wording, order and date format, and name numbers that are not asked for: a tax, a discount,
a customer number, an earlier date. Vendor, number, date and total decide the split.
"""

from __future__ import annotations

import datetime
import json
import random
from typing import Any

from spiritsafe.records import Prompt
from spiritsafe.tasks.drawing import Draw, Split, draw

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["invoice", "order"]},
        "vendor": {"type": "string"},
        "number": {"type": "string"},
        "date": {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"},
        "total": {"type": "number"},
        "currency": {"enum": ["EUR", "GBP", "USD"]},
    },
    "required": ["kind", "vendor", "number", "date", "total", "currency"],
    "additionalProperties": False,
}
"""What an answer must satisfy: `task.verifier.json_schema` of the recipe."""

VENDORS = (
    *("Alder Tools", "Bright Office", "Castle Foods", "Delta Print", "Eastgate Paper", "Fern Garden"),
    *("Grove Cycles", "Harbour Coffee", "Iris Textiles", "Juniper Books", "Kite Electric", "Lark Music"),
    *("Moor Furniture", "North Lamp", "Orchard Supply", "Pine Steel", "Quarry Stone", "River Glass"),
)
SIGNS = {"EUR": "€", "GBP": "£", "USD": "$"}
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
LAYOUTS = (
    "{vendor}\n{Kind} no. {number}\nDate: {date}\nCustomer {other}\nNet {net}\nTax {tax}\nTotal {total}",
    "{KIND} {number}\nfrom {vendor}\n{date}\n\n{item}  {net}\ntax  {tax}\nTo pay: {total}",
    "To: customer {other}\nFrom: {vendor}\nYour {kind} {number} of {date} comes to {total} with {tax} tax.",
    "Hello, this is {vendor}. On {date} we wrote {kind} {number} for you: {item}, {total} in all.",
    "{Kind} date {date} | {Kind} number {number} | {item} {net} | tax {tax} | sum {total} | {vendor}",
    "{vendor} thanks you for your {kind} of {date}.\nItem: {item}\nReference: {number}\nAmount due: {total}\n"
    "Customer number: {other}",
)
ITEMS = ("2 boxes of paper", "1 lamp", "5 chairs", "a desk", "12 cups", "3 cables", "4 shelves", "a carpet")


def generate(split: Split, n: int, seed: int) -> list[Prompt]:
    """`n` different texts with their fields as answer; raises ValueError where there are fewer."""
    return draw("invoices", _invoice, split, n, seed)


def _invoice(rng: random.Random) -> Draw:
    fields = _fields(rng)
    layout = rng.randrange(len(LAYOUTS))
    core = json.dumps([fields[name] for name in ("vendor", "number", "date", "total")])
    text = LAYOUTS[layout].format(**_shown(rng, fields))
    return Draw(core=core, text=text, answer=json.dumps(fields), tags={"layout": str(layout + 1)})


def _fields(rng: random.Random) -> dict[str, Any]:
    day = datetime.date(2024, 1, 1) + datetime.timedelta(days=rng.randrange(1000))
    return {
        "kind": rng.choice(("invoice", "order")),
        "vendor": rng.choice(VENDORS),
        "number": f"{rng.choice('ABKRT')}{rng.randint(100, 9999)}",
        "date": day.isoformat(),
        "total": rng.randint(2000, 99999) / 100,
        "currency": rng.choice(tuple(SIGNS)),
    }


def _shown(rng: random.Random, fields: dict[str, Any]) -> dict[str, str]:
    """The fields as they stand in a text, with the numbers around them that nobody asks for."""
    total, tax = fields["total"], round(fields["total"] / 6, 2)
    amounts = {"total": total, "tax": tax, "net": round(total - tax, 2)}
    by_sign = rng.random() < 0.5
    kind = fields["kind"]
    return {
        **{name: _money(value, fields["currency"], by_sign) for name, value in amounts.items()},
        **{"kind": kind, "Kind": kind.capitalize(), "KIND": kind.upper()},
        "vendor": fields["vendor"],
        "number": fields["number"],
        "date": _date(rng, datetime.date.fromisoformat(fields["date"])),
        "other": str(rng.randint(10, 999)),
        "item": rng.choice(ITEMS),
    }


def _money(value: float, currency: str, by_sign: bool) -> str:
    return f"{SIGNS[currency]}{value:.2f}" if by_sign else f"{value:.2f} {currency}"


def _date(rng: random.Random, day: datetime.date) -> str:
    forms = (
        day.isoformat(),
        f"{day.day} {MONTHS[day.month - 1]} {day.year}",
        f"{MONTHS[day.month - 1]} {day.day}, {day.year}",
        f"{day.day:02d}.{day.month:02d}.{day.year}",
    )
    return rng.choice(forms)
