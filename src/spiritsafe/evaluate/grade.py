"""Right, wrong or in part: let a model answer the test prompts, and judge answers that are already there.

The file of a model's answers begins with a line that names what it was made for; then come the rows in
a fixed order, chunk by chunk. A run that was killed goes on behind the last whole chunk, and chunks are
cut at the same places every time: batches, and so the bytes of the file, are those of an undisturbed run.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from spiritsafe import recipe
from spiritsafe.errors import CorruptData
from spiritsafe.records import Prompt, Record, Reply, Request, Sampling, canonical_json, content_hash
from spiritsafe.tasks.verifiers import UNVERIFIED, Judge, answer_key, build, checked_score

KEY = "evaluation_key"
NO_ANSWER, CUT_OFF = "no_answer", "cut_off"


class Answers(Protocol):
    """What is needed of a model here; `teachers.local.LocalModel` has it."""

    def generate(self, requests: Sequence[Request], *, thinking_tokens: int | None = None) -> list[Reply]:
        """One reply for each request, in the same order; reasoning ends after `thinking_tokens`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Graded(Record):
    """One judged answer."""

    prompt_id: str
    slice: str
    """"test" is the standard test; other slices are reported apart."""
    correct: bool
    score: float = None  # type: ignore[assignment]
    """In [0, 1]: what the task score is the mean of; 1 or 0 where it is not given (older files)."""
    text: str
    extracted: str | None = None
    """What the verifier took for the answer."""
    reason: str | None = None
    """Why it is wrong: the verifier's word, `cut_off` at max_tokens, or `no_answer`."""
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "score", checked_score(self.score, self.correct))


def answer(
    model: Answers,
    prompts: Mapping[str, Sequence[Prompt]],
    settings: recipe.Evaluate,
    verifier: recipe.Verifier,
    path: Path,
    *,
    key: str,
    progress: Callable[[int, int], None] | None = None,
) -> list[Graded]:
    """A model's answers to the prompts of every slice, judged; kept in `path` as they come.

    `key` names the model: a file made with another key, other prompts or other settings is begun anew.
    """
    wanted = _ordered(prompts)
    judge = build(verifier)
    header = _header(key, wanted, settings, verifier)
    done = _resume(path, header, settings.batch_size, len(wanted))
    with open(path, "ab") as file:
        for start in range(len(done), len(wanted), settings.batch_size):
            chunk = wanted[start : start + settings.batch_size]
            rows = _answer_chunk(model, chunk, settings, verifier, judge)
            file.write("".join(canonical_json(row.to_json()) + "\n" for row in rows).encode())
            file.flush()
            os.fsync(file.fileno())
            done += rows
            if progress is not None:
                progress(len(done), len(wanted))
    return _in_prompt_order(done, prompts)


def grade_replies(
    prompts: Mapping[str, Sequence[Prompt]], texts: Mapping[str, str], verifier: recipe.Verifier
) -> list[Graded]:
    """Judge collected answers, text by prompt_id. A prompt without an answer counts as wrong."""
    judge = build(verifier)
    return [
        _grade(name, prompt, texts.get(prompt.prompt_id), judge)
        for name, rows in prompts.items()
        for prompt in rows
    ]


def read_graded(path: Path) -> list[Graded]:
    """The judged answers of a file, whichever of the two functions made it; unfinished lines are left out.

    Raises CorruptData when a line is not a judged answer.
    """
    rows, _ = _whole_lines(path)
    try:
        return [Graded.from_json(row) for row in rows if KEY not in row]
    except (TypeError, ValueError):
        raise CorruptData(f"damaged file: {path}", hint="delete it and run again; it is made anew") from None


def _ordered(prompts: Mapping[str, Sequence[Prompt]]) -> list[tuple[str, Prompt]]:
    """All prompts, long ones first: a batch holds prompts of like length, and memory is tried at once."""
    rows = [(name, prompt) for name, of_slice in prompts.items() for prompt in of_slice]
    return sorted(rows, key=lambda row: (-_length(row[1]), row[1].prompt_id, row[0]))


def _length(prompt: Prompt) -> int:
    return sum(len(message["content"]) for message in prompt.messages)


def _header(
    key: str, wanted: Sequence[tuple[str, Prompt]], settings: recipe.Evaluate, verifier: recipe.Verifier
) -> bytes:
    made_for = {
        "key": key,
        "prompts": [[name, prompt.to_json()] for name, prompt in wanted],
        "max_tokens": settings.max_tokens,
        "batch_size": settings.batch_size,
        "drawn": [settings.thinking_tokens, settings.votes, settings.votes > 1 and settings.vote_temperature],
        "verifier": verifier.model_dump(mode="json"),
    }
    return (canonical_json({KEY: content_hash("spiritsafe-evaluation-1", made_for)}) + "\n").encode()


def _resume(path: Path, header: bytes, chunk: int, total: int) -> list[Graded]:
    """The rows of whole chunks made under the same header; the file then ends behind them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    ends: list[int] = []
    if path.exists() and path.read_bytes()[: len(header)] == header:
        rows, ends = _whole_lines(path)
    answers = max(len(rows) - 1, 0)
    kept = total if answers >= total else answers // chunk * chunk
    if not ends:
        path.write_bytes(header)
        return []
    os.truncate(path, ends[kept])
    return [Graded.from_json(row) for row in rows[1 : kept + 1]]


def _whole_lines(path: Path) -> tuple[list[dict[str, Any]], list[int]]:
    """The JSON objects of a file up to the first unfinished or damaged line, and where each line ends."""
    rows, ends, position = [], [], 0
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            row = json.loads(line)
        except ValueError:
            break
        if not line.endswith(b"\n") or not isinstance(row, dict):
            break
        position += len(line)
        rows.append(row)
        ends.append(position)
    return rows, ends


def answer_sampling(settings: recipe.Evaluate) -> Sampling:
    """How a test answer is drawn: greedily, or at a temperature where several answers vote."""
    temperature = 0.0 if settings.votes == 1 else settings.vote_temperature
    return Sampling(temperature=temperature, max_tokens=settings.max_tokens)


def majority(texts: Sequence[str], verifier: recipe.Verifier) -> int:
    """Place of the first text with the commonest answer; texts without an answer have no vote.

    Self-consistency (Wang et al. 2022, arXiv 2203.11171); of two equally common answers the earlier wins.
    """
    keys = [answer_key(verifier, text) for text in texts]
    votes = Counter(key for key in keys if key is not None)
    return keys.index(votes.most_common(1)[0][0]) if votes else 0


def _answer_chunk(
    model: Answers,
    chunk: Sequence[tuple[str, Prompt]],
    settings: recipe.Evaluate,
    verifier: recipe.Verifier,
    judge: Judge,
) -> list[Graded]:
    sampling, n = answer_sampling(settings), settings.votes
    requests = [
        Request(prompt_id=p.prompt_id, messages=p.messages, teacher="evaluation", sampling=sampling, index=i)
        for _, p in chunk
        for i in range(n)
    ]
    replies = model.generate(requests, thinking_tokens=settings.thinking_tokens)
    rows = []
    for place, (name, prompt) in enumerate(chunk):
        drawn = replies[place * n : (place + 1) * n]
        reply = drawn[majority([r.text for r in drawn], verifier)]
        rows.append(_grade(name, prompt, reply.text, judge, cut_off=reply.finish_reason == "length"))
    return rows


def _grade(name: str, prompt: Prompt, text: str | None, judge: Judge, *, cut_off: bool = False) -> Graded:
    found = judge(prompt, text or "")
    # What nobody can judge is left out for all models alike, whatever became of one model's answer.
    reason = found.reason
    if reason != UNVERIFIED:
        reason = NO_ANSWER if text is None else None if found.correct else CUT_OFF if cut_off else reason
    return Graded(
        prompt_id=prompt.prompt_id,
        slice=name,
        correct=found.correct and text is not None,
        score=found.score if text is not None else 0.0,
        text=text or "",
        extracted=found.extracted if text is not None else None,
        reason=reason,
        tags=dict(prompt.tags),
    )


def _in_prompt_order(rows: Iterable[Graded], prompts: Mapping[str, Sequence[Prompt]]) -> list[Graded]:
    by_place = {(row.slice, row.prompt_id): row for row in rows}
    return [by_place[name, prompt.prompt_id] for name, of_slice in prompts.items() for prompt in of_slice]
