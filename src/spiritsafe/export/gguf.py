"""GGUF through llama.cpp's own converter: it knows the format, this package only finds and runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from spiritsafe.errors import SpiritSafeError, UsageError

PROGRAM = "convert_hf_to_gguf.py"
VARIABLE = "SPIRITSAFE_GGUF_CONVERTER"
CURE = (
    f"git clone https://github.com/ggml-org/llama.cpp, then name its {PROGRAM} with --converter, "
    f"or in the environment variable {VARIABLE}, or put it on the PATH"
)


def find_converter(given: Path | None) -> Path:
    """The converter: as given, from the environment, or on the PATH. Raises UsageError with the cure."""
    named = given or os.environ.get(VARIABLE)
    if named is not None:
        if not Path(named).is_file():
            raise UsageError(f"no such converter: {named}", hint=CURE)
        return Path(named)
    found = shutil.which(PROGRAM)
    if found is None:
        raise UsageError(f"llama.cpp's {PROGRAM} is not on this machine", hint=CURE)
    return Path(found)


def convert(converter: Path, model: Path, target: Path) -> None:
    """Convert a model folder to one GGUF file of the weights' own precision (16 bits at most).

    Raises SpiritSafeError with the converter's last words when it fails or writes nothing.
    """
    # A Python script runs under this Python, which has the torch and transformers that it imports.
    program = [sys.executable, str(converter)] if converter.suffix == ".py" else [str(converter)]
    command = [*program, str(model), "--outfile", str(target), "--outtype", "auto"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise UsageError(f"cannot run {converter}: {error.strerror}", hint=CURE) from None
    if done.returncode != 0 or not target.is_file():
        last = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        raise SpiritSafeError(
            f"{converter.name} failed with exit code {done.returncode}: {last[:300]}",
            hint="it may need `pip install gguf sentencepiece`, or not know this architecture or tokenizer; "
            "--to hf and --to vllm need no converter",
        )
