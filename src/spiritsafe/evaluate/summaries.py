"""Cheap measures of a summary, beside the judge's: length, what it names, likeness to another summary.

None of them says that a summary is good; each shows a way in which one is bad. Words are compared as they
are written, so the measures are for languages that put spaces between words and capitals on names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_WORD = re.compile(r"\w+(?:[.,:]\d+)*")
_SENTENCE = re.compile(r"(?:\A|[.!?:;]\s+|\n)[\W_]*\Z")


def length_ratio(summary: str, source: str) -> float:
    """Characters of the summary per character of its source."""
    return len(summary.strip()) / max(len(source.strip()), 1)


def stated(text: str) -> set[str]:
    """Numbers, and words with a capital that do not begin a sentence: what a summary may not invent."""
    found = set()
    for match in _WORD.finditer(text):
        word = match[0]
        if word[0].isdigit():
            found.add(_plain(word))
        elif word[0].isupper() and not _SENTENCE.search(text[: match.start()][-8:] or ""):
            found.add(word)
    return found


def faithful(summary: str, source: str) -> float:
    """Share of the summary's numbers and names that stand in the source; 1 where it has none."""
    said = stated(summary)
    return len(said & _words(source)) / len(said) if said else 1.0


def covered(summary: str, reference: str) -> float | None:
    """Share of a reference summary's numbers and names that stand in the summary; None where it has none."""
    wanted = stated(reference)
    return len(wanted & _words(summary)) / len(wanted) if wanted else None


def rouge_l(text: str, other: str) -> float:
    """F1 of the longest common subsequence of words, case aside: 1 for equal texts, 0 for nothing in common.

    Source: ROUGE-L, Lin, Text Summarization Branches Out, 2004, with beta = 1 and on whole texts.
    """
    a, b = (_WORD.findall(t.lower()) for t in (text, other))
    common = _common(a, b)
    return 2 * common / (len(a) + len(b)) if common else 0.0


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for word in a:
        before = row[:]
        for j, other in enumerate(b):
            row[j + 1] = before[j] + 1 if word == other else max(before[j + 1], row[j])
    return row[-1]


def _words(text: str) -> set[str]:
    return {_plain(word) if word[0].isdigit() else word for word in _WORD.findall(text)}


def _plain(number: str) -> str:
    """1,200 as 1200; 14:30 and 3.5 as they are."""
    return re.sub(r",(?=\d{3}(?!\d))", "", number)
