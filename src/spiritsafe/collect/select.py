"""Which collected answers are trained on: every drop has a reason, and every reason is counted.

Checks run from cheap to dear, and a sample is dropped by the first that it fails:

    truncated, filtered, empty        what the server says about the answer
    refusal, reasoning_too_long       "I'm sorry, but I can't ..."; the trace, in characters
    too_short, too_long, language     length in characters, language of the text
    contaminated, near_duplicate      the prompt is a copy of an evaluation prompt, or of another one
    (the verifier's reason)           wrong_answer, no_number, timeout, ...
    duplicate_answer, not_shortest, not_majority, surplus      best of the n answers to one prompt
    judge_low, judge_unparsed         what a judge makes of the rest, where the recipe has one

Dropped samples stay in the result with accepted=False. A sample whose prompt has no reference cannot be
verified; it is kept, and counted as unverified.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from spiritsafe import recipe
from spiritsafe.collect.duplicates import Contamination, copies
from spiritsafe.collect.verdicts import UNPARSED
from spiritsafe.errors import MissingExtra
from spiritsafe.records import Prompt, Sample
from spiritsafe.tasks.extract import squeeze
from spiritsafe.tasks.verifiers import NO_LABEL, UNVERIFIED, Judgement, answer_key, build

REFUSAL = re.compile(
    r"\s*(i['\u2019]?m sorry|i am sorry|sorry|i apologi[sz]e|unfortunately|as an ai\b[^.]{0,60})[,.:;]?\s*"
    r"(but\s+)?(i['\u2019]?m|i)\s+(can['\u2019]?t|cannot|can not|won['\u2019]?t|am unable|unable|not able)"
    r"|\s*i\s+(can['\u2019]?t|cannot)\s+(help|assist|comply|provide|do that)",
    re.IGNORECASE,
)
"""How refusals begin. Anchored at the start: an answer that apologises in its middle is none."""
FEWEST_LETTERS = 40
"""Shorter texts, and texts of numbers, tell no language; they pass the language filter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """All samples in their order, with `accepted` and `reject_reason` set."""

    samples: list[Sample]
    counts: dict[str, int]
    """Rejected samples by reason."""
    unverified: int = 0
    """Accepted samples whose prompt has no reference to verify them with."""

    @property
    def accepted(self) -> list[Sample]:
        """The samples to train on."""
        return [sample for sample in self.samples if sample.accepted]

    def summary(self) -> dict[str, Any]:
        """What selected/counts.json holds; collected = accepted + all rejected."""
        kept = len(self.accepted)
        return {
            "collected": len(self.samples),
            "accepted": kept,
            "unverified": self.unverified,
            "rejected": dict(sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))),
        }


def select(
    samples: Iterable[Sample],
    prompts: Sequence[Prompt],
    evaluation_prompts: Sequence[Prompt],
    settings: recipe.Select,
    verifier: recipe.Verifier,
    progress: Callable[[int, int], None] | None = None,
    *,
    marks: Mapping[str, float | None] | None = None,
    lowest: float = 0.0,
    votes: bool = False,
) -> Selection:
    """Decide about every sample. `progress(done, total)` is called while answers are verified.

    `marks` are a judge's scores by request hash: answers below `lowest`, and those without one, are dropped.
    `votes`: the answers to a prompt are votes for labels. Equal ones are then kept, and one that names no
    label is dropped whether answers are verified or not.
    A sample whose id is not among `prompts` (an imported one) stands for its own prompt, without reference.
    Raises MissingExtra where a check needs a library that is not installed.
    """
    everything = list(samples)
    known = {prompt.prompt_id: prompt for prompt in prompts}
    for sample in everything:
        known.setdefault(sample.prompt_id, Prompt(prompt_id=sample.prompt_id, messages=sample.messages))
    reasons: dict[int, str] = {}
    _drop(reasons, everything, _text_check(settings))
    _drop(reasons, everything, _prompt_check(everything, reasons, known, evaluation_prompts, settings))
    if votes:
        _drop(reasons, everything, lambda s: None if answer_key(verifier, s.text) else NO_LABEL)
    unverified = _verify(reasons, everything, known, verifier, progress) if settings.verify else set()
    if not votes or settings.keep != "all":
        _best_of_n(reasons, everything, settings.keep, verifier)
    if marks is not None:
        _drop(reasons, everything, lambda sample: _judged(marks.get(sample.request_hash), lowest))
    decided = [
        replace(sample, accepted=place not in reasons, reject_reason=reasons.get(place))
        for place, sample in enumerate(everything)
    ]
    return Selection(
        samples=decided, counts=dict(Counter(reasons.values())), unverified=len(unverified - reasons.keys())
    )


def _drop(reasons: dict[int, str], samples: Sequence[Sample], check: Callable[[Sample], str | None]) -> None:
    for place, sample in enumerate(samples):
        if place not in reasons and (reason := check(sample)):
            reasons[place] = reason


def _text_check(settings: recipe.Select) -> Callable[[Sample], str | None]:
    language = _language() if settings.languages else None

    def check(sample: Sample) -> str | None:
        size = len(sample.text.strip())
        if sample.finish_reason in ("length", "content_filter"):
            return "truncated" if sample.finish_reason == "length" else "filtered"
        if size == 0:
            return "empty"
        if settings.drop_refusals and REFUSAL.match(sample.text):
            return "refusal"
        if len(sample.reasoning or "") > settings.max_reasoning_characters:
            return "reasoning_too_long"
        if size < settings.min_characters or size > settings.max_characters:
            return "too_short" if size < settings.min_characters else "too_long"
        told = language is not None and sum(map(str.isalpha, sample.text)) >= FEWEST_LETTERS
        return "language" if told and language and language(sample.text) not in settings.languages else None

    return check


def _language() -> Callable[[str], str]:
    try:
        import py3langid
    except ImportError:
        raise MissingExtra(
            "select.languages needs py3langid",
            hint="pip install 'spiritsafe[language]', or leave languages empty",
        ) from None
    return lambda text: str(py3langid.classify(text)[0])


def _prompt_check(
    samples: Sequence[Sample],
    reasons: Mapping[int, str],
    known: Mapping[str, Prompt],
    evaluation_prompts: Sequence[Prompt],
    settings: recipe.Select,
) -> Callable[[Sample], str | None]:
    """Copies are looked for among prompts that may still be kept, or a copy would go with its original."""
    alive = {sample.prompt_id for place, sample in enumerate(samples) if place not in reasons}
    prompts = [prompt for prompt_id, prompt in known.items() if prompt_id in alive]
    bad: dict[str, str] = {}
    index = Contamination(evaluation_prompts)
    for prompt, flag in zip(prompts, index.flags(prompts, settings.contamination), strict=True):
        if flag:
            bad[prompt.prompt_id] = "contaminated"
    prompts = [prompt for prompt in prompts if prompt.prompt_id not in bad]
    for prompt, flag in zip(prompts, copies(prompts, settings.near_duplicate), strict=True):
        if flag:
            bad[prompt.prompt_id] = "near_duplicate"
    return lambda sample: bad.get(sample.prompt_id)


def _verify(
    reasons: dict[int, str],
    samples: Sequence[Sample],
    known: Mapping[str, Prompt],
    verifier: recipe.Verifier,
    progress: Callable[[int, int], None] | None,
) -> set[int]:
    """Add the verifier's reasons; returns the places of samples that could not be verified."""
    judge = build(verifier)
    places = [place for place in range(len(samples)) if place not in reasons]
    unverified: set[int] = set()

    def one(place: int) -> Judgement:
        return judge(known[samples[place].prompt_id], samples[place].text)

    # Only `python` waits for child processes; the others would fight for the interpreter.
    with ThreadPoolExecutor(os.cpu_count() or 1 if verifier.kind == "python" else 1) as pool:
        for done, (place, judgement) in enumerate(zip(places, pool.map(one, places), strict=True), start=1):
            if judgement.reason == UNVERIFIED:
                unverified.add(place)
            elif not judgement.correct:
                reasons[place] = judgement.reason or "wrong_answer"
            if progress:
                progress(done, len(places))
    return unverified


def _judged(mark: float | None, lowest: float) -> str | None:
    if mark is None:
        return UNPARSED
    return "judge_low" if mark < lowest else None


def _best_of_n(
    reasons: dict[int, str], samples: Sequence[Sample], keep: str, verifier: recipe.Verifier
) -> None:
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for place, sample in enumerate(samples):
        if place not in reasons:
            groups[sample.prompt_id].append(place)
    for places in groups.values():
        places.sort(key=lambda place: samples[place].index)
        if keep == "majority":
            reasons |= _majority(places, [_vote(verifier, samples[place].text) for place in places])
            continue
        reasons |= _repeats(places, [_whole(samples[place]) for place in places])
        if keep == "shortest":
            left = [place for place in places if place not in reasons]
            best = min(left, key=lambda place: (len(_whole(samples[place])), samples[place].index))
            reasons |= {place: "not_shortest" for place in left if place != best}


def _whole(sample: Sample) -> str:
    return f"{sample.reasoning}\n{sample.text}" if sample.reasoning else sample.text


def _repeats(places: Sequence[int], texts: Sequence[str]) -> dict[int, str]:
    """Answers to one prompt that are equal but for white space at the ends."""
    seen: set[str] = set()
    repeated = {}
    for place, text in zip(places, texts, strict=True):
        if text.strip() in seen:
            repeated[place] = "duplicate_answer"
        seen.add(text.strip())
    return repeated


def _majority(places: Sequence[int], votes: Sequence[str]) -> dict[int, str]:
    """Keep the first answer of the commonest kind; of two equally common ones, the earlier."""
    winner = Counter(votes).most_common(1)[0][0]
    first = votes.index(winner)
    return {
        place: "surplus" if votes[order] == winner else "not_majority"
        for order, place in enumerate(places)
        if order != first
    }


def _vote(verifier: recipe.Verifier, text: str) -> str:
    key = answer_key(verifier, text)
    # The mark keeps a text without an answer apart from an answer that reads the same.
    return f"answer {key}" if key is not None else f"text {squeeze(text)}"
