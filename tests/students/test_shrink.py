"""Depth pruning: the kept layers are the teacher's, the rest of the model too."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.tiny import save_tiny, tiny_model
from transformers import (
    AutoModelForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from spiritsafe.errors import InputError, TeacherError
from spiritsafe.recipe import Student
from spiritsafe.students.load import load_student
from spiritsafe.students.shrink import shrink

SMALL = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "bos_token_id": None,
    "eos_token_id": 1,
}
IDS = torch.tensor([[5, 6, 7, 8]])


def models() -> list[object]:
    return [
        tiny_model(layers=4),
        tiny_model(layers=4, tie_word_embeddings=False),
        Qwen3ForCausalLM(
            Qwen3Config(**SMALL, use_sliding_window=True, max_window_layers=2, sliding_window=3)
        ),
        MistralForCausalLM(MistralConfig(**SMALL)),
    ]


@pytest.mark.parametrize("index", range(4))
def test_kept_layers_compute_what_the_teacher_without_the_others_would(index: int, tmp_path: Path) -> None:
    model = models()[index].eval()  # type: ignore[attr-defined]
    small = shrink(model, [0, 3])
    assert small.config.num_hidden_layers == len(small.model.layers) == 2
    small.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    types = getattr(model.config, "layer_types", None)
    if types is not None:
        assert again.config.layer_types == [types[0], types[3]]
    reference = model
    reference.model.layers = torch.nn.ModuleList([model.model.layers[0], model.model.layers[3]])
    reference.config.num_hidden_layers = 2
    if types is not None:
        reference.config.layer_types = [types[0], types[3]]
    with torch.no_grad():
        expected = reference(IDS, use_cache=False).logits
        assert torch.equal(small(IDS).logits, expected)
        torch.testing.assert_close(again(IDS).logits, expected)


def test_layers_are_copies() -> None:
    model = tiny_model(layers=3)
    small = shrink(model, (2,))
    small.model.layers[0].mlp.up_proj.weight.data.zero_()
    assert model.model.layers[2].mlp.up_proj.weight.any()
    assert model.config.num_hidden_layers == 3


@pytest.mark.parametrize(
    ("layers", "message"), [([0, 3], "layer 3 does not exist"), ([], "no layer is kept")]
)
def test_wrong_layers_name_what_is_allowed(layers: list[int], message: str) -> None:
    with pytest.raises(InputError, match=f"{message}; the model has layers 0 to 2"):
        shrink(tiny_model(layers=3), layers)


def test_students_are_float32_and_checked(tmp_path: Path) -> None:
    model, tokenizer = load_student(Student(model=str(save_tiny(tmp_path / "m"))))
    assert model.dtype == torch.float32
    assert tokenizer.eos_token == "<|end|>"
    (tmp_path / "m" / "chat_template.jinja").unlink()
    with pytest.raises(TeacherError, match="no chat template"):
        load_student(Student(model=str(tmp_path / "m")))
