"""From a name in the recipe to a teacher.

bundled:teacher         a model shipped with this package
hf:REPO or a folder     a local model (transformers)
openai:MODEL            api.openai.com
http(s)://host/v1#NAME  any OpenAI-compatible server
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from spiritsafe.errors import InputError, UsageError
from spiritsafe.recipe import Teacher
from spiritsafe.records import TeacherId
from spiritsafe.teachers.api import ApiSampler
from spiritsafe.teachers.sampler import Sampler

BUNDLED = Path(__file__).parent.parent / "tasks" / "schoolbook" / "bundled"
OPENAI = "https://api.openai.com/v1"
FORMS = "allowed: bundled:NAME, hf:REPO, a folder, openai:MODEL, http(s)://host/v1#MODEL"


def connect(ref: str, *, settings: Teacher | None = None) -> Sampler:
    """The sampler behind `ref`; nothing is contacted before its `open()`.

    Raises UsageError for a name of no known form and a missing key, InputError for a missing or incomplete
    model folder.
    """
    settings = settings or Teacher(model=ref)
    if ref.startswith("openai:"):
        return _api(OPENAI, ref.removeprefix("openai:"), settings)
    if ref.startswith(("http://", "https://")):
        base, _, name = ref.partition("#")
        return _api(base, name, settings)
    resolve_model(ref)
    # By name: it asks here for its folder.
    local = importlib.import_module("spiritsafe.teachers.local_sampler")
    sampler: Sampler = local.LocalSampler.from_ref(ref, settings)
    return sampler


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


def _api(base: str, name: str, settings: Teacher) -> ApiSampler:
    url = urlsplit(base)
    if not name or not url.hostname:
        raise UsageError(
            f"the teacher needs a server and a model name, got {_shown(base)}#{name}",
            hint="for example http://127.0.0.1:8000/v1#Qwen/Qwen3-32B",
        )
    if url.username or url.password:
        raise UsageError(
            f"a URL may not carry a password: {_shown(base)}",
            hint="put the key in a variable: teacher.api_key_env",
        )
    default = 443 if url.scheme == "https" else 80
    host = url.hostname if ":" not in url.hostname else f"[{url.hostname}]"
    teacher = TeacherId(
        wire_name=name, is_model=settings.is_model, host=f"{host}:{url.port or default}", channel="api"
    )
    return ApiSampler(base, teacher, settings)


def _shown(base: str) -> str:
    """A URL without what may be secret in it."""
    url = urlsplit(base)
    return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"


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
