"""The training loop: gather, score, step, log, save.

Cross-entropy on the assistant's tokens, with an optional dense divergence from a local teacher on the
same tokens. Everything random follows from the seed and the number of the step, so a killed run continues
from its last checkpoint to bit-identical weights (on the same machine and thread count).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from spiritsafe.errors import InputError
from spiritsafe.recipe import DivergenceTerm, Train
from spiritsafe.records import Record
from spiritsafe.students.adapters import has_adapter, merge, trained_state
from spiritsafe.students.templates import Row, end_of_turn
from spiritsafe.teachers.loading import is_quantized
from spiritsafe.teachers.local import LocalModel
from spiritsafe.training import checkpoint
from spiritsafe.training.batches import Example, Trained, group, plan_steps, to_batch, tokenize
from spiritsafe.training.checkpoint import save_model
from spiritsafe.training.step import (
    AtPositions,
    Stepper,
    StepResult,
    check_packing,
    learning_rate,
    make_optimizer,
)

__all__ = ["Example", "TrainReport", "save_model", "train"]

VALIDATIONS = 4
"""Times that the validation loss is measured, the end included."""
VALIDATION_ROWS = 200
LOGGED_STEPS = 200
"""At most about so many rows of training loss are logged."""

Log = Callable[..., None]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainReport(Record):
    """What a training did; losses are cross-entropies in nats per token that counts, or per labelled text."""

    steps: int
    tokens: int
    """Passed through the student, padding not counted."""
    loss_tokens: int
    seconds: float
    """Wall time over all sessions of a resumed run."""
    dropped: int
    """Examples longer than max_length or the model's context, or with control tokens in the answer."""
    final_loss: float
    """Mean over the last tenth of the steps."""
    validation_loss: float | None
    losses: tuple[float, ...] = ()
    """Training loss of every step."""
    resumed_at: int | None = None
    """Step of the checkpoint that was continued."""


@dataclass(slots=True)
class Progress:
    """The part of a run's state that is not in the model or the optimiser."""

    step: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    validation_loss: float | None = None
    resumed_at: int | None = None


def train(
    model: Any,
    tokenizer: Any,
    examples: Sequence[Example],
    settings: Train,
    *,
    seed: int,
    directory: Path,
    validation: Sequence[Example] = (),
    divergence: DivergenceTerm | None = None,
    teacher: LocalModel | None = None,
    log: Log | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TrainReport:
    """Train `model` in place and write it, merged, to directory/"model"; continues directory/"checkpoint".

    `teacher` is needed with `divergence`. `log` gets rows of kind train, validation and checkpoint; after a
    resume the steps since the checkpoint are logged again. `progress(tokens, of_tokens)` once per step.
    Raises InputError when no example fits or teacher and student differ in tokens, SpiritSafeError when
    the loss is not finite.
    """
    log = log or silent
    end = end_of_turn(model, tokenizer)
    limit = min(settings.max_length, _context(model))
    rows, dropped = tokenize(examples, tokenizer, end, limit)
    held_out, _ = tokenize(validation[:VALIDATION_ROWS], tokenizer, end, limit)
    _check(rows, len(examples), limit, model, tokenizer, divergence, teacher)
    key = checkpoint.run_key(model, rows, settings, seed, divergence, teacher.model if teacher else None)

    torch.manual_seed(seed)
    stepper = _prepare(model, settings, divergence, teacher)
    if settings.packing:
        check_packing(stepper, rows)
    steps = plan_steps(rows, tokens=settings.tokens, batch_tokens=settings.batch_tokens, seed=seed)
    validate = (lambda: _validate(stepper, held_out, settings)) if held_out else None
    state = take_steps(
        stepper, rows, steps, key=key, directory=directory, validate=validate, log=log, progress=progress
    )
    _finish(directory, stepper, model, tokenizer, end)
    return make_report(state, steps, rows, dropped)


def take_steps(
    stepper: Stepper,
    rows: Sequence[Trained],
    steps: Sequence[Sequence[int]],
    *,
    key: str,
    directory: Path,
    validate: Callable[[], float] | None,
    log: Log,
    progress: Callable[[int, int], None] | None,
) -> Progress:
    """Take the steps that are not taken yet: of any student, from its checkpoint if there is one.

    `key` names the training (`checkpoint.run_key`); `validate` measures the loss on what is held out.
    """
    settings = stepper.settings
    state = _resume(directory, key, stepper, log)
    tokens = list(accumulate(sum(rows[i].length for i in step) for step in steps))
    log_every = max(1, len(steps) // LOGGED_STEPS)
    while state.step < len(steps):
        started = time.perf_counter()
        rate = learning_rate(state.step, len(steps), settings)
        result = stepper.step([rows[i] for i in steps[state.step]], rate)
        state.step += 1
        state.losses.append(result.cross_entropy / result.loss_tokens)
        if state.step % log_every == 0 or state.step == len(steps):
            log(**_train_row(state, tokens[state.step - 1], result, rate))
        if validate and _is_validation_step(state.step, len(steps)):
            state.validation_loss = validate()
            log(kind="validation", step=state.step, loss=state.validation_loss)
        state.seconds += time.perf_counter() - started
        if state.step % settings.checkpoint_steps == 0 or state.step == len(steps):
            _save(directory, key, stepper, state)
        if progress:
            progress(tokens[state.step - 1], tokens[-1])
    return state


def silent(**_row: object) -> None:
    """A log that keeps nothing."""


def _context(model: Any) -> int:
    return getattr(model.config.get_text_config(), "max_position_embeddings", None) or 1 << 30


def _check(
    rows: Sequence[Row],
    examples: int,
    limit: int,
    model: Any,
    tokenizer: Any,
    divergence: DivergenceTerm | None,
    teacher: LocalModel | None,
) -> None:
    if not rows:
        raise InputError(
            f"no training example is left: {examples} given, none fits into {limit} tokens",
            hint="raise train.max_length, or look at selected/counts.json for what was dropped",
        )
    embedded, used = model.get_input_embeddings().num_embeddings, max(max(row.ids) for row in rows)
    if used >= embedded:
        raise InputError(
            f"{tokenizer.name_or_path}: the data has token {used}, the model embeds {embedded} tokens",
            hint="tokenizer and weights belong to different checkpoints; download both again",
        )
    if divergence is None:
        return
    if teacher is None:
        raise InputError("an arm with `divergence` needs a local teacher", hint="use hf:REPO or a folder")
    widths = teacher.model.config.get_text_config().vocab_size, model.config.get_text_config().vocab_size
    if widths[0] != widths[1] or teacher.tokenizer.get_vocab() != tokenizer.get_vocab():
        raise InputError(
            f"teacher and student have different tokens (vocabularies of {widths[0]} and {widths[1]})",
            hint="a dense divergence needs one tokenizer; train on the teacher's text instead",
        )


def _prepare(model: Any, settings: Train, term: DivergenceTerm | None, teacher: LocalModel | None) -> Stepper:
    accelerator = Accelerator()
    model.train()
    if settings.gradient_checkpointing:
        _recompute_activations(model)
    optimizer = make_optimizer(model, settings)
    student, optimizer = accelerator.prepare(AtPositions(model), optimizer)
    guide = AtPositions(_placed(teacher.model, accelerator).eval()) if term and teacher else None
    return Stepper(accelerator, student, optimizer, settings, term, guide)


def _placed(model: Any, accelerator: Accelerator) -> Any:
    """A teacher on this rank's device; packed weights stay where they were loaded."""
    return model if is_quantized(model.config) else model.to(accelerator.device)


def _recompute_activations(model: Any) -> None:
    # transformers renames this; older releases know the second name only.
    newer = getattr(model, "activation_checkpointing_enable", None)
    enable = newer or model.gradient_checkpointing_enable
    enable(**{f"{'activation' if newer else 'gradient'}_checkpointing_kwargs": {"use_reentrant": False}})


def _state_file(directory: Path) -> Path:
    return directory / "checkpoint" / "state.pt"


def _resume(directory: Path, key: str, stepper: Stepper, log: Log) -> Progress:
    """Continue a checkpoint of the same training; another one is reported and left out."""
    found = checkpoint.load_state(_state_file(directory))
    if found is None:
        return Progress()
    if found["key"] != key:
        log(kind="checkpoint", event="ignored", step=found["progress"]["step"], reason="other training")
        return Progress()
    model = stepper.accelerator.unwrap_model(stepper.student).model
    model.load_state_dict(found["model"], strict=not has_adapter(model))
    stepper.optimizer.load_state_dict(found["optimizer"])
    torch.set_rng_state(found["rng"])
    state = Progress(**found["progress"])
    state.resumed_at = state.step
    log(kind="checkpoint", event="resumed", step=state.step)
    return state


def _save(directory: Path, key: str, stepper: Stepper, state: Progress) -> None:
    if not stepper.accelerator.is_main_process:
        return
    checkpoint.save_state(
        _state_file(directory),
        {
            "key": key,
            "progress": asdict(state),
            "model": trained_state(stepper.accelerator.unwrap_model(stepper.student).model),
            "optimizer": stepper.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
        },
    )


def _is_validation_step(step: int, steps: int) -> bool:
    return step == steps or step % max(1, -(-steps // VALIDATIONS)) == 0


@torch.no_grad()
def _validate(stepper: Stepper, rows: Sequence[Row], settings: Train) -> float:
    """Cross-entropy per token that counts; every rank computes the whole, it is small."""
    student = stepper.accelerator.unwrap_model(stepper.student)
    student.eval()
    total = 0.0
    for part in group(rows, settings.micro_batch_tokens or 4096):
        batch = to_batch(part, stepper.accelerator.device)
        logits = student(*batch.inputs).float()
        total += float(torch.nn.functional.cross_entropy(logits, batch.target_N, reduction="sum"))
    student.train()
    return total / sum(row.loss_tokens for row in rows)


def _train_row(state: Progress, tokens: int, result: StepResult, rate: float) -> dict[str, Any]:
    row: dict[str, Any] = {
        "kind": "train",
        "step": state.step,
        "tokens": tokens,
        "loss": state.losses[-1],
        "lr": rate,
    }
    if result.divergence:
        row["divergence"] = result.divergence / result.loss_tokens
        row["objective"] = result.objective / result.loss_tokens
    return row


def _finish(directory: Path, stepper: Stepper, model: Any, tokenizer: Any, end: int) -> None:
    """Write the model with the token it stops at; the checkpoint of a finished training is kept."""
    stepper.accelerator.unwrap_model(stepper.student).release()
    if stepper.teacher is not None:
        stepper.teacher.release()
    model = merge(model).eval()
    known = model.generation_config.eos_token_id
    several = known if isinstance(known, list) else [known] if known is not None else []
    if end not in several:
        model.generation_config.eos_token_id = [end, *several]
    if stepper.accelerator.is_main_process:
        save_model(model, tokenizer, directory / "model")
    stepper.accelerator.wait_for_everyone()


def make_report(
    state: Progress, steps: Sequence[Sequence[int]], rows: Sequence[Trained], dropped: int
) -> TrainReport:
    """What a finished training did."""
    tail = state.losses[-max(1, len(steps) // 10) :]
    return TrainReport(
        steps=len(steps),
        tokens=sum(rows[i].length for step in steps for i in step),
        loss_tokens=sum(rows[i].loss_tokens for step in steps for i in step),
        seconds=round(state.seconds, 3),
        dropped=dropped,
        final_loss=sum(tail) / len(tail),
        validation_loss=state.validation_loss,
        losses=tuple(state.losses),
        resumed_at=state.resumed_at,
    )
