"""A step's loss and gradient are those of its rows, however it is cut."""

from __future__ import annotations

from math import cos, pi
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from tests.tiny import tiny_model

from spiritsafe.errors import InputError, SpiritSafeError
from spiritsafe.recipe import DivergenceTerm, Train
from spiritsafe.students.templates import Row
from spiritsafe.training.batches import to_batch
from spiritsafe.training.step import AtPositions, Stepper, check_packing, learning_rate, make_optimizer

ROWS = [
    Row(tuple(torch.randint(2, 261, (n,), generator=torch.Generator().manual_seed(n)).tolist()), n // 2)
    for n in (5, 30, 12, 61, 18, 7)
]


def stepper(model: Any, term: DivergenceTerm | None = None, **settings: Any) -> Stepper:
    train = Train(**{"clip_norm": 1e9, **settings})
    teacher = AtPositions(tiny_model(seed=9)) if term else None
    return Stepper(
        Accelerator(cpu=True), AtPositions(model), make_optimizer(model, train), train, term, teacher
    )


def plain_loss(model: Any, rows: list[Row], term: DivergenceTerm | None, teacher: Any) -> torch.Tensor:
    """The objective per token that counts, one row at a time, with nothing but the model's own forward."""
    total, tokens = torch.zeros(()), 0
    for row in rows:
        ids = torch.tensor([row.ids])
        logits = model(ids).logits[0, row.start - 1 : -1]
        log_s = logits.log_softmax(-1)
        entropy = -log_s.gather(-1, ids[0, row.start :, None]).sum()
        tokens += len(row.ids) - row.start
        if term is None:
            total = total + entropy
            continue
        tau = term.temperature
        with torch.no_grad():
            log_t = (teacher(ids).logits[0, row.start - 1 : -1] / tau).log_softmax(-1)
        apart = (log_t.exp() * (log_t - (logits / tau).log_softmax(-1))).sum()
        total = total + (1 - term.weight) * entropy + term.weight * tau**2 * apart
    return total / tokens


@pytest.mark.parametrize("term", [None, DivergenceTerm(weight=0.7, temperature=2.0)])
@pytest.mark.parametrize("micro", [10_000, 100, 1])
@pytest.mark.parametrize("packing", [False, True])
def test_cut_changes_neither_loss_nor_gradient(
    term: DivergenceTerm | None, micro: int, packing: bool
) -> None:
    expected_model, model = tiny_model(), tiny_model()
    expected = plain_loss(expected_model, ROWS, term, tiny_model(seed=9))
    expected.backward()
    subject = stepper(model, term, micro_batch_tokens=micro, packing=packing)
    loss_tokens = sum(row.loss_tokens for row in ROWS)
    sums = subject._backward(subject._my_groups(ROWS), loss_tokens)
    assert float(sums[2]) / loss_tokens == pytest.approx(float(expected.detach()), rel=1e-5)
    for a, b in zip(expected_model.parameters(), model.parameters(), strict=True):
        assert a.grad is not None
        torch.testing.assert_close(b.grad, a.grad, rtol=1e-3, atol=1e-5)


def test_logits_at_positions_are_the_models_own_with_all_its_scaling() -> None:
    model = tiny_model()
    batch = to_batch(ROWS, torch.device("cpu"))
    with torch.no_grad():
        whole = model(batch.ids_BT).logits.reshape(-1, 261)
        picked = AtPositions(model)(*batch.inputs)
    torch.testing.assert_close(picked, whole[batch.index_N], rtol=1e-5, atol=1e-5)


def test_released_model_is_as_before() -> None:
    model = tiny_model()
    ids = torch.tensor([ROWS[0].ids])
    before = model(ids).logits
    wrapped = AtPositions(model)
    wrapped(ids, torch.tensor([0]))
    assert torch.equal(wrapped.release()(ids).logits, before)
    assert not model.get_output_embeddings()._forward_pre_hooks


def test_padding_changes_no_logit() -> None:
    model = tiny_model()
    subject = AtPositions(model)
    batch = to_batch(ROWS, torch.device("cpu"))
    with torch.no_grad():
        together = subject(*batch.inputs).split([row.loss_tokens for row in ROWS])
        alone = [model(torch.tensor([row.ids])).logits[0, row.start - 1 : -1] for row in ROWS]
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_an_empty_forward_gives_a_zero_gradient() -> None:
    model = tiny_model()
    entropy, _, objective = stepper(model, DivergenceTerm()).losses(to_batch([], torch.device("cpu")))
    objective.backward()
    assert (entropy.item(), objective.item()) == (0.0, 0.0)
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


def test_clipping_bounds_the_update_direction() -> None:
    model = tiny_model()
    subject = stepper(model, clip_norm=1e-3)
    seen: list[float] = []
    subject.optimizer.register_step_pre_hook(
        lambda *_: seen.append(float(torch.stack([p.grad.norm() for p in model.parameters()]).norm()))  # type: ignore[union-attr]
    )
    subject.step(ROWS, 1e-3)
    assert seen == [pytest.approx(1e-3, rel=1e-2)]


def test_infinite_loss_stops_before_the_update() -> None:
    model = tiny_model()
    model.model.norm.weight.data.fill_(float("inf"))
    before = model.model.embed_tokens.weight.clone()
    with pytest.raises(SpiritSafeError, match="training diverged"):
        stepper(model).step(ROWS, 1e-3)
    assert torch.equal(model.model.embed_tokens.weight, before)


def test_decay_spares_norms_and_embeddings() -> None:
    model = tiny_model()
    decayed, rest = make_optimizer(model, Train(weight_decay=0.1)).param_groups
    names = {id(p): name for name, p in model.named_parameters()}
    assert (decayed["weight_decay"], rest["weight_decay"]) == (0.1, 0.0)
    assert all("proj" in names[id(p)] for p in decayed["params"])
    assert {"model.embed_tokens.weight", "model.norm.weight"} <= {names[id(p)] for p in rest["params"]}


def test_learning_rate_by_hand() -> None:
    settings = Train(learning_rate=1.0, warmup_fraction=0.2, final_lr_fraction=0.1)
    rates = [learning_rate(step, 10, settings) for step in range(10)]
    assert rates[:2] == [0.5, 1.0]
    assert rates[5] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + cos(pi / 2)))
    assert rates[9] == pytest.approx(0.1)
    assert learning_rate(0, 1, settings) == 1.0


def test_packing_is_refused_where_a_row_changes_another() -> None:
    model = tiny_model()
    check_packing(stepper(model), ROWS)
    plain = type(model).forward

    def blind(self: Any, *args: Any, position_ids: Any = None, **kwargs: Any) -> Any:
        return plain(self, *args, **kwargs)

    model.forward = blind.__get__(model)
    with pytest.raises(InputError, match="mixes packed rows"):
        check_packing(stepper(model), ROWS)
