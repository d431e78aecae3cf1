"""From examples to tensors: tokens, the order of the steps, and rows that can be forwarded together.

B rows, T time, N tokens that count in the loss. Rows are padded at the end and nothing is masked: in a
causal model a token never sees what comes after it, so padding cannot change a result, whatever the
architecture. Rows of one forward pass are chosen by length. On the bundled task (27 to 102 tokens a row,
4096 tokens a step) padding then adds 9 % to forward passes of 1024 tokens and 28 % to those of 4096.
Packed, the rows of a pass lie end to end instead, and positions that start anew keep them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from spiritsafe.records import Message
from spiritsafe.students.templates import Row, control_tokens, rows_of, turn


@dataclass(frozen=True, slots=True)
class Example:
    """One thing to learn: what to say after these messages."""

    prompt: tuple[Message, ...]
    completion: str
    reasoning: str | None = None
    """What the teacher thought before it answered."""


class Trained(Protocol):
    """What is needed of a row to plan a training: any student's."""

    @property
    def length(self) -> int:
        """Tokens passed through the model."""

    @property
    def loss_tokens(self) -> int:
        """By how much it counts in the mean of a step's loss."""


RowT = TypeVar("RowT", bound=Trained)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one forward pass."""

    ids_BT: torch.Tensor
    """Right-padded with 0, which is never attended to by a token that counts; packed: one row."""
    positions_BT: torch.Tensor | None
    """Packed: 0, 1, ... from the start of every row; else None, the model counts itself."""
    index_N: torch.Tensor
    """Places in the flattened (B * T) from which a token that counts is predicted."""
    target_N: torch.Tensor

    @property
    def inputs(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """What the model is called with."""
        return self.ids_BT, self.index_N, self.positions_BT


def tokenize(examples: Sequence[Example], tokenizer: Any, end: int, max_length: int) -> tuple[list[Row], int]:
    """Rows of at most `max_length` tokens, and how many examples were left out.

    Left out is what is longer, and answers that hold a control token of the student: they would end a turn
    or begin one.
    """
    controls = control_tokens(tokenizer)
    clean = [e for e in examples if not any(c in f"{e.reasoning or ''}{e.completion}" for c in controls)]
    turns = [turn(tokenizer, e.prompt, e.completion, e.reasoning) for e in clean]
    rows = [row for row in rows_of(tokenizer, end, turns) if len(row.ids) <= max_length and row.start > 0]
    return rows, len(examples) - len(rows)


def plan_steps(rows: Sequence[Trained], *, tokens: int, batch_tokens: int, seed: int) -> list[list[int]]:
    """Which rows each optimiser step takes, over as many reshuffled epochs as fit into `tokens`.

    The whole order is known before the first step: a resumed run needs only the number of the step.
    A step has at least one row, also where that row alone is longer than `batch_tokens`.
    """
    steps: list[list[int]] = [[]]
    left, in_step, epoch = tokens, 0, 0
    while True:
        order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(len(rows))
        for index in order.tolist():
            length = rows[index].length
            if length > left and steps[0]:
                return steps
            if steps[-1] and in_step + length > batch_tokens:
                steps.append([])
                in_step = 0
            steps[-1].append(index)
            in_step += length
            left -= length
        epoch += 1


def group(
    rows: Sequence[RowT], micro_batch_tokens: int, ranks: int = 1, *, packed: bool = False
) -> list[list[RowT]]:
    """Cut one step into forward passes of similar length, at most `micro_batch_tokens` with padding each.

    The number of passes is a multiple of `ranks` (empty ones are added), so that all ranks do the same
    number of them. How the step is cut changes no loss and no gradient beyond rounding.
    """
    groups: list[list[RowT]] = []
    for row in sorted(rows, key=lambda row: row.length, reverse=True):
        if groups and _size([*groups[-1], row], packed) <= micro_batch_tokens:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups + [[] for _ in range(-len(groups) % ranks)]


def _size(group: Sequence[Trained], packed: bool) -> int:
    """Tokens of a forward pass; the first row of a group is its longest, hence its width."""
    return sum(row.length for row in group) if packed else len(group) * group[0].length


def to_batch(rows: Sequence[Row], device: torch.device, *, packed: bool = False) -> Batch:
    """Tensors of one forward pass; no rows give one token that does not count."""
    return _packed(rows, device) if packed and rows else _padded(rows, device)


def _packed(rows: Sequence[Row], device: torch.device) -> Batch:
    starts = np.cumsum([0, *(row.length for row in rows)])
    ids = np.concatenate([row.ids[:-1] for row in rows])[None]
    positions = np.concatenate([np.arange(row.length) for row in rows])[None]
    index = [np.arange(row.start - 1, row.length) + at for row, at in zip(rows, starts, strict=False)]
    target = np.concatenate([row.ids[row.start :] for row in rows])
    ids_BT, positions_BT, index_N, target_N = (
        torch.from_numpy(array).to(device, non_blocking=True)
        for array in (ids, positions, np.concatenate(index), target)
    )
    return Batch(ids_BT, positions_BT, index_N, target_N)


def _padded(rows: Sequence[Row], device: torch.device) -> Batch:
    width = max((row.length for row in rows), default=1)
    ids = np.zeros((max(len(rows), 1), width), dtype=np.int64)
    index, target = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for i, row in enumerate(rows):
        ids[i, : row.length] = row.ids[:-1]
        index.append(np.arange(row.start - 1, row.length, dtype=np.int64) + i * width)
        target.append(np.asarray(row.ids[row.start :], dtype=np.int64))
    ids_BT, index_N, target_N = (
        torch.from_numpy(array).to(device, non_blocking=True)
        for array in (ids, np.concatenate(index), np.concatenate(target))
    )
    return Batch(ids_BT, None, index_N, target_N)
