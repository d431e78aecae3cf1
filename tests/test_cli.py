"""The command line as a user meets it: one clear line, a hint, the right exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spiritsafe import recipe_file
from spiritsafe.cli import main
from spiritsafe.errors import RecipeError, UsageError
from spiritsafe.pipeline.short import write_recipe


def spiritsafe(*arguments, cwd=None, env=None):
    return subprocess.run(
        [sys.executable, "-m", "spiritsafe", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        timeout=120,
    )


def check(done, code, *parts):
    assert done.returncode == code, done.stderr
    for part in parts:
        assert part in done.stderr
    assert "Traceback" not in done.stderr


def test_unknown_key_names_the_nearest(tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("trian: {}\n")
    check(spiritsafe("run", recipe), 2, "unknown key: trian (did you mean train?)", "hint:")


def test_missing_key_variable(tmp_path):
    done = spiritsafe(
        "collect",
        "--out",
        tmp_path / "r",
        "--set",
        "teacher.model=openai:gpt-4.1",
        "--set",
        "task.train_prompts=10",
        "--set",
        "teacher.api_key_env=NO_SUCH_KEY_HERE",
        "--set",
        "budget.usd=1",
    )
    check(done, 2, "NO_SUCH_KEY_HERE")


def test_unreachable_server(tmp_path):
    done = spiritsafe("collect", "--out", tmp_path / "r", "--set", "teacher.model=http://127.0.0.1:9/v1#m")
    check(done, 1, "127.0.0.1:9", "hint:")


def test_empty_prompt_file(tmp_path):
    (tmp_path / "p.jsonl").write_text("")
    done = spiritsafe("run", "--teacher", "bundled:teacher", "--prompts", "p.jsonl", cwd=tmp_path)
    check(done, 2, "p.jsonl")
    assert (tmp_path / "runs" / "p.yaml").exists()


def test_malformed_line_is_named_by_number(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"question": "1+1?", "answer": "#### 2"}\n{"question": \n')
    done = spiritsafe("run", "--teacher", "bundled:teacher", "--prompts", "p.jsonl", cwd=tmp_path)
    check(done, 2, "p.jsonl:2")


def test_missing_model_folder(tmp_path):
    done = spiritsafe("collect", "--out", tmp_path / "r", "--set", f"teacher.model={tmp_path}/nothing")
    assert done.returncode in (1, 2)
    assert "nothing" in done.stderr and "Traceback" not in done.stderr


def test_a_directory_that_is_no_run(tmp_path):
    check(spiritsafe("report", tmp_path), 2, "not a run directory")


def test_a_run_directory_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    check(spiritsafe("collect", "--out", tmp_path / "file"), 2, "cannot make the run directory", "hint:")


def test_ctrl_c_says_what_is_kept(monkeypatch, capsys):
    def interrupted():
        raise SystemExit(main.INTERRUPTED)

    monkeypatch.setattr(main, "app", interrupted)
    with pytest.raises(SystemExit) as stopped:
        main.main()
    assert stopped.value.code == 130
    assert "everything settled is kept" in capsys.readouterr().err


def test_short_form_keeps_what_was_edited_and_refuses_other_prompts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    short = {"teacher": "bundled:teacher", "student": None, "recipe": None}
    path = write_recipe(prompts=Path("p.jsonl"), budget_usd=1, **short)
    path.write_text(path.read_text() + "train: {tokens: 5}\n")
    assert write_recipe(prompts=Path("p.jsonl"), budget_usd=2, **short) == path
    written = recipe_file.load(path)
    assert (written.train.tokens, written.budget.usd) == (5, 2)
    with pytest.raises(UsageError, match="another prompt file"):
        write_recipe(prompts=Path("elsewhere/p.jsonl"), budget_usd=2, **short)
    with pytest.raises(RecipeError, match=r"budget\.usd"):
        write_recipe(prompts=Path("q.jsonl"), budget_usd=-1, **short)
    assert not Path("runs/q.yaml").exists()


def test_short_form_needs_prompts():
    check(spiritsafe("run", "--teacher", "bundled:teacher"), 2, "--prompts")


def test_schema_and_show_are_json():
    assert "properties" in json.loads(spiritsafe("recipe", "schema").stdout)
    shown = json.loads(spiritsafe("recipe", "show", "--set", "seed=5", "--set", "teacher.is=A/B").stdout)
    assert shown["seed"] == 5 and shown["teacher"]["is"] == "A/B"


@pytest.mark.parametrize("verb", ["run", "plan", "collect", "select", "train", "evaluate", "report", "store"])
def test_every_verb_explains_itself(verb):
    done = spiritsafe(verb, "--help")
    assert done.returncode == 0 and "Usage" in done.stdout
