"""A Modelfile for Ollama, with the student's own chat template in Ollama's language where that is possible.

Ollama guesses a template for a GGUF file from a list of well-known ones, and poses the bare question when
it knows none; a student asked otherwise than it was trained answers worse. So the template is taken apart
by rendering conversations of marked messages, put together again as a Go template, and used only when it
gives what the chat template gives, character for character.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from spiritsafe.records import Message

SYSTEM, ONE, TWO, THREE = (f"xq{n}qx" for n in range(4))
"""Contents that no template holds."""

Render = Callable[[Sequence[Message], bool], str]
"""Messages, and whether the answer is to follow, to text: the chat template."""


@dataclass(frozen=True, slots=True)
class Turns:
    """What stands around the contents of a conversation; no field says what a model family is called."""

    start: str
    """Before everything where there is no system message, such as a default one."""
    system: tuple[str, str] | None
    """None where the template takes no system message."""
    user: tuple[str, str]
    assistant: tuple[str, str]
    answer: str
    """After the last message: where the model goes on."""
    stop: str = ""
    """What ends the model's turn, without the white space around it."""

    def render(self, messages: Sequence[Message]) -> str:
        """The conversation as these turns make it."""
        sides = self._sides()
        texts = [f"{sides[m['role']][0]}{m['content']}{sides[m['role']][1]}" for m in messages]
        begin = "" if messages[0]["role"] == "system" else self.start
        return "".join([begin, *texts, self.answer])

    def to_go(self) -> str:
        """The same as a Go template over .Messages."""
        start = f"{{{{ if not .System }}}}{self.start}{{{{ end }}}}" if self.start else ""
        cases = "{{ else ".join(
            f'if eq .Role "{role}" }}}}{before}{{{{ .Content }}}}{after}'
            for role, (before, after) in self._sides().items()
        )
        return f"{start}{{{{ range .Messages }}}}{{{{ {cases}{{{{ end }}}}{{{{ end }}}}{self.answer}"

    def _sides(self) -> dict[str, tuple[str, str]]:
        system = {} if self.system is None else {"system": self.system}
        return {**system, "user": self.user, "assistant": self.assistant}

    def text(self) -> str:
        """Everything that the template itself writes."""
        return "".join([self.start, *(part for side in self._sides().values() for part in side), self.answer])


def take_apart(render: Render) -> Turns | None:
    """The turns of a chat template; None where a loop over the messages cannot say what it does.

    A template that refuses system messages is taken apart without.
    """
    for talks in (("u", "su", "uau", "suau"), ("u", "uau")):
        try:
            turns = _guess(render, longest=talks[-1])
        except TemplateError:
            continue
        except ValueError:
            return None
        return turns if all(turns.render(_talk(t)) == render(_talk(t), True) for t in talks) else None
    return None


def _guess(render: Render, longest: str) -> Turns:
    alone, _ = _pieces(render(_talk("u"), True), ONE)
    *_, end = _pieces(render(_talk("ua"), False), ONE, TWO)
    marks = (SYSTEM, ONE, TWO, THREE)[-len(longest) :]
    *opening, middle, after_answer, last = _pieces(render(_talk(longest), True), *marks)
    user = after_answer.removeprefix(end)
    if not (alone.endswith(user) and opening[-1].endswith(user)):  # the system's text is in the user's turn
        user = _shared_end(alone, opening[-1], after_answer)
    ended = _shared_start(middle, last)
    return Turns(
        start=alone.removesuffix(user),
        system=(opening[0], opening[1].removesuffix(user)) if len(opening) == 2 else None,
        user=(user, ended),
        assistant=(middle.removeprefix(ended), after_answer.removesuffix(user)),
        answer=last.removeprefix(ended),
        stop=end.strip(),
    )


def _talk(roles: str) -> list[Message]:
    """A conversation such as "suau", its contents marked by their places."""
    names = {"s": ("system", [SYSTEM]), "u": ("user", [ONE, THREE]), "a": ("assistant", [TWO, TWO])}
    contents = {role: iter(marks) for role, (_, marks) in names.items()}
    return [{"role": names[role][0], "content": next(contents[role])} for role in roles]


def _pieces(text: str, *marks: str) -> list[str]:
    """What stands between the marks, which must come once each and in this order."""
    pieces = []
    for mark in marks:
        piece, found, text = text.partition(mark)
        if not found or any(other in piece for other in marks) or mark in text:
            raise ValueError("the template moves, repeats or drops messages")
        pieces.append(piece)
    return [*pieces, text]


def _shared_end(*texts: str) -> str:
    return _shared_start(*(text[::-1] for text in texts))[::-1]


def _shared_start(*texts: str) -> str:
    size = 0
    while all(len(text) > size for text in texts) and len({text[size] for text in texts}) == 1:
        size += 1
    return texts[0][:size]


def template_of(tokenizer: Any) -> Turns | None:
    """The turns of a tokenizer's chat template, without the beginning-of-text token: llama.cpp adds it."""
    begin = tokenizer.bos_token or ""

    def render(messages: Sequence[Message], answer_follows: bool) -> str:
        text = tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=answer_follows
        )
        return str(text).removeprefix(begin)

    return take_apart(render)


def modelfile(gguf: str, turns: Turns | None, system: str | None) -> str:
    """The Modelfile; temperature 0 is how the student was evaluated.

    Raises ValueError for text that a Modelfile cannot quote.
    """
    lines = [f"FROM ./{gguf}", "PARAMETER temperature 0"]
    if turns is not None:
        if "{{" in turns.text():
            raise ValueError("the chat template writes {{, which Ollama would read as its own")
        lines.append(f"TEMPLATE {_quoted(turns.to_go())}")
        if turns.stop:
            lines.append(f"PARAMETER stop {_quoted(turns.stop)}")
    if system is not None and turns is not None and turns.system is None:
        raise ValueError("the chat template takes no system message")
    if system is not None:
        lines.append(f"SYSTEM {_quoted(system)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    if '"""' in text:
        raise ValueError('a Modelfile cannot hold """')
    return f'"""{text}"""'
