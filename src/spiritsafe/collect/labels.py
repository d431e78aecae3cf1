"""What a classifier learns from the teacher's answers: a share for every label, prompt by prompt.

An answer gives its label the whole share, or, where the server sent log-probabilities, divides it as the
teacher was divided between the labels when it wrote the first token that tells them apart. The answers to a
prompt are averaged. So one answer is a hard label, n answers are the shares of their votes.

What the server did not send is not made up: alternatives that lead to no label, to several, or that stand
outside the `top_logprobs` best are left out, and what is left is scaled to 1. How much was found is told
(`mean_mass`); where it is less than half, the label as written counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spiritsafe.records import Message, Record, Sample, TopK
from spiritsafe.tasks.extract import label_in

LEAST_MASS = 0.5
"""Probability that must be found on labels for log-probabilities to count."""
AROUND = " \t\r\n*_`\"'([#:-"
"""What may stand before a label."""

AFTER = " \t\r\n*`\"'.,;:!)]"
"""What may stand behind one; `<` begins the token that ends a turn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target(Record):
    """What is to be learnt for one prompt."""

    prompt_id: str
    messages: tuple[Message, ...]
    shares: tuple[float, ...]
    """One per label, in the order of `task.verifier.labels`; they sum to 1."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Target:
        return cls(
            prompt_id=value["prompt_id"], messages=tuple(value["messages"]), shares=tuple(value["shares"])
        )


def targets(
    samples: Iterable[Sample], labels: Sequence[str], tops: Mapping[str, TopK]
) -> tuple[list[Target], dict[str, Any]]:
    """One target per prompt from its accepted answers, and how they were made.

    `tops` holds the alternatives by request hash. Answers without a label are left out.
    """
    answers: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.accepted and label_in(sample.text, labels) is not None:
            answers.setdefault(sample.prompt_id, []).append(sample)
    masses: list[float] = []
    made = []
    for prompt_id, given in sorted(answers.items()):
        shares = np.mean(
            [_shares(sample, labels, tops.get(sample.request_hash), masses) for sample in given], 0
        )
        made.append(Target(prompt_id=prompt_id, messages=given[0].messages, shares=tuple(shares.tolist())))
    used = [mass for mass in masses if mass >= LEAST_MASS]
    counts = {
        "prompts": len(made),
        "answers": sum(map(len, answers.values())),
        "from_logprobs": len(used),
        "mean_mass": sum(used) / len(used) if used else None,
    }
    return made, counts


def _shares(sample: Sample, labels: Sequence[str], top: TopK | None, masses: list[float]) -> list[float]:
    """Shares of one answer; `masses` gets the probability found where there are log-probabilities."""
    label = label_in(sample.text, labels)
    found = label_masses(sample.text, labels, top) if top is not None else None
    if found is not None:
        masses.append(sum(found))
        if masses[-1] >= LEAST_MASS:
            return [mass / masses[-1] for mass in found]
    return [float(name == label) for name in labels]


def label_masses(text: str, labels: Sequence[str], top: TopK) -> list[float] | None:
    """Probability of each label where the text begins to tell its label from the others.

    None where the tokens cannot be followed to the label: it was drawn from outside the alternatives.
    """
    label = label_in(text, labels)
    place = -1 if label is None else _place(text, label)
    path = _path(text, top)
    at = next((t for t, (start, token) in enumerate(path) if start <= place < start + len(token)), None)
    if label is None or at is None:
        return None
    masses, reached = [0.0] * len(labels), 1.0
    for (start, chosen), tokens, logprobs in zip(path[at:], top.tokens[at:], top.logprobs[at:], strict=False):
        before = text[place:start]
        for token, logprob in zip(tokens, logprobs, strict=True):
            fits = _fitting(before + token, labels)
            if len(fits) == 1:
                masses[fits[0]] += reached * math.exp(logprob)
        if len(_fitting(before + chosen, labels)) <= 1:
            return masses
        reached *= math.exp(logprobs[tokens.index(chosen)])
    masses[labels.index(label)] += reached  # the text ended here: it is the shorter of two labels
    return masses


def _place(text: str, label: str) -> int:
    """Where the label stands: at the beginning, else its last mention."""
    lead = len(text) - len(text.lstrip(AROUND))
    folded, wanted = text.lower(), label.lower()
    return lead if folded.startswith(wanted, lead) else folded.rfind(wanted)


def _path(text: str, top: TopK) -> list[tuple[int, str]]:
    """(start, token) of the tokens that the text was written with, up to one outside the alternatives."""
    path: list[tuple[int, str]] = []
    cursor = 0
    for tokens in top.tokens:
        fitting = [token for token in tokens if token and text.startswith(token, cursor)]
        if not fitting:
            return path
        # Greedy answers take the first; a drawn one the longest that fits, which only ties can make wrong.
        chosen = fitting[0] if fitting[0] == tokens[0] else max(fitting, key=len)
        path.append((cursor, chosen))
        cursor += len(chosen)
    return path


def _fitting(written: str, labels: Sequence[str]) -> list[int]:
    """Labels that what is written begins, or that it is."""
    start = written.lstrip(AROUND).lower()
    return [place for place, label in enumerate(labels) if _fits(start, label.lower())]


def _fits(start: str, label: str) -> bool:
    rest = start.removeprefix(label).strip(AFTER)
    return label.startswith(start) or (start.startswith(label) and (not rest or rest.startswith("<")))
