"""Models in this process: any HF causal language model, loaded from safetensors and asked in batches."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import TemplateError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from spiritsafe.costs.shapes import shape_of
from spiritsafe.errors import InputError, MissingExtra, TeacherError
from spiritsafe.records import Message, Reply, Request, TopK, Usage
from spiritsafe.teachers.decode import Decoder, Row
from spiritsafe.thinking import is_opened, split, tags_of

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
    model: str,
    *,
    device: str | None = None,
    dtype: torch.dtype | None = None,
    quantization: Any = None,
) -> tuple[Any, Any]:
    """Model (eval mode) and tokenizer from a folder or an HF repository, safetensors only, no remote code.

    dtype None: float32 on CPU and MPS, bfloat16 on CUDA. A checkpoint with quantised weights (AWQ, GPTQ, fp8)
    keeps its own. `quantization` is a config of transformers; such a model stays where it was loaded. Raises
    TeacherError when files are missing or damaged, or the architecture needs code that is not part of
    transformers, MissingExtra when a library for its weights is not installed.
    """
    place = pick_device(device)
    with quiet(), load_errors(model):
        config = AutoConfig.from_pretrained(model, trust_remote_code=False)
        extra = _loading(config, place, dtype, quantization)
        loaded, info = AutoModelForCausalLM.from_pretrained(
            model,
            config=config,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **extra,
        )
        tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    if info["missing_keys"]:
        raise TeacherError(
            f"{model}: weights are missing for {len(info['missing_keys'])} parameters, "
            f"the first is {min(info['missing_keys'])}",
            hint="the download is incomplete or the config belongs to another model; fetch it again",
        )
    stays = quantization is not None or is_quantized(config)
    return (loaded if stays else loaded.to(place)).eval(), tokenizer


def is_quantized(config: Any) -> bool:
    """True for a checkpoint whose weights are packed."""
    return getattr(config, "quantization_config", None) is not None


def _loading(
    config: Any, place: torch.device, dtype: torch.dtype | None, quantization: Any
) -> dict[str, Any]:
    """Options of from_pretrained: type, place and packing of the weights."""
    if is_quantized(config):
        # Its kernels want the types it was made for, and packed weights are not moved afterwards.
        return {"dtype": "auto", "device_map": {"": str(place)}}
    dtype = dtype or (torch.bfloat16 if place.type == "cuda" else torch.float32)
    return {"dtype": dtype} | ({} if quantization is None else {"quantization_config": quantization})


@contextlib.contextmanager
def load_errors(model: str) -> Iterator[None]:
    """What goes wrong while a model is loaded, as one line with its cure."""
    try:
        yield
    except ImportError as error:
        raise MissingExtra(
            f"cannot load the model {model}: a library for it is missing: {_first_line(error)}",
            hint=_install(error),
        ) from None
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        # The first line names the missing file or key; the rest is advice about tokens and branches.
        raise TeacherError(
            f"cannot load the model {model}: {_first_line(error)}",
            hint="it needs config.json, tokenizer files and whole *.safetensors; download it again",
        ) from None


def _first_line(error: Exception) -> str:
    return (next(iter(str(error).strip().splitlines()), "") or type(error).__name__)[:300]


def _install(error: ImportError) -> str:
    """The command that cures a missing library, as far as the error names it."""
    if "GPTQ" in str(error):
        return "pip install gptqmodel optimum"  # the error names one at a time
    if named := re.search(r"pip install ([^`'\n]+)", str(error)):
        packages = [word for word in named[1].rstrip(".) ").split() if not word.startswith("-")]
        return f"pip install {' '.join(map(shlex.quote, packages))}"
    return f"pip install {error.name}" if error.name else "install the library that the message names"


def weight_files(model: Any) -> list[Path]:
    """The safetensors files a loaded model came from, as far as they lie in a folder of their own."""
    folder = Path(str(model.config._name_or_path))
    if folder.is_dir():
        return sorted(folder.glob("*.safetensors"))
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(str(folder), "config.json")
    return sorted(Path(found).parent.glob("*.safetensors")) if isinstance(found, str) else []


def render(
    tokenizer: Any, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None = None
) -> str:
    """The chat as the model reads it, ending where the assistant's turn begins.

    `tools` are JSON schemas of functions, for templates that know them.

    Raises TeacherError when the tokenizer has no chat template or the template refuses the roles.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise TeacherError(
            f"{tokenizer.name_or_path}: the tokenizer has no chat template",
            hint="use the instruction-tuned model, or put a chat_template.jinja next to tokenizer.json",
        )
    try:
        extra = {} if tools is None else {"tools": list(tools)}
        text = tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=True, **extra
        )
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
