"""How fast models read and write: prefill and decode tokens/s at batch 1 and 64, peak memory.

All models are measured in one run, taking turns in every repeat, so that a machine that is slow for a
while is slow for all of them. Every model reads the same prompts, cut or continued to the median length,
so that no batch has padding, and then writes a fixed number of greedy tokens with its KV cache; it cannot
stop early. Speeds are medians over the repeats. tokens are the model's own.

Shapes: B batch, T prompt tokens.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from spiritsafe.records import Prompt, Record
from spiritsafe.teachers.decode import new_cache

BATCHES = (1, 64)
LEAST_REPEATS = 3


class Timed(Protocol):
    """What is needed of a model here; `teachers.local.LocalModel` has it."""

    @property
    def model(self) -> Any:
        """A transformers causal language model."""

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer."""

    @property
    def parameters(self) -> int:
        """Weights of the model."""

    @property
    def bytes(self) -> int:
        """Size of its files."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed(Record):
    """Median speeds in tokens/s; the number in a name is the batch size. A classifier, which writes nothing,
    has `examples` instead: texts sorted per second.
    """

    prefill_1: float | None = None
    decode_1: float | None = None
    prefill_64: float | None = None
    decode_64: float | None = None
    examples_1: float | None = None
    examples_64: float | None = None
    peak_memory_bytes: int | None = None
    """Weights and everything allocated while 64 sequences are read and written; None: not measured."""
    spread: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Slowest and fastest repeat of each speed, tokens/s."""
    repeats: int = 0
    prompt_tokens: int = 0
    """Length of each prompt in a batch."""
    decode_tokens: int = 0
    """Tokens written per sequence and repeat."""
    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 1


def measure(
    models: Mapping[str, Timed],
    prompts: Sequence[Prompt],
    tokens: int,
    *,
    repeats: int = 5,
    limit_s: float = 20.0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Speed]:
    """Speeds by model name. `tokens`: tokens decoded per sequence and repeat.

    After `limit_s` seconds no further repeat is begun, but three are always made.
    """
    if not prompts or tokens < 1:
        raise ValueError(f"speed needs prompts and at least one token, got {len(prompts)} and {tokens}")
    batches = {(name, b): _batch(models[name], prompts, b) for name in models for b in BATCHES}
    for (name, _), ids in batches.items():
        _read_and_write(models[name].model, ids, 2)
    taken: dict[tuple[str, str], list[float]] = {}
    started = time.perf_counter()
    for repeat in range(repeats):
        if repeat >= LEAST_REPEATS and time.perf_counter() - started > limit_s:
            break
        for batch, name in itertools.product(BATCHES, models):
            prefill, decode = _read_and_write(models[name].model, batches[name, batch], tokens)
            taken.setdefault((name, f"prefill_{batch}"), []).append(prefill)
            taken.setdefault((name, f"decode_{batch}"), []).append(decode)
        if progress is not None:
            progress(repeat + 1, repeats)
    return {name: _speed(name, models[name], batches[name, 64], tokens, taken) for name in models}


def measure_texts(
    models: Mapping[str, Timed],
    prompts: Sequence[Prompt],
    *,
    repeats: int = 5,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Speed]:
    """Texts per second of classifiers by name, in batches of one length as in `measure`."""
    batches = {(name, b): _batch(models[name], prompts, b) for name in models for b in BATCHES}
    for (name, _), ids in batches.items():
        _sort(models[name].model, ids)
    taken: dict[tuple[str, str], list[float]] = {}
    for repeat in range(repeats):
        for batch, name in itertools.product(BATCHES, models):
            rate = batch / _sort(models[name].model, batches[name, batch])
            taken.setdefault((name, f"examples_{batch}"), []).append(rate)
        if progress is not None:
            progress(repeat + 1, repeats)
    return {name: _text_speed(name, models[name], batches[name, 64], taken) for name in models}


def _sort(model: Any, ids: torch.Tensor) -> float:
    """Seconds of one pass over a (B, T) batch."""
    with torch.inference_mode():
        start = _now(ids.device)
        model(input_ids=ids, attention_mask=torch.ones_like(ids))
        return _now(ids.device) - start


def _text_speed(
    name: str, timed: Timed, ids: torch.Tensor, taken: Mapping[tuple[str, str], Sequence[float]]
) -> Speed:
    own = {key: values for (of, key), values in taken.items() if of == name}
    return Speed(
        examples_1=round(statistics.median(own["examples_1"]), 1),
        examples_64=round(statistics.median(own["examples_64"]), 1),
        spread={key: (round(min(values), 1), round(max(values), 1)) for key, values in own.items()},
        repeats=len(own["examples_1"]),
        prompt_tokens=ids.shape[1],
        device=_device_name(ids.device),
        dtype=str(next(iter(timed.model.parameters())).dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
    )


def _batch(timed: Timed, prompts: Sequence[Prompt], batch: int) -> torch.Tensor:
    """(B, T) token ids of the first prompts, all of the median length of the prompts."""
    texts = ["\n".join(message["content"] for message in p.messages) for p in prompts[: max(BATCHES)]]
    rows = [list(timed.tokenizer(text)["input_ids"]) or [0] for text in texts]
    length = int(statistics.median_low([len(row) for row in rows]))
    chosen = itertools.islice(itertools.cycle(rows), batch)
    ids = [list(itertools.islice(itertools.cycle(row), length)) for row in chosen]
    return torch.tensor(ids, device=timed.model.device)


def _read_and_write(model: Any, ids: torch.Tensor, tokens: int) -> tuple[float, float]:
    """Prefill and decode speed of one pass over a (B, T) batch, in tokens/s."""
    with torch.inference_mode():
        # The cache that LocalModel.generate writes into: the speed shown is the speed had.
        cache = new_cache(model)
        start = _now(ids.device)
        out = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        latest = out.logits[:, -1].argmax(-1, keepdim=True)
        between = _now(ids.device)
        for _ in range(tokens):
            out = model(input_ids=latest, past_key_values=cache, use_cache=True)
            latest = out.logits[:, -1].argmax(-1, keepdim=True)
        end = _now(ids.device)
    return ids.numel() / (between - start), ids.shape[0] * tokens / (end - between)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _speed(
    name: str, timed: Timed, ids: torch.Tensor, tokens: int, taken: Mapping[tuple[str, str], Sequence[float]]
) -> Speed:
    own = {key: values for (of, key), values in taken.items() if of == name}
    medians = {key: round(statistics.median(values), 1) for key, values in own.items()}
    parameter = next(iter(timed.model.parameters()))
    return Speed(
        **medians,
        peak_memory_bytes=_peak_memory(timed.model, ids, tokens),
        spread={key: (round(min(values), 1), round(max(values), 1)) for key, values in own.items()},
        repeats=len(own["decode_1"]),
        prompt_tokens=ids.shape[1],
        decode_tokens=tokens,
        device=_device_name(ids.device),
        dtype=str(parameter.dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
    )


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _peak_memory(model: Any, ids: torch.Tensor, tokens: int) -> int | None:
    """Bytes of the weights plus the highest sum of live allocations during one pass."""
    weights: int = sum(p.numel() * p.element_size() for p in (*model.parameters(), *model.buffers()))
    if ids.device.type == "cuda":
        before = torch.cuda.memory_allocated(ids.device)
        torch.cuda.reset_peak_memory_stats(ids.device)
        _read_and_write(model, ids, tokens)
        return weights + int(torch.cuda.max_memory_allocated(ids.device)) - before
    return weights + _cpu_peak(lambda: _read_and_write(model, ids, tokens))


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Shut up the profiler, which writes its stages to file descriptor 2 from C++."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _cpu_peak(work: Callable[[], object]) -> int:
    """Highest sum of live allocations of torch's CPU allocator while `work` runs.

    The process's resident set would count what other models left behind; the allocator's own record
    does not.
    """
    activities = [torch.profiler.ProfilerActivity.CPU]
    with _quiet_stderr(), torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        work()
    results: Any = profile.profiler
    events = [e for e in results.kineto_results.events() if e.name() == "[memory]"]
    live = itertools.accumulate(e.nbytes() for e in sorted(events, key=lambda e: e.start_ns()))
    return max(live, default=0)
