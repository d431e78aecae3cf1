"""Training rows as the student's own chat template writes them.

A row is the prompt as generation will see it, and the assistant's turn as the template writes it, up to
the token that ends the turn. Templates differ in where the reasoning goes: some write the opening tag at
the end of the prompt, some drop the reasoning of earlier turns, some know no reasoning at all. Whatever a
template would lose or write twice is written here instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from spiritsafe.errors import InputError
from spiritsafe.records import Message
from spiritsafe.teachers.chat import encode, eos_ids, render
from spiritsafe.thinking import is_opened, tags_of

PLAIN = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ 'Assistant: ' + message['content'] + eos_token + '\n' }}"
    "{% elif message['role'] == 'system' %}{{ message['content'] + '\n\n' }}"
    "{% else %}{{ 'User: ' + message['content'] + '\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}"
)
"""For base checkpoints without a template: plain words, so that it needs no token but the end of text."""
REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
"""Where templates look for the reasoning of a turn."""
PROBE = "42 snowdrops"
"""An answer that no template writes by itself."""


@dataclass(frozen=True, slots=True)
class Row:
    """An example in tokens; `start` is the place of the first token that counts in the loss."""

    ids: tuple[int, ...]
    start: int

    @property
    def length(self) -> int:
        """Tokens passed through the model: all but the last, after which nothing is predicted."""
        return len(self.ids) - 1

    @property
    def loss_tokens(self) -> int:
        return len(self.ids) - self.start


def fit_template(tokenizer: Any, *, template: str | None = None, reasoning: bool = True) -> None:
    """Give a tokenizer the template, and the reasoning mode, that its student is trained and asked with.

    `template`: None keeps the checkpoint's own; "plain" is ours, for base checkpoints; else a Jinja file.
    Where a template has a switch for reasoning, its default becomes `reasoning` and is saved with the
    student, so that it is asked as it was trained. Raises InputError when the file cannot be read.
    """
    if template is not None:
        tokenizer.chat_template = PLAIN if template == "plain" else _read(template)
    own = getattr(tokenizer, "chat_template", None)
    if isinstance(own, str) and "enable_thinking" in own:
        mode = "true" if reasoning else "false"
        default = "{%- set enable_thinking = enable_thinking if enable_thinking is defined else MODE -%}"
        tokenizer.chat_template = default.replace("MODE", mode) + own


def _read(template: str) -> str:
    try:
        return Path(template).expanduser().read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"cannot read the chat template {template}: {error.strerror}",
            hint="student.chat_template is `plain` or the path of a Jinja file",
        ) from None


def turn(
    tokenizer: Any,
    messages: Sequence[Message],
    answer: str | Mapping[str, Any],
    reasoning: str | None = None,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> tuple[str, str]:
    """(prompt, what the assistant writes after it), as texts; the end of the turn may stand at the end.

    `answer` is a text, or an assistant message with tool calls. Raises TeacherError where the template
    refuses the messages.
    """
    message = dict(answer) if isinstance(answer, Mapping) else {"content": answer}
    prompt = render(tokenizer, messages, tools=tools)
    for form in _forms(tokenizer, message, reasoning):
        written = _written(tokenizer, [*messages, form], prompt, tools)
        if written is not None and _holds(written, message, reasoning):
            return prompt, written
    if message.get("tool_calls"):
        raise InputError(
            f"{tokenizer.name_or_path}: the chat template does not write tool calls",
            hint="use a checkpoint whose template knows tools, or leave such samples out",
        )
    return prompt, _by_hand(tokenizer, prompt, str(message.get("content") or ""), reasoning)


def _forms(tokenizer: Any, message: Mapping[str, Any], reasoning: str | None) -> list[dict[str, Any]]:
    """The turn with its reasoning under the template's own key, then within the content."""
    turn = {**message, "role": "assistant"}
    if not reasoning:
        return [turn]
    template = tokenizer.chat_template
    keys = [key for key in REASONING_KEYS if key in template]
    opening, closing = tags_of(template)
    inline = f"{opening}\n{reasoning}\n{closing}\n\n{message.get('content') or ''}"
    own = [{**turn, **dict.fromkeys(keys, reasoning)}] if keys else []
    return [*own, {**turn, "content": inline}]


def _written(tokenizer: Any, messages: Sequence[Any], prompt: str, tools: Any) -> str | None:
    """What the template writes after the prompt; None where it writes the prompt another way."""
    extra = {} if tools is None else {"tools": list(tools)}
    try:
        whole = str(tokenizer.apply_chat_template(list(messages), tokenize=False, **extra))
    except (TemplateError, TypeError):  # a template that joins a text and a mapping raises the latter
        return None
    return whole[len(prompt) :] if whole.startswith(prompt) else None


def _holds(written: str, message: Mapping[str, Any], reasoning: str | None) -> bool:
    """True when the template has lost nothing: answer, reasoning and the names of called tools are there."""
    calls = [call.get("function", call)["name"] for call in message.get("tool_calls") or ()]
    wanted = [str(message.get("content") or ""), reasoning or "", *calls]
    return all(text.strip() in written for text in wanted)


def _by_hand(tokenizer: Any, prompt: str, answer: str, reasoning: str | None) -> str:
    """Reasoning and answer where the template writes neither rightly; an open tag is closed, not doubled."""
    opening, closing = tags_of(tokenizer.chat_template)
    if is_opened(prompt):
        return f"{(reasoning or '').strip()}\n{closing}\n\n{answer}"
    return f"{opening}\n{reasoning.strip()}\n{closing}\n\n{answer}" if reasoning else answer


def row_of(
    tokenizer: Any,
    end: int,
    messages: Sequence[Message],
    answer: str | Mapping[str, Any],
    reasoning: str | None = None,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> Row:
    """Tokens of a prompt and the assistant's turn; the turn counts in the loss, `end` included."""
    return rows_of(tokenizer, end, [turn(tokenizer, messages, answer, reasoning, tools)])[0]


def rows_of(tokenizer: Any, end: int, turns: Sequence[tuple[str, str]]) -> list[Row]:
    """Rows of (prompt, turn) texts."""
    prompts = encode(tokenizer, [prompt for prompt, _ in turns])
    wholes = encode(tokenizer, [prompt + written for prompt, written in turns])
    return [
        Row((*prompt, *_answer_ids(tokenizer, prompt, whole, written, end)), len(prompt))
        for prompt, whole, (_, written) in zip(prompts, wholes, turns, strict=True)
    ]


def _answer_ids(tokenizer: Any, prompt: list[int], whole: list[int], written: str, end: int) -> list[int]:
    """The tokens after the prompt, up to and with the end of the turn.

    Tokenizers that mark word starts write a text differently in the middle of another, so the tokens are
    cut out of the whole. Where a token would span the border, generation begins behind it all the same:
    then the two are tokenized apart.
    """
    ids = whole[len(prompt) :] if whole[: len(prompt)] == prompt else encode(tokenizer, [written])[0]
    return ids[: ids.index(end) + 1] if end in ids else [*ids, end]


def control_tokens(tokenizer: Any) -> tuple[str, ...]:
    """Texts that the tokenizer reads as control tokens; an answer that holds one would end or forge turns."""
    texts = set(tokenizer.convert_ids_to_tokens(sorted(_special_ids(tokenizer))))
    return tuple(sorted(texts - set(tags_of(tokenizer.chat_template))))


def _special_ids(tokenizer: Any) -> set[int]:
    """Control tokens, also those that have no role of their own such as end of text."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    return {i for i, token in added.items() if token.special} | set(tokenizer.all_special_ids)


def end_of_turn(model: Any, tokenizer: Any) -> int:
    """The token with which an assistant's turn ends, as the chat template writes it.

    It is part of every training row, so a student learns to stop whatever its padding token is. Raises
    InputError when neither the template nor the tokenizer knows such a token.
    """
    exchange = [{"role": "user", "content": "a"}, {"role": "assistant", "content": PROBE}]
    known = eos_ids(model, tokenizer) | _special_ids(tokenizer)
    written = _written(tokenizer, exchange, "", None) or ""
    for token in encode(tokenizer, [written.rpartition(PROBE)[2]])[0]:
        if token in known:
            return int(token)
    if tokenizer.eos_token_id is None:
        raise InputError(
            f"{tokenizer.name_or_path}: no end-of-turn token in the chat template and no eos_token",
            hint="set eos_token in tokenizer_config.json",
        )
    return int(tokenizer.eos_token_id)
