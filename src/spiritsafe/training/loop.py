"""The training loop of every kind of student: gather, score, step, log, save.

Everything random follows from the seed and the number of the step, so a killed run continues
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

from spiritsafe.records import Record
from spiritsafe.students.adapters import has_adapter, trained_state
from spiritsafe.training import checkpoint
from spiritsafe.training.batches import Trained
from spiritsafe.training.step import Stepper, StepResult, learning_rate

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
