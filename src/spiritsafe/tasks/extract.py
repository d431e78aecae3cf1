"""Finding the answer inside a text: a number, a boxed expression, a label, JSON, code. Pure functions.

The text is a model's and may be anything: patterns are linear, numbers bounded, nothing is evaluated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

# One number: sign (not an operator between operands), currency, thousands commas, decimals, exponent.
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!,?\d)|\d+)(?:\.\d+)?(?:[eE][+-]?\d{1,3}(?![\d.]))?|\.\d+"
_SIGN = r"(?:(?<![\w)\]}])[-+])?"
_PLAIN = re.compile(rf"{_SIGN}(?:{_DIGITS})", re.ASCII)
_MIXED = r"\d{1,6}[ ]\d{1,6}/\d{1,6}"
_RATIO = rf"(?:{_DIGITS})[ ]?/[ ]?(?:\d[\d,.]*\d|\d)"
# Not exponents or indices (cm^2, x_{1}), and not the rest of a number.
_FREE = r"(?<![\d^_])(?<![\^_][{-])(?<![\^_]\{-)"
_NUMBER = re.compile(rf"{_FREE}{_SIGN}(?:[$\u00a3\u20ac][ ]?[-+]?)?(?:{_MIXED}|{_RATIO}|{_DIGITS})", re.ASCII)
_MARKED = re.compile(r"####[ \t]*([^\n]*)")
# After #### a number may carry a unit ("72 clips"), but "#### 1. Compute" and "#### Step 2" are headings.
_UNIT = re.compile(r"(?:[ ]?%|[ ][^\W\d_]+){0,3}[ ]*[.]?[ ]*$")
_FRACTION = re.compile(
    r"\\[dtc]?frac\s*\{\s*(-?[\d,.]+)\s*\}\s*\{\s*([\d,.]+)\s*\}|\\[dtc]?frac\s*(\d)\s*(\d)"
)
_FENCE = re.compile(r"```[ \t]*([\w+-]*)[^\n]*\n(.*?)```", re.DOTALL)
_BOXES = 8  # an unclosed one costs a scan to the end of the text
LONGEST_NUMBER = 60
"""Digits beyond which a run of digits is not an answer; it also bounds the arithmetic on foreign text."""


def number_in(text: str) -> Fraction | None:
    """The answer as a number: after GSM8K's `####` first, else in the last \\boxed{}, else the last one."""
    marked = marked_number(text)
    if marked is not None:
        return marked
    box = boxed(text)
    return last_number(box if box is not None else text)


def marked_number(text: str) -> Fraction | None:
    """The number after the first `####` that is an answer line rather than a heading."""
    for match in _MARKED.finditer(_plain(text)):
        rest = match[1].strip(" \t*:=")
        number = _NUMBER.match(rest)
        if number and _UNIT.match(rest, number.end()):
            return to_number(number[0])
    return None


def last_number(text: str) -> Fraction | None:
    """The last number of a text, thousands commas, currency, fractions and mixed numbers understood."""
    value = None
    for match in _NUMBER.finditer(_plain(text)):
        found = to_number(match[0])
        value = found if found is not None else value
    return value


def number_alone(text: str) -> Fraction | None:
    """The number that the whole text is, LaTeX forms included; None where it says more."""
    plain = _plain(text).strip()
    return to_number(plain) if _NUMBER.fullmatch(plain) else None


def to_number(text: str) -> Fraction | None:
    """An exact value of `1,200`, `-$3.50`, `3/4` or `1 1/2`; None for anything else or absurdly long."""
    clean = re.sub(r"[,$\u00a3\u20ac]", "", text).strip().rstrip(".%")
    negative, clean = clean.startswith("-"), clean.lstrip("+-").strip()
    if len(clean) > LONGEST_NUMBER:
        return None
    whole, _, part = clean.rpartition(" ") if re.fullmatch(r"\d+ \d+/\d+", clean) else ("0", "", clean)
    top, slash, bottom = part.replace(" ", "").partition("/")
    if not _PLAIN.fullmatch(top) or (slash and not _PLAIN.fullmatch(bottom)):
        return None
    divisor = Fraction(bottom) if slash else Fraction(1)
    if divisor == 0:
        return None
    value = Fraction(whole) + Fraction(top) / divisor
    return -value if negative else value


def show_number(value: Fraction) -> str:
    """Normal form: 14, 0.75, 1/3. Equal values give equal text."""
    if value.denominator == 1:
        return str(value.numerator)
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest > 1 or value.denominator > 10**12:
        return f"{value.numerator}/{value.denominator}"
    digits = max(_power(value.denominator, 2), _power(value.denominator, 5))
    scaled = f"{abs(value.numerator) * 10**digits // value.denominator:0{digits + 1}d}"
    return f"{'-' if value < 0 else ''}{scaled[:-digits]}.{scaled[-digits:]}"


def boxed(text: str) -> str | None:
    """The content of the last closed \\boxed{...} or \\fbox{...} with balanced braces."""
    starts = [match.end() for match in re.finditer(r"\\(?:boxed|fbox)\s*\{", text)]
    for start in reversed(starts[-_BOXES:]):
        depth = 1
        for place in range(start, len(text)):
            depth += (text[place] == "{") - (text[place] == "}")
            if depth == 0:
                return text[start:place].strip()
    return None


def label_in(text: str, labels: Sequence[str]) -> str | None:
    """The label in `Label: x` (or Answer, Class, Category; the last one), else the first or last line."""
    known = {squeeze(label): label for label in labels}
    lines = [line for line in text.splitlines() if line.strip()]
    named = re.findall(r"(?im)\b(?:label|answer|class|category)\b\W{0,6}?[:=]\s*([^\n]+)", text)
    for candidate in [*reversed(named), *lines[:1], *lines[-1:]]:
        found = known.get(squeeze(candidate)) or known.get(squeeze(candidate.strip(" \t*_`\"'.,;:!()[]")))
        if found is not None:
            return found
    return None


def json_in(text: str) -> Any:
    """The JSON value that is the whole text, or stands in its last fenced block.

    Raises ValueError where there is none; NaN and infinity are not JSON.
    """
    try:
        return _strict_json(text)
    except (ValueError, RecursionError) as error:
        blocks = [body for name, body in fenced(text) if name in ("", "json", "jsonc")]
        if not blocks:
            raise ValueError("no JSON in the answer") from error
    try:
        return _strict_json(blocks[-1])
    except RecursionError:
        raise ValueError("JSON too deep") from None


def code_in(text: str) -> str | None:
    """Python source: the longest fenced python (or unnamed) block, else the whole text; None if blank."""
    blocks = [body for name, body in fenced(text) if name in ("", "py", "python", "python3")]
    code = max(blocks, key=len) if blocks else text
    return code if code.strip() else None


def fenced(text: str) -> Iterator[tuple[str, str]]:
    """(language in lower case, body) of every closed ``` block."""
    for match in _FENCE.finditer(text):
        yield match[1].lower(), match[2]


def squeeze(text: str) -> str:
    """Case folded and every run of white space one space: what `exact` compares."""
    return " ".join(text.casefold().split())


def _strict_json(text: str) -> object:
    def refuse(word: str) -> object:
        raise ValueError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


def _plain(text: str) -> str:
    """LaTeX and typographic forms of numbers as ASCII; a thin space between digits disappears."""
    text = text.replace("\u2212", "-").replace("{,}", ",").replace("\\$", "$").replace("\\%", "%")
    text = re.sub(r"(?<=\d)(?:\\,|\\!|[\u202f\u2009])(?=\d)", "", text)
    return _FRACTION.sub(lambda m: f"{m[1] or m[3]}/{m[2] or m[4]}", text)


def _power(value: int, prime: int) -> int:
    count = 0
    while value % prime == 0:
        value //= prime
        count += 1
    return count
