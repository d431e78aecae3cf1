"""The checkpoint that becomes the student."""

from __future__ import annotations

from typing import Any

import torch

from spiritsafe import recipe
from spiritsafe.errors import InputError
from spiritsafe.students.adapters import kind_for, quantization
from spiritsafe.students.templates import fit_template
from spiritsafe.teachers.folders import check_trainable, resolve_model
from spiritsafe.teachers.local import load_pretrained, render


def load_student(
    settings: recipe.Student, *, reasoning: bool = True, adapter: bool = False
) -> tuple[Any, Any]:
    """Model and tokenizer, on the CPU (4-bit weights: on the accelerator), of `bundled:base`, `hf:REPO` or a
    folder; asked with reasoning or without where its template has both.

    Weights that are trained are float32, because the optimiser's updates are smaller than bfloat16 can
    hold; those frozen under an adapter (`adapter`) are bfloat16 on CUDA. Raises TeacherError or InputError
    when the model is missing, damaged, has no chat template, or fewer embeddings than tokens.
    """
    model, tokenizer = load_pretrained(
        resolve_model(settings.model),
        device="cpu",
        dtype=torch.float32,
        quantization=quantization(settings) if adapter else None,
    )
    check_trainable(settings.model)  # for one that was downloaded just now
    if adapter and torch.cuda.is_available() and kind_for(model.num_parameters(), settings) != "full":
        model = model.to(torch.bfloat16) if settings.adapter != "qlora" else model
    fit_template(tokenizer, template=settings.chat_template, reasoning=reasoning)
    render(tokenizer, [{"role": "user", "content": "."}])
    check_vocabulary(model, tokenizer)
    return model, tokenizer


def check_vocabulary(model: Any, tokenizer: Any) -> None:
    """Raise InputError where the tokenizer has tokens for which the model has no embedding."""
    rows = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > rows:
        raise InputError(
            f"{tokenizer.name_or_path}: the tokenizer has {len(tokenizer)} tokens, the model embeds {rows}",
            hint="tokenizer and weights belong to different checkpoints; download both again",
        )
