"""A trained student out of its run directory, in the form that a server reads, with its card."""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from spiritsafe.errors import UsageError
from spiritsafe.export import gguf, ollama
from spiritsafe.export.card import write_card
from spiritsafe.recipe import Recipe
from spiritsafe.rundir import RunDir, write_atomic

FORMATS = ("hf", "gguf", "ollama", "vllm")
CAUSAL_ONLY = ("gguf", "ollama")


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """What was written, and how to serve it."""

    folder: Path
    files: list[str]
    serve: str
    """The command that serves it."""
    note: str | None = None


def export(
    run: RunDir,
    recipe: Recipe,
    model: Path,
    to: str,
    out: Path,
    *,
    arm: str = "student",
    converter: Path | None = None,
) -> Exported:
    """Write the model folder `model` of `arm` to the new folder `out`, which appears whole or not at all.

    Raises UsageError for an unknown format, a folder that exists, a missing converter, and a format that
    holds no such model; SpiritSafeError when the converter fails.
    """
    if to not in FORMATS:
        raise UsageError(f"cannot export to {to!r}", hint=f"--to is one of {', '.join(FORMATS)}")
    if out.exists():
        raise UsageError(f"{out} exists and is not overwritten", hint="remove it, or name another --out")
    if not model.is_dir():
        raise UsageError(f"{arm} is the checkpoint {model} as it was: there is nothing to export")
    kind = _architecture(model)
    if to in CAUSAL_ONLY and not kind.endswith("ForCausalLM"):
        raise UsageError(f"{to} holds language models, and this student is {kind}", hint="export --to hf")
    name = f"{recipe.name}-{arm}"
    program = gguf.find_converter(converter) if to in CAUSAL_ONLY else None
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    note = None
    if program is None:
        shutil.copytree(model, temporary, dirs_exist_ok=True)
    else:
        gguf.convert(program, model, temporary / f"{name}.gguf")
        note = (
            _write_modelfile(temporary, f"{name}.gguf", model, recipe.task.system) if to == "ollama" else None
        )
    write_atomic(temporary / "README.md", write_card(run, recipe, arm, name))
    temporary.rename(out)
    files = sorted(path.name for path in out.iterdir())
    return Exported(folder=out, files=files, serve=_serve(to, out, name, kind), note=note)


def _architecture(model: Path) -> str:
    return str((json.loads((model / "config.json").read_text()).get("architectures") or ["a model"])[0])


def _write_modelfile(folder: Path, file: str, model: Path, system: str | None) -> str | None:
    """Write the Modelfile; returns a warning where Ollama is left to guess the chat template."""
    from transformers import AutoTokenizer

    turns = ollama.template_of(AutoTokenizer.from_pretrained(model, trust_remote_code=False))
    try:
        text = ollama.modelfile(file, turns, system)
    except ValueError as error:
        raise UsageError(f"no Modelfile: {error}", hint="export --to gguf and write it by hand") from None
    write_atomic(folder / "Modelfile", text)
    if turns is None:
        return "this chat template has no equal in a Modelfile: check what Ollama takes with `ollama show`"
    return None


def _serve(to: str, out: Path, name: str, kind: str) -> str:
    folder = shlex.quote(str(out))
    causal = kind.endswith("ForCausalLM")
    return {
        "hf": f"transformers serve {folder}" if causal else f"vllm serve {folder} --runner pooling",
        "vllm": f"vllm serve {folder} --served-model-name {name}" + ("" if causal else " --runner pooling"),
        "gguf": f"llama-server -m {shlex.quote(str(out / f'{name}.gguf'))} --jinja",
        "ollama": f"ollama create {name} -f {shlex.quote(str(out / 'Modelfile'))} && ollama run {name}",
    }[to]
