"""Models in this process: any HF causal language model, decoded in batches with a KV cache.

Shapes: B rows decoded together, T tokens so far (left-padded), V vocabulary, K alternatives. The loop is
our own because for small models the time goes into per-step overhead: the cache is written in place, rows
that are finished leave the batch, and a row's text depends on its own request alone (up to the rounding
of the device), never on which requests it was decoded with.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import inspect
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import TemplateError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.utils import logging as transformers_logging

from spiritsafe.errors import TeacherError
from spiritsafe.recipe import Teacher
from spiritsafe.records import Failure, Message, Outcome, Reply, Request, Sampling, TeacherId, TopK, Usage

COMPACT_SHARE = 8
"""Finished rows leave once they are 1/8 of the batch: one copy of the cache then pays within a few steps."""
FINGERPRINT_LIMIT = 1 << 30
"""Bytes of weights up to which the fingerprint is their hash; hashing more would delay the start."""


def pick_device(device: str | None = None) -> torch.device:
    """The given device, else the first of cuda, mps, cpu that this machine has."""
    if device is not None:
        return torch.device(device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Loading without progress bars and without the library's advice; failures still raise."""
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


def load_pretrained(
    model: str, *, device: str | None = None, dtype: torch.dtype | None = None
) -> tuple[Any, Any]:
    """Model (eval mode) and tokenizer from a folder or an HF repository, safetensors only, no remote code.

    dtype None: float32 on CPU and MPS, bfloat16 on CUDA. Raises TeacherError when files are missing or
    damaged, or the architecture needs code that is not part of transformers.
    """
    place = pick_device(device)
    dtype = dtype or (torch.bfloat16 if place.type == "cuda" else torch.float32)
    with quiet(), _load_errors(model):
        config = AutoConfig.from_pretrained(model, trust_remote_code=False)
        loaded, info = AutoModelForCausalLM.from_pretrained(
            model,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    if info["missing_keys"]:
        raise TeacherError(
            f"{model}: weights are missing for {len(info['missing_keys'])} parameters, "
            f"the first is {min(info['missing_keys'])}",
            hint="the download is incomplete or the config belongs to another model; fetch it again",
        )
    return loaded.to(place).eval(), tokenizer


@contextlib.contextmanager
def _load_errors(model: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        # The first line names the missing file or key; the rest is advice about tokens and branches.
        reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        raise TeacherError(
            f"cannot load the model {model}: {reason[:300]}",
            hint="it needs config.json, tokenizer files and whole *.safetensors; download it again",
        ) from None


def weight_files(model: Any) -> list[Path]:
    """The safetensors files a loaded model came from, as far as they lie in a folder of their own."""
    folder = Path(str(model.config._name_or_path))
    if folder.is_dir():
        return sorted(folder.glob("*.safetensors"))
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(str(folder), "config.json")
    return sorted(Path(found).parent.glob("*.safetensors")) if isinstance(found, str) else []


def render(tokenizer: Any, messages: Sequence[Message]) -> str:
    """The chat as the model reads it, ending where the assistant's turn begins.

    Raises TeacherError when the tokenizer has no chat template or the template refuses the roles.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise TeacherError(
            f"{tokenizer.name_or_path}: the tokenizer has no chat template",
            hint="use the instruction-tuned model, or put a chat_template.jinja next to tokenizer.json",
        )
    try:
        text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    except TemplateError as error:
        roles = ", ".join(message["role"] for message in messages)
        raise TeacherError(f"the chat template refuses the roles {roles}: {error}") from None
    return str(text)


def encode(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of texts in which special tokens are already written out."""
    ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []
    return ids


def eos_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every token that ends an answer: of the generation config (one or several) and of the tokenizer."""
    configured = model.generation_config.eos_token_id
    several = configured if isinstance(configured, list | tuple) else [configured]
    return frozenset(int(i) for i in [*several, tokenizer.eos_token_id] if i is not None)


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


def _new_cache(model: Any) -> DynamicCache:
    cache = DynamicCache(config=model.config)
    # Sliding windows and recurrent states keep the library's own layers: they do not grow.
    cache.layers = [_InPlaceLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


@dataclass(slots=True)
class _Row:
    """One answer being written."""

    prompt: list[int]
    sampling: Sampling
    limit: int
    """Tokens it may generate: max_tokens, less where the context ends."""
    uniforms: np.ndarray[Any, np.dtype[np.float64]] | None = None
    """One draw per token, from the request's seed alone; None for greedy rows."""
    ids: list[int] = field(default_factory=list)
    tops: list[tuple[list[int], list[float]]] = field(default_factory=list)
    finish_reason: str | None = None
    latency_s: float = 0.0


class LocalModel:
    """A loaded model with its tokenizer; `parameters` counts weights, `bytes` their safetensors files."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.parameters: int = sum(p.numel() for p in model.parameters())
        self._files = weight_files(model)
        self.bytes: int = sum(path.stat().st_size for path in self._files)
        self.eos = eos_ids(model, tokenizer)
        self.context: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self._accepts = set(inspect.signature(model.forward).parameters)
        self._cancelled = threading.Event()

    @classmethod
    def load(cls, model: str, *, device: str | None = None, dtype: torch.dtype | None = None) -> LocalModel:
        """Load from a folder or an HF repository; raises TeacherError as `load_pretrained` does."""
        return cls(*load_pretrained(model, device=device, dtype=dtype))

    def fingerprint(self) -> str | None:
        """Hash of the weights (first 16 hex digits), or the repository's commit where they are large."""
        if 0 < self.bytes <= FINGERPRINT_LIMIT:
            digest = hashlib.sha256()
            for path in self._files:
                digest.update(path.read_bytes())
            return digest.hexdigest()[:16]
        commit = getattr(self.model.config, "_commit_hash", None)
        return str(commit) if commit else None

    def cancel(self) -> None:
        """Make a `generate` in another thread stop at its next token; it raises CancelledError."""
        self._cancelled.set()

    def generate(self, requests: Sequence[Request], *, batch_size: int = 256) -> list[Reply]:
        """Answers in the order of the requests; greedy at temperature 0, else drawn by `request.seed`.

        A prompt that leaves no room in the model's context gives an empty reply with finish_reason length.
        Raises TeacherError without a chat template or when the device runs out of memory.
        """
        self._cancelled.clear()
        rows = self._rows(requests)
        # Similar lengths together: little left padding, and long prompts tend to have long answers.
        order = sorted(range(len(rows)), key=lambda i: len(rows[i].prompt))
        waiting = [rows[i] for i in order if rows[i].finish_reason is None]
        for start in range(0, len(waiting), batch_size):
            self._decode(waiting[start : start + batch_size])
        return [self._reply(row) for row in rows]

    def _rows(self, requests: Sequence[Request]) -> list[_Row]:
        prompts = encode(self.tokenizer, [render(self.tokenizer, r.messages) for r in requests])
        rows = []
        for request, prompt in zip(requests, prompts, strict=True):
            room = (self.context or 1 << 60) - len(prompt)
            row = _Row(prompt, request.sampling, min(request.sampling.max_tokens, room))
            if row.limit <= 0 or not prompt:
                row.finish_reason = "length"
            elif request.sampling.temperature > 0:
                row.uniforms = np.random.Generator(np.random.Philox(request.seed)).random(row.limit)
            rows.append(row)
        return rows

    @torch.inference_mode()
    def _decode(self, rows: list[_Row]) -> None:
        """Fill `ids` and `finish_reason` of every row."""
        started = time.perf_counter()
        ids_BT, mask_BT = self._left_padded(rows)
        position_B = mask_BT.sum(1, keepdim=True)
        cache, live = _new_cache(self.model), rows
        step_BT, place_BT = ids_BT, (mask_BT.cumsum(1) - 1).clamp(min=0)
        while True:
            if self._cancelled.is_set():
                raise asyncio.CancelledError
            logits_BV = self._forward(step_BT, mask_BT, place_BT, cache)
            next_B = self._choose(logits_BV, live)
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

    def _left_padded(self, rows: list[_Row]) -> tuple[torch.Tensor, torch.Tensor]:
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

    def _choose(self, logits_BV: torch.Tensor, rows: list[_Row]) -> torch.Tensor:
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
        greedy_B[index] = _draw(logits_BV[index] / column["temperature"], column["top_p"], uniform[:, None])
        return greedy_B

    def _accept(
        self, rows: list[_Row], next_B: torch.Tensor, logits_BV: torch.Tensor, started: float
    ) -> bool:
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

    def _note_tops(self, rows: list[_Row], logits_BV: torch.Tensor) -> None:
        most = max(row.sampling.top_logprobs for row in rows)
        if not most:
            return
        # At temperature 1 whatever the sampling, as servers report them.
        best = torch.log_softmax(logits_BV, -1).topk(min(most, logits_BV.shape[-1]))
        for row, ids, values in zip(rows, best.indices.tolist(), best.values.tolist(), strict=True):
            k = row.sampling.top_logprobs
            if row.finish_reason is None and k:
                row.tops.append((ids[:k], values[:k]))

    def _hit_stop(self, row: _Row) -> bool:
        # Every token but specials has at least one byte, so a stop that has just ended lies in this window.
        window = max(len(stop.encode()) for stop in row.sampling.stop) + 4
        text = self.tokenizer.decode(row.ids[-window:], skip_special_tokens=True)
        return any(stop in text for stop in row.sampling.stop)

    def _reply(self, row: _Row) -> Reply:
        text = self.tokenizer.decode(row.ids, skip_special_tokens=True)
        cuts = [text.find(stop) for stop in row.sampling.stop if stop in text]
        return Reply(
            text=text[: min(cuts)] if cuts else text,
            finish_reason=row.finish_reason or "length",
            usage=Usage(input_tokens=len(row.prompt), output_tokens=len(row.ids)),
            top_logprobs=self._topk(row.tops) if row.sampling.top_logprobs else None,
            latency_s=row.latency_s,
        )

    def _topk(self, tops: list[tuple[list[int], list[float]]]) -> TopK:
        names = {i: self.tokenizer.decode([i]) for ids, _ in tops for i in ids}
        return TopK(
            tokens=tuple(tuple(names[i] for i in ids) for ids, _ in tops),
            logprobs=tuple(tuple(values) for _, values in tops),
        )

    @torch.inference_mode()
    def score(self, messages: Sequence[Message], completion: str, top: int) -> TopK:
        """The `top` best tokens at every token of `completion`, in nats at temperature 1."""
        prompt, answer = encode(self.tokenizer, [render(self.tokenizer, messages), completion])
        if not answer:
            return TopK(tokens=(), logprobs=())
        ids_BT = torch.tensor([prompt + answer], device=self.model.device)
        logits_TV = self.model(input_ids=ids_BT).logits[0, len(prompt) - 1 : -1].float()
        best = torch.log_softmax(logits_TV, -1).topk(min(top, logits_TV.shape[-1]))
        return self._topk(list(zip(best.indices.tolist(), best.values.tolist(), strict=True)))


def _draw(logits_BV: torch.Tensor, top_p_B1: torch.Tensor, uniform_B1: torch.Tensor) -> torch.Tensor:
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


class LocalSampler:
    """A local model as a teacher: `Sampler` and `Scorer`. Loaded by `open`."""

    max_concurrency = 1

    def __init__(
        self, local: LocalModel | None, teacher: TeacherId, *, model: str = "", batch_size: int = 256
    ):
        self.local = local
        self.teacher = teacher
        self.batch_size = batch_size
        self._model = model
        self._fingerprint: str | None = None

    @classmethod
    def from_ref(cls, ref: str, settings: Teacher | None = None) -> LocalSampler:
        """The sampler of `bundled:NAME`, `hf:REPO` or a folder; weights are read by `open`."""
        from spiritsafe.teachers.connect import resolve_model

        settings = settings or Teacher(model=ref)
        name = TeacherId(wire_name=ref, is_model=settings.is_model)
        return cls(None, name, model=resolve_model(ref), batch_size=settings.batch_size)

    async def open(self) -> None:
        """Load the model once; raises TeacherError when it cannot be loaded or has no chat template."""
        if self.local is None:
            self.local = await asyncio.to_thread(LocalModel.load, self._model)
        render(self.local.tokenizer, [{"role": "user", "content": "."}])
        self._fingerprint = await asyncio.to_thread(self.local.fingerprint)

    async def sample(self, requests: Sequence[Request]) -> list[Outcome]:
        """Decode the requests together, in a thread so that the caller can go on writing and showing."""
        local = self._opened()
        try:
            replies = await asyncio.to_thread(local.generate, requests, batch_size=self.batch_size)
        except asyncio.CancelledError:
            local.cancel()
            raise
        return [self._outcome(reply) for reply in replies]

    def _outcome(self, reply: Reply) -> Outcome:
        if reply.finish_reason == "length" and reply.usage.output_tokens == 0:
            return Failure(reason="context_length", retryable=False, maybe_billed=False)
        return Reply(
            text=reply.text,
            finish_reason=reply.finish_reason,
            usage=reply.usage,
            model=self.teacher.wire_name,
            fingerprint=self._fingerprint,
            top_logprobs=reply.top_logprobs,
            latency_s=reply.latency_s,
        )

    async def score(self, messages: Sequence[Message], completion: str, top: int) -> TopK:
        """Top-`top` log-probabilities (nats) at each token of `completion` after `messages`."""
        return await asyncio.to_thread(self._opened().score, messages, completion, top)

    async def close(self) -> None:
        """Drop the model; its memory is released when nobody else holds it."""
        self.local = None

    def _opened(self) -> LocalModel:
        assert self.local is not None, "open() comes before sample() and score()"
        return self.local
