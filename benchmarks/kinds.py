"""A classifier and an extractor distilled from a small causal teacher, end to end, on a CPU.

    python benchmarks/kinds.py OUT [--task tickets|invoices] [--scale 1.0]

The teacher is the bundled one, trained here on the generator's own answers; the students have at most a third
of its weights: a BERT with random weights (tickets), the bundled base student (invoices). The students learn
from the teacher's answers alone. Prints one JSON line per task: scores with n and interval, the difference
from the teacher, and what is told beside the scores. --scale shortens everything for a test.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from spiritsafe import environment, recipe_file
from spiritsafe.pipeline.run import run
from spiritsafe.recipe import Student, Task, Train
from spiritsafe.students.load import load_student
from spiritsafe.talk import Talk
from spiritsafe.tasks.base import load_task
from spiritsafe.tasks.invoices.generator import SCHEMA
from spiritsafe.tasks.tickets.generator import INTENTS
from spiritsafe.teachers.folders import resolve_model
from spiritsafe.training.batches import Example
from spiritsafe.training.causal import train
from spiritsafe.training.checkpoint import save_model

TICKETS: dict[str, Any] = {
    "task": {"kind": "tickets", "system": "Sort.", "verifier": {"kind": "label", "labels": list(INTENTS)}},
    "student": {"kind": "classifier"},
    "collect": {"max_tokens": 12, "top_logprobs": 8},
    "evaluate": {"max_tokens": 12},
    "train": {"tokens": 2_000_000, "batch_tokens": 2048, "max_length": 200, "learning_rate": 0.002},
}
INVOICES: dict[str, Any] = {
    "task": {
        "kind": "invoices",
        "system": "Read.",
        "verifier": {"kind": "json_schema", "json_schema": SCHEMA},
    },
    "student": {"kind": "extractor", "model": "bundled:base"},
    "collect": {"max_tokens": 128},
    "evaluate": {"max_tokens": 128, "speed_tokens": 32},
    "train": {"tokens": 4_000_000, "batch_tokens": 512, "max_length": 320, "learning_rate": 0.003},
}
TEACHER_TOKENS = {"tickets": 900_000, "invoices": 6_000_000}
"""After 700,000 tokens of invoices the teacher wrote the right form and copied no field right."""
PROMPTS = {"tickets": 8000, "invoices": 3000}
TEST_PROMPTS = {"tickets": 1000, "invoices": 500}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--task", choices=("tickets", "invoices"))
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    for name in [options.task] if options.task else ["tickets", "invoices"]:
        print(json.dumps(measure(name, options.out / name, options.scale)), flush=True)


def measure(name: str, out: Path, scale: float = 1.0) -> dict[str, Any]:
    """Train the teacher, distil it, and say how far the student is from it."""
    value = json.loads(json.dumps({"tickets": TICKETS, "invoices": INVOICES}[name]))
    value["task"] |= {
        "train_prompts": max(40, int(PROMPTS[name] * scale)),
        "validation_prompts": max(20, int(200 * scale)),
        "test_prompts": max(40, int(TEST_PROMPTS[name] * scale)),
    }
    value["train"]["tokens"] = int(value["train"]["tokens"] * scale)
    value["name"] = name
    # Reference answers are what the teacher was trained on: a baseline on them would be another teacher.
    value["arms"] = {"baseline": {"data": "none"}}
    began = time.perf_counter()
    value["teacher"] = {"model": str(teacher(value, out / "teacher", int(TEACHER_TOKENS[name] * scale)))}
    taught_s = time.perf_counter() - began
    if name == "tickets":
        value["student"]["model"] = str(bert(out / "bert"))
    result = run(recipe_file.parse(value), out / "run", talk=Talk())
    return {"task": name, "teacher_training_s": round(taught_s), **figures(result)}


def teacher(value: dict[str, Any], folder: Path, tokens: int) -> Path:
    """The bundled teacher, trained on the generator's answers to prompts that the student never sees.

    Its prompts are drawn with another seed: what it says to the student's prompts is its own.
    """
    if (folder / "model" / "config.json").exists():
        return folder / "model"
    splits = load_task(Task.model_validate(value["task"]), seed=1)
    model, tokenizer = load_student(Student(model="bundled:teacher"))
    examples = [Example(prompt=p.messages, completion=p.answer or "") for p in splits.train]
    settings = Train(tokens=tokens, batch_tokens=1024, max_length=320, learning_rate=2e-3)
    talk = Talk()
    train(
        model,
        tokenizer,
        examples,
        settings,
        seed=0,
        directory=folder,
        progress=lambda done, total: talk.progress("teacher", done, total, "tokens"),
    )
    return folder / "model"


def bert(folder: Path) -> Path:
    """A BERT of 0.5 M random weights with the bundled tokenizer."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(resolve_model("bundled:base"))
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=256,
        hidden_dropout_prob=0.05,
        attention_probs_dropout_prob=0.05,
        pad_token_id=tokenizer.pad_token_id,
    )
    save_model(BertForSequenceClassification(config), tokenizer, folder)
    return folder


def figures(result: dict[str, Any]) -> dict[str, Any]:
    """What of a result answers the question: scores, difference, sizes, measures, where it was run."""
    models, told = result["models"], environment.describe()
    return {
        "scores": {name: model["task_score"] for name, model in models.items()},
        "difference": models["student"]["difference"],
        "size_ratio": result["size_ratio"],
        "gap_closed": result["gap_closed"],
        "measures": {name: model.get("measures") for name, model in models.items()},
        "speed": {name: model["speed"] for name, model in models.items() if name in ("teacher", "student")},
        "rejected": result["counts"]["rejected"],
        "seconds": result["seconds"],
        **{key: told.get(key) for key in ("date", "processor", "cores", "commit")},
    }


if __name__ == "__main__":
    main()
