"""Runs side by side: the scores of the results, and a warning where they do not measure the same."""

import json
import shutil

import pytest

from spiritsafe.errors import UsageError
from spiritsafe.report.table import interval, percent


def test_every_model_of_every_run_has_its_row(call, finished, finished_api):
    done = call("compare", finished.path, finished_api.path)
    lines = done.stdout.splitlines()
    assert len(lines) == 1 + 5 + 5
    score = finished.read_json("result.json")["models"]["student"]["task_score"]
    row = next(line for line in lines if line.startswith(str(finished.path)) and " student " in line)
    assert percent(score["value"]) in row and interval(score) in row and row.rstrip().endswith("240")
    assert "different test prompts" not in done.stderr


def test_other_problems_are_no_comparison(call, finished, tmp_path):
    other = shutil.copytree(finished.path, tmp_path / "other")
    (other / "prompts/test.jsonl").write_text("")
    done = call("compare", finished.path, other, "--json")
    assert json.loads(done.stdout)["same_problems"] is False
    assert "different test prompts" in done.stderr


def test_a_run_without_a_result_is_named(call, finished, tmp_path):
    with pytest.raises(UsageError, match=f"no result in {tmp_path}"):
        call("compare", finished.path, tmp_path)
