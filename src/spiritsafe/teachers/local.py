"""Models in this process: any HF causal language model, loaded from safetensors and asked in batches."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from spiritsafe.costs.shapes import shape_of
from spiritsafe.errors import InputError
from spiritsafe.records import Message, Reply, Request, TopK, Usage
from spiritsafe.teachers.chat import encode, eos_ids, render
from spiritsafe.teachers.decode import Decoder, Row
from spiritsafe.teachers.loading import is_quantized, load_pretrained, weight_files
from spiritsafe.thinking import is_opened, split, tags_of

FINGERPRINT_LIMIT = 1 << 30
"""Bytes of weights up to which the fingerprint is their hash; hashing more would delay the start."""


def _parameters(model: Any) -> int:
    """Weights; of packed ones, in which several share a number, as the config says where it is known."""
    if is_quantized(model.config):
        with contextlib.suppress(InputError):
            return shape_of(model.config.get_text_config().to_dict()).parameters
    return sum(p.numel() for p in model.parameters())


class LocalModel:
    """A loaded model with its tokenizer; `parameters` counts weights, `bytes` their safetensors files."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.parameters: int = _parameters(model)
        self._files = weight_files(model)
        self.bytes: int = sum(path.stat().st_size for path in self._files)
        self.eos = eos_ids(model, tokenizer)
        self.context: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        tags = tokenizer.convert_tokens_to_ids(list(tags_of(tokenizer.chat_template)))
        self._tags = {i for i in tags if i is not None and i != tokenizer.unk_token_id}
        self._decoder = Decoder(model, tokenizer, self.eos)

    @classmethod
    def load(cls, model: str, *, device: str | None = None, dtype: torch.dtype | None = None) -> LocalModel:
        """Load from a folder or an HF repository; raises TeacherError as `load_pretrained` does."""
        return cls(*load_pretrained(model, device=device, dtype=dtype))

    def check(self) -> None:
        """Raise TeacherError when the model cannot be asked: its tokenizer has no chat template."""
        render(self.tokenizer, [{"role": "user", "content": "."}])

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
        self._decoder.cancelled.set()

    def generate(
        self, requests: Sequence[Request], *, batch_size: int = 256, thinking_tokens: int | None = None
    ) -> list[Reply]:
        """Answers in the order of the requests; greedy at temperature 0, else drawn by `request.seed`.

        Reasoning that has not ended after `thinking_tokens` is closed, as in s1 (Muennighoff et al. 2025).
        A prompt that leaves no room in the model's context gives an empty reply with finish_reason length.
        Raises TeacherError without a chat template or when the device runs out of memory.
        """
        self._decoder.cancelled.clear()
        rows = self._rows(requests, thinking_tokens)
        # Similar lengths together: little left padding, and long prompts tend to have long answers.
        order = sorted(range(len(rows)), key=lambda i: len(rows[i].prompt))
        waiting = [rows[i] for i in order if rows[i].finish_reason is None]
        for start in range(0, len(waiting), batch_size):
            self._decoder.decode(waiting[start : start + batch_size])
        return [self._reply(row) for row in rows]

    def _rows(self, requests: Sequence[Request], thinking_tokens: int | None) -> list[Row]:
        texts = [render(self.tokenizer, r.messages) for r in requests]
        rows = []
        for request, text, prompt in zip(requests, texts, encode(self.tokenizer, texts), strict=True):
            room = (self.context or 1 << 60) - len(prompt)
            limit = min(request.sampling.max_tokens, room)
            row = Row(prompt, request.sampling, limit, is_opened(text), thinking_tokens)
            if row.limit <= 0 or not prompt:
                row.finish_reason = "length"
            elif request.sampling.temperature > 0:
                row.uniforms = np.random.Generator(np.random.Philox(request.seed)).random(row.limit)
            rows.append(row)
        return rows

    def _reply(self, row: Row) -> Reply:
        text = self._text(row.ids)
        cuts = [text.find(stop) for stop in row.sampling.stop if stop in text]
        reasoning, answer = split(text[: min(cuts)] if cuts else text, opened=row.thinks)
        return Reply(
            text=answer,
            reasoning=reasoning,
            finish_reason=row.finish_reason or "length",
            usage=Usage(input_tokens=len(row.prompt), output_tokens=len(row.ids)),
            top_logprobs=self._topk(row.tops) if row.sampling.top_logprobs else None,
            latency_s=row.latency_s,
        )

    def _text(self, ids: list[int]) -> str:
        """Without control tokens, but with the tags around reasoning, which some tokenizers count as such."""
        kept = self._tags & set(ids)
        if not kept:
            return str(self.tokenizer.decode(ids, skip_special_tokens=True))
        added = self.tokenizer.added_tokens_decoder
        return str(
            self.tokenizer.decode([i for i in ids if i in kept or i not in added or not added[i].special])
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
