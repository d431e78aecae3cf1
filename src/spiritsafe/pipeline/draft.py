"""A first recipe from five answers, with a comment beside every key; `spiritsafe init` asks them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from spiritsafe import recipe_file
from spiritsafe.errors import InputError
from spiritsafe.recipe import Verifier
from spiritsafe.tasks import verifiers
from spiritsafe.tasks.jsonl import read_prompts

SCHOOLBOOK = "schoolbook"
KINDS = ("numeric", "math", "label", "json_schema", "python", "exact", "none")
STUDENTS = {"cpu": "hf:Qwen/Qwen3-0.6B", "8gb": "hf:Qwen/Qwen3-1.7B", "24gb": "hf:Qwen/Qwen3-4B"}
"""A student for a machine: with 16-bit weights it takes 1.2, 3.4 and 8 GB (2 bytes a parameter)."""
ENCODER = "encoder"
"""The student that only sorts: a classifier's head on ModernBERT, the smallest of all."""
ENCODER_MODEL = "hf:answerdotai/ModernBERT-base"
MOST_LABELS = 20
LONGEST_LABEL = 40
REAL_TRAIN = {"batch_tokens": 16384, "max_length": 2048, "learning_rate": 2e-4}
"""For checkpoints of half a billion parameters and more, trained by LoRA: the rate is that of the QLoRA
paper for its smaller models (arXiv 2305.14314). The schema's defaults suit the tiny bundled student."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What the five questions found out."""

    task: str
    """A JSONL file of prompts, or schoolbook."""
    teacher: str
    kind: str
    """One of KINDS."""
    student: str
    """A key of STUDENTS, or a checkpoint."""
    budget_usd: float


def default_teacher(task: str) -> str:
    """The bundled task has its own; else a server on this machine, which costs nothing to ask."""
    return "bundled:teacher" if task == SCHOOLBOOK else "http://127.0.0.1:8000/v1#Qwen/Qwen3-32B"


def default_student(task: str, kind: str) -> str:
    """A classifier where answers are labels; else the smallest chat model that is worth a try."""
    if task == SCHOOLBOOK:
        return "bundled:base"
    return ENCODER if kind == "label" else "cpu"


def guess_kind(path: str) -> str:
    """The verifier that the reference answers of a file suggest; none where there are no answers.

    Raises InputError for a file that cannot be read.
    """
    if path == SCHOOLBOOK:
        return "numeric"
    answers = [p.answer for p in read_prompts(path).prompts if p.answer is not None]
    if not answers:
        return "none"
    if all(verifiers.answer_key(Verifier(kind="numeric"), answer) == answer.strip() for answer in answers):
        return "numeric"
    if _labels(answers):
        return "label"
    return "json_schema" if all(_is_object(answer) for answer in answers) else "none"


def _labels(answers: Sequence[str]) -> list[str]:
    """The labels, commonest first, where the answers are few different short texts; else none."""
    counts = Counter(answer.strip() for answer in answers)
    if not counts:
        return []
    few = len(counts) <= min(MOST_LABELS, len(answers) // 2) and max(map(len, counts)) <= LONGEST_LABEL
    return [label for label, _ in counts.most_common()] if few else []


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def draft(name: str, answers: Answers) -> str:
    """The recipe as YAML with comments; it loads. Raises RecipeError for values that no recipe may have."""
    student = {**STUDENTS, ENCODER: ENCODER_MODEL}.get(answers.student, answers.student)
    text = f"""\
# Written by `spiritsafe init`. `spiritsafe recipe schema` lists every key with its meaning.
name: {_text(name)}

task:
{_task(answers)}
teacher:
  model: {_text(answers.teacher)}
  # is: Qwen/Qwen3-32B          # what a served model is, where its name does not say so
  # price: {{input_per_million: 0.5, output_per_million: 1.5}}   # US dollars, where ours is unknown or dated

budget:
  usd: {answers.budget_usd:g}                        # never exceeded; servers on this machine cost 0

collect:
  samples_per_prompt: 1         # more answers to a hard prompt: one of them may be right
  temperature: {0.0 if answers.task == SCHOOLBOOK else 0.7}
  max_tokens: {96 if answers.task == SCHOOLBOOK else 1024}              # of one answer, reasoning included

student:
{_student(answers)}  model: {_text(student)}

train:
{_train(student, answers.student == ENCODER)}
evaluate:
  max_tokens: {96 if answers.task == SCHOOLBOOK else 1024}
"""
    recipe_file.parse(yaml.safe_load(text))
    return text


def _task(answers: Answers) -> str:
    if answers.task == SCHOOLBOOK:
        lines = ["kind: schoolbook            # grade-school word problems, made by a generator"]
    else:
        lines = [
            "kind: jsonl",
            f"path: {_text(answers.task)}",
            "# test_path: test.jsonl       # without it a fifth of the prompts is held out",
            "# system: Answer briefly.      # put before every prompt, for teacher and student alike",
        ]
    return "".join(f"  {line}\n" for line in [*lines, *_judged(answers)])


def _judged(answers: Answers) -> list[str]:
    section = verifier(answers.kind, answers.task)
    notes = {"json_schema": "   # put the schema of your answers here", "kind": ""}
    values = (f"  {key}: {_text(value)}{notes.get(key, '')}" for key, value in section.items())
    return ["verifier:", *values]


def verifier(kind: str, path: str) -> dict[str, Any]:
    """The section task.verifier for a kind, with what it needs besides: labels or a schema to fill in.

    Raises InputError for labels where the file's answers are none.
    """
    if kind == "label":
        labels = _labels([p.answer for p in read_prompts(path).prompts if p.answer is not None])
        if not labels:
            raise InputError(
                f"the answers in {path} are not a set of labels",
                hint=f"at most {MOST_LABELS} different texts of at most {LONGEST_LABEL} characters",
            )
        return {"kind": kind, "labels": labels}
    return {"kind": kind, "json_schema": {"type": "object"}} if kind == "json_schema" else {"kind": kind}


def _student(answers: Answers) -> str:
    if answers.student == ENCODER:
        return "  kind: classifier              # a head over the labels; it does not write\n"
    return (
        "  kind: extractor               # scored field by field\n" if answers.kind == "json_schema" else ""
    )


def _train(student: str, encoder: bool) -> str:
    if student.startswith("bundled:"):
        values = {"tokens": 1_200_000, "batch_tokens": 256, "max_length": 256, "learning_rate": 3e-3}
    elif encoder:
        values = {"tokens": 1_000_000, "batch_tokens": 2048, "max_length": 512, "learning_rate": 5e-5}
    else:
        values = {"tokens": 3_000_000, **REAL_TRAIN}
    why = {
        "tokens": "the same for every row of the table",
        "max_length": "longer rows are dropped and counted",
    }
    return "".join(
        f"{f'  {key}: {value}':32}{f'# {why[key]}' if key in why else ''}".rstrip() + "\n"
        for key, value in values.items()
    )


def _text(value: object) -> str:
    """A value on one line of YAML, quoted where it must be."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=float("inf"))
    return str(text).removesuffix("...\n").strip()
