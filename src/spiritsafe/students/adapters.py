"""Adapters: a small trained update beside frozen weights, merged into them at the end.

LoRA (Hu et al. 2021, arXiv 2106.09685), DoRA (Liu et al. 2024, arXiv 2402.09353) and QLoRA (Dettmers et
al. 2023, arXiv 2305.14314) as peft has them. A student is always exported merged: a plain checkpoint.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
import warnings
from typing import Any

import torch
from transformers import BitsAndBytesConfig

from spiritsafe import recipe
from spiritsafe.costs.memory import LARGE as LARGE
from spiritsafe.errors import InputError, MissingExtra
from spiritsafe.teachers.loading import load_pretrained


def kind_for(parameters: int, settings: recipe.Student) -> str:
    """What `auto` means for a model of this size on the devices at hand: `full` or `lora`."""
    if settings.adapter != "auto":
        return settings.adapter
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    return "lora" if alone and parameters >= LARGE else "full"


def quantization(settings: recipe.Student) -> BitsAndBytesConfig | None:
    """How the frozen weights of qlora are loaded: 4-bit NormalFloat, computing in bfloat16; else None.

    Raises MissingExtra without bitsandbytes.
    """
    if settings.adapter != "qlora":
        return None
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtra(
            "student.adapter qlora needs bitsandbytes",
            hint="pip install bitsandbytes, or use lora",
        )
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def adapt(model: Any, settings: recipe.Student, seed: int) -> Any:
    """The model to train: itself, or frozen with an adapter on every linear layer but the output.

    The adapter's first matrices are drawn with `seed`; the second are zero, so nothing changes yet.
    Raises MissingExtra without peft, InputError for a quantised model that is to be trained in full.
    """
    kind = kind_for(model.num_parameters(), settings)
    if kind == "full":
        if getattr(model, "is_quantized", False):
            raise InputError(
                "quantised weights cannot be trained in full", hint="set student.adapter to lora"
            )
        return model
    peft = _peft()
    if kind == "qlora":
        model = peft.prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    torch.manual_seed(seed)
    config = peft.LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha or 2 * settings.lora_rank,
        target_modules="all-linear",
        use_dora=kind == "dora",
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():
        # peft asks transformers by names that are on their way out there.
        warnings.simplefilter("ignore", FutureWarning)
        return peft.get_peft_model(model, config)


def merge(model: Any) -> Any:
    """A plain model with the adapter's update in its weights; a model without adapter as it is.

    Over 4-bit weights the checkpoint is read again, in bfloat16, and the update added to that: rounding the
    sum to 4 bits would lose most of it.
    """
    if not has_adapter(model):
        return model
    if not getattr(model, "is_loaded_in_4bit", False):
        return model.merge_and_unload(safe_merge=True)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        whole, _ = load_pretrained(model.config._name_or_path, device="cpu", dtype=torch.bfloat16)
        return _peft().PeftModel.from_pretrained(whole, folder).merge_and_unload(safe_merge=True)


def has_adapter(model: Any) -> bool:
    """True for a model that `adapt` has frozen."""
    return hasattr(model, "merge_and_unload")


def trained_state(model: Any) -> dict[str, torch.Tensor]:
    """What a checkpoint has to hold: all weights, or those of the adapter where the others are frozen."""
    state: dict[str, torch.Tensor] = model.state_dict()
    if not has_adapter(model):
        return state
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    return {name: value for name, value in state.items() if name in trained}


def _peft() -> Any:
    try:
        import peft
    except ImportError:
        raise MissingExtra(
            "adapters need peft", hint="pip install 'spiritsafe[train]', or set student.adapter to full"
        ) from None
    return peft
