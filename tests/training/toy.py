"""The toy training of the tests. As a script: `toy.py DIRECTORY` trains there, `toy.py --golden FILE`
writes the losses that test_loop compares with."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from tests.tiny import tiny_model, tiny_tokenizer

from spiritsafe.recipe import DivergenceTerm, Train
from spiritsafe.teachers.local import LocalModel
from spiritsafe.training.batches import Example
from spiritsafe.training.causal import train
from spiritsafe.training.loop import TrainReport

SETTINGS = {"tokens": 6000, "batch_tokens": 300, "max_length": 100, "checkpoint_steps": 3}


def examples(n: int) -> list[Example]:
    """Short sums with their answers."""
    return [
        Example(({"role": "user", "content": f"{i} plus {i * i}?"},), f"that is {i + i * i}")
        for i in range(n)
    ]


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Sums are then added in the same order on every machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def golden_losses() -> list[float]:
    """Losses of about 20 steps with a divergence from a teacher, one thread."""
    with tempfile.TemporaryDirectory() as folder, one_thread():
        report = train(
            tiny_model(),
            tiny_tokenizer(),
            examples(40),
            Train(**SETTINGS),
            seed=0,
            directory=Path(folder),
            divergence=DivergenceTerm(kind="jsd", temperature=2.0),
            teacher=LocalModel(tiny_model(seed=1, layers=3), tiny_tokenizer()),
        )
    return list(report.losses)


def train_toy(directory: Path) -> TrainReport:
    """About 30 steps with dropout, so that the random state matters; prints the tokens of each step."""
    with one_thread():
        return train(
            tiny_model(attention_dropout=0.1),
            tiny_tokenizer(),
            examples(60),
            Train(**{**SETTINGS, "tokens": 9000, "checkpoint_steps": 4}),
            seed=0,
            directory=directory,
            validation=examples(5),
            progress=lambda done, _: print(done, flush=True),
        )


if __name__ == "__main__":
    if sys.argv[1] == "--golden":
        Path(sys.argv[2]).write_text(
            json.dumps({"made_by": "tests/training/toy.py", "losses": golden_losses()}) + "\n"
        )
    else:
        report = train_toy(Path(sys.argv[1]))
        (Path(sys.argv[1]) / "report.json").write_text(json.dumps(report.to_json()))
