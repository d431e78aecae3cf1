"""A stage: something made once, skipped while its output is valid, redone when what it depends on changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spiritsafe.recipe import Recipe
from spiritsafe.records import content_hash
from spiritsafe.rundir import RunDir
from spiritsafe.talk import Talk

if TYPE_CHECKING:
    from spiritsafe.teachers.server import TeacherServer


@dataclass(frozen=True, slots=True)
class Context:
    """What every stage may use."""

    recipe: Recipe
    run: RunDir
    talk: Talk
    server: TeacherServer | None = None
    """The teacher's server, where this run starts it (teacher.launch)."""


def always(_context: Context) -> bool:
    """Of a stage whose result is whole when it ends."""
    return True


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One stage of a run."""

    name: str
    group: str
    """The verb that runs it alone: collect, select, train, evaluate or report."""
    inputs: Any
    """JSON values the result depends on: parts of the recipe, hashes of files read."""
    needs: tuple[str, ...]
    """Names of the stages whose results are read."""
    action: Callable[[Context], Iterable[Path]]
    """Does the work and returns the files that are its result."""
    complete: Callable[[Context], bool] = always
    """False when running the stage again may give more: it is then not kept, though later stages go on."""
    student: bool = False
    """Concerns one student alone: may be done beside the same stage of another."""
    asks: bool = False
    """Puts requests to the teacher, which teacher.launch then has to serve."""


@dataclass(slots=True)
class Runner:
    """Runs stages in order, each at most once per key."""

    context: Context

    def key(self, stage: Stage) -> str:
        """Identity of the stage's result: its inputs, and what the stages that it needs have made."""
        upstream = {name: self.context.run.outputs(name) for name in stage.needs}
        return content_hash("spiritsafe-stage-2", {"inputs": stage.inputs, "needs": upstream})

    def do(self, stage: Stage) -> None:
        """Run a stage unless its result is present and valid."""
        context = self.context
        key = self.key(stage)
        if context.run.is_done(stage.name, key):
            context.talk.note(f"{stage.name}: done before, kept")
            return
        context.talk.note(f"{stage.name} ...")
        with context.run.span(stage.name):
            outputs = list(stage.action(context))
        context.run.mark_done(stage.name, key if stage.complete(context) else "incomplete", outputs)
