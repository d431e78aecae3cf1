"""The checkpoint that becomes the student."""

from __future__ import annotations

from typing import Any

import torch

from spiritsafe import recipe
from spiritsafe.students.adapters import kind_for, quantization
from spiritsafe.students.templates import fit_template
from spiritsafe.teachers.chat import render
from spiritsafe.teachers.folders import check_trainable, resolve_model
from spiritsafe.teachers.loading import load_pretrained


def load_student(
    settings: recipe.Student, *, reasoning: bool = True, adapter: bool = False
) -> tuple[Any, Any]:
    """Model and tokenizer, on the CPU (4-bit weights: on the accelerator), of `bundled:base`, `hf:REPO` or a
    folder; asked with reasoning or without where its template has both.

    Weights that are trained are float32, because the optimiser's updates are smaller than bfloat16 can
    hold; those frozen under an adapter (`adapter`) are bfloat16 on CUDA. Raises TeacherError or InputError
    when the model is missing, damaged or has no chat template.
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
    return model, tokenizer
