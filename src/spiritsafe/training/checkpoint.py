"""What survives a kill: the state between two steps, and the finished model, each whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from spiritsafe.errors import CorruptData, SpiritSafeError
from spiritsafe.recipe import DivergenceTerm, Train
from spiritsafe.records import content_hash
from spiritsafe.rundir import sync_directory
from spiritsafe.teachers.loading import quiet


def run_key(
    model: Any,
    rows: Sequence[object],
    settings: Train,
    seed: int,
    divergence: DivergenceTerm | None = None,
    teacher: Any = None,
) -> str:
    """Identity of a training: what must be the same for a checkpoint to be continued."""
    data = hashlib.sha256()
    for row in rows:
        data.update(repr(row).encode())  # rows are frozen: all of their values stand in it
    return content_hash(
        "spiritsafe-training-1",
        {
            "settings": settings.model_dump(mode="json", exclude={"checkpoint_steps"}),
            "data": data.hexdigest(),
            "seed": seed,
            "model": _model_digest(model),
            "divergence": divergence.model_dump(mode="json") if divergence else None,
            "teacher": _model_digest(teacher) if teacher is not None else None,
        },
    )


def _model_digest(model: Any) -> str:
    """Names, shapes and the first 64 values of every parameter: cheap for large models, and enough to
    tell two checkpoints apart."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        head = value.detach().reshape(-1)[:64].float().cpu().numpy().tobytes()
        digest.update(f"{name} {tuple(value.shape)}".encode() + head)
    return digest.hexdigest()


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint file; a kill leaves the previous one.

    Raises SpiritSafeError when the disk is full; the previous checkpoint is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    try:
        with open(temporary, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        raise SpiritSafeError(
            f"cannot write the checkpoint {path}: {error}",
            hint="free some space and run the same command again",
        ) from None
    sync_directory(path.parent)


def load_state(path: Path) -> dict[str, Any] | None:
    """The checkpoint, None where there is none. Tensors and plain values only are read, never code.

    Raises CorruptData when the file is damaged.
    """
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError) as error:
        raise CorruptData(
            f"damaged checkpoint: {path} ({type(error).__name__})",
            hint="delete it and run again; training starts anew from the student checkpoint",
        ) from None
    return state


def save_model(model: Any, tokenizer: Any, folder: Path) -> None:
    """Model folder in HF layout, safetensors, with tokenizer and chat template; it appears whole.

    Raises SpiritSafeError when the disk is full; nothing half-written takes the folder's name.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with quiet():
            model.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
        for file in temporary.iterdir():
            _sync(file)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(temporary, folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise SpiritSafeError(
            f"cannot write the model {folder}: {error.strerror}",
            hint="free some space and run the same command again",
        ) from None
    sync_directory(folder.parent)


def _sync(file: Path) -> None:
    with open(file, "rb") as handle:
        os.fsync(handle.fileno())
