"""Where a model of one's own lies: bundled with this package, in a folder, or in a repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spiritsafe.errors import InputError
from spiritsafe.rundir import file_sha256

BUNDLED = Path(__file__).parents[1] / "tasks" / "schoolbook" / "bundled"
FORMS = "allowed: bundled:NAME, hf:REPO, a folder, openai:MODEL, http(s)://host/v1#MODEL"


def resolve_model(ref: str) -> str:
    """What transformers loads: a folder for bundled models and folders, the repository name for hf:REPO.

    Raises InputError when the folder is missing or half-downloaded.
    """
    if ref.startswith("hf:"):
        return ref.removeprefix("hf:")
    if ref.startswith("bundled:"):
        folder = BUNDLED / ref.removeprefix("bundled:")
        if not folder.is_dir():
            names = sorted(f"bundled:{path.name}" for path in BUNDLED.glob("*/"))
            hint = f"there are: {', '.join(names) or 'none in this installation'}"
            raise InputError(f"no bundled model {ref!r}", hint=hint)
    else:
        folder = Path(ref).expanduser()
        if not folder.is_dir():
            raise InputError(f"no such model or folder: {ref!r}", hint=FORMS)
    _check_folder(folder)
    return str(folder)


def config_of(ref: str) -> dict[str, Any] | None:
    """config.json of a model on this machine: bundled, a folder, or in the cache of downloads; else None.

    Raises InputError as `resolve_model` does. Nothing is downloaded.
    """
    path = (
        _cached(ref.removeprefix("hf:")) if ref.startswith("hf:") else Path(resolve_model(ref), "config.json")
    )
    value = _json(path) if path is not None else None
    return value if isinstance(value, dict) else None


def check_trainable(ref: str) -> None:
    """Raise InputError for a checkpoint with quantised weights, as far as its config.json is here.

    Its weights cannot be updated, nor an adapter merged into them: the student could not be exported.
    """
    config = config_of(ref)
    quantized = config.get("quantization_config") if config else None
    if quantized:
        method = quantized.get("quant_method", "an unknown method")
        raise InputError(
            f"the student {ref} has weights quantised by {method}: they cannot be trained, nor merged into",
            hint="use the unquantised checkpoint; student.adapter: qlora holds it in 4 bits while it trains",
        )


def _cached(repository: str) -> Path | None:
    try:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(repository, "config.json")
    except (ImportError, ValueError):  # not a repository's name
        return None
    return Path(found) if isinstance(found, str) else None


def weights_of(folder: str) -> list[str]:
    """First 16 hex digits of each weight file's SHA-256; none for a repository's name."""
    return [file_sha256(path)[:16] for path in sorted(Path(folder).glob("*.safetensors"))]


def bytes_of(ref: str) -> int:
    """Size of a local model's weight files; 0 for one that is not in a folder here."""
    return sum(path.stat().st_size for path in Path(resolve_model(ref)).glob("*.safetensors"))


def _check_folder(folder: Path) -> None:
    if not isinstance(_json(folder / "config.json"), dict):
        raise _incomplete(folder, "config.json")
    names = {"model.safetensors"}
    index = folder / "model.safetensors.index.json"
    if index.exists():
        value = _json(index)
        if not isinstance(value, dict) or not isinstance(value.get("weight_map"), dict):
            raise _incomplete(folder, index.name)
        names = {str(name) for name in value["weight_map"].values()}
    for name in sorted(names):
        if not _is_whole(folder / name):
            raise _incomplete(folder, name)
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise _incomplete(folder, "tokenizer.json")


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _is_whole(path: Path) -> bool:
    """A safetensors file says in its header how long it is: 8 bytes of length, JSON, then the data."""
    try:
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if not 0 < size < 10**8:
                return False
            header = json.loads(file.read(size))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        return path.stat().st_size == 8 + size + max(ends, default=0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _incomplete(folder: Path, name: str) -> InputError:
    return InputError(
        f"incomplete model folder: {folder}: {name} is missing or damaged",
        hint="download or copy the folder again; needed: config.json, tokenizer, *.safetensors",
    )
