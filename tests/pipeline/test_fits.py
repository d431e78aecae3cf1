"""`plan` says what fits, from configs alone, and the recipe line with which it does."""

import json
import subprocess
import sys

import pytest
import transformers
from tests.tiny import save_tiny

from spiritsafe import environment, recipe_file
from spiritsafe.costs.memory import training_step
from spiritsafe.environment import Device
from spiritsafe.pipeline import fits
from spiritsafe.recipe import Arm

GPU = Device(name="card", kind="cuda", bytes=24_000_000_000)
QWEN_05B = {
    "model_type": "qwen2",
    "vocab_size": 151936,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}
QWEN_15B = {**QWEN_05B, "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28}
QWEN_15B |= {"num_attention_heads": 12}
LLAMA_8B = {**QWEN_15B, "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336}
LLAMA_8B |= {"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8}
LLAMA_8B |= {"vocab_size": 128256, "tie_word_embeddings": False}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Downloaded configs, as the cache of huggingface_hub holds them: half, onehalf, eight."""
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path))
    for name, config in {"half": QWEN_05B, "onehalf": QWEN_15B, "eight": LLAMA_8B}.items():
        snapshot = tmp_path / f"models--a--{name}" / "snapshots" / "c0ffee"
        snapshot.mkdir(parents=True)
        (snapshot / "config.json").write_text(json.dumps(config))
        refs = tmp_path / f"models--a--{name}" / "refs"
        refs.mkdir()
        (refs / "main").write_text("c0ffee")


def table(overrides, device=GPU):
    return {need.what: need for need in fits.table(recipe_file.parse({}, overrides), device)}


def test_an_adapter_from_half_a_billion_parameters_on(cache):
    small = table(["student.model=hf:a/half", "train.batch_tokens=2048"])["training"]
    large = table(["student.model=hf:a/onehalf", "train.batch_tokens=2048"])["training"]
    assert small.note.startswith("weights 3.0 GB, gradients 2.0 GB, AdamW 4.0 GB")
    assert large.note.startswith("weights 3.3 GB, gradients 148 MB, AdamW 295 MB")
    assert small.fits and large.fits
    assert small.bytes > large.bytes


def test_smaller_passes_are_the_first_cure(cache):
    overrides = ["student.model=hf:a/half", "train.batch_tokens=16384"]
    need = table(overrides)["training"]
    assert (need.fits, need.cure) == (False, ("train.micro_batch_tokens: 2048",))
    cured = table([*overrides, need.cure[0].replace(": ", "=")])["training"]
    assert (cured.fits, cured.cure) == (True, ())
    assert not table([*overrides, "train.micro_batch_tokens=4096"])["training"].fits


def test_then_an_adapter(cache):
    overrides = ["student.model=hf:a/onehalf", "student.adapter=full", "train.batch_tokens=2048"]
    need = table(overrides)["training"]
    assert (need.fits, need.cure) == (False, ("student.adapter: lora",))
    assert table([*overrides, "student.adapter=lora"])["training"].fits


def test_activations_are_computed_again_before_less_is_trained(cache):
    card = Device(name="card", kind="cuda", bytes=16_000_000_000)
    overrides = ["student.model=hf:a/half", "train.max_length=2048", "train.batch_tokens=4096"]
    need = table(overrides, card)["training"]
    assert need.cure == ("train.micro_batch_tokens: 2048", "train.gradient_checkpointing: true")


def test_where_nothing_helps_that_is_said(cache):
    card = Device(name="card", kind="cuda", bytes=4_000_000_000)
    assert table(["student.model=hf:a/eight"], card)["training"].cure == (
        "a smaller student, or a device with more memory",
    )


def test_an_arm_with_divergence_holds_the_teacher_too(cache):
    recipe = recipe_file.parse(
        {
            "teacher": {"model": "hf:a/eight"},
            "student": {"model": "hf:a/half"},
            "train": {"batch_tokens": 1024},
            "arms": {"white": {"data": "teacher", "divergence": {"kind": "forward_kl"}}},
        }
    )
    needs = {need.what: need for need in fits.table(recipe, GPU)}
    assert "teacher" in needs["training white"].note
    weights = 2 * fits.shape_of(LLAMA_8B).parameters
    apart = needs["training white"].bytes - needs["training"].bytes
    assert apart > weights
    assert needs["training white"].fits is False


def test_the_figure_is_that_of_the_step(cache):
    recipe = recipe_file.parse({}, ["student.model=hf:a/half"])
    shape = fits.shape_of(QWEN_05B)
    how = fits.training_of(recipe, GPU, shape, Arm(data="teacher"))
    assert (how.half, how.adapter, how.tokens) == (True, "full", recipe.train.batch_tokens)
    assert table(["student.model=hf:a/half"])["training"].bytes == training_step(shape, how).total


def test_what_is_not_here_is_not_known_and_not_downloaded(cache):
    needs = table(["student.model=hf:a/elsewhere", "teacher.model=openai:gpt-4.1"])
    assert list(needs) == ["training", "student serving"]
    assert needs["training"].bytes is None and needs["training"].note == fits.NOT_HERE


def test_another_architecture_is_named(tmp_path):
    folder = save_tiny(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "mamba2"}))
    assert "mamba2" in table([f"student.model={folder}"])["training"].note


def test_a_launched_teacher_is_found_by_its_name(cache):
    launched = ["teacher.model=http://127.0.0.1:8000/v1#a/eight", "teacher.launch=vllm serve a/eight"]
    need = table(launched)["teacher"]
    assert need.fits and need.bytes > 2 * fits.shape_of(LLAMA_8B).parameters
    card = Device(name="small", kind="cuda", bytes=12_000_000_000)
    assert "quantised" in table(launched, card)["teacher"].cure[0]
    assert "teacher.launch ends it" in table(launched[:1])["teacher"].note


def test_a_teacher_in_this_process_decodes_in_smaller_batches(cache):
    need = table(["teacher.model=hf:a/eight", "collect.max_tokens=2048"])["teacher"]
    assert need.fits is False
    key, _, value = need.cure[0].partition(": ")
    assert key == "teacher.batch_size" and 1 <= int(value) < 256


def test_a_quantised_folder_counts_its_files(tmp_path):
    config = transformers.LlamaConfig(**{k: v for k, v in LLAMA_8B.items() if k != "model_type"})
    folder = save_tiny(tmp_path / "m")
    quantised = {"quant_method": "awq", "bits": 4, "group_size": 128}
    (folder / "config.json").write_text(json.dumps({**config.to_dict(), "quantization_config": quantised}))
    size = (folder / "model.safetensors").stat().st_size
    assert f"weights {fits.size(size)}" in table([f"teacher.model={folder}"])["teacher"].note


def test_a_device_of_unknown_size_gets_no_verdict(cache):
    need = table(["student.model=hf:a/half"], Device(name="card", kind="cuda", bytes=None))["training"]
    assert (need.fits, need.cure) == (None, ())


def test_the_device_that_is_planned_for():
    assert environment.device(24).bytes == 24_000_000_000
    assert environment.device().kind in ("cpu", "cuda", "mps")


def test_plan_prints_it_before_it_asks(tmp_path):
    small = [
        "--set",
        "task.train_prompts=2",
        "--set",
        "task.validation_prompts=1",
        "--set",
        "task.test_prompts=1",
    ]
    command = [sys.executable, "-m", "spiritsafe", "plan", "--out", str(tmp_path / "run"), *small]
    unreachable = ["--set", "teacher.model=http://127.0.0.1:1/v1#m"]
    asked = subprocess.run([*command, *unreachable, "--memory-gb", "0.65"], capture_output=True, text=True)
    assert asked.returncode == 1
    lines = asked.stdout.splitlines()
    assert lines[0] == "memory   the device planned for, 650 MB"
    assert lines[1].startswith("  teacher: a server that stays up")
    assert lines[2].startswith("  training: ")
