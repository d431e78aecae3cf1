"""The stages of models.py for classifiers: train a head on shares of labels, sort the test texts, time it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spiritsafe.collect.labels import LEAST_MASS, Target, label_masses
from spiritsafe.pipeline import inquiry, kinds, measuring, models, part, prompt_files
from spiritsafe.pipeline.stage import Context
from spiritsafe.recipe import Arm
from spiritsafe.records import Prompt
from spiritsafe.store.ledger import Ledger
from spiritsafe.store.shards import read_shards

if TYPE_CHECKING:
    from spiritsafe.training.classify import LabelledText


def train_arm(context: Context, name: str, arm: Arm, seed: int) -> Iterable[Path]:
    """Train one classifier: students/<arm>-<seed>/model."""
    from spiritsafe.students.heads import load_classifier
    from spiritsafe.training.classify import train_classifier

    recipe, label = context.recipe, f"{name}-{seed}"
    model, tokenizer = load_classifier(
        recipe.student.model, recipe.task.verifier.labels, seed=recipe.seed + seed
    )
    folder = models.clear_marks(context, label)
    texts, validation = texts_of(context, arm, seed)
    if not texts:
        return [models.do_without(context, name, arm, seed)]
    report = train_classifier(
        model,
        tokenizer,
        texts,
        part.settings_of(arm, recipe.train),
        seed=recipe.seed + seed,
        directory=folder,
        validation=validation,
        log=lambda **row: context.run.log(arm=name, seed=seed, **row),
        progress=lambda done, total: context.talk.progress(f"train {label}", done, total, "tokens"),
    )
    context.run.write_json(f"students/{label}/training.json", asdict(report))
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    return [*models.files_of(folder / "model"), folder / "training.json"]


def texts_of(context: Context, arm: Arm, seed: int) -> tuple[list[LabelledText], list[LabelledText]]:
    """Training and validation texts of an arm: with the teacher's shares, or with the reference label.

    There is no worked ground truth for a label, so an arm of `gold` has nothing.
    """
    from spiritsafe.students.heads import text_of
    from spiritsafe.training.classify import LabelledText

    validation_ids = {p.prompt_id for p in prompt_files.read_prompts(context, "validation")}
    train: list[LabelledText] = []
    validation: list[LabelledText] = []
    targets = _targets(context, arm)
    known = (t.prompt_id for t in targets if t.prompt_id not in validation_ids)
    chosen = part.prompts_of(arm, known, context.recipe.seed + seed)
    for target in targets:
        if target.prompt_id in chosen or target.prompt_id in validation_ids:
            texts = train if target.prompt_id in chosen else validation
            texts.append(LabelledText(text_of(target.messages), target.shares))
    return train, validation


def _targets(context: Context, arm: Arm) -> list[Target]:
    if arm.data == "teacher":
        return [Target.from_json(row) for row in context.run.read_lines("selected/labels.jsonl")]
    if arm.data == "gold":
        return []
    labels = context.recipe.task.verifier.labels
    known = ((p, kinds.label_of(context.recipe, p)) for p in prompt_files.asked_prompts(context))
    return [
        Target(
            prompt_id=p.prompt_id,
            messages=p.messages,
            shares=tuple(float(label == name) for name in labels),
        )
        for p, label in known
        if label is not None
    ]


def grade_teacher(context: Context) -> Iterable[Path]:
    """Judge the teacher's test answers; its calibration is known where the server sent log-probabilities."""
    yield from measuring.grade_teacher(context, _teacher_shares(context))


def _teacher_shares(context: Context) -> dict[str, list[float]]:
    labels = context.recipe.task.verifier.labels
    with Ledger(context.run.ledger, context.recipe.budget) as ledger:
        tops = ledger.top_logprobs(inquiry.TEST)
    shares = {}
    for sample in read_shards(context.run.path / "test_samples"):
        top = tops.get(sample.request_hash)
        found = label_masses(sample.text, labels, top) if top is not None else None
        if found is not None and sum(found) >= LEAST_MASS:
            shares[sample.prompt_id] = [mass / sum(found) for mass in found]
    return shares


def answer_test(context: Context, name: str, arm: Arm, seed: int) -> Iterable[Path]:
    """Let one classifier sort the test texts: evaluation/<arm>-<seed>.jsonl, and .json with its measures."""
    from spiritsafe.evaluate.grade import grade_replies
    from spiritsafe.students.heads import Classifier, load_classifier, text_of

    if models.is_left_out(context, name, arm, seed):
        return
    recipe, label = context.recipe, f"{name}-{seed}"
    labels = recipe.task.verifier.labels
    folder = models.student_folder(context, name, arm, seed)
    classifier = Classifier(*load_classifier(folder, labels, seed=recipe.seed + seed))
    slices = prompt_files.test_prompts(context)
    prompts = [prompt for part in slices.values() for prompt in part]
    found = classifier.probabilities([text_of(prompt.messages) for prompt in prompts])
    shares = {p.prompt_id: row for p, row in zip(prompts, found.tolist(), strict=True)}
    texts = {p.prompt_id: labels[int(place)] for p, place in zip(prompts, found.argmax(1), strict=True)}
    graded = grade_replies(slices, texts, recipe.task.verifier)
    yield context.run.write_lines(f"evaluation/{label}.jsonl", (row.to_json() for row in graded))
    yield from kinds.write_measures(context, label, graded, slices["test"], shares)


def time_models(context: Context) -> Iterable[Path]:
    """Texts per second of all classifiers, and the speed of a local teacher: evaluation/speed.json."""
    from spiritsafe.evaluate.speed import Speed, Timed, measure, measure_texts
    from spiritsafe.students.heads import Classifier, load_classifier

    def both(
        timed: Mapping[str, Timed], prompts: Sequence[Prompt], tokens: int, **told: Any
    ) -> dict[str, Speed]:
        writing = {name: model for name, model in timed.items() if name == "teacher"}
        sorting = {name: model for name, model in timed.items() if name != "teacher"}
        found = measure(writing, prompts, tokens, **told) if writing else {}
        return found | measure_texts(sorting, prompts, **told)

    recipe = context.recipe
    students = {
        name: Classifier(*load_classifier(folder, recipe.task.verifier.labels, seed=recipe.seed))
        for name, folder in measuring.folders_of(context).items()
    }
    yield measuring.write_speeds(context, {**measuring.teacher_model(context), **students}, both)


def ask(context: Context, folder: str, prompt: Prompt) -> str:
    """The likeliest label of one text, with its probability."""
    from spiritsafe.students.heads import Classifier, load_classifier, text_of

    recipe = context.recipe
    labels = recipe.task.verifier.labels
    classifier = Classifier(*load_classifier(folder, labels, seed=recipe.seed))
    found = classifier.probabilities([text_of(prompt.messages)])[0]
    return f"{labels[int(found.argmax())]} ({100 * float(found.max()):.0f} %)"
