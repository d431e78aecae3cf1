"""What goes wrong before the first step: template, control tokens, reasoning tags, vocabulary, lengths.

Each finding is a fact about the student's checkpoint, with its cure where it is a problem. The bugs behind
them have been met by every toolkit: students that never stop (TRL #6357), orphaned reasoning tags (TRL
#6363), doubled ones (ms-swift #4939), a second beginning of text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spiritsafe.records import Message, Record
from spiritsafe.students.heads import longest_text
from spiritsafe.students.templates import Row, control_tokens, end_of_turn
from spiritsafe.teachers.chat import encode, eos_ids, render
from spiritsafe.thinking import is_opened, tags_of

QUESTION: list[Message] = [{"role": "user", "content": "What is 2 + 2?"}]
MARKER = re.compile(r"<\|?[a-z_]+\|?>|\[/?[A-Z_]+\]")
"""What looks like a control token in a template."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding(Record):
    """One thing that was looked at."""

    about: str
    """template, end, padding, beginning, reasoning, vocabulary or length."""
    text: str
    cure: str | None = None
    """What to do; None where all is well."""


def examine(model: Any, tokenizer: Any, rows: Sequence[Row], max_length: int) -> list[Finding]:
    """Findings about a student and its training rows, problems with their cure.

    `rows` are all training rows whatever their length. Raises InputError where no turn can end.
    """
    end = end_of_turn(model, tokenizer)
    return [
        _template(tokenizer),
        _end(model, tokenizer, end),
        _padding(tokenizer, end),
        _beginning(tokenizer),
        _reasoning(tokenizer),
        _vocabulary(model, tokenizer, rows),
        *([_lengths(rows, max_length)] if rows else []),
    ]


def examine_classifier(
    model: Any, tokenizer: Any, rows: Sequence[Sequence[int]], max_length: int
) -> list[Finding]:
    """Findings about a student that sorts texts; `rows` are texts of the task in tokens."""
    context = longest_text(model, tokenizer)
    used = max((max(row) for row in rows if row), default=0)
    embedded = model.get_input_embeddings().num_embeddings
    labels = ", ".join(model.config.label2id)
    return [
        Finding(about="head", text=f"{model.config.num_labels} labels: {labels}"),
        Finding(
            about="vocabulary",
            text=f"{len(tokenizer):,} tokens, {embedded:,} embeddings",
            cure="tokenizer and weights belong to different checkpoints" if used >= embedded else None,
        ),
        _sizes([len(row) for row in rows], max_length)
        if max_length <= context
        else Finding(
            about="context",
            text=f"train.max_length is {max_length:,}, and this checkpoint reads {context:,} tokens",
            cure=f"train.max_length: {context}, or a checkpoint that reads more",
        ),
    ]


def _template(tokenizer: Any) -> Finding:
    """Markers that the tokenizer cuts into pieces mean nothing to the model."""
    written = render(tokenizer, QUESTION)
    markers = sorted(set(MARKER.findall(written)))
    cut = [marker for marker in markers if len(encode(tokenizer, [marker])[0]) > 1]
    if not cut:
        return Finding(about="template", text=f"markers of the prompt: {' '.join(markers) or 'none'}")
    return Finding(
        about="template",
        text=f"not tokens of this tokenizer: {' '.join(cut)}",
        cure="take the template of this checkpoint, or student.chat_template: plain",
    )


def _end(model: Any, tokenizer: Any, end: int) -> Finding:
    name = tokenizer.convert_ids_to_tokens(end)
    if end in eos_ids(model, tokenizer):
        return Finding(about="end", text=f"a turn ends with {name}, and generation stops there")
    return Finding(
        about="end",
        text=f"a turn ends with {name}, where this checkpoint does not stop; the student will: "
        "the token is trained, and written to its generation_config.json",
    )


def _padding(tokenizer: Any, end: int) -> Finding:
    same = tokenizer.pad_token_id == end
    text = "padding is the end of a turn; harmless here, for padding is left out by place, not by token"
    return Finding(about="padding", text=text if same else "padding is no token of a turn")


def _beginning(tokenizer: Any) -> Finding:
    """A template that writes the beginning of text, read by a tokenizer that adds it, would have two."""
    ids = encode(tokenizer, [render(tokenizer, QUESTION)])[0]
    count = ids.count(tokenizer.bos_token_id) if tokenizer.bos_token_id is not None else 0
    if count < 2:
        return Finding(about="beginning", text=f"beginnings of text in a prompt: {count}")
    return Finding(
        about="beginning",
        text=f"{tokenizer.bos_token} stands {count} times in a prompt",
        cure="take one out of the chat template",
    )


def _reasoning(tokenizer: Any) -> Finding:
    opening, closing = tags_of(tokenizer.chat_template)
    if closing not in tokenizer.chat_template:
        return Finding(
            about="reasoning", text=f"the template knows none; traces are put between {opening} and {closing}"
        )
    who = "the prompt" if is_opened(render(tokenizer, QUESTION)) else "the model"
    whole = all(len(encode(tokenizer, [tag])[0]) == 1 for tag in (opening, closing))
    pieces = "one token each" if whole else "several tokens each"
    return Finding(about="reasoning", text=f"{opening} {closing}, {pieces}; {who} opens it")


def _vocabulary(model: Any, tokenizer: Any, rows: Sequence[Row]) -> Finding:
    embedded = model.get_input_embeddings().num_embeddings
    used = max((max(row.ids) for row in rows), default=len(tokenizer) - 1)
    text = f"{len(tokenizer):,} tokens, {embedded:,} embeddings, {len(control_tokens(tokenizer))} controls"
    cure = "tokenizer and weights belong to different checkpoints" if used >= embedded else None
    return Finding(about="vocabulary", text=text, cure=cure)


def _lengths(rows: Sequence[Row], max_length: int) -> Finding:
    return _sizes([len(row.ids) for row in rows], max_length)


def _sizes(lengths: Sequence[int], max_length: int) -> Finding:
    sizes = sorted(lengths) or [0]
    long = sum(size > max_length for size in sizes)
    text = (
        f"{len(lengths):,} rows, median {sizes[len(sizes) // 2]:,} tokens, longest {sizes[-1]:,}, "
        f"{long:,} above train.max_length"
    )
    return Finding(
        about="length", text=text, cure=f"train.max_length: {sizes[-1]}" if long > len(lengths) / 50 else None
    )


def pieces(tokenizer: Any, row: Row) -> list[tuple[str, bool]]:
    """The tokens of a row as texts, and whether each counts in the loss."""
    texts = [tokenizer.decode([token]) for token in row.ids]
    return [(text, place >= row.start) for place, text in enumerate(texts)]
