"""Prompts that are too much alike: copies among the training prompts, and copies of evaluation prompts.

Both compare *tokens*: words, numbers and symbols in lower case, without sentence punctuation. Numbers and
operators count, because in templated tasks they are all that tells two problems apart; a character of
Chinese or Japanese is a token of its own. System messages are left out.

Contamination of a training prompt is the share of its distinct 8-grams of tokens that stand in one
evaluation prompt. Grams that stand in many evaluation prompts (more than 50, or more than 4 and 1 % of them)
are the task's common wording and no evidence: they are left out of both counts. A prompt shorter than
8 tokens, or all common wording, is contaminated only by an equal one; an equal one always is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spiritsafe.errors import MissingExtra
from spiritsafe.records import Prompt
from spiritsafe.tasks.jsonl import question_text

GRAM = 8
SHINGLE = 3
COMMON_SHARE, COMMON_COUNT, COMMON_ALWAYS = 0.01, 4, 50
_CHUNK = 4_000  # prompts whose grams are in memory at once
_PERMUTATIONS = 128
_RECALL = 0.99  # of pairs exactly at the threshold; more alike ones are found more surely
_TOKEN = re.compile(
    r"\d+(?:[.,]\d+)*"  # numbers, whole
    r"|[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"  # scripts without spaces
    r"|[^\W\d\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+"
    r"|[^\w\s.,;:?\"'`]"
)
Hashes = NDArray[np.uint64]
Indices = NDArray[np.int64]


def tokens(text: str) -> list[str]:
    """Words, numbers and symbols in lower case."""
    return _TOKEN.findall(text.casefold())


def normal_form(text: str) -> str:
    """Equal for texts that differ in case, white space and sentence punctuation only."""
    return " ".join(tokens(text)) or text


def copies(prompts: Sequence[Prompt], threshold: float = 1.0) -> list[bool]:
    """True for each prompt that is a copy of an earlier one, itself no copy.

    `threshold` is the Jaccard similarity of 3-token shingles; at 1 only equal normal forms are copies.
    Raises MissingExtra where rensa is needed and not installed.
    """
    forms = [normal_form(question_text(prompt)) for prompt in prompts]
    seen: set[str] = set()
    flags = []
    for form in forms:
        flags.append(form in seen)
        seen.add(form)
    return flags if threshold >= 1 else _near(forms, flags, threshold)


def _near(forms: Sequence[str], flags: list[bool], threshold: float) -> list[bool]:
    """MinHash proposes, the exact similarity decides."""
    try:
        import rensa
    except ImportError:
        raise MissingExtra(
            "select.near_duplicate below 1 needs rensa",
            hint="pip install 'spiritsafe[dedup]', or set it to 1",
        ) from None
    index: Any = rensa.RMinHashLSH(threshold, _PERMUTATIONS, _PERMUTATIONS // _rows(threshold))
    kept: dict[int, set[str]] = {}
    for place, form in enumerate(forms):
        shingles = _shingles(form)
        if flags[place] or not shingles:
            continue
        sketch = rensa.RMinHash(_PERMUTATIONS, 1)
        sketch.update(sorted(shingles))
        if any(jaccard(shingles, kept[other]) >= threshold for other in index.query(sketch)):
            flags[place] = True
        else:
            index.insert(place, sketch)
            kept[place] = shingles
    return flags


def jaccard(left: set[str], right: set[str]) -> float:
    """Size of the intersection over size of the union; 0 for two empty sets."""
    union = len(left | right)
    return len(left & right) / union if union else 0.0


def _shingles(form: str) -> set[str]:
    words = form.split(" ")
    return {" ".join(words[place : place + SHINGLE]) for place in range(max(1, len(words) - SHINGLE + 1))}


def _rows(threshold: float) -> int:
    """Rows per band of the index: the most (fewest false candidates) that still reach the recall."""
    for rows in (32, 16, 8, 4, 2):
        if 1 - (1 - threshold**rows) ** (_PERMUTATIONS // rows) >= _RECALL:
            return rows
    return 1


class Contamination:
    """An index of evaluation prompts that training prompts are held against."""

    def __init__(self, evaluation: Sequence[Prompt]) -> None:
        texts = [question_text(prompt) for prompt in evaluation]
        self._forms = {normal_form(text) for text in texts}
        self._vocabulary: dict[str, int] = {}
        self._size = len(texts)
        owners, grams = self._grams([tokens(text) for text in texts])
        order = np.argsort(grams, kind="stable")
        found, starts, counts = np.unique(grams[order], return_index=True, return_counts=True)
        common = counts > min(COMMON_ALWAYS, max(COMMON_COUNT, COMMON_SHARE * self._size))
        self._common: Hashes = found[common]
        self._found: Hashes = found[~common]
        self._starts: Indices = starts[~common]
        self._counts: Indices = counts[~common]
        self._owners: Indices = owners[order]

    def flags(self, prompts: Sequence[Prompt], threshold: float = 0.8) -> list[bool]:
        """True for each prompt that is an evaluation prompt, or shares `threshold` of its grams with one."""
        starts = range(0, len(prompts), _CHUNK)
        return [flag for start in starts for flag in self._chunk(prompts[start : start + _CHUNK], threshold)]

    def _chunk(self, prompts: Sequence[Prompt], threshold: float) -> Iterator[bool]:
        texts = [question_text(prompt) for prompt in prompts]
        split = [tokens(text) for text in texts]
        shares = self._shares(split, threshold)
        for text, words, share in zip(texts, split, shares, strict=True):
            yield bool(share >= threshold) or (" ".join(words) or text) in self._forms

    def _shares(self, texts: Sequence[list[str]], threshold: float) -> NDArray[np.float64]:
        """For each text, the largest share of its grams found in one evaluation prompt; 0 if surely less."""
        shares = np.zeros(len(texts))
        owners, grams = self._grams(texts)
        told = ~_among(grams, self._common)
        owners, grams = owners[told], grams[told]
        totals = np.bincount(owners, minlength=len(texts))
        hit = _among(grams, self._found)
        # A gram found anywhere may be found in that one prompt: this bound spares most texts the counting.
        enough = np.bincount(owners[hit], minlength=len(texts)) >= threshold * totals
        hit &= enough[owners]
        owners, places = owners[hit], np.searchsorted(self._found, grams[hit])
        # Every hit is spread over the evaluation prompts that hold the gram; equal pairs are then counted.
        counts = self._counts[places]
        first = np.repeat(self._starts[places] - np.concatenate(([0], np.cumsum(counts)[:-1])), counts)
        matched = self._owners[first + np.arange(len(first))]
        pairs, sizes = np.unique(np.repeat(owners, counts) * max(1, self._size) + matched, return_counts=True)
        rows = pairs // max(1, self._size)
        np.maximum.at(shares, rows, sizes / totals[rows])
        return shares

    def _grams(self, texts: Sequence[list[str]]) -> tuple[Indices, Hashes]:
        """(text, gram) pairs without repeats, ordered by text; grams as 64-bit hashes."""
        table = self._vocabulary
        ids = np.fromiter((table.setdefault(w, len(table) + 1) for t in texts for w in t), dtype=np.uint64)
        owners = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
        if len(ids) < GRAM:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint64)
        last = len(ids) - GRAM + 1
        # A fixed random linear form modulo 2^64: small ids do not meet by chance.
        factors = np.random.default_rng(20260101).integers(1, 2**63, size=GRAM, dtype=np.uint64) * 2 + 1
        grams = np.zeros(last, dtype=np.uint64)
        for place, factor in enumerate(factors):
            grams += ids[place : place + last] * np.uint64(factor)
        whole = owners[:last] == owners[GRAM - 1 :]
        owners, grams = owners[:last][whole], grams[whole]
        order = np.lexsort((grams, owners))
        owners, grams = owners[order], grams[order]
        new = np.ones(len(grams), dtype=bool)
        new[1:] = (grams[1:] != grams[:-1]) | (owners[1:] != owners[:-1])
        return owners[new], grams[new]


def _among(values: Hashes, allowed: Hashes) -> NDArray[np.bool_]:
    """Which values are in the sorted array `allowed`."""
    if not len(allowed):
        return np.zeros(len(values), dtype=bool)
    places = np.minimum(np.searchsorted(allowed, values), len(allowed) - 1)
    return np.asarray(allowed[places] == values)
