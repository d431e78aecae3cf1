"""Growing the training prompts from a few: the teacher is shown some and writes new ones.

Two pure functions around the ordinary collection, so that expansion is paid through the same ledger:
`expansion_requests` -> collect -> `parse_expansions`. New prompts have no reference answer.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Sequence

from spiritsafe.collect.duplicates import Contamination, copies, normal_form
from spiritsafe.errors import InputError
from spiritsafe.records import Message, Prompt, Reply, Request, Sample, Sampling, content_hash

SHOWN = 4
"""Examples in one request, drawn anew for each."""
WANTED = 4
"""New tasks asked for in one request: one answer's overhead is shared, and they differ from each other."""
SURPLUS = 1.3
"""Some replies repeat or break off: so many times the wanted number is asked for."""
FEWEST_CHARACTERS = 8
LONGER_THAN_SEEDS = 3
"""A prompt longer than so many times the longest seed is a lecture, not a task."""
_ITEM = re.compile(r"^[ \t]*(?:#+[ \t]*)?(?:\*\*)?(?:task[ \t]*)?(\d{1,2})[.):](?:\*\*)?[ \t]+", re.I | re.M)
_ASK = """Here are examples of tasks of one kind:

{examples}

Write {wanted} new tasks of the same kind. Change the situation, the names, the numbers and the wording; \
keep the difficulty and the form. Each must be complete in itself and have one answer. Do not solve them. \
Number them 1. to {wanted}. and write nothing else."""


def expansion_requests(
    seeds: Sequence[Prompt], n: int, teacher_key: str, sampling: Sampling, seed: int
) -> list[Request]:
    """Requests that should bring at least `n` new prompts; the same for the same arguments.

    Raises InputError where no seed is a single question.
    """
    questions = [prompt.messages[-1]["content"] for prompt in seeds if _single(prompt)]
    if not questions:
        raise InputError(
            "expansion needs prompts that are single questions",
            hint="give such prompts, or set task.expand_to to 0",
        )
    draw = random.Random(f"spiritsafe-expand-1/{seed}")
    return [
        Request(
            prompt_id=f"expand-{number:06d}",
            messages=({"role": "user", "content": _ask(draw, questions)},),
            teacher=teacher_key,
            sampling=sampling,
            index=number,  # few seeds repeat their choices; the index keeps such requests apart
        )
        for number in range(math.ceil(n * SURPLUS / WANTED))
    ]


def parse_expansions(
    replies: Sequence[Reply | Sample],
    seeds: Sequence[Prompt],
    evaluation: Sequence[Prompt],
    *,
    near_duplicate: float = 1.0,
    contamination: float = 0.8,
) -> tuple[list[Prompt], dict[str, int]]:
    """New prompts in the order of the replies, and counts by fate; the parts add up to `proposed`.

    Fates: kept, cut_off (last of a truncated reply), too_short, too_long, copy (of a seed or an earlier
    one), contaminated (by an evaluation prompt). Raises MissingExtra for near_duplicate below 1 where rensa
    is not installed.
    """
    counts: Counter[str] = Counter()
    system = _common_system(seeds)
    longest = LONGER_THAN_SEEDS * max((len(prompt.messages[-1]["content"]) for prompt in seeds), default=0)
    proposed = []
    for reply in replies:
        texts = split_items(reply.text)
        if reply.finish_reason == "length" and texts:
            texts, counts["cut_off"] = texts[:-1], counts["cut_off"] + 1
        for text in texts:
            fate = (
                "too_short" if len(text) < FEWEST_CHARACTERS else "too_long" if len(text) > longest else None
            )
            if fate:
                counts[fate] += 1
            else:
                proposed.append(_prompt(text, system))
    copied = copies([*seeds, *proposed], near_duplicate)[len(seeds) :]
    dirty = Contamination(evaluation).flags(proposed, contamination)
    kept = []
    for prompt, is_copy, is_dirty in zip(proposed, copied, dirty, strict=True):
        fate = "copy" if is_copy else "contaminated" if is_dirty else "kept"
        counts[fate] += 1
        if fate == "kept":
            kept.append(prompt)
    counts["proposed"] = sum(counts.values())
    return kept, dict(counts)


def split_items(text: str) -> list[str]:
    """The items of a numbered list, several lines each; a text without numbers is one item.

    A number begins an item only where it continues the count, so that numbered steps inside stay inside.
    """
    starts: list[tuple[int, int]] = []
    for match in _ITEM.finditer(text):
        if int(match[1]) == len(starts) + 1:
            starts.append((match.start(), match.end()))
    if not starts:
        return [text.strip()] if text.strip() else []
    ends = [start for start, _ in starts[1:]] + [len(text)]
    items = [text[begin:end].strip() for (_, begin), end in zip(starts, ends, strict=True)]
    return [item for item in items if item]


def _ask(draw: random.Random, questions: Sequence[str]) -> str:
    shown = draw.sample(questions, min(SHOWN, len(questions)))
    examples = "\n\n".join(f"{number}. {question}" for number, question in enumerate(shown, start=1))
    return _ASK.format(examples=examples, wanted=WANTED)


def _single(prompt: Prompt) -> bool:
    turns = [turn for turn in prompt.messages if turn["role"] != "system"]
    return len(turns) == 1 and turns[0]["role"] == "user"


def _common_system(seeds: Sequence[Prompt]) -> tuple[Message, ...]:
    """The system message of the seeds, where they all have the same."""
    first = [prompt.messages[0] for prompt in seeds]
    same = bool(first) and first[0]["role"] == "system" and all(turn == first[0] for turn in first)
    return (first[0],) if same else ()


def _prompt(text: str, system: tuple[Message, ...]) -> Prompt:
    messages: tuple[Message, ...] = (*system, {"role": "user", "content": text})
    # Prompts of equal text are copies of each other, so the text alone makes the id.
    digest = content_hash("spiritsafe-expanded-1", normal_form(text))[:16]
    return Prompt(prompt_id=f"x-{digest}", messages=messages, tags={"source": "expanded"})
