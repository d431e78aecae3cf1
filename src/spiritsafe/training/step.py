"""One optimiser step: forward at the tokens that count, objective, gradient, update.

B rows, T time, N tokens that count in the loss, V vocabulary. Every sum is divided by the number of such
tokens in the whole step, over all forward passes and ranks: how a step is cut does not change it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator

from spiritsafe.errors import InputError, SpiritSafeError
from spiritsafe.losses import divergence
from spiritsafe.recipe import DivergenceTerm, Train
from spiritsafe.students.templates import Row
from spiritsafe.training.batches import Batch, group, to_batch

PACKING_TOLERANCE = 0.02
"""Largest difference of a logit from the padded forward pass, as a share of the largest logit."""


class AtPositions(torch.nn.Module):
    """A causal model that returns logits only where they are asked for.

    The hidden states are picked on their way into the output layer, inside the model's own forward, so
    its scaling and capping of logits, and the wrapping by DDP, stay as they are.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self._index: torch.Tensor | None = None
        self._hook = model.get_output_embeddings().register_forward_pre_hook(self._pick)

    def _pick(self, _module: Any, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        if self._index is None:
            return None
        hidden = args[0].reshape(-1, args[0].shape[-1])
        return (hidden.index_select(0, self._index)[None], *args[1:])

    def forward(
        self, ids_BT: torch.Tensor, index_N: torch.Tensor, positions_BT: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Logits (N, V) at flattened places of (B, T); positions that start anew keep packed rows apart."""
        self._index = index_N
        extra = {} if positions_BT is None else {"position_ids": positions_BT}
        try:
            logits: torch.Tensor = self.model(input_ids=ids_BT, use_cache=False, **extra).logits[0]
        finally:
            self._index = None
        return logits

    def release(self) -> Any:
        """The model as it was."""
        self._hook.remove()
        return self.model


@dataclass(slots=True)
class StepResult:
    """Sums over the whole step, all ranks, in nats."""

    cross_entropy: float
    divergence: float
    objective: float
    loss_tokens: int


@dataclass(slots=True)
class Stepper:
    """What a step needs: the wrapped student, its optimiser, and the teacher if there is one.

    A subclass for rows of another kind has its own `batch` and `losses`.
    """

    accelerator: Accelerator
    student: Any
    optimizer: torch.optim.Optimizer
    settings: Train
    term: DivergenceTerm | None = None
    teacher: AtPositions | None = None

    def step(self, rows: Sequence[Any], learning_rate: float) -> StepResult:
        """Gradient over all rows of the step, clipped, and one update.

        Raises SpiritSafeError when the objective is not finite; the weights are then untouched.
        """
        loss_tokens = sum(row.loss_tokens for row in rows)
        sums = self._backward(self._my_groups(rows), loss_tokens)
        sums = self.accelerator.reduce(sums, reduction="sum")
        entropy, apart, objective = sums.tolist()
        if not math.isfinite(objective):
            raise SpiritSafeError(
                f"training diverged: the objective is {objective}",
                hint="lower train.learning_rate or raise train.warmup_fraction",
            )
        self.accelerator.clip_grad_norm_(self.student.parameters(), self.settings.clip_norm)
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = learning_rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return StepResult(entropy, apart, objective, loss_tokens)

    def _my_groups(self, rows: Sequence[Any]) -> list[list[Any]]:
        ranks = self.accelerator.num_processes
        groups = group(rows, self._micro_batch_tokens(), ranks, packed=self.settings.packing)
        return groups[self.accelerator.process_index :: ranks]

    def batch(self, rows: Sequence[Any]) -> Any:
        """The tensors of one forward pass on this rank's device."""
        return to_batch(rows, self.accelerator.device, packed=self.settings.packing)

    def _micro_batch_tokens(self) -> int:
        return self.settings.pass_tokens(on_cpu=self.accelerator.device.type == "cpu")

    def _backward(self, groups: list[list[Any]], loss_tokens: int) -> torch.Tensor:
        sums = torch.zeros(3, dtype=torch.float64, device=self._sum_device())
        for i, rows in enumerate(groups):
            last = i == len(groups) - 1
            with self.accelerator.no_sync(self.student) if not last else _nothing():
                entropy, apart, objective = self.losses(self.batch(rows))
                # DDP averages over ranks; the sum over ranks is wanted.
                (objective * (self.accelerator.num_processes / loss_tokens)).backward()
            sums += torch.stack([entropy, apart, objective]).detach().to(sums)
        return sums

    def _sum_device(self) -> torch.device:
        # MPS has no float64.
        device = self.accelerator.device
        return torch.device("cpu") if device.type == "mps" else device

    def losses(self, batch: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Sums over a batch, in nats: cross-entropy, divergence, objective."""
        with torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=self.half()):
            logits_NV = self.student(*batch.inputs)
            teacher_NV = self._teacher_logits(batch)
        # An empty batch has no token to take a mean of; a sum of nothing is 0 and keeps the graph.
        entropy = torch.nn.functional.cross_entropy(logits_NV.float(), batch.target_N, reduction="sum")
        if self.term is None or teacher_NV is None:
            return entropy, torch.zeros_like(entropy), entropy
        term = self.term
        apart = divergence(
            logits_NV,
            teacher_NV,
            kind=term.kind,
            beta=term.beta,
            alpha=term.alpha,
            temperature=term.temperature,
        ).sum
        # Gradients of a divergence at temperature T shrink with T squared (Hinton et al. 2015, section 2).
        objective = (1 - term.weight) * entropy + term.weight * term.temperature**2 * apart
        return entropy, apart, objective

    def _teacher_logits(self, batch: Batch) -> torch.Tensor | None:
        if self.teacher is None or self.term is None:
            return None
        with torch.no_grad():
            logits: torch.Tensor = self.teacher(*batch.inputs)
        return logits

    def half(self) -> bool:
        """bfloat16 where it pays: on CUDA. On CPU autocast measured 0.7 of the speed of float32."""
        chosen = self.settings.precision
        return chosen == "bfloat16" or (chosen == "auto" and self.accelerator.device.type == "cuda")


class _nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def check_packing(stepper: Stepper, rows: Sequence[Row]) -> None:
    """Refuse to pack for a model in which a row changes what another one predicts.

    Attention is masked by positions; recurrent layers and some models' own code carry on regardless.
    """
    device, pair = stepper.accelerator.device, rows[:2]
    student = stepper.accelerator.unwrap_model(stepper.student)
    student.eval()
    for model in (student, stepper.teacher):
        if model is None:
            continue
        with torch.no_grad():
            apart = model(*to_batch(pair, device).inputs)
            packed = model(*to_batch(pair, device, packed=True).inputs)
        if (apart - packed).abs().max() > PACKING_TOLERANCE * apart.abs().max():
            raise InputError("this model mixes packed rows", hint="set train.packing to false")
    student.train()


def make_optimizer(model: Any, settings: Train) -> torch.optim.Optimizer:
    """AdamW; weight decay on matrices of linear layers only, not on norms, biases and embeddings."""
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)}
    parameters = [p for p in model.parameters() if p.requires_grad]
    decayed = [p for p in parameters if p.ndim >= 2 and id(p) not in embeddings]
    rest = [p for p in parameters if p.ndim < 2 or id(p) in embeddings]
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    # 0.95: the variance follows within some tens of steps, which is all that a short training has.
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.95), fused=True)


def learning_rate(step: int, total: int, settings: Train) -> float:
    """Linear warm-up, then half a cosine down to the final fraction, which the last step reaches."""
    warm = max(1, round(settings.warmup_fraction * total)) if settings.warmup_fraction else 0
    if step < warm:
        return settings.learning_rate * (step + 1) / warm
    done = (step - warm + 1) / max(1, total - warm)
    floor = settings.final_lr_fraction
    return settings.learning_rate * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))
