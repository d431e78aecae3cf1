"""Reasoning apart from the answer, in what a model wrote.

Some models write their reasoning between tags before the answer. Many chat templates write the opening
tag themselves, at the end of the prompt: then only the closing one is in the model's text.
"""

from __future__ import annotations

TAGS = (("<think>", "</think>"), ("[THINK]", "[/THINK]"))
"""Opening and closing; the first pair is what a template without tags of its own gets."""


def tags_of(template: str | None) -> tuple[str, str]:
    """The pair of tags that a chat template writes."""
    return next((pair for pair in TAGS if pair[1] in (template or "")), TAGS[0])


def is_opened(prompt: str) -> bool:
    """True when a rendered prompt ends inside the reasoning: the opening tag is not the model's to write."""
    return prompt.rstrip().endswith(tuple(opening for opening, _ in TAGS))


def split(text: str, *, opened: bool = False) -> tuple[str | None, str]:
    """(reasoning, answer). Reasoning that never ends leaves an empty answer; text without tags is an answer.

    `opened` says that the prompt ended with the opening tag.
    """
    for opening, closing in TAGS:
        starts = text.lstrip().startswith(opening)
        before, closed, after = text.partition(closing)
        if starts or (closed and opening not in before):
            reasoning = before.lstrip().removeprefix(opening).strip()
            return reasoning or None, after.lstrip("\n")
    return (text.strip() or None, "") if opened else (None, text)
