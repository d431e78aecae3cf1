"""`spiritsafe init`: five questions, each with a default, and a recipe to keep."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spiritsafe.cli.common import next_command
from spiritsafe.errors import UsageError

if TYPE_CHECKING:
    from spiritsafe.pipeline.draft import Answers

Check = Callable[[str], object]


def init(
    file: Annotated[Path, typer.Argument(help="The recipe to write.")] = Path("recipe.yaml"),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Take every default.")] = False,
) -> None:
    """Ask five questions and write a commented recipe. Answers may be piped, one a line."""
    from spiritsafe.pipeline.draft import draft
    from spiritsafe.rundir import write_atomic

    if file.exists():
        raise UsageError(f"{file} exists and is not overwritten", hint="spiritsafe init OTHER.yaml")
    text = draft(file.stem, _ask(_default if yes else _read))
    write_atomic(file, text)
    typer.echo(str(file))
    next_command(f"spiritsafe plan {file}")


def _ask(answer: Callable[[str, str, Check], str]) -> Answers:
    from spiritsafe.pipeline import draft

    task = answer("1/5 Task: a JSONL file of prompts, or schoolbook", draft.SCHOOLBOOK, draft.guess_kind)
    teacher = answer(
        "2/5 Teacher: http(s)://host/v1#MODEL, openai:MODEL, hf:REPO or a folder",
        draft.default_teacher(task),
        _known_teacher,
    )
    kind = answer(f"3/5 Right answers are: {', '.join(draft.KINDS)}", draft.guess_kind(task), _known_kind)
    student = answer(
        f"4/5 Student: the machine it must run on ({', '.join(draft.STUDENTS)}), "
        f"{draft.ENCODER} (for labels), hf:REPO or a folder",
        draft.default_student(task, kind),
        lambda ref: _known_student(ref, kind),
    )
    budget = answer("5/5 Budget in US dollars, a hard limit", "5", _amount)
    return draft.Answers(
        task=task, teacher=teacher, kind=kind, student=student, budget_usd=float(budget.lstrip("$"))
    )


def _default(question: str, default: str, check: Check) -> str:
    return default


def _read(question: str, default: str, check: Check) -> str:
    """One answer from stdin: an empty line is the default, and so is everything after the end of a pipe."""
    while True:
        typer.echo(f"{question} [{default}]: ", nl=False, err=True)
        given = sys.stdin.readline().strip() or default
        if not sys.stdin.isatty():
            typer.echo(given, err=True)
        try:
            check(given)
        except UsageError as error:
            if not sys.stdin.isatty():
                raise
            typer.echo(f"{error.message}\n{error.hint or ''}".rstrip(), err=True)
        else:
            return given


def _known_teacher(ref: str) -> None:
    from spiritsafe.recipe import Teacher
    from spiritsafe.teachers.connect import is_served, teacher_id
    from spiritsafe.teachers.folders import resolve_model

    if is_served(ref):
        teacher_id(ref, Teacher(model=ref))
    else:
        resolve_model(ref)


def _known_kind(kind: str) -> None:
    from spiritsafe.pipeline.draft import KINDS

    if kind not in KINDS:
        raise UsageError(f"no such kind of answer: {kind!r}", hint=f"one of {', '.join(KINDS)}")


def _known_student(ref: str, kind: str) -> None:
    from spiritsafe.pipeline.draft import ENCODER, STUDENTS
    from spiritsafe.teachers.folders import resolve_model

    if ref == ENCODER and kind != "label":
        raise UsageError(f"an encoder sorts into labels, and answers are {kind}", hint="cpu, 8gb or 24gb")
    if ref not in (*STUDENTS, ENCODER):
        resolve_model(ref)


def _amount(text: str) -> None:
    try:
        fine = 0 <= float(text.lstrip("$")) < float("inf")
    except ValueError:
        fine = False
    if not fine:
        raise UsageError(f"not an amount of money: {text!r}", hint="a number such as 20")
