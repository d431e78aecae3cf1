"""Adapters: nothing changes before training, the merged student is the trained one, checkpoints are small."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from tests.families import FAMILIES, model_of, tokenizer_of
from tests.tiny import tiny_model
from tests.training.toy import examples

from spiritsafe.errors import InputError, MissingExtra
from spiritsafe.recipe import Student, Train
from spiritsafe.students.adapters import (
    LARGE,
    adapt,
    has_adapter,
    kind_for,
    merge,
    quantization,
    trained_state,
)
from spiritsafe.training.causal import train

IDS = torch.arange(12)[None]


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def test_auto_is_lora_from_half_a_billion_parameters_on(monkeypatch):
    assert kind_for(LARGE, Student()) == "lora"
    assert kind_for(LARGE - 1, Student()) == "full"
    assert kind_for(10, Student(adapter="dora")) == "dora"
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert kind_for(LARGE, Student()) == "full"


def test_full_is_the_model_itself():
    model = tiny_model()
    assert adapt(model, Student(), 0) is model
    assert merge(model) is model


@pytest.mark.parametrize("kind", ["lora", "dora"])
@pytest.mark.parametrize("name", ["qwen3", "llama3", "mistral", "gemma2"])
def test_merged_logits_are_those_of_the_adapter(name, kind):
    family = FAMILIES[name]
    model = model_of(family, vocab=len(tokenizer_of(family)))
    before = logits(model)
    adapted = adapt(model, Student(adapter=kind, lora_rank=4), seed=0)
    assert torch.allclose(logits(adapted), before, atol=1e-5)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    moved = logits(adapted)
    assert (moved - before).abs().max() > 0.01
    merged = merge(adapted)
    assert not has_adapter(merged)
    assert type(merged).__name__ == f"{family.model}ForCausalLM"
    assert torch.allclose(logits(merged), moved, atol=1e-4)


def test_only_the_adapter_is_trained_and_kept_in_checkpoints():
    adapted = adapt(tiny_model(), Student(adapter="lora", lora_rank=4), seed=0)
    trained = {name for name, p in adapted.named_parameters() if p.requires_grad}
    assert trained and all("lora_" in name for name in trained)
    assert set(trained_state(adapted)) == trained
    assert not any("lm_head" in name or "embed" in name for name in trained)


def test_the_seed_draws_the_adapter():
    draws = [trained_state(adapt(tiny_model(), Student(adapter="lora"), seed)) for seed in (0, 0, 1)]
    same = [all(torch.equal(draws[0][name], other[name]) for name in other) for other in draws]
    assert same == [True, True, False]


def test_training_writes_a_plain_student_and_resumes(tmp_path):
    """The run that was stopped in the middle ends with the weights of the one that was not."""
    family = FAMILIES["qwen3"]
    tokenizer = tokenizer_of(family)
    settings = Train(tokens=3000, batch_tokens=300, max_length=100, checkpoint_steps=4, learning_rate=0.01)

    def go(folder, stop_after=None):
        model = adapt(model_of(family, vocab=len(tokenizer)), Student(adapter="lora", lora_rank=4), seed=0)

        def progress(_done, _all):
            nonlocal stop_after
            if stop_after is not None:
                stop_after -= 1
                if stop_after == 0:
                    raise KeyboardInterrupt

        return train(model, tokenizer, examples(40), settings, seed=0, directory=folder, progress=progress)

    whole = go(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "b", stop_after=6)
    resumed = go(tmp_path / "b")
    assert resumed.resumed_at == 4
    assert resumed.losses == whole.losses
    assert whole.losses[-1] < whole.losses[0]
    one, two = ((tmp_path / x / "model" / "model.safetensors").read_bytes() for x in "ab")
    assert one == two
    assert not list((tmp_path / "a" / "model").glob("adapter*"))


def test_quantised_weights_need_an_adapter():
    model = tiny_model()
    model.is_quantized = True
    with pytest.raises(InputError, match="cannot be trained in full"):
        adapt(model, Student(adapter="full"), 0)


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is here")
def test_qlora_without_bitsandbytes_names_the_cure():
    with pytest.raises(MissingExtra, match="bitsandbytes") as caught:
        quantization(Student(adapter="qlora"))
    assert "pip install bitsandbytes" in caught.value.hint


def test_gradient_checkpointing_changes_no_loss(tmp_path):
    plain, saving = (
        train(
            tiny_model(),
            tokenizer_of(FAMILIES["qwen2"]),
            examples(20),
            Train(tokens=1000, batch_tokens=300, max_length=100, gradient_checkpointing=on),
            seed=0,
            directory=tmp_path / str(on),
        ).losses
        for on in (False, True)
    )
    assert saving == pytest.approx(plain, rel=1e-5)
