"""Students that sort texts: a checkpoint with a classification head, of the labels of the task.

Any checkpoint that transformers knows a sequence classifier for: encoders such as BERT or ModernBERT, and
decoders, which are read at their last token. What such a student reads is the text of the user alone: no
chat template and no system message, since its labels are in its head and not in its instructions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

from spiritsafe.errors import InputError, TeacherError
from spiritsafe.records import Message
from spiritsafe.teachers.folders import resolve_model
from spiritsafe.teachers.loading import load_errors, quiet, weight_files

BATCH_TOKENS = 8192
"""Padded tokens of one forward pass when texts are sorted."""


def load_classifier(ref: str, labels: Sequence[str], *, seed: int = 0) -> tuple[Any, Any]:
    """Model (float32, on the CPU, eval mode) and tokenizer; the labels are saved with the model.

    A checkpoint that was trained on exactly these labels keeps its head; any other gets a fresh one, drawn
    with `seed`. Raises InputError for a model that cannot classify, TeacherError for a damaged one.
    """
    name = resolve_model(ref) if ref.startswith(("bundled:", "hf:")) else ref
    with quiet(), load_errors(name), torch.random.fork_rng(devices=[]):
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        _check_kind(name, config)
        trained = [config.id2label.get(i) for i in range(len(config.id2label))] == list(labels)
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: i for i, label in enumerate(labels)}
        torch.manual_seed(seed)
        model, info = AutoModelForSequenceClassification.from_pretrained(
            name,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        _check_weights(name, model, info["missing_keys"])
        if not trained:
            _renew(model, len(labels), seed)
    _set_padding(model, tokenizer)
    return model.eval(), tokenizer


def check_classifier(ref: str) -> None:
    """Raise InputError for a checkpoint that cannot classify; only its config is read."""
    name = resolve_model(ref)
    with quiet(), load_errors(name):
        _check_kind(name, AutoConfig.from_pretrained(name, trust_remote_code=False))


def text_of(messages: Sequence[Message]) -> str:
    """What a classifier reads of a chat: everything but the system message."""
    return "\n\n".join(message["content"] for message in messages if message["role"] != "system")


def encode_text(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of texts, with the marks that the model expects around one ([CLS], [SEP], ...)."""
    return [list(ids) for ids in tokenizer(list(texts))["input_ids"]] if texts else []


def longest_text(model: Any, tokenizer: Any) -> int:
    """Tokens that the model can read at once."""
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 1 << 30
    return min(int(positions), int(tokenizer.model_max_length))


def pad(rows: Sequence[Sequence[int]], filler: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, T) ids and attention mask of rows, padded at the end."""
    width = max((len(row) for row in rows), default=1)
    ids = torch.full((max(len(rows), 1), width), filler, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row, dtype=torch.int64)
        mask[i, : len(row)] = 1
    return ids, mask


class Classifier:
    """A classifier to be asked; `parameters` counts weights, `bytes` their safetensors files."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.parameters: int = sum(p.numel() for p in model.parameters())
        self.bytes: int = sum(path.stat().st_size for path in weight_files(model))

    @torch.inference_mode()
    def probabilities(self, texts: Sequence[str]) -> torch.Tensor:
        """(N, C) probabilities of the labels for N texts; a text beyond the model's context is cut."""
        limit = longest_text(self.model, self.tokenizer)
        rows = [ids[:limit] or [self.model.config.pad_token_id] for ids in encode_text(self.tokenizer, texts)]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        found = torch.zeros(len(rows), self.model.config.num_labels)
        for part in _batches(order, rows):
            ids, mask = pad([rows[i] for i in part], self.model.config.pad_token_id)
            device = self.model.device
            logits = self.model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits
            found[part] = logits.float().softmax(-1).cpu()
        return found


def _batches(order: Sequence[int], rows: Sequence[Sequence[int]]) -> list[list[int]]:
    """Cut an order by rising length into passes of at most BATCH_TOKENS padded tokens."""
    parts: list[list[int]] = []
    for i in order:
        if parts and (len(parts[-1]) + 1) * len(rows[i]) <= BATCH_TOKENS:
            parts[-1].append(i)
        else:
            parts.append([i])
    return parts


def _check_kind(name: str, config: Any) -> None:
    if type(config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        raise InputError(
            f"{name} cannot be a classifier: transformers has no classification head for {config.model_type}",
            hint="use an encoder such as BERT or ModernBERT, or a decoder such as Llama or Qwen",
        )


def _check_weights(name: str, model: Any, missing: Sequence[str]) -> None:
    """Only the head, and the pooler before it, may be new."""
    body = [key for key in missing if key.startswith(f"{model.base_model_prefix}.") and "pooler" not in key]
    if body:
        raise TeacherError(
            f"{name}: weights are missing for {len(body)} parameters, the first is {min(body)}",
            hint="the download is incomplete or the config belongs to another model; fetch it again",
        )


def _renew(model: Any, labels: int, seed: int) -> None:
    """Draw the last layer anew: one of another task's labels would be taken for ours."""
    body = {id(module) for module in model.base_model.modules()}
    heads = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and id(m) not in body]
    last = next(m for m in reversed(heads) if m.out_features == labels)
    torch.manual_seed(seed)
    with torch.no_grad():
        last.weight.normal_(0.0, getattr(model.config.get_text_config(), "initializer_range", None) or 0.02)
        if last.bias is not None:
            last.bias.zero_()


def _set_padding(model: Any, tokenizer: Any) -> None:
    """A decoder finds its last token by the padding after it."""
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token_id is None:
            raise InputError(
                f"{tokenizer.name_or_path}: the tokenizer has neither pad_token nor eos_token",
                hint="set pad_token in tokenizer_config.json",
            )
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
