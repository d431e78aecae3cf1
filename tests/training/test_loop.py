"""Training as a whole: it learns, stops when killed and continues to the same weights."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.tiny import tiny_model, tiny_tokenizer
from tests.training.toy import SETTINGS, examples, golden_losses, train_toy

from spiritsafe.errors import CorruptData, InputError
from spiritsafe.recipe import DivergenceTerm, Train
from spiritsafe.records import Request, Sampling
from spiritsafe.teachers.local import LocalModel
from spiritsafe.training.batches import Example
from spiritsafe.training.causal import train
from spiritsafe.training.loop import TrainReport

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden" / "train_losses.json"


def run(directory: Path, **options: Any) -> tuple[TrainReport, list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    report = train(
        options.pop("model", None) or tiny_model(),
        tiny_tokenizer(),
        options.pop("examples", None) or examples(40),
        options.pop("settings", None) or Train(**SETTINGS),
        seed=0,
        directory=directory,
        log=lambda **row: rows.append(row),
        **options,
    )
    return report, rows


def weights(directory: Path) -> dict[str, torch.Tensor]:
    return load_file(directory / "model" / "model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_learns_answers_and_learns_to_stop(tmp_path: Path) -> None:
    settings = Train(**{**SETTINGS, "tokens": 14_000, "batch_tokens": 200, "learning_rate": 1e-2})
    seen: list[tuple[int, int]] = []
    report, rows = run(
        tmp_path,
        model=tiny_model(initializer_range=0.1),
        examples=examples(6),
        settings=settings,
        validation=examples(6),
        progress=lambda done, of: seen.append((done, of)),
    )
    assert report.losses[0] > 4
    assert report.final_loss < 0.1
    assert report.validation_loss is not None
    assert report.validation_loss < 0.1
    assert settings.tokens - 30 < report.tokens <= settings.tokens
    assert seen[-1] == (report.tokens, report.tokens)
    assert len(seen) == report.steps == len(report.losses)
    assert [r["step"] for r in rows if r["kind"] == "validation"][-1] == report.steps
    assert 3 <= len([r for r in rows if r["kind"] == "validation"]) <= 4
    example = examples(1)[0]
    request = Request(prompt_id="0", messages=example.prompt, teacher="t", sampling=Sampling(max_tokens=30))
    reply = LocalModel.load(str(tmp_path / "model")).generate([request])[0]
    assert (reply.text, reply.finish_reason) == (example.completion, "stop")


def test_dropped_examples_are_counted_and_none_left_is_an_error(tmp_path: Path) -> None:
    long = Example(({"role": "user", "content": "q" * 200},), "a")
    report, _ = run(tmp_path, examples=[*examples(3), long])
    assert report.dropped == 1
    with pytest.raises(InputError, match="no training example is left: 1 given, none fits into 100 tokens"):
        run(tmp_path, examples=[long])


def test_divergence_from_itself_alone_changes_nothing(tmp_path: Path) -> None:
    model = tiny_model()
    teacher = LocalModel(tiny_model(), tiny_tokenizer())
    before = model.model.layers[0].mlp.up_proj.weight.clone()
    settings = Train(**{**SETTINGS, "tokens": 400, "weight_decay": 0, "learning_rate": 1e-6})
    _, rows = run(
        tmp_path, model=model, settings=settings, divergence=DivergenceTerm(weight=1), teacher=teacher
    )
    assert rows[0].get("divergence", 0.0) == pytest.approx(0, abs=1e-4)
    torch.testing.assert_close(model.model.layers[0].mlp.up_proj.weight, before, rtol=0, atol=1e-4)


def test_divergence_needs_a_teacher_with_the_same_tokens(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs a local teacher"):
        run(tmp_path, divergence=DivergenceTerm())
    other = LocalModel(tiny_model(vocab=300), tiny_tokenizer())
    with pytest.raises(InputError, match="different tokens"):
        run(tmp_path, divergence=DivergenceTerm(), teacher=other)


def test_another_training_ignores_the_checkpoint_and_says_so(tmp_path: Path) -> None:
    run(tmp_path)
    again, rows = run(tmp_path)
    assert again.resumed_at == again.steps
    assert rows[0]["event"] == "resumed"
    other, rows = run(tmp_path, settings=Train(**{**SETTINGS, "learning_rate": 1e-3}))
    assert (rows[0]["event"], other.resumed_at) == ("ignored", None)


def test_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    run(tmp_path)
    file = tmp_path / "checkpoint" / "state.pt"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(CorruptData, match=r"damaged checkpoint: .*state\.pt"):
        run(tmp_path)


def kill(directory: Path, times: int, longest: float) -> None:
    """Start the toy training in a process of its own and kill -9 it, `times` times."""
    delays = random.Random(times)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent.parent)}
    command = [sys.executable, str(HERE / "toy.py"), str(directory)]
    for _ in range(times):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()  # the first step is done
        time.sleep(delays.uniform(0, longest))
        process.send_signal(signal.SIGKILL)
        process.communicate()


def check_kills(tmp_path: Path, kills: int, longest: float) -> None:
    kill(tmp_path / "killed", kills, longest)
    whole, resumed = (train_toy(tmp_path / name) for name in ("whole", "killed"))
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    assert whole.losses == resumed.losses
    assert whole.validation_loss == resumed.validation_loss


def test_killed_and_resumed_gives_the_same_weights(tmp_path: Path) -> None:
    check_kills(tmp_path, kills=1, longest=0.2)


@pytest.mark.slow
def test_killed_twenty_times(tmp_path: Path) -> None:
    check_kills(tmp_path, kills=20, longest=1.0)


@pytest.mark.slow
def test_two_ranks_give_the_losses_of_one(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent.parent)}
    environment |= {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
    toy = [str(HERE / "toy.py")]
    ranks = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29511"]
    for name, command in (("one", [sys.executable, *toy]), ("two", [*ranks, *toy])):
        subprocess.run([*command, str(tmp_path / name)], env=environment, check=True, capture_output=True)
    one, two = (json.loads((tmp_path / n / "report.json").read_text())["losses"] for n in ("one", "two"))
    assert two == pytest.approx(one, rel=1e-3)


def test_golden_losses() -> None:
    """A refactor reproduces these; a change of numbers writes them anew with toy.py and says why."""
    golden = json.loads(GOLDEN.read_text())
    assert golden_losses() == pytest.approx(golden["losses"], rel=1e-4)


def test_tokens_that_the_model_does_not_embed_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="the data has token 2.. the model embeds 100 tokens".replace("..", r"\d\d,")
    ):
        train(
            tiny_model(vocab=100),
            tiny_tokenizer(),
            examples(3),
            Train(**SETTINGS),
            seed=0,
            directory=tmp_path,
        )
