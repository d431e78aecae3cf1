"""What fits: memory of teacher, training and serving against the device, and the recipe line that helps.

From config.json alone: nothing is loaded and nothing is downloaded. All figures are upper estimates: every
token counts in the loss, every sequence is as long as allowed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spiritsafe.costs.memory import (
    LARGE,
    Adapter,
    Step,
    Training,
    serving_bytes,
    training_step,
    weight_bytes,
    with_tokens,
)
from spiritsafe.costs.prices import is_loopback
from spiritsafe.costs.shapes import Shape, shape_of
from spiritsafe.environment import Device
from spiritsafe.errors import InputError
from spiritsafe.recipe import Arm, Recipe
from spiritsafe.records import Record
from spiritsafe.teachers.connect import is_served, teacher_id
from spiritsafe.teachers.folders import bytes_of, config_of
from spiritsafe.workers import workers_for

CONTEXT = 600_000_000
"""Bytes of a CUDA context with its libraries; on other devices the libraries in this process take as much."""
FRAGMENTS = 0.05
"""Share of the device that an allocator leaves between blocks."""
NOT_HERE = "not known: config.json is not on this machine, and plan downloads nothing"


@dataclass(frozen=True, kw_only=True, slots=True)
class Need(Record):
    """One thing that has to fit into the device at a time."""

    what: str
    bytes: int | None
    """None where it is not known; `note` says why."""
    note: str
    fits: bool | None
    cure: tuple[str, ...] = ()
    """Recipe lines, or other advice, with which it fits."""


def table(recipe: Recipe, device: Device) -> list[Need]:
    """Teacher, training of each kind of arm, serving the student. Raises InputError as `resolve_model`."""
    return [*_teacher(recipe, device), *_trainings(recipe, device), _serving(recipe, device)]


def describe(needs: list[Need], device: Device) -> str:
    """The table in a few lines for a person."""
    lines = [f"memory   {device.name}" + (f", {size(device.bytes)}" if device.bytes else ", size not known")]
    for need in needs:
        shown = "" if need.bytes is None else f"{size(need.bytes)} ({need.note})"
        verdict = {True: "fits", False: "does not fit", None: ""}[need.fits]
        lines.append(f"  {need.what}: " + ", ".join(part for part in (verdict, shown or need.note) if part))
        lines += [f"    fits with   {line}" for line in need.cure]
    return "\n".join(lines)


def size(value: int) -> str:
    """Bytes in GB of 10^9, small ones in MB."""
    return f"{value / 1e9:,.1f} GB" if value >= 1e9 else f"{value / 1e6:,.0f} MB"


def _teacher(recipe: Recipe, device: Device) -> Iterator[Need]:
    ref = recipe.teacher.model
    if is_served(ref) and recipe.teacher.launch is None:
        if is_loopback(teacher_id(ref, recipe.teacher).host):
            note = (
                "a server that stays up keeps its memory while students train; teacher.launch ends it before"
            )
            yield Need(what="teacher", bytes=None, note=note, fits=None)
        return
    name = ref.partition("#")[2] if is_served(ref) else ref
    config = config_of(name if Path(name).is_dir() or not is_served(ref) else f"hf:{name}")
    yield _decoding(recipe, device, "teacher", name, config, launched=is_served(ref))


def _serving(recipe: Recipe, device: Device) -> Need:
    name = recipe.student.model
    return _decoding(recipe, device, "student serving", name, config_of(name), launched=False)


def _decoding(
    recipe: Recipe, device: Device, what: str, name: str, config: Mapping[str, Any] | None, *, launched: bool
) -> Need:
    """A model that answers: weights, cache, and the widest moment of a batch."""
    shape, why = _shape(config)
    if shape is None:
        return Need(what=what, bytes=None, note=why, fits=None)
    element = 2 if launched or device.kind == "cuda" else 4
    weights = _weights(name, config or {}, shape, element)
    key, batch, answer, drawn = _batch(recipe, what)
    # Longer rows are not trained on, so this is as long as a prompt is worth asking.
    prompt = max(recipe.train.max_length - answer, recipe.train.max_length // 4)

    def held(size: int) -> int:
        return serving_bytes(shape, weights, size, prompt=prompt, answer=answer, element=element, drawn=drawn)

    if launched:
        note = f"weights {size(weights)}; the server fills what it is given: vLLM 0.9 of the device"
        cure = "a quantised checkpoint in teacher.launch (AWQ, GPTQ, fp8)"
        return _need(device, what, held(1), note, (cure,))
    note = f"weights {size(weights)}, {batch} sequences of {prompt} + {answer} tokens"
    smaller = (n for n in (batch >> k for k in range(1, batch.bit_length())) if fits(device, held(n)))
    cure = next(
        (f"{key}: {n}" for n in smaller), "a quantised checkpoint (AWQ, GPTQ, fp8), or a smaller model"
    )
    return _need(device, what, held(batch), note, (cure,))


def _batch(recipe: Recipe, what: str) -> tuple[str, int, int, bool]:
    """(recipe key, sequences decoded together, tokens of an answer, drawn rather than greedy)."""
    if what == "teacher":
        drawn = recipe.collect.temperature > 0
        return "teacher.batch_size", recipe.teacher.batch_size, recipe.collect.max_tokens, drawn
    return "evaluate.batch_size", recipe.evaluate.batch_size, recipe.evaluate.max_tokens, False


def _trainings(recipe: Recipe, device: Device) -> Iterator[Need]:
    """One need for each kind of training that the arms ask for."""
    seen: dict[tuple[str, str | None], Need] = {}
    for name, arm in recipe.arms.items():
        kind = arm.divergence.kind if arm.divergence else None
        key = (str(arm.shrink), kind)
        if arm.data != "none" and key not in seen:
            seen[key] = _training(recipe, device, "training" if not seen else f"training {name}", arm)
    yield from seen.values()


def _training(recipe: Recipe, device: Device, what: str, arm: Arm) -> Need:
    name = arm.shrink.model if arm.shrink else recipe.student.model
    shape, why = _shape(config_of(name))
    teacher = None
    if arm.divergence and shape is not None:
        teacher, why = _shape(None if is_served(recipe.teacher.model) else config_of(recipe.teacher.model))
        shape = shape if teacher is not None else None
    if shape is None:
        return Need(what=what, bytes=None, note=why, fits=None)
    if arm.shrink:
        shape = replace(
            shape, layers=len(arm.shrink.layers), sliding=min(shape.sliding, len(arm.shrink.layers))
        )
    how = training_of(recipe, device, shape, arm)
    copies = workers_for(bytes_of(recipe.student.model)) if device.kind == "cpu" else 1
    step = training_step(shape, how, teacher)
    note = _parts(step) + (f"; {copies} at the same time" if copies > 1 else "")
    cure = _training_cure(recipe, device, shape, how, teacher)
    return _need(device, what, copies * step.total, note, cure)


def training_of(recipe: Recipe, device: Device, shape: Shape, arm: Arm) -> Training:
    """How the recipe trains a student of this shape on this device."""
    train, student = recipe.train, recipe.student
    adapter: Adapter
    if student.adapter == "auto":
        adapter = "lora" if shape.parameters >= LARGE else "full"
    else:
        adapter = student.adapter
    tokens = max(train.pass_tokens(on_cpu=device.kind == "cpu"), train.max_length)
    return Training(
        tokens=tokens,
        loss_tokens=tokens,
        length=train.max_length,
        half=train.precision == "bfloat16" or (train.precision == "auto" and device.kind == "cuda"),
        adapter=adapter,
        rank=student.lora_rank,
        checkpointing=train.gradient_checkpointing,
        divergence=arm.divergence.kind if arm.divergence else None,
    )


def _training_cure(
    recipe: Recipe, device: Device, shape: Shape, how: Training, teacher: Shape | None
) -> tuple[str, ...]:
    """The first that fits: smaller passes (same result), recomputing (slower), then less that is trained."""
    adapters: list[Adapter] = [how.adapter]
    adapters += [a for a in ("lora", "qlora") if how.adapter == "full" or (a == "qlora" and how.adapter != a)]
    for adapter in adapters:
        for checkpointing in dict.fromkeys((how.checkpointing, True)):
            changed = replace(how, adapter=adapter, checkpointing=checkpointing)
            for tokens in _fewer(how.tokens, recipe.train.max_length):
                if fits(device, training_step(shape, with_tokens(changed, tokens), teacher).total):
                    return _lines(how, with_tokens(changed, tokens))
    return ("a smaller student, or a device with more memory",)


def _fewer(tokens: int, least: int) -> Iterator[int]:
    """Tokens per pass: halved, never below one row."""
    while tokens > least:
        yield tokens
        tokens //= 2
    yield least


def _lines(before: Training, after: Training) -> tuple[str, ...]:
    lines = {
        f"train.micro_batch_tokens: {after.tokens}": after.tokens != before.tokens,
        "train.gradient_checkpointing: true": after.checkpointing != before.checkpointing,
        f"student.adapter: {after.adapter}": after.adapter != before.adapter,
    }
    return tuple(line for line, changed in lines.items() if changed)


def _parts(step: Step) -> str:
    parts = {
        "weights": step.weights + step.copies,
        "gradients": step.gradients,
        "AdamW": step.optimiser,
        "activations": step.activations,
        "logits": step.logits,
        "teacher": step.teacher,
    }
    return ", ".join(f"{name} {size(value)}" for name, value in parts.items() if value)


def _need(device: Device, what: str, value: int, note: str, cure: tuple[str, ...]) -> Need:
    enough = fits(device, value)
    return Need(what=what, bytes=value, note=note, fits=enough, cure=() if enough is not False else cure)


def fits(device: Device, value: int) -> bool | None:
    """True where the device holds `value` bytes beside what it always loses; None for an unknown size."""
    return None if device.bytes is None else value + CONTEXT <= (1 - FRAGMENTS) * device.bytes


def _shape(config: Mapping[str, Any] | None) -> tuple[Shape | None, str]:
    if config is None:
        return None, NOT_HERE
    try:
        return shape_of(config), ""
    except InputError as error:
        return None, error.message


def _weights(name: str, config: Mapping[str, Any], shape: Shape, element: int) -> int:
    quantization = config.get("quantization_config")
    files = bytes_of(name) if quantization and not name.startswith("hf:") else 0
    return files or weight_bytes(shape, element, quantization)
