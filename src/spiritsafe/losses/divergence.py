"""Dense divergences: both distributions over the whole vocabulary at every token.

T teacher, S student, M mixture; logits are (..., V), the leading shape is whatever the caller has, such
as (B, T) or (N,). Everything is computed in float32 from the logits, in nats, at the given temperature.

    forward_kl        KL(T||S)
    reverse_kl        KL(S||T)
    jsd               beta KL(T||M) + (1 - beta) KL(S||M), M = beta T + (1 - beta) S
                      (Agarwal et al. 2024, GKD, section 3; beta 0 is forward, 1 is reverse KL)
    skew_forward_kl   KL(T || alpha T + (1 - alpha) S)    (Ko et al. 2024, DistiLLM, section 3.1)
    skew_reverse_kl   KL(S || (1 - alpha) T + alpha S)
    tvd               half the L1 distance, in [0, 1]     (Wen et al. 2023, f-DISTILL)
    adaptive_kl       see `_adaptive_kl`                  (Wu et al. 2024, arXiv 2404.02657)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

import torch

from spiritsafe.recipe import DivergenceKind

HEAD_MASS = 0.5
"""Teacher probability that the head of the distribution holds in `adaptive_kl` (mu in the paper)."""


@dataclass(frozen=True, slots=True)
class LossResult:
    """A loss summed over the tokens that count."""

    sum: torch.Tensor
    """Scalar, nats; differentiable; not scaled by temperature squared."""
    tokens: int
    """How many tokens the mask left."""
    parts: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """Detached sums to look at, such as the two sides of a mixture; same unit."""

    @property
    def mean(self) -> torch.Tensor:
        """Nats per token; 0 when no token counts. For a step over several batches divide sums instead."""
        return self.sum / max(self.tokens, 1)


def divergence(
    student_logits: torch.Tensor,
    teacher_logits: torch.Tensor,
    mask: torch.Tensor | None = None,
    *,
    kind: DivergenceKind = "forward_kl",
    beta: float = 0.5,
    alpha: float = 0.1,
    temperature: float = 1.0,
) -> LossResult:
    """Divergence of the student's distribution from the teacher's, summed over tokens, in nats.

    Logits (..., V) of one shape; mask (...), True counts, None counts all. The gradient goes to the
    student only. Both sides are divided by `temperature`; the factor temperature squared is left to the
    objective. Raises ValueError for shapes or options that do not fit and for NaN or infinite logits.
    """
    _check(student_logits, teacher_logits, mask, kind, beta, alpha, temperature)
    if mask is not None:
        student_logits, teacher_logits = student_logits[mask], teacher_logits[mask]
    student_NV, teacher_NV = _rows(student_logits), _rows(teacher_logits.detach())
    if not len(student_NV):
        return LossResult(_differentiable_zero(student_logits), 0)
    _check_finite(student_NV, "student")
    _check_finite(teacher_NV, "teacher")
    s_NV = torch.log_softmax(student_NV.float() / temperature, -1)
    t_NV = torch.log_softmax(teacher_NV.float() / temperature, -1)
    parts_N = _parts(s_NV, t_NV, kind, beta, alpha)
    total = torch.stack([part.sum() for part in parts_N.values()]).sum()
    detached = {name: part.detach().sum() for name, part in parts_N.items()} if len(parts_N) > 1 else {}
    return LossResult(total, len(student_NV), detached)


def _parts(
    s: torch.Tensor, t: torch.Tensor, kind: DivergenceKind, beta: float, alpha: float
) -> dict[str, torch.Tensor]:
    """Per-token terms (N,) whose sum is the divergence; s and t are log-probabilities (N, V)."""
    if kind == "jsd":
        kind = {0.0: "forward_kl", 1.0: "reverse_kl"}.get(beta, kind)  # type: ignore[assignment]
    match kind:
        case "forward_kl":
            return {"forward_kl": _kl(t, s)}
        case "reverse_kl":
            return {"reverse_kl": _kl(s, t)}
        case "jsd":
            m = _mix(t, s, beta)
            return {"teacher_to_mixture": beta * _kl(t, m), "student_to_mixture": (1 - beta) * _kl(s, m)}
        case "skew_forward_kl":
            return {"skew_forward_kl": _kl(t, _mix(t, s, alpha))}
        case "skew_reverse_kl":
            return {"skew_reverse_kl": _kl(s, _mix(s, t, alpha))}
        case "tvd":
            return {"tvd": 0.5 * (t.exp() - s.exp()).abs().sum(-1)}
        case "adaptive_kl":
            return _adaptive_kl(s, t)


def _kl(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """KL(p||q) per row from log-probabilities; terms with p = 0 in float32 count as 0."""
    return (p.exp() * (p - q)).sum(-1)


def _mix(p: torch.Tensor, q: torch.Tensor, weight_of_p: float) -> torch.Tensor:
    """log(w p + (1 - w) q), stable where either is tiny."""
    return torch.logaddexp(p + math.log(weight_of_p), q + math.log1p(-weight_of_p))


def _adaptive_kl(s: torch.Tensor, t: torch.Tensor) -> dict[str, torch.Tensor]:
    """w KL(T||S) + (1 - w) KL(S||T) with w chosen per token by where the two differ.

    The head is the smallest set of most probable teacher tokens that holds at least HEAD_MASS; the tail
    is the rest. The gap of a part is the sum of |T - S| over it, and w = head gap / (head gap + tail gap):
    forward KL repairs heads first, reverse KL tails (Wu et al. 2024, section 4). w is a weight, not a
    function to minimise: no gradient goes through it. Where both gaps are 0, w = 1/2.
    """
    with torch.no_grad():
        probability, order = t.exp().sort(dim=-1, descending=True, stable=True)
        in_head = probability.cumsum(-1) - probability < HEAD_MASS
        gap = (t.exp() - s.exp()).abs().gather(-1, order)
        head, whole = (gap * in_head).sum(-1), gap.sum(-1)
        weight = torch.where(whole > 0, head / whole.clamp(min=torch.finfo(whole.dtype).tiny), 0.5)
    return {"forward_kl": weight * _kl(t, s), "reverse_kl": (1 - weight) * _kl(s, t)}


def _rows(logits: torch.Tensor) -> torch.Tensor:
    return logits.reshape(-1, logits.shape[-1])


def _differentiable_zero(logits: torch.Tensor) -> torch.Tensor:
    # A sum over nothing keeps the graph, so that backward gives zeros rather than an error or NaN.
    return logits.float().sum()


def _check(
    student: torch.Tensor,
    teacher: torch.Tensor,
    mask: torch.Tensor | None,
    kind: str,
    beta: float,
    alpha: float,
    temperature: float,
) -> None:
    if student.shape != teacher.shape:
        raise ValueError(
            f"student and teacher logits must have one shape, got {tuple(student.shape)} and "
            f"{tuple(teacher.shape)}; the two models need the same tokens"
        )
    if mask is not None and (mask.dtype != torch.bool or mask.shape != student.shape[:-1]):
        raise ValueError(
            f"mask must be bool of shape {tuple(student.shape[:-1])}, got {mask.dtype} {tuple(mask.shape)}"
        )
    if kind not in get_args(DivergenceKind):
        raise ValueError(f"unknown kind {kind!r}; allowed: {', '.join(get_args(DivergenceKind))}")
    if not 0 <= beta <= 1:
        raise ValueError(f"beta must be in [0, 1], got {beta}")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be in (0, 1), got {alpha}")
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")


def _check_finite(logits_NV: torch.Tensor, whose: str) -> None:
    # A sum is finite only if all terms are, up to overflow, which the exact test below then settles.
    if torch.isfinite(logits_NV.detach().sum(dtype=torch.float32)):
        return
    bad = ~torch.isfinite(logits_NV).all(-1)
    if bad.any():
        row = int(bad.nonzero()[0, 0])
        raise ValueError(f"{whose} logits hold NaN or infinity: row {row} of {len(logits_NV)} that count")
