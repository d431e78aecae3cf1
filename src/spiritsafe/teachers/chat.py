"""Messages as a tokenizer's chat template writes them, in text and in tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError

from spiritsafe.errors import TeacherError
from spiritsafe.records import Message


def render(
    tokenizer: Any, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None = None
) -> str:
    """The chat as the model reads it, ending where the assistant's turn begins.

    `tools` are JSON schemas of functions, for templates that know them.

    Raises TeacherError when the tokenizer has no chat template or the template refuses the roles.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise TeacherError(
            f"{tokenizer.name_or_path}: the tokenizer has no chat template",
            hint="use the instruction-tuned model, or put a chat_template.jinja next to tokenizer.json",
        )
    try:
        extra = {} if tools is None else {"tools": list(tools)}
        text = tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=True, **extra
        )
    except TemplateError as error:
        roles = ", ".join(message["role"] for message in messages)
        raise TeacherError(f"the chat template refuses the roles {roles}: {error}") from None
    return str(text)


def encode(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of texts in which special tokens are already written out."""
    ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []
    return ids


def eos_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every token that ends an answer: of the generation config (one or several) and of the tokenizer."""
    configured = model.generation_config.eos_token_id
    several = configured if isinstance(configured, list | tuple) else [configured]
    return frozenset(int(i) for i in [*several, tokenizer.eos_token_id] if i is not None)
