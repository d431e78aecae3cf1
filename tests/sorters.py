"""Tiny random checkpoints of the families that people make classifiers of, as masked or causal models."""

from __future__ import annotations

from pathlib import Path

import torch
from tests.tiny import save_tiny, tiny_tokenizer
from transformers import BertConfig, BertForMaskedLM, ModernBertConfig, ModernBertForMaskedLM

SIZE = {
    "vocab_size": 261,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "initializer_range": 0.1,
}


def save_bert(folder: Path) -> Path:
    """A BERT with two layers, as its masked language model is published: without a pooler."""
    torch.manual_seed(0)
    config = BertConfig(**SIZE, num_hidden_layers=2, max_position_embeddings=256, pad_token_id=0)
    return _save(BertForMaskedLM(config), folder)


def save_modernbert(folder: Path) -> Path:
    """A ModernBERT with one layer of local attention between two of global attention."""
    torch.manual_seed(0)
    marks = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1, "cls_token_id": 1, "sep_token_id": 1}
    config = ModernBertConfig(
        **SIZE,
        **marks,
        num_hidden_layers=3,
        max_position_embeddings=256,
        global_attn_every_n_layers=2,
        local_attention=32,
    )
    return _save(ModernBertForMaskedLM(config), folder)


def save_decoder(folder: Path) -> Path:
    """A Llama, read at its last token."""
    return save_tiny(folder)


def _save(model: torch.nn.Module, folder: Path) -> Path:
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


FAMILIES = {"bert": save_bert, "modernbert": save_modernbert, "decoder": save_decoder}
