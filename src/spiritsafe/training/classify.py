"""Training a classifier on shares of labels: the loop's steps, with rows, batches and loss of their own.

B rows, T time, C labels. The loss is the cross-entropy to the shares (Hinton et al. 2015, with the label's
one-hot vector where a prompt has one answer), in nats per text. Budget, schedule, optimiser, checkpoints and
exact resume are those of loop.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from spiritsafe.errors import InputError
from spiritsafe.recipe import Train
from spiritsafe.students.heads import encode_text, longest_text, pad
from spiritsafe.training import checkpoint
from spiritsafe.training.batches import group, plan_steps
from spiritsafe.training.loop import (
    VALIDATION_ROWS,
    Log,
    TrainReport,
    make_report,
    silent,
    take_steps,
)
from spiritsafe.training.step import Stepper, make_optimizer


@dataclass(frozen=True, slots=True)
class LabelledText:
    """One text and what is to be said of it."""

    text: str
    shares: tuple[float, ...]
    """One per label; they sum to 1."""


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """A text in tokens."""

    ids: tuple[int, ...]
    shares: tuple[float, ...]

    @property
    def length(self) -> int:
        return len(self.ids)

    @property
    def loss_tokens(self) -> int:
        """A text counts once, however long it is."""
        return 1


class LabelLogits(torch.nn.Module):
    """A classifier that returns its logits alone."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        """(B, C) logits."""
        logits: torch.Tensor = self.model(input_ids=ids_BT, attention_mask=mask_BT).logits
        return logits


@dataclass(slots=True)
class LabelStepper(Stepper):
    """A step over labelled texts."""

    filler: int = 0
    """The padding token."""

    def batch(self, rows: Sequence[LabelledRow]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """ids (B, T), attention mask (B, T), shares (B, C); no rows give one text that does not count."""
        ids_BT, mask_BT = pad([row.ids for row in rows] or [(self.filler,)], self.filler)
        shares_BC = torch.tensor([row.shares for row in rows] or [(0.0,)])
        device = self.accelerator.device
        return ids_BT.to(device), mask_BT.to(device), shares_BC.to(device)

    def losses(self, batch: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Sums over a batch, in nats: cross-entropy to the shares, no divergence, and the objective."""
        ids_BT, mask_BT, shares_BC = batch
        with torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=self.half()):
            logits_BC = self.student(ids_BT, mask_BT)
        entropy = -(shares_BC * torch.log_softmax(logits_BC.float(), -1)).sum()
        return entropy, torch.zeros_like(entropy), entropy


def train_classifier(
    model: Any,
    tokenizer: Any,
    texts: Sequence[LabelledText],
    settings: Train,
    *,
    seed: int,
    directory: Path,
    validation: Sequence[LabelledText] = (),
    log: Log | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TrainReport:
    """Train `model` in place and write it to directory/"model"; continues directory/"checkpoint".

    Arguments and errors as of `loop.train`; `loss_tokens` of the report counts texts.
    """
    limit = min(settings.max_length, longest_text(model, tokenizer))
    rows, held_out = _rows(texts, tokenizer, limit), _rows(validation[:VALIDATION_ROWS], tokenizer, limit)
    if not rows:
        raise InputError(
            f"no training text is left: {len(texts)} given, none fits into {limit} tokens",
            hint="raise train.max_length, or look at selected/counts.json for what was dropped",
        )
    key = checkpoint.run_key(model, rows, settings, seed)
    torch.manual_seed(seed)
    stepper = _prepare(model, settings)
    steps = plan_steps(rows, tokens=settings.tokens, batch_tokens=settings.batch_tokens, seed=seed)
    state = take_steps(
        stepper,
        rows,
        steps,
        key=key,
        directory=directory,
        validate=(lambda: _validate(stepper, held_out)) if held_out else None,
        log=log or silent,
        progress=progress,
    )
    if stepper.accelerator.is_main_process:
        checkpoint.save_model(model.eval(), tokenizer, directory / "model")
    stepper.accelerator.wait_for_everyone()
    return make_report(state, steps, rows, len(texts) - len(rows))


def _rows(texts: Sequence[LabelledText], tokenizer: Any, limit: int) -> list[LabelledRow]:
    """Rows of the texts of at most `limit` tokens."""
    ids = encode_text(tokenizer, [text.text for text in texts])
    rows = [LabelledRow(tuple(row), text.shares) for row, text in zip(ids, texts, strict=True)]
    return [row for row in rows if 0 < row.length <= limit]


def _prepare(model: Any, settings: Train) -> LabelStepper:
    accelerator = Accelerator()
    model.train()
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    student, optimizer = accelerator.prepare(LabelLogits(model), make_optimizer(model, settings))
    return LabelStepper(accelerator, student, optimizer, settings, filler=model.config.pad_token_id)


@torch.no_grad()
def _validate(stepper: LabelStepper, rows: Sequence[LabelledRow]) -> float:
    """Cross-entropy per text; every rank computes the whole, it is small."""
    student = stepper.accelerator.unwrap_model(stepper.student)
    student.eval()
    parts = group(rows, stepper.settings.micro_batch_tokens or 4096)
    total = sum(float(stepper.losses(stepper.batch(part))[0]) for part in parts)
    student.train()
    return total / len(rows)
