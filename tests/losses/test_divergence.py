"""Every kind of dense divergence: by hand, at equality, against float64, under masks and at its limits."""

from __future__ import annotations

from math import log
from typing import get_args

import numpy as np
import pytest
import torch

from spiritsafe.losses import LossResult, divergence
from spiritsafe.recipe import DivergenceKind

KINDS = get_args(DivergenceKind)
T_, S_ = (0.5, 0.25, 0.25), (0.25, 0.5, 0.25)
M_ = (0.375, 0.375, 0.25)

BY_HAND = {
    "forward_kl": 0.25 * log(2),
    "reverse_kl": 0.25 * log(2),
    # M = (T + S) / 2: both sides are 0.5 ln(4/3) + 0.25 ln(2/3).
    "jsd": 0.5 * log(4 / 3) + 0.25 * log(2 / 3),
    # 0.1 T + 0.9 S = (0.275, 0.475, 0.25)
    "skew_forward_kl": 0.5 * log(0.5 / 0.275) + 0.25 * log(0.25 / 0.475),
    # 0.9 T + 0.1 S = (0.475, 0.275, 0.25)
    "skew_reverse_kl": 0.25 * log(0.25 / 0.475) + 0.5 * log(0.5 / 0.275),
    "tvd": 0.25,
    # The head is the first token alone: gaps 0.25 and 0.25, weights 1/2 and 1/2.
    "adaptive_kl": 0.25 * log(2),
}


def logits(*rows: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(rows).log()


@pytest.mark.parametrize("kind", KINDS)
def test_by_hand(kind: DivergenceKind) -> None:
    result = divergence(logits(S_), logits(T_), kind=kind)
    assert result.sum.item() == pytest.approx(BY_HAND[kind], rel=1e-5)
    assert result.tokens == 1


def test_adaptive_weights_by_hand() -> None:
    teacher, student = (0.6, 0.3, 0.1), (0.4, 0.3, 0.3)
    # Head: token 0, gap 0.2; tail gap 0.2. With 0.5, 0.2, 0.3: head 0.1, tail 0.1 + 0.2.
    second = (0.5, 0.2, 0.3)
    result = divergence(logits(student, second), logits(teacher, teacher), kind="adaptive_kl")

    def kl(p: tuple[float, ...], q: tuple[float, ...]) -> float:
        return sum(a * log(a / b) for a, b in zip(p, q, strict=True))

    forward = 0.5 * kl(teacher, student) + 0.25 * kl(teacher, second)
    reverse = 0.5 * kl(student, teacher) + 0.75 * kl(second, teacher)
    assert result.parts["forward_kl"].item() == pytest.approx(forward, rel=1e-4)
    assert result.parts["reverse_kl"].item() == pytest.approx(reverse, rel=1e-4)
    assert result.mean.item() == pytest.approx((forward + reverse) / 2, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_zero_at_equality_with_zero_gradient(kind: DivergenceKind) -> None:
    x = torch.randn(5, 40, generator=torch.Generator().manual_seed(0)).requires_grad_()
    result = divergence(x, x.detach() + 3.0, kind=kind)  # a constant does not change a distribution
    result.sum.backward()
    assert result.sum.item() == pytest.approx(0, abs=1e-5)
    if kind != "tvd":  # |x| has no derivative at 0
        assert x.grad is not None
        assert x.grad.abs().max().item() < 1e-5


def oracle(s: np.ndarray, t: np.ndarray, kind: str, beta: float, alpha: float, temperature: float) -> float:
    """Float64, from probabilities, token by token."""

    def softmax(x: np.ndarray) -> np.ndarray:
        e = np.exp(x / temperature - (x / temperature).max())
        return e / e.sum()

    def kl(p: np.ndarray, q: np.ndarray) -> float:
        return float((p * np.log(p / q)).sum())

    total = 0.0
    for s_row, t_row in zip(s, t, strict=True):
        p, q = softmax(t_row), softmax(s_row)
        if kind == "adaptive_kl":
            order = np.argsort(-p, kind="stable")
            size = int(np.searchsorted(np.cumsum(p[order]), 0.5)) + 1
            gap = np.abs(p - q)[order]
            w = gap[:size].sum() / gap.sum()
            total += w * kl(p, q) + (1 - w) * kl(q, p)
            continue
        m = beta * p + (1 - beta) * q
        total += {
            "forward_kl": lambda p=p, q=q: kl(p, q),
            "reverse_kl": lambda p=p, q=q: kl(q, p),
            "jsd": lambda p=p, q=q, m=m: beta * kl(p, m) + (1 - beta) * kl(q, m),
            "skew_forward_kl": lambda p=p, q=q: kl(p, alpha * p + (1 - alpha) * q),
            "skew_reverse_kl": lambda p=p, q=q: kl(q, (1 - alpha) * p + alpha * q),
            "tvd": lambda p=p, q=q: 0.5 * float(np.abs(p - q).sum()),
        }[kind]()
    return total


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_against_float64_on_the_same_rounded_inputs(
    kind: DivergenceKind, dtype: torch.dtype, temperature: float
) -> None:
    generator = torch.Generator().manual_seed(1)
    s, t = (4 * torch.randn(30, 100, generator=generator)).to(dtype), torch.randn(30, 100).to(dtype)
    result = divergence(s, t, kind=kind, beta=0.3, alpha=0.2, temperature=temperature)
    expected = oracle(s.double().numpy(), t.double().numpy(), kind, 0.3, 0.2, temperature)
    assert result.sum.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("beta", "same"), [(0.0, "forward_kl"), (1.0, "reverse_kl")])
def test_jsd_at_its_ends(beta: float, same: DivergenceKind) -> None:
    s, t = logits((0.1, 0.2, 0.7)), logits((0.4, 0.4, 0.2))
    assert divergence(s, t, kind="jsd", beta=beta).sum == divergence(s, t, kind=same).sum


@pytest.mark.parametrize("kind", KINDS)
def test_mask_is_the_same_as_leaving_out_in_value_and_gradient(kind: DivergenceKind) -> None:
    generator = torch.Generator().manual_seed(2)
    s, t = torch.randn(2, 4, 7, generator=generator), torch.randn(2, 4, 7, generator=generator)
    mask = torch.tensor([[1, 1, 0, 0], [0, 1, 1, 1]], dtype=torch.bool)
    s[~mask] = float("nan")  # what does not count may be anything
    masked, picked = s.clone().requires_grad_(), s[mask].clone().requires_grad_()
    whole, part = divergence(masked, t, mask, kind=kind), divergence(picked, t[mask], kind=kind)
    whole.sum.backward()
    part.sum.backward()
    assert (whole.tokens, whole.sum.item()) == (5, part.sum.item())
    assert masked.grad is not None
    assert torch.equal(masked.grad[mask], picked.grad)
    assert masked.grad[~mask].abs().sum() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_fully_masked_is_a_finite_differentiable_zero(kind: DivergenceKind) -> None:
    s = torch.randn(2, 3, 5, requires_grad=True)
    result = divergence(s, torch.randn(2, 3, 5), torch.zeros(2, 3, dtype=torch.bool), kind=kind)
    result.mean.backward()
    assert isinstance(result, LossResult)
    assert (result.sum.item(), result.mean.item(), result.tokens) == (0.0, 0.0, 0)
    assert s.grad is not None
    assert torch.equal(s.grad, torch.zeros_like(s))


@pytest.mark.parametrize("kind", KINDS)
def test_extreme_logits_stay_finite(kind: DivergenceKind) -> None:
    s = torch.tensor([[200.0, -200.0, 0.0]], requires_grad=True)
    result = divergence(s, torch.tensor([[-200.0, 200.0, 0.0]]), kind=kind)
    result.sum.backward()
    assert torch.isfinite(result.sum)
    assert torch.isfinite(s.grad).all()  # type: ignore[arg-type]


def test_the_teacher_gets_no_gradient() -> None:
    t = torch.randn(2, 3, requires_grad=True)
    divergence(torch.randn(2, 3, requires_grad=True), t).sum.backward()
    assert t.grad is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"teacher_logits": torch.zeros(2, 4)}, "one shape, got"),
        ({"mask": torch.ones(2)}, "mask must be bool of shape"),
        ({"mask": torch.ones(3, dtype=torch.bool)}, "mask must be bool of shape"),
        ({"kind": "kl"}, "unknown kind 'kl'; allowed: forward_kl"),
        ({"beta": 1.5}, "beta must be in"),
        ({"alpha": 0.0}, "alpha must be in"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"student_logits": torch.tensor([[0.0, 0, 0], [0, float("nan"), 0]])}, "student .* row 1 of 2"),
        ({"teacher_logits": torch.tensor([[float("inf"), 0, 0], [0, 0, 0]])}, "teacher .* row 0 of 2"),
    ],
)
def test_wrong_inputs_are_named(change: dict[str, object], message: str) -> None:
    values = {"student_logits": torch.zeros(2, 3), "teacher_logits": torch.zeros(2, 3), **change}
    with pytest.raises(ValueError, match=message):
        divergence(**values)  # type: ignore[arg-type]
