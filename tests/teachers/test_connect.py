"""Names of teachers, and model folders that are not whole."""

import json

import pytest

from spiritsafe.errors import InputError, UsageError
from spiritsafe.recipe import Teacher
from spiritsafe.records import TeacherId
from spiritsafe.teachers.api import ApiSampler
from spiritsafe.teachers.connect import connect, teacher_id
from spiritsafe.teachers.folders import resolve_model

SECRET = "sk-not-for-logs"


def safetensors(path, size=64):
    header = json.dumps({"w": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(size))


def folder(path):
    path.mkdir()
    (path / "config.json").write_text("{}")
    (path / "tokenizer.json").write_text("{}")
    safetensors(path / "model.safetensors")
    return path


def test_a_url_names_server_and_model():
    settings = Teacher.model_validate({"model": "x", "is": "Qwen/Qwen3-32B"})
    sampler = connect("http://127.0.0.1:8000/v1#org/name", settings=settings)
    assert isinstance(sampler, ApiSampler)
    assert sampler.teacher == TeacherId(
        wire_name="org/name", is_model="Qwen/Qwen3-32B", host="127.0.0.1:8000", channel="api"
    )
    assert (sampler.batch_size, sampler.max_concurrency) == (1, 64)


@pytest.mark.parametrize(
    ("ref", "host"),
    [
        ("http://localhost/v1#m", "localhost:80"),
        ("https://localhost/v1#m", "localhost:443"),
        ("http://[::1]:9/v1#m", "[::1]:9"),
    ],
)
def test_the_host_always_has_a_port(ref, host):
    assert connect(ref).teacher.host == host


def test_openai_needs_its_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UsageError, match="OPENAI_API_KEY is not set"):
        connect("openai:gpt-x")
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    assert connect("openai:gpt-x").teacher == TeacherId(
        wire_name="gpt-x", host="api.openai.com:443", channel="api"
    )


def test_the_variable_is_the_recipes(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.delenv("OTHER_KEY", raising=False)
    with pytest.raises(UsageError, match=r"OTHER_KEY is not set: example.org:443") as error:
        connect("https://example.org/v1#m", settings=Teacher(api_key_env="OTHER_KEY"))
    assert error.value.hint is not None and "teacher.api_key_env" in error.value.hint


def test_a_key_with_a_line_break_inside_is_refused_without_showing_it(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", f"{SECRET}\n{SECRET}")
    with pytest.raises(UsageError, match="does not hold a key") as error:
        connect("openai:gpt-x")
    assert SECRET not in error.value.message + (error.value.hint or "")


@pytest.mark.parametrize("ref", ["http://127.0.0.1:1/v1", "http://#m", "https://h/v1#"])
def test_incomplete_urls(ref):
    with pytest.raises(UsageError, match="needs a server and a model name") as error:
        connect(ref)
    assert error.value.hint == "for example http://127.0.0.1:8000/v1#Qwen/Qwen3-32B"


def test_a_password_in_the_url_is_refused_without_showing_it():
    with pytest.raises(UsageError, match="may not carry a password") as error:
        connect(f"http://user:{SECRET}@127.0.0.1:1/v1#m")
    assert SECRET not in error.value.message


def test_hf_and_folders_resolve(tmp_path):
    assert resolve_model("hf:org/name") == "org/name"
    path = folder(tmp_path / "model")
    assert resolve_model(str(path)) == str(path)


@pytest.mark.parametrize("ref", ["nowhere/model", "gpt-4", "bundled:nothing"])
def test_unknown_names_list_what_is_allowed(ref):
    with pytest.raises(InputError, match=ref) as error:
        resolve_model(ref)
    assert error.value.hint is not None
    assert "bundled:" in error.value.hint or "none" in error.value.hint


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_file_is_named(tmp_path, name):
    path = folder(tmp_path / "model")
    (path / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing or damaged"):
        resolve_model(str(path))


@pytest.mark.parametrize("keep", [0, 4, 40, -1])
def test_a_half_downloaded_file_is_named(tmp_path, keep):
    path = folder(tmp_path / "model")
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"model\.safetensors is missing or damaged"):
        resolve_model(str(path))


def test_every_shard_is_needed(tmp_path):
    path = folder(tmp_path / "model")
    (path / "model.safetensors").unlink()
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    safetensors(path / "model-1.safetensors")
    with pytest.raises(InputError, match=r"model-2\.safetensors is missing"):
        resolve_model(str(path))
    safetensors(path / "model-2.safetensors")
    assert resolve_model(str(path)) == str(path)


def test_an_impossible_port_is_named():
    with pytest.raises(UsageError, match=r"not an address: http://127\.0\.0\.1:99999/v1"):
        connect("http://127.0.0.1:99999/v1#m")


def test_who_answers_is_known_without_a_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    settings = Teacher(model="openai:gpt-4.1", is_model="a/b")
    assert teacher_id("openai:gpt-4.1", settings) == TeacherId(
        wire_name="gpt-4.1", is_model="a/b", host="api.openai.com:443", channel="api"
    )
