"""The checkpoint that becomes the student."""

from __future__ import annotations

from typing import Any

import torch

from spiritsafe.teachers.folders import resolve_model
from spiritsafe.teachers.local import load_pretrained, render


def load_student(ref: str, *, dtype: torch.dtype | None = None) -> tuple[Any, Any]:
    """Model and tokenizer, on the CPU, of `bundled:base`, `hf:REPO`, or what `resolve_model` made of them.

    dtype None is float32: the optimiser's updates are smaller than bfloat16 can hold. Raises TeacherError
    or InputError when the model is missing, damaged or has no chat template.
    """
    name = resolve_model(ref) if ref.startswith(("bundled:", "hf:")) else ref
    model, tokenizer = load_pretrained(name, device="cpu", dtype=dtype or torch.float32)
    render(tokenizer, [{"role": "user", "content": "."}])
    return model, tokenizer
