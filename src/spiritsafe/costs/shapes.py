"""What a decoder's config.json says about its size: parameters and weights, without loading anything.

Llama (SmolLM among them), Mistral, Qwen2, Qwen3, Gemma 1 to 3: grouped-query attention, tied embeddings,
biases, norms of queries and keys. Counts are those of transformers' classes, to the unit. Other
architectures, mixtures of experts among them, are refused by name: a guess would look like a count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spiritsafe.errors import InputError
from spiritsafe.records import Record

GEMMA = ("gemma", "gemma2", "gemma3_text")
DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": {"tie_word_embeddings": False},
    "mistral": {"tie_word_embeddings": False, "num_key_value_heads": 8},
    "qwen2": {"tie_word_embeddings": False, "num_key_value_heads": 32},
    "qwen3": {"tie_word_embeddings": False, "num_key_value_heads": 32, "head_dim": 128},
    "gemma": {"tie_word_embeddings": True, "num_key_value_heads": 16, "head_dim": 256},
    "gemma2": {"tie_word_embeddings": True, "num_key_value_heads": 4, "head_dim": 256},
    "gemma3_text": {"tie_word_embeddings": True, "num_key_value_heads": 4, "head_dim": 256},
}
"""What a family means by a key that its config.json leaves out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape(Record):
    """The sizes of one decoder."""

    family: str
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool
    """Input and output embeddings are one matrix."""
    attention_biases: int
    """Biased projections of attention: 0, 3 (queries, keys, values) or 4."""
    mlp_bias: bool
    window: int | None
    """Tokens that sliding layers keep; None where every layer sees all."""
    sliding: int
    """Layers that slide."""

    @property
    def queries(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def keys(self) -> int:
        """Width of all key heads together; values are as wide."""
        return self.kv_heads * self.head_dim

    @property
    def norms_heads(self) -> bool:
        """Queries and keys are normalised per head."""
        return self.family in ("qwen3", "gemma3_text")

    @property
    def norms(self) -> int:
        """Norms of the hidden width in one layer."""
        return 4 if self.family in ("gemma2", "gemma3_text") else 2

    @property
    def layer_matrices(self) -> int:
        """Weights of one layer's linear maps, biases left out."""
        return 2 * self.hidden * (self.queries + self.keys) + 3 * self.hidden * self.intermediate

    @property
    def matrices(self) -> int:
        """Weights of every linear map in the layers: what adapters sit on and quantisation shrinks."""
        return self.layers * self.layer_matrices

    @property
    def parameters(self) -> int:
        """All weights, a tied matrix counted once."""
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return embeddings + self.layers * (self.layer_matrices + self._layer_vectors()) + self.hidden

    def adapter_parameters(self, rank: int) -> int:
        """Weights of LoRA of this rank on every linear map of the layers."""
        attention = 2 * (self.hidden + self.queries) + 2 * (self.hidden + self.keys)
        return self.layers * rank * (attention + 3 * (self.hidden + self.intermediate))

    def _layer_vectors(self) -> int:
        biases = {0: 0, 3: self.queries + 2 * self.keys, 4: self.queries + 2 * self.keys + self.hidden}
        mlp = 2 * self.intermediate + self.hidden if self.mlp_bias else 0
        heads = 2 * self.head_dim if self.norms_heads else 0
        return self.norms * self.hidden + heads + biases[self.attention_biases] + mlp


def shape_of(config: Mapping[str, Any]) -> Shape:
    """The shape that a config.json means.

    Raises InputError for an architecture that is not counted, and for a key that is missing.
    """
    family = str(config.get("model_type"))
    if family not in DEFAULTS:
        raise InputError(
            f"memory is not known for the architecture {family}", hint=f"known: {', '.join(DEFAULTS)}"
        )
    value = {**DEFAULTS[family], **{k: v for k, v in config.items() if v is not None}}
    try:
        heads, layers = int(value["num_attention_heads"]), int(value["num_hidden_layers"])
        sliding = _sliding(family, value, layers)
        return Shape(
            family=family,
            layers=layers,
            hidden=int(value["hidden_size"]),
            intermediate=int(value["intermediate_size"]),
            heads=heads,
            kv_heads=int(value.get("num_key_value_heads", heads)),
            head_dim=int(value.get("head_dim", value["hidden_size"] // heads)),
            vocabulary=int(value["vocab_size"]),
            tied=bool(value["tie_word_embeddings"]),
            attention_biases=3 if family == "qwen2" else 4 * _biased(family, value),
            mlp_bias=family == "llama" and bool(value.get("mlp_bias")),
            window=int(value["sliding_window"]) if sliding else None,
            sliding=sliding,
        )
    except KeyError as error:
        raise InputError(f"config.json of a {family} model lacks {error.args[0]}") from None


def _biased(family: str, value: Mapping[str, Any]) -> bool:
    return family != "mistral" and bool(value.get("attention_bias"))


def _sliding(family: str, value: Mapping[str, Any], layers: int) -> int:
    """Layers with a sliding window."""
    if value.get("sliding_window") is None or value.get("use_sliding_window") is False:
        return 0
    if "layer_types" in value:
        return sum(kind == "sliding_attention" for kind in value["layer_types"])
    return {"mistral": layers, "gemma2": -(-layers // 2)}.get(family, 0)
