"""Causal language models from a folder or a repository: safetensors only, no code of the checkpoint."""

from __future__ import annotations

import contextlib
import logging
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from spiritsafe.errors import MissingExtra, TeacherError


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
