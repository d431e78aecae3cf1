"""`store import`: whose words these are, and the command that comes next."""

import json

import pytest

from spiritsafe.errors import UsageError
from spiritsafe.store.shards import read_shards

LOG = {"messages": [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "#### 4"}]}


@pytest.fixture
def logs(tmp_path):
    path = tmp_path / "logs.jsonl"
    path.write_text(json.dumps(LOG) + "\n")
    return path


@pytest.mark.parametrize(
    ("teacher", "key"),
    [
        ("openai:gpt-4.1", "gpt-4.1@api.openai.com:443"),
        ("http://127.0.0.1:8000/v1#qwen", "qwen@127.0.0.1:8000"),
        ("hf:Qwen/Qwen3-8B", "hf:Qwen/Qwen3-8B@local"),
        ("claude-sonnet@api.anthropic.com", "claude-sonnet@api.anthropic.com"),
    ],
)
def test_the_teacher_is_named_as_in_a_recipe(call, tmp_path, logs, teacher, key):
    call("store", "import", tmp_path / "r", logs, "--teacher", teacher, "--date", "2026-05")
    (sample,) = read_shards(tmp_path / "r" / "imported")
    assert (sample.origin.teacher, sample.origin.date) == (key, "2026-05")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "an import needs an origin"),
        (["--teacher", "openai:gpt-4.1"], "an import needs a date"),
        (["--teacher", "openai:gpt-4.1", "--date", "2026-13"], "not an ISO date: '2026-13'"),
        (["--teacher", "gpt-4.1", "--date", "2026-05"], "not the name of a teacher: 'gpt-4.1'"),
    ],
)
def test_logs_without_origin_are_refused_with_the_cure(call, tmp_path, logs, arguments, problem):
    with pytest.raises(UsageError, match=problem) as error:
        call("store", "import", tmp_path / "r", logs, *arguments)
    assert "openai:" in error.value.hint
    assert not (tmp_path / "r").exists()


def test_the_next_command_follows_from_where_the_run_stands(call, tmp_path, logs):
    arguments = (
        "store",
        "import",
        tmp_path / "r",
        logs,
        "--teacher",
        "openai:gpt-4.1",
        "--date",
        "2026-05-31",
    )
    assert "next: spiritsafe run RECIPE --out" in call(*arguments).stderr
    (tmp_path / "r" / "recipe.json").write_text("{}")
    done = call(*arguments, "--json")
    assert json.loads(done.stdout) == {"imported": 0}
    assert f"next: spiritsafe run {tmp_path / 'r'}\n" in done.stderr
    assert "next: spiritsafe store verify" in call("store", "ls", tmp_path / "r").stderr
    assert "next: spiritsafe store export" in call("store", "verify", tmp_path / "r").stderr
    done = call("store", "export", tmp_path / "r", tmp_path / "out.jsonl")
    assert f"next: spiritsafe export {tmp_path / 'r'} --to hf\n" in done.stderr
