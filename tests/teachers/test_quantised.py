"""Checkpoints with quantised weights: as teachers they load as transformers loads them, as students never."""

import importlib.util
import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.tiny import save_tiny, tiny_model

from spiritsafe import recipe_file
from spiritsafe.errors import InputError, MissingExtra, TeacherError
from spiritsafe.pipeline.run import start
from spiritsafe.recipe import Student
from spiritsafe.records import Request, Sampling
from spiritsafe.students.load import load_student
from spiritsafe.teachers.local import LocalModel

BLOCK = 16
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"}


def with_config(folder, quantization):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "quantization_config": quantization}))
    return folder


def to_fp8(weight):
    """Blocks of float8 with a scale each, and what they stand for."""
    rows, columns = (math.ceil(n / BLOCK) for n in weight.shape)
    scale = torch.zeros(rows, columns)
    packed = torch.zeros_like(weight, dtype=torch.float8_e4m3fn)
    back = torch.zeros_like(weight)
    for i in range(rows):
        for j in range(columns):
            at = (slice(i * BLOCK, (i + 1) * BLOCK), slice(j * BLOCK, (j + 1) * BLOCK))
            scale[i, j] = weight[at].abs().max() / 448
            packed[at] = (weight[at] / scale[i, j]).to(torch.float8_e4m3fn)
            back[at] = packed[at].float() * scale[i, j]
    return packed, scale, back


@pytest.fixture
def fp8(tmp_path):
    """A folder in fp8 as DeepSeek and Qwen publish them, and the model that it stands for."""
    folder, plain = save_tiny(tmp_path / "fp8"), tiny_model()
    state, whole = load_file(folder / "model.safetensors"), plain.state_dict()
    for name, weight in list(state.items()):
        if "_proj.weight" in name:
            packed, scale, back = to_fp8(weight)
            state |= {name: packed, f"{name}_scale_inv": scale}
            whole[name] = back
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    plain.load_state_dict(whole)
    quantization = {
        "quant_method": "fp8",
        "activation_scheme": "dynamic",
        "weight_block_size": [BLOCK, BLOCK],
    }
    return with_config(folder, quantization), plain


def test_an_fp8_teacher_answers_as_the_weights_that_it_stands_for(fp8):
    folder, plain = fp8
    local = LocalModel.load(str(folder), device="cpu")
    for name, value in plain.state_dict().items():
        assert torch.allclose(local.model.state_dict()[name].float(), value, atol=1e-2, rtol=1e-2), name
    ids = torch.arange(20, 40)[None]
    with torch.no_grad():
        apart = local.model(input_ids=ids).logits.float() - plain(input_ids=ids).logits
    assert apart.abs().max() < 0.2
    assert local.parameters == plain.num_parameters()
    message = {"role": "user", "content": "hello"}
    request = Request(prompt_id="p", messages=(message,), teacher="t", sampling=Sampling(max_tokens=4))
    [reply] = local.generate([request])
    assert reply.usage.output_tokens >= 1


@pytest.mark.parametrize(
    ("quantization", "command"),
    [
        (AWQ, "pip install gptqmodel"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "pip install gptqmodel optimum"),
        ({"quant_method": "compressed-tensors"}, "pip install 'compressed-tensors"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "pip install 'bitsandbytes"),
        ({"quant_method": "torchao", "quant_type": "int8_weight_only"}, "pip install torchao"),
    ],
    ids=lambda value: value["quant_method"] if isinstance(value, dict) else "",
)
def test_a_missing_library_comes_with_its_command(tmp_path, quantization, command):
    name = command.removeprefix("pip install ").strip("'").split()[0].replace("-", "_")
    if importlib.util.find_spec(name):
        pytest.skip(f"{name} is installed")
    folder = with_config(save_tiny(tmp_path / "m"), quantization)
    with pytest.raises(MissingExtra, match="a library for it is missing") as caught:
        LocalModel.load(str(folder))
    assert caught.value.hint.startswith(command)


def test_packed_weights_of_an_unknown_method_are_not_taken_for_whole_ones(tmp_path):
    folder = with_config(save_tiny(tmp_path / "m"), {"quant_method": "nonsense"})
    state = load_file(folder / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    state[name.replace("weight", "qweight")] = state.pop(name).to(torch.int32)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TeacherError, match="weights are missing for 1 parameters"):
        LocalModel.load(str(folder))


@pytest.mark.parametrize("adapter", ["auto", "full", "lora"])
def test_a_quantised_student_is_refused_before_anything_is_asked(tmp_path, adapter):
    folder = with_config(save_tiny(tmp_path / "m"), AWQ)
    recipe = recipe_file.parse({"student": {"model": str(folder), "adapter": adapter}})
    with pytest.raises(InputError, match="quantised by awq: they cannot be trained") as caught:
        start(recipe, tmp_path / "run")
    assert "unquantised checkpoint; student.adapter: qlora" in caught.value.hint
    assert not (tmp_path / "run").exists()


def test_layers_of_a_quantised_teacher_are_no_student_either(tmp_path):
    folder = with_config(save_tiny(tmp_path / "m"), AWQ)
    arm = {"data": "teacher", "shrink": {"model": str(folder), "layers": [0]}}
    with pytest.raises(InputError, match="quantised by awq"):
        start(recipe_file.parse({"arms": {"small": arm}}), tmp_path / "run")


def test_loading_one_is_refused_too(fp8):
    with pytest.raises(InputError, match="quantised by fp8"):
        load_student(Student(model=str(fp8[0])))
