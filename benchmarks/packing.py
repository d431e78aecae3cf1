"""Training steps with rows grouped by length and padded, against rows packed end to end, on this machine.

    python benchmarks/packing.py [--steps 60] [--repeats 3]

Both ways train the bundled base student on the same gold solutions, 1,024 tokens a step, one thread, taking
turns; the figure is tokens per second without padding, and the ratio is packed / grouped.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from accelerate import Accelerator

from spiritsafe.recipe import Student, Train
from spiritsafe.students.load import load_student
from spiritsafe.students.templates import Row, end_of_turn
from spiritsafe.tasks.schoolbook.generator import generate
from spiritsafe.training.batches import Example, plan_steps, tokenize
from spiritsafe.training.step import AtPositions, Stepper, make_optimizer


def tokens_per_second(rows: list[Row], steps: int, packing: bool) -> float:
    """Speed of a fresh student over `steps` optimiser steps, after five that warm up."""
    settings = Train(tokens=10**6, batch_tokens=1024, packing=packing)
    model, _ = load_student(Student(model="bundled:base"))
    stepper = Stepper(
        Accelerator(cpu=True), AtPositions(model.train()), make_optimizer(model, settings), settings
    )
    plan = plan_steps(rows, tokens=settings.tokens, batch_tokens=settings.batch_tokens, seed=0)
    for step in plan[:5]:
        stepper.step([rows[i] for i in step], 1e-3)
    start = time.perf_counter()
    for step in plan[5 : 5 + steps]:
        stepper.step([rows[i] for i in step], 1e-3)
    seconds = time.perf_counter() - start
    return sum(rows[i].length for step in plan[5 : 5 + steps] for i in step) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, tokenizer = load_student(Student(model="bundled:base"))
    examples = [
        Example(({"role": "user", "content": p.question},), p.solution) for p in generate("train", 3000, 0)
    ]
    rows, _ = tokenize(examples, tokenizer, end_of_turn(model, tokenizer), 256)
    ratios = []
    for _ in range(options.repeats):
        grouped, packed = (tokens_per_second(rows, options.steps, way) for way in (False, True))
        ratios.append(packed / grouped)
        print(f"grouped {grouped:,.0f}, packed {packed:,.0f} tokens/s, ratio {ratios[-1]:.2f}")
    print(f"packed / grouped: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
