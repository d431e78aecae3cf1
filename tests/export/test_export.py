"""Exports: what is in the folder, what the card says, and the contract with llama.cpp's converter."""

import hashlib
import json
import os
import sys

import pytest

from spiritsafe.errors import SpiritSafeError, UsageError
from spiritsafe.export import gguf
from spiritsafe.export.export import export
from spiritsafe.recipe import Recipe, Task
from spiritsafe.report.table import markdown
from spiritsafe.teachers.local import LocalModel

CONVERTER = """
import argparse, json, pathlib, sys
parser = argparse.ArgumentParser()
parser.add_argument("model", type=pathlib.Path)
parser.add_argument("--outfile", type=pathlib.Path)
parser.add_argument("--outtype", choices=["f32", "f16", "bf16", "q8_0", "auto"], default="f16")
args = parser.parse_args()
config = json.loads((args.model / "config.json").read_text())
if config["architectures"] != ["LlamaForCausalLM"]:
    sys.exit("Model is not supported")
args.outfile.write_bytes(b"GGUF" + args.outtype.encode())
"""
"""The command line of convert_hf_to_gguf.py as its --help describes it."""


@pytest.fixture
def converter(tmp_path):
    path = tmp_path / "convert_hf_to_gguf.py"
    path.write_text(CONVERTER)
    return path


@pytest.fixture
def send(finished):
    """send(to, **options): export the student of the finished run."""
    recipe = Recipe.model_validate(finished.read_json("recipe.json"))
    model = finished.path / "students/student-0/model"

    def run(to, recipe=recipe, **options):
        return export(finished, recipe, model, to, finished.path / "out", **options)

    return run


def test_hf_is_the_model_with_its_card(send, finished):
    done = send("hf")
    assert done.serve == f"transformers serve {finished.path / 'out'}"
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} <= set(done.files)
    LocalModel.load(str(done.folder)).check()


def test_the_card_says_what_the_result_says(send, finished):
    card = (send("hf").folder / "README.md").read_text()
    result = finished.read_json("result.json")
    shown = {
        n: m for n, m in result["models"].items() if n in ("teacher", "student", "baseline", "untrained")
    }
    assert markdown({**result, "models": shown}, finished.read_json("environment.json")) in card
    gap = result["gap_closed"]
    assert (
        f"Gap closed {gap['value']:.2f} (95 % interval {gap['low']:.2f} to {gap['high']:.2f}, n = 240)"
        in card
    )
    assert (
        "| m@host | api | 2026-05-01 to 2026-05-03 | 2 |\n| old\\|log | import | 2025-12 to 2025-12 | 1 |"
        in card
    )
    digest = hashlib.sha256((finished.path / "recipe.json").read_bytes()).hexdigest()
    assert f"recipe: SHA-256 `{digest}`" in card
    assert card.startswith("---\nlibrary_name: transformers\n")


def test_a_result_of_another_recipe_is_not_the_models(send, finished):
    value = finished.read_json("recipe.json")
    recipe = Recipe.model_validate({**value, "seed": 7, "task": Task(system="Be brief.")})
    finished.write_json("recipe.json", recipe.to_json())
    card = (send("vllm", recipe=recipe).folder / "README.md").read_text()
    assert "Not evaluated with this recipe" in card and "Gap closed" not in card
    assert "    Be brief.\n" in card


def test_gguf_is_what_the_converter_makes(send, finished, converter):
    done = send("gguf", converter=converter)
    assert done.files == ["README.md", "schoolbook-student.gguf"]
    assert (done.folder / "schoolbook-student.gguf").read_bytes() == b"GGUFauto"
    assert done.serve == f"llama-server -m {finished.path / 'out' / 'schoolbook-student.gguf'} --jinja"


def test_ollama_adds_the_students_own_template(send, converter):
    done = send("ollama", converter=converter)
    text = (done.folder / "Modelfile").read_text()
    assert text.startswith("FROM ./schoolbook-student.gguf\n")
    assert "{{ range .Messages }}" in text and done.note is None
    assert done.serve.startswith("ollama create schoolbook-student -f ")


def test_the_converter_is_found_on_the_path_and_in_the_environment(converter, monkeypatch):
    monkeypatch.setenv("PATH", str(converter.parent))
    monkeypatch.delenv(gguf.VARIABLE, raising=False)
    with pytest.raises(UsageError, match="is not on this machine") as error:
        gguf.find_converter(None)
    assert "git clone" in error.value.hint and gguf.VARIABLE in error.value.hint
    os.chmod(converter, 0o755)
    assert gguf.find_converter(None) == converter
    monkeypatch.setenv(gguf.VARIABLE, "elsewhere.py")
    with pytest.raises(UsageError, match="no such converter: elsewhere"):
        gguf.find_converter(None)


def test_a_converter_that_fails_leaves_no_folder_behind(send, finished, converter):
    converter.write_text("import sys; sys.exit('BPE pre-tokenizer was not recognized')")
    with pytest.raises(SpiritSafeError, match="exit code 1: BPE pre-tokenizer was not recognized"):
        send("gguf", converter=converter)
    assert not (finished.path / "out").exists()
    program = finished.path / "converter"
    program.write_text(f"#!{sys.executable}\n")
    program.chmod(0o755)
    with pytest.raises(SpiritSafeError, match="it said nothing"):
        send("gguf", converter=program)


def test_what_is_refused(send, finished):
    with pytest.raises(UsageError, match="cannot export to 'onnx'"):
        send("onnx")
    send("hf")
    with pytest.raises(UsageError, match="exists and is not overwritten"):
        send("hf")
    config = finished.path / "students/student-0/model/config.json"
    config.write_text(json.dumps({"architectures": ["ModernBertForSequenceClassification"]}))
    (finished.path / "out").rename(finished.path / "away")
    with pytest.raises(UsageError, match="gguf holds language models"):
        send("gguf")
    assert send("vllm").serve.endswith("--runner pooling")


def test_the_verb_prints_the_command_that_serves(call, finished):
    done = call("export", finished.path, "--to", "hf", "--json")
    folder = finished.path / "export" / "hf"
    assert json.loads(done.stdout)["serve"] == f"transformers serve {folder}"
    assert f"next: transformers serve {folder}\n" in done.stderr
    with pytest.raises(UsageError, match="baseline is not trained yet"):
        call("export", finished.path, "--to", "hf", "--arm", "baseline")
