"""A smaller student made of a bigger model's layers (depth pruning).

Keeping some layers of the teacher starts the student near it in the same representation, as in DistilBERT
(Sanh et al. 2019, section 3) and Sheared-LLaMA-style pruning; training then repairs the cuts.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch

from spiritsafe.errors import InputError


def shrink(model: Any, layers: Sequence[int]) -> Any:
    """A new model of the layers with these indices, in this order; `model` is left as it is.

    For decoders that hold their layers in one list (Llama, Qwen, Mistral, Gemma and their like). Weights
    are copied; lists in the config with one entry per layer are cut the same way. Raises InputError for
    an index that does not exist, an empty choice, or a model of another build.
    """
    stack = _layers_of(model)
    count = len(stack)
    wrong = [index for index in layers if not 0 <= index < count]
    if wrong or not layers:
        named = f"layer {wrong[0]} does not exist" if wrong else "no layer is kept"
        raise InputError(
            f"shrink: {named}; the model has layers 0 to {count - 1}",
            hint=f"for example layers: [0, {count // 2}, {count - 1}]",
        )
    config = _config_for(model.config, list(layers), count)
    small = type(model)(config).to(dtype=model.dtype, device=model.device)
    small.load_state_dict(_renamed(model, list(layers)), strict=True)
    small.generation_config = copy.deepcopy(model.generation_config)
    return small.eval()


def _layers_of(model: Any) -> torch.nn.ModuleList:
    layers = getattr(model.base_model, "layers", None)
    if not isinstance(layers, torch.nn.ModuleList):
        raise InputError(
            f"shrink does not know where {type(model).__name__} keeps its layers",
            hint="models with model.layers can be shrunk: Llama, Qwen, Mistral, Gemma and their like",
        )
    return layers


def _config_for(config: Any, layers: list[int], count: int) -> Any:
    small = copy.deepcopy(config)
    for name, value in config.to_dict().items():
        if isinstance(value, list) and len(value) == count and name.startswith("layer"):
            setattr(small, name, [value[i] for i in layers])
    small.num_hidden_layers = len(layers)
    return small


def _renamed(model: Any, layers: list[int]) -> dict[str, torch.Tensor]:
    """State of the kept layers under their new numbers, and everything outside the layers."""
    prefix = f"{model.base_model_prefix}.layers."
    state = model.state_dict()
    kept = {name: value for name, value in state.items() if not name.startswith(prefix)}
    for new, old in enumerate(layers):
        start = f"{prefix}{old}."
        for name, value in state.items():
            if name.startswith(start):
                kept[f"{prefix}{new}.{name.removeprefix(start)}"] = value
    return kept
