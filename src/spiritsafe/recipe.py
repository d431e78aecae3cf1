"""The recipe: everything a run does, section by section. `recipe_file` reads it.

Each section is the input of particular stages; a stage is redone when its sections changed (see
pipeline/run.py), so a key lives where its consequence lives.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from spiritsafe.recipe_data import (
    Budget,
    Collect,
    Judge,
    ModelAccess,
    Positive,
    Price,
    Section,
    Select,
    Task,
    Teacher,
    Verifier,
)
from spiritsafe.recipe_student import (
    CPU_MICRO_BATCH,
    Arm,
    DivergenceKind,
    DivergenceTerm,
    Evaluate,
    Shrink,
    Student,
    Train,
)

__all__ = [
    "CPU_MICRO_BATCH",
    "DEFAULT_ARMS",
    "Arm",
    "Budget",
    "Collect",
    "DivergenceKind",
    "DivergenceTerm",
    "Evaluate",
    "Judge",
    "ModelAccess",
    "Positive",
    "Price",
    "Recipe",
    "Section",
    "Select",
    "Shrink",
    "Student",
    "Task",
    "Teacher",
    "Train",
    "Verifier",
    "schema",
]

DEFAULT_ARMS = {
    "student": Arm(data="teacher"),
    "baseline": Arm(data="answers"),
    "untrained": Arm(data="none"),
}


class Recipe(Section):
    """A complete run."""

    name: str = "schoolbook"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    task: Task = Task()
    teacher: Teacher = Teacher()
    budget: Budget = Budget()
    collect: Collect = Collect()
    select: Select = Select()
    student: Student = Student()
    train: Train = Train()
    arms: dict[str, Arm] = DEFAULT_ARMS
    """Rows of the table. `student`, `baseline` and `untrained` always exist; more may be added."""
    evaluate: Evaluate = Evaluate()
    judge: Judge | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_arms(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("arms"), dict):
            return {**value, "arms": {**DEFAULT_ARMS, **value["arms"]}}
        return value

    @model_validator(mode="after")
    def _names(self) -> Recipe:
        if "teacher" in self.arms:
            raise ValueError("an arm cannot be named teacher")
        if self.teacher.launch is not None and self.collect.mode == "batch":
            raise ValueError(
                "collect.mode batch asks a provider, teacher.launch serves live: use one of them"
            )
        return self

    @model_validator(mode="after")
    def _nobody_to_ask(self) -> Recipe:
        divergent = [f"arms.{name}.divergence" for name, arm in self.arms.items() if arm.divergence]
        asking = [*divergent, *(["task.expand_to"] if self.task.expand_to else [])]
        if asking and not self.teacher.is_asked:
            raise ValueError(f"teacher.model is none, and {asking[0]} needs a teacher")
        return self

    @model_validator(mode="after")
    def _kind_of_student(self) -> Recipe:
        kind, verifier = self.student.kind, self.task.verifier
        wanted = {"classifier": "label", "extractor": "json_schema", "summariser": "none"}.get(
            kind, verifier.kind
        )
        if verifier.kind != wanted:
            key = {"label": " with labels", "json_schema": " with json_schema"}.get(wanted, "")
            raise ValueError(
                f"student.kind {kind} needs task.verifier.kind {wanted}{key}, got {verifier.kind}"
            )
        if kind == "summariser" and self.judge is None:
            raise ValueError("student.kind summariser needs a section judge: nothing else scores summaries")
        if kind == "classifier":
            self._check_classifier()
        return self

    def _check_classifier(self) -> None:
        labels = self.task.verifier.labels
        if len({" ".join(label.casefold().split()) for label in labels}) < max(2, len(labels)):
            raise ValueError("a classifier needs at least two labels, all different but for case and spaces")
        refused = {
            "arms with divergence or shrink": any(a.divergence or a.shrink for a in self.arms.values()),
            "train.packing": self.train.packing,
            "train.reasoning summary": self.train.reasoning == "summary",
            "select.keep shortest": self.select.keep == "shortest",
            f"student.adapter {self.student.adapter}": self.student.adapter not in ("auto", "full"),
        }
        for name, given in refused.items():
            if given:
                raise ValueError(f"student.kind classifier has no {name}")

    @model_validator(mode="after")
    def _judge_has_work(self) -> Recipe:
        idle = self.judge is not None and self.judge.filter_below is None
        if idle and self.task.verifier.kind != "none":
            raise ValueError(
                f"judge has nothing to do: test answers are judged by the verifier "
                f"{self.task.verifier.kind}; set judge.filter_below, or task.verifier.kind to none"
            )
        return self

    def to_json(self) -> dict[str, Any]:
        """The resolved recipe, every default written out, with the keys a user writes."""
        return self.model_dump(mode="json", by_alias=True)


def schema() -> dict[str, Any]:
    """JSON Schema of the recipe, for editors."""
    return Recipe.model_json_schema(by_alias=True)
