"""Training a classifier: the loss by hand, exact resume, budgets, and what is left out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.sorters import FAMILIES
from tests.training.toy import one_thread

from spiritsafe.errors import InputError
from spiritsafe.recipe import Train
from spiritsafe.students.heads import load_classifier
from spiritsafe.training import classify
from spiritsafe.training.classify import LabelledRow, LabelledText, train_classifier
from spiritsafe.training.loop import TrainReport

LABELS = ("even", "odd")
SETTINGS = {"tokens": 3000, "batch_tokens": 200, "max_length": 40, "checkpoint_steps": 3}


def texts(n: int) -> list[LabelledText]:
    return [LabelledText(f"number {i} {'ab'[i % 2]}", (0.9, 0.1) if i % 2 else (0.1, 0.9)) for i in range(n)]


def run(folder: Path, checkpoint: Path, **options: Any) -> TrainReport:
    model, tokenizer = load_classifier(str(checkpoint), LABELS, seed=0)
    settings = Train(**{**SETTINGS, **options.pop("settings", {})})
    given = options.pop("texts", None) or texts(40)
    return train_classifier(model, tokenizer, given, settings, seed=0, directory=folder, **options)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_is_the_cross_entropy_to_the_shares_however_a_step_is_cut(
    tmp_path: Path, family: str
) -> None:
    model, _ = load_classifier(str(FAMILIES[family](tmp_path)), LABELS)
    stepper = classify._prepare(model, Train())
    model.eval()
    rows = [LabelledRow((5, 6, 7), (0.25, 0.75)), LabelledRow((8, 9, 10, 11, 12), (1.0, 0.0))]
    together = stepper.losses(stepper.batch(rows))[0].item()
    apart = [stepper.losses(stepper.batch([row]))[0].item() for row in rows]
    assert together == pytest.approx(sum(apart), rel=1e-5)
    logits = model(torch.tensor([[5, 6, 7]])).logits[0].double()
    z = math.log(sum(math.exp(v) for v in logits.tolist()))
    assert apart[0] == pytest.approx(0.25 * (z - logits[0].item()) + 0.75 * (z - logits[1].item()), rel=1e-5)
    nothing = stepper.losses(stepper.batch([]))[2]
    nothing.backward()
    assert nothing.item() == 0


def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    class Stop(Exception): ...

    def stop(done: int, total: int) -> None:
        if done > total / 2:
            raise Stop

    checkpoint = FAMILIES["bert"](tmp_path / "checkpoint")
    with one_thread():
        whole = run(tmp_path / "whole", checkpoint, validation=texts(6))
        with pytest.raises(Stop):
            run(tmp_path / "cut", checkpoint, validation=texts(6), progress=stop)
        resumed = run(tmp_path / "cut", checkpoint, validation=texts(6))
    assert resumed.resumed_at is not None
    assert (resumed.losses, resumed.validation_loss) == (whole.losses, whole.validation_loss)
    a, b = (load_file(tmp_path / name / "model/model.safetensors") for name in ("whole", "cut"))
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_it_learns_within_the_budget_and_counts_what_is_too_long(tmp_path: Path) -> None:
    checkpoint = FAMILIES["bert"](tmp_path / "checkpoint")
    given = [*texts(20), LabelledText("x" * 60, (1.0, 0.0))]
    report = run(tmp_path / "run", checkpoint, texts=given, settings={"tokens": 9000, "learning_rate": 0.005})
    assert report.dropped == 1
    assert 9000 - 40 < report.tokens <= 9000
    # The entropy of shares of 0.9 and 0.1 is what no classifier can be below.
    least = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    assert report.losses[0] > 0.5 and least - 1e-3 < report.final_loss < least + 0.05
    assert report.loss_tokens > report.steps
    with pytest.raises(InputError, match="no training text is left: 1 given, none fits into 40 tokens"):
        run(tmp_path / "none", checkpoint, texts=[LabelledText("x" * 60, (1.0, 0.0))])
