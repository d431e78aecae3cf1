"""Training a causal language model: cross-entropy on the assistant's tokens, and a dense divergence if asked.

The divergence is from a local teacher on the same tokens. The steps themselves are those of loop.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from spiritsafe.errors import InputError
from spiritsafe.recipe import DivergenceTerm, Train
from spiritsafe.students.adapters import merge
from spiritsafe.students.templates import Row, end_of_turn
from spiritsafe.teachers.loading import is_quantized
from spiritsafe.teachers.local import LocalModel
from spiritsafe.training import checkpoint
from spiritsafe.training.batches import Example, group, plan_steps, to_batch, tokenize
from spiritsafe.training.loop import VALIDATION_ROWS, Log, TrainReport, make_report, silent, take_steps
from spiritsafe.training.step import AtPositions, Stepper, check_packing, make_optimizer


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
    stepper = prepare(model, settings, divergence, teacher)
    if settings.packing:
        check_packing(stepper, rows)
    steps = plan_steps(rows, tokens=settings.tokens, batch_tokens=settings.batch_tokens, seed=seed)
    validate = (lambda: _validate(stepper, held_out, settings)) if held_out else None
    state = take_steps(
        stepper, rows, steps, key=key, directory=directory, validate=validate, log=log, progress=progress
    )
    _finish(directory, stepper, model, tokenizer, end)
    return make_report(state, steps, rows, dropped)


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


def prepare(model: Any, settings: Train, term: DivergenceTerm | None, teacher: LocalModel | None) -> Stepper:
    """The wrapped model with its optimiser, and the teacher where a term needs it."""
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
        checkpoint.save_model(model, tokenizer, directory / "model")
    stepper.accelerator.wait_for_everyone()
