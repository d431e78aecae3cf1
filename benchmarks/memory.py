"""What `plan` says a step and a batch of answers hold, against what the device held; and their speed.

    python benchmarks/memory.py            writes benchmarks/results/memory.json, exit 1 beyond 15 %
    python benchmarks/memory.py --small    two small shapes, for a look on any machine; writes nothing

Random weights in the shapes of a 1.5 B teacher and a 0.5 B student (Qwen2), rows as long as allowed and every
token counted, as plan assumes. Memory is torch.cuda.max_memory_allocated: tensors, not the CUDA context.
On a CPU there is no such count: only speed is shown.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config

from spiritsafe import environment, recipe_file
from spiritsafe.costs.memory import serving_bytes, training_step, weight_bytes
from spiritsafe.costs.shapes import shape_of
from spiritsafe.pipeline.fits import training_of
from spiritsafe.recipe import Arm, DivergenceTerm, Recipe
from spiritsafe.records import Sampling
from spiritsafe.students.adapters import adapt
from spiritsafe.students.templates import Row
from spiritsafe.teachers import decode
from spiritsafe.teachers.folders import resolve_model
from spiritsafe.training.causal import prepare

BAR = 0.15
STEPS = 8
TEACHER = {
    "vocab_size": 151936,
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}
STUDENT = {
    **TEACHER,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
}
SMALL = {"vocab_size": 2000, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
SMALL |= {"num_attention_heads": 4, "num_key_value_heads": 2}
FULL: list[tuple[str, list[str], str | None]] = [
    ("full", ["student.adapter=full"], None),
    ("full, recomputing", ["student.adapter=full", "train.gradient_checkpointing=true"], None),
    ("lora", ["student.adapter=lora"], None),
    ("lora, recomputing", ["student.adapter=lora", "train.gradient_checkpointing=true"], None),
    ("full, beside the teacher", ["student.adapter=full"], "forward_kl"),
]
"""Name, what differs from the recipe, divergence."""


def cases(small: bool) -> Iterator[dict[str, Any]]:
    """One row for each training, and one for decoding with the teacher."""
    student, teacher = ({**c, **SMALL} if small else c for c in (STUDENT, TEACHER))
    size = ["train.max_length=64", "train.batch_tokens=256", "train.micro_batch_tokens=128"]
    if not small:
        size = ["train.max_length=1024", "train.batch_tokens=8192", "train.micro_batch_tokens=4096"]
    for name, changes, kind in FULL:
        yield _training(name, recipe_file.parse({}, [*size, *changes]), student, teacher if kind else None)
    yield _decoding(teacher, batch=4 if small else 64, prompt=16 if small else 512, new=16 if small else 256)


def _training(
    name: str, recipe: Recipe, student: dict[str, Any], teacher: dict[str, Any] | None
) -> dict[str, Any]:
    device, shape = environment.device(), shape_of({"model_type": "qwen2", **student})
    term = DivergenceTerm(kind="forward_kl") if teacher else None
    how = training_of(recipe, device, shape, Arm(data="teacher", divergence=term))
    guide_shape = shape_of({"model_type": "qwen2", **teacher}) if teacher else None
    predicted = training_step(shape, how, guide_shape)
    half = torch.bfloat16 if device.kind == "cuda" else torch.float32
    model = _random(student, torch.float32 if how.adapter == "full" else half)
    guide = SimpleNamespace(model=_random(teacher, half)) if teacher else None
    model = adapt(model, recipe.student, 0)
    stepper = prepare(model, recipe.train, term, guide)  # type: ignore[arg-type]
    length, vocabulary = recipe.train.max_length, student["vocab_size"]
    rows = [_row(length, vocabulary) for _ in range(recipe.train.batch_tokens // length)]
    stepper.step(rows, 1e-5)  # the optimiser's states appear

    def work() -> int:
        for _ in range(STEPS):
            stepper.step(rows, 1e-5)
        return STEPS * recipe.train.batch_tokens

    return {"what": f"training {name}", "parts": predicted.to_json(), **_against(predicted.total, work)}


def _decoding(config: dict[str, Any], *, batch: int, prompt: int, new: int) -> dict[str, Any]:
    shape, cuda = shape_of({"model_type": "qwen2", **config}), torch.cuda.is_available()
    element = 2 if cuda else 4
    model = _random(config, torch.bfloat16 if cuda else torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(resolve_model("bundled:base"))  # for its tags alone
    decoder = decode.Decoder(model, tokenizer, frozenset())

    def work() -> int:
        ids = torch.randint(0, config["vocab_size"], (batch, prompt)).tolist()
        decoder.decode([decode.Row(row, Sampling(max_tokens=new), new) for row in ids])
        return batch * new

    weights = weight_bytes(shape, element)
    predicted = serving_bytes(shape, weights, batch, prompt=prompt, answer=new, element=element)
    return {"what": f"decoding, {batch} of {prompt} + {new} tokens", **_against(predicted, work)}


def _against(predicted: int, work: Callable[[], int]) -> dict[str, Any]:
    """Bytes predicted and held at the peak, and tokens per second."""
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    tokens = work()
    if cuda:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    held = torch.cuda.max_memory_allocated() if cuda else None
    return {
        "predicted_bytes": predicted,
        "held_bytes": held,
        "ratio": round(predicted / held, 3) if held else None,
        "tokens_per_second": round(tokens / seconds, 1),
    }


def _random(config: dict[str, Any], dtype: torch.dtype) -> Any:
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        return AutoModelForCausalLM.from_config(Qwen2Config(**config)).to(dtype)


def _row(length: int, vocabulary: int) -> Row:
    """All tokens but the first count."""
    return Row(tuple(torch.randint(0, vocabulary, (length + 1,)).tolist()), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    rows = []
    for row in cases(options.small):
        rows.append(row)
        print(json.dumps({key: value for key, value in row.items() if key != "parts"}), flush=True)
        torch.cuda.empty_cache()
    if options.small:
        return
    result = {"what": "memory predicted and held, bytes", "rows": rows, "environment": environment.describe()}
    path = Path(__file__).parent / "results" / "memory.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    sys.exit(any(row["ratio"] is not None and abs(row["ratio"] - 1) > BAR for row in rows))


if __name__ == "__main__":
    main()
