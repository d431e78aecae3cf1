"""Tasks: where prompts come from, and how they are split.

Nothing that is evaluated is trained on: the splits of a generator are disjoint by construction; a user's
file is divided by a hash of seed and question, so that two copies of a question, or the same question
under another system message, fall on the same side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from spiritsafe.errors import InputError, UsageError
from spiritsafe.recipe import Task
from spiritsafe.records import Message, Prompt
from spiritsafe.tasks.drawing import Split as DrawnSplit
from spiritsafe.tasks.extract import squeeze
from spiritsafe.tasks.incidents import generator as incidents
from spiritsafe.tasks.invoices import generator as invoices
from spiritsafe.tasks.jsonl import question_text, read_prompts
from spiritsafe.tasks.schoolbook.generator import Problem, Split, generate
from spiritsafe.tasks.tickets import generator as tickets
from spiritsafe.tasks.verifiers import needs_reference

TEST_SHARE = 0.2
"""At most this part of a file becomes the test split, and not more than task.test_prompts."""
VALIDATION_SHARE = 0.05
EXTRA_SLICES: tuple[Split, ...] = ("unseen", "stretch")
GENERATORS = {"tickets": tickets.generate, "invoices": invoices.generate, "incidents": incidents.generate}
FEWEST_PROMPTS = 20
"""A file that evaluation prompts are carved out of has at least so many distinct questions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Splits:
    """The prompts of a task; no question is in two splits."""

    train: list[Prompt]
    validation: list[Prompt]
    test: list[Prompt]
    slices: dict[str, list[Prompt]] = field(default_factory=dict)
    """Further test prompts that are reported apart, such as unseen and stretch."""
    counts: dict[str, int] = field(default_factory=dict)
    """Prompts left out of a user's files, by reason: duplicate, also_in_test, over_limit."""

    @property
    def evaluation(self) -> list[Prompt]:
        """Every prompt that must not be trained on."""
        return [*self.test, *self.validation, *(prompt for part in self.slices.values() for prompt in part)]


def load_task(task: Task, seed: int) -> Splits:
    """The prompts of a recipe's task, the same for the same recipe, files and seed.

    Raises InputError for an unusable file, UsageError where the generator has too few problems.
    """
    if task.kind == "jsonl":
        return _files(task, seed)
    return _schoolbook(task, seed) if task.kind == "schoolbook" else _drawn(task, seed)


def _drawn(task: Task, seed: int) -> Splits:
    make = GENERATORS[task.kind]
    sizes: dict[DrawnSplit, int] = {
        "train": task.train_prompts,
        "validation": task.validation_prompts,
        "test": task.test_prompts,
    }
    try:
        parts = {name: make(name, size, seed) for name, size in sizes.items()}
    except ValueError as error:
        raise UsageError(f"{task.kind}: {error}", hint="lower task.train_prompts or the size named") from None
    before = _system(task.system)
    posed = {
        name: [replace(prompt, messages=(*before, *prompt.messages)) for prompt in prompts]
        for name, prompts in parts.items()
    }
    return Splits(train=posed["train"], validation=posed["validation"], test=posed["test"])


def _schoolbook(task: Task, seed: int) -> Splits:
    sizes: dict[Split, int] = {
        "train": task.train_prompts,
        "validation": task.validation_prompts,
        "test": task.test_prompts,
        "unseen": task.unseen_prompts,
        "stretch": task.stretch_prompts,
    }
    try:
        parts = {
            name: [_posed(problem, task.system) for problem in generate(name, size, seed)]
            for name, size in sizes.items()
            if size
        }
    except ValueError as error:
        raise UsageError(f"schoolbook: {error}", hint="lower task.train_prompts or the size named") from None
    return Splits(
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        slices={str(name): parts[name] for name in EXTRA_SLICES if name in parts},
    )


def _system(system: str | None) -> tuple[Message, ...]:
    return ({"role": "system", "content": system},) if system else ()


def _posed(problem: Problem, system: str | None) -> Prompt:
    return Prompt(
        prompt_id=problem.problem_id,
        messages=(*_system(system), {"role": "user", "content": problem.question}),
        answer=problem.answer,
        solution=problem.solution,
        tags={"level": str(problem.level), "theme": problem.theme, "template": problem.template},
    )


def _files(task: Task, seed: int) -> Splits:
    assert task.path is not None, "the recipe checks that jsonl has a path"
    file = read_prompts(task.path, task.system)
    groups = _by_question(file.prompts, seed)
    counts = {"duplicate": file.duplicates}
    if task.test_path is None:
        test = _carve(groups, task)
    else:
        held_out = _by_question(read_prompts(task.test_path, task.system).prompts, seed)
        groups = {key: prompts for key, prompts in groups.items() if key not in held_out}
        counts["also_in_test"] = len(file.prompts) - sum(map(len, groups.values()))
        test = _take(_gradable(held_out, task, task.test_path), task.test_prompts)
    validation = _take(groups, min(task.validation_prompts, _part(len(groups), VALIDATION_SHARE)))
    train = [prompt for prompts in groups.values() for prompt in prompts]
    _require(train, task)
    counts["over_limit"] = max(0, len(train) - task.train_prompts)
    return Splits(train=train[: task.train_prompts], validation=validation, test=test, counts=counts)


def _carve(groups: dict[str, list[Prompt]], task: Task) -> list[Prompt]:
    """Take the test split out of the training file's groups."""
    if len(groups) < FEWEST_PROMPTS:
        raise InputError(
            f"{task.path} has {len(groups)} distinct prompts: too few to carve an evaluation out of "
            f"(at least {FEWEST_PROMPTS})",
            hint="add prompts, or name a file of evaluation prompts as task.test_path",
        )
    gradable = _gradable(groups, task, task.path)
    left = dict(gradable)
    test = _take(left, min(task.test_prompts, _part(len(groups), TEST_SHARE)))
    for key in gradable.keys() - left.keys():
        del groups[key]
    return test


def _gradable(groups: dict[str, list[Prompt]], task: Task, path: str | None) -> dict[str, list[Prompt]]:
    """The groups that the verifier can judge; without an answer to compare with, a score means nothing."""
    if not (needs_reference(task.verifier) or _compares_fields(groups, task)):
        return dict(groups)
    kept = {key: prompts for key, prompts in groups.items() if all(p.answer is not None for p in prompts)}
    if not kept:
        raise InputError(
            f"no prompt of {path} has an answer, which the verifier {task.verifier.kind} compares with",
            hint="give answers, or choose another task.verifier.kind (none: nothing is graded)",
        )
    return kept


def _compares_fields(groups: dict[str, list[Prompt]], task: Task) -> bool:
    """Where some prompts have a JSON reference, the others would be scored by the schema alone: left out."""
    answered = any(p.answer is not None for prompts in groups.values() for p in prompts)
    return task.verifier.kind == "json_schema" and answered


def _by_question(prompts: Iterable[Prompt], seed: int) -> dict[str, list[Prompt]]:
    """Prompts by a hash of their question, in the order of the hash: a shuffle that the seed decides."""
    groups: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        question = f"spiritsafe-split-1\n{seed}\n{squeeze(question_text(prompt))}"
        groups.setdefault(hashlib.sha256(question.encode()).hexdigest(), []).append(prompt)
    return {key: groups[key] for key in sorted(groups)}


def _take(groups: dict[str, list[Prompt]], size: int) -> list[Prompt]:
    """Remove the first groups that make `size` prompts; what a last group has too many is in no split."""
    taken: list[Prompt] = []
    for key in list(groups):
        if len(taken) >= size:
            break
        taken += groups.pop(key)
    return taken[:size]


def _part(total: int, share: float) -> int:
    return max(1, int(total * share))


def _require(train: list[Prompt], task: Task) -> None:
    if not train:
        raise InputError(
            f"no training prompts are left in {task.path}",
            hint="every prompt is also in task.test_path, or the file has only one; add prompts",
        )
