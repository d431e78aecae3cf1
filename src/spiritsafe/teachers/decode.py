"""The decoding loop: a batch of prompts through any HF causal language model with a KV cache.

Shapes: B rows decoded together, T tokens so far (left-padded), V vocabulary, K alternatives. The loop is
our own because for small models the time goes into per-step overhead: the cache is written in place, rows
that are finished leave the batch, and a row's text depends on its own request alone (up to the rounding
of the device), never on which requests it was decoded with.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from spiritsafe.errors import TeacherError
from spiritsafe.records import Sampling
from spiritsafe.thinking import tags_of

COMPACT_SHARE = 8
"""Finished rows leave once they are 1/8 of the batch: one copy of the cache then pays within a few steps."""


class _InPlaceLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values of one layer in a buffer with room to grow; concatenating would copy it every step."""

    _buffers: list[torch.Tensor] | None = None

    def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        if self._buffers is None or self._buffers[0].shape[-2] < end:
            self._grow([key_states, value_states], start, end)
        assert self._buffers is not None, "grown above"
        for buffer, new in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[..., start:end, :] = new
        self.keys, self.values = (buffer[..., :end, :] for buffer in self._buffers)
        return self.keys, self.values

    def _grow(self, new: list[torch.Tensor], start: int, end: int) -> None:
        old = self._buffers
        # A quarter more each time: at most four copies of the cache while an answer doubles the prompt.
        self._buffers = [x.new_empty((*x.shape[:-2], end + max(32, end // 4), x.shape[-1])) for x in new]
        for buffer, previous in zip(self._buffers, old or [], strict=False):
            buffer[..., :start, :] = previous[..., :start, :]

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        length = self.get_seq_length()
        assert self._buffers is not None, "rows are selected after the prompt was read"
        self._buffers = [buffer[indices] for buffer in self._buffers]
        self.keys, self.values = (buffer[..., :length, :] for buffer in self._buffers)


def new_cache(model: Any) -> DynamicCache:
    """An empty cache for `model`, written in place wherever its layers just grow."""
    cache = DynamicCache(config=model.config)
    # Sliding windows and recurrent states keep the library's own layers: they do not grow.
    cache.layers = [_InPlaceLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


@dataclass(slots=True)
class Row:
    """One answer being written."""

    prompt: list[int]
    sampling: Sampling
    limit: int
    """Tokens it may generate: max_tokens, less where the context ends."""
    thinks: bool = False
    """The prompt ended with the tag that opens reasoning."""
    budget: int | None = None
    """Tokens after which reasoning that has not ended is closed; None lets it go on."""
    forced: list[int] = field(default_factory=list)
    """Tokens written next, whatever the model would have chosen."""
    uniforms: np.ndarray[Any, np.dtype[np.float64]] | None = None
    """One draw per token, from the request's seed alone; None for greedy rows."""
    ids: list[int] = field(default_factory=list)
    tops: list[tuple[list[int], list[float]]] = field(default_factory=list)
    finish_reason: str | None = None
    latency_s: float = 0.0


class Decoder:
    """Writes answers with one model; `cancel` may be called from another thread."""

    def __init__(self, model: Any, tokenizer: Any, eos: Set[int]) -> None:
        self.model, self.tokenizer, self.eos = model, tokenizer, eos
        opening, closing = tags_of(tokenizer.chat_template)
        self._opening, self._closing = opening, closing
        self._close_ids: list[int] = tokenizer(f"\n{closing}\n\n", add_special_tokens=False)["input_ids"]
        self.cancelled = threading.Event()
        self._accepts = set(inspect.signature(model.forward).parameters)

    @torch.inference_mode()
    def decode(self, rows: list[Row]) -> None:
        """Fill `ids` and `finish_reason` of every row; CancelledError once `cancelled` is set."""
        started = time.perf_counter()
        ids_BT, mask_BT = self._left_padded(rows)
        position_B = mask_BT.sum(1, keepdim=True)
        cache, live = new_cache(self.model), rows
        step_BT, place_BT = ids_BT, (mask_BT.cumsum(1) - 1).clamp(min=0)
        while True:
            if self.cancelled.is_set():
                raise asyncio.CancelledError
            logits_BV = self._forward(step_BT, mask_BT, place_BT, cache)
            next_B = self._force(self._choose(logits_BV, live), live)
            if self._accept(live, next_B, logits_BV, started):
                return
            keep = [i for i, row in enumerate(live) if row.finish_reason is None]
            if len(live) - len(keep) >= max(1, len(live) // COMPACT_SHARE):
                index = torch.tensor(keep, device=next_B.device)
                cache.batch_select_indices(index)
                next_B, mask_BT, position_B = next_B[index], mask_BT[index], position_B[index]
                live = [live[i] for i in keep]
            step_BT, place_BT = next_B[:, None], position_B
            mask_BT = torch.cat([mask_BT, mask_BT.new_ones(len(live), 1)], dim=1)
            position_B = position_B + 1

    def _left_padded(self, rows: list[Row]) -> tuple[torch.Tensor, torch.Tensor]:
        width = max(len(row.prompt) for row in rows)
        ids = np.zeros((len(rows), width), dtype=np.int64)
        mask = np.zeros((len(rows), width), dtype=np.int64)
        for i, row in enumerate(rows):
            ids[i, width - len(row.prompt) :] = row.prompt
            mask[i, width - len(row.prompt) :] = 1
        device = self.model.device
        return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)

    def _forward(
        self, ids_BT: torch.Tensor, mask_BT: torch.Tensor, place_BT: torch.Tensor, cache: DynamicCache
    ) -> torch.Tensor:
        """Float32 logits (B, V) after the last token of every row."""
        extra: dict[str, Any] = {"position_ids": place_BT, "logits_to_keep": 1}
        extra = {name: value for name, value in extra.items() if name in self._accepts}
        try:
            out = self.model(
                input_ids=ids_BT, attention_mask=mask_BT, past_key_values=cache, use_cache=True, **extra
            )
        except torch.OutOfMemoryError:
            raise TeacherError(
                f"out of memory while decoding {len(ids_BT)} answers together",
                hint="lower teacher.batch_size or evaluate.batch_size",
            ) from None
        logits: torch.Tensor = out.logits[:, -1].float()
        return logits

    def _choose(self, logits_BV: torch.Tensor, rows: list[Row]) -> torch.Tensor:
        """The next token of every row: the most probable, or the one its own uniform number falls on."""
        greedy_B = logits_BV.argmax(-1)
        drawn = [i for i, row in enumerate(rows) if row.uniforms is not None and row.finish_reason is None]
        if not drawn:
            return greedy_B
        device = logits_BV.device
        column = {
            name: torch.tensor([getattr(rows[i].sampling, name) for i in drawn], device=device)[:, None]
            for name in ("temperature", "top_p")
        }
        uniform = torch.tensor(
            [rows[i].uniforms[len(rows[i].ids)] for i in drawn],  # type: ignore[index]
            device=device,
            dtype=torch.float32,
        )
        index = torch.tensor(drawn, device=device)
        greedy_B[index] = draw(logits_BV[index] / column["temperature"], column["top_p"], uniform[:, None])
        return greedy_B

    def _force(self, next_B: torch.Tensor, rows: list[Row]) -> torch.Tensor:
        """The chosen tokens, with those that end a thinking budget in their place."""
        for i, row in enumerate(rows):
            if row.budget is not None and len(row.ids) == row.budget and self._is_thinking(row):
                row.forced = list(self._close_ids)
            if row.forced:
                next_B[i] = row.forced.pop(0)
        return next_B

    def _is_thinking(self, row: Row) -> bool:
        text = self.tokenizer.decode(row.ids)
        return self._closing not in text and (row.thinks or text.lstrip().startswith(self._opening))

    def _accept(self, rows: list[Row], next_B: torch.Tensor, logits_BV: torch.Tensor, started: float) -> bool:
        """Append the tokens, mark finished rows; True when every row is finished."""
        self._note_tops(rows, logits_BV)
        done = True
        for row, token in zip(rows, next_B.tolist(), strict=True):
            if row.finish_reason is not None:
                continue
            row.ids.append(token)
            if token in self.eos or (row.sampling.stop and self._hit_stop(row)):
                row.finish_reason = "stop"
            elif len(row.ids) >= row.limit:
                row.finish_reason = "length"
            if row.finish_reason is None:
                done = False
            else:
                row.latency_s = time.perf_counter() - started
        return done

    def _note_tops(self, rows: list[Row], logits_BV: torch.Tensor) -> None:
        most = max(row.sampling.top_logprobs for row in rows)
        if not most:
            return
        # At temperature 1 whatever the sampling, as servers report them.
        best = torch.log_softmax(logits_BV, -1).topk(min(most, logits_BV.shape[-1]))
        for row, ids, values in zip(rows, best.indices.tolist(), best.values.tolist(), strict=True):
            k = row.sampling.top_logprobs
            if row.finish_reason is None and k:
                row.tops.append((ids[:k], values[:k]))

    def _hit_stop(self, row: Row) -> bool:
        # Every token but specials has at least one byte, so a stop that has just ended lies in this window.
        window = max(len(stop.encode()) for stop in row.sampling.stop) + 4
        text = self.tokenizer.decode(row.ids[-window:], skip_special_tokens=True)
        return any(stop in text for stop in row.sampling.stop)


def draw(logits_BV: torch.Tensor, top_p_B1: torch.Tensor, uniform_B1: torch.Tensor) -> torch.Tensor:
    """Invert the cumulative distribution of the smallest set of tokens that holds `top_p` (nucleus).

    Nucleus sampling as in Holtzman et al. 2020, section 3.1. One uniform number decides a token, so the
    draw is a function of the row alone.
    """
    probability, token = torch.softmax(logits_BV, -1).sort(dim=-1, descending=True, stable=True)
    cumulative = probability.cumsum(-1)
    probability = probability.masked_fill(cumulative - probability >= top_p_B1, 0.0)
    cumulative = probability.cumsum(-1)
    place = (cumulative <= uniform_B1 * cumulative[:, -1:]).sum(-1, keepdim=True)
    last = (probability > 0).sum(-1, keepdim=True) - 1
    return token.gather(-1, torch.minimum(place, last))[:, 0]
