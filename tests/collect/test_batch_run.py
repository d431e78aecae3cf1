"""Runs by the batch: the command line, Ctrl-C, files for a program of one's own, the plan."""

import json
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from spiritsafe import recipe_file
from spiritsafe.cli.main import app
from spiritsafe.errors import RecipeError, SpiritSafeError
from spiritsafe.pipeline.plan import describe, plan
from spiritsafe.pipeline.run import run
from spiritsafe.rundir import RunDir
from spiritsafe.store.ledger import Ledger
from spiritsafe.store.shards import read_shards

SMALL = {
    "task": {"train_prompts": 20, "validation_prompts": 4, "test_prompts": 6},
    "collect": {"mode": "batch", "max_tokens": 8},
    "teacher": {
        "price": {
            "input_per_million": 1.0,
            "output_per_million": 2.0,
            "batch_input_per_million": 0.5,
            "batch_output_per_million": 1.0,
        }
    },
    "budget": {"usd": 1.0},
}


def recipe(ref, **changes):
    return recipe_file.parse(json.loads(json.dumps(SMALL)), [f"teacher.model={ref}", *changes.get("set", [])])


def command_line(out, ref, *more):
    """A `spiritsafe collect` of its own; polls quickly."""
    code = (
        "from spiritsafe.collect import batch_wait as w; w.POLL_S = w.MAX_POLL_S = 0.05\n"
        "from spiritsafe.cli.main import main; main()"
    )
    path = out.with_suffix(".yaml")
    path.write_text(json.dumps(SMALL | {"teacher": {"model": ref, **SMALL["teacher"]}}))
    words = [sys.executable, "-c", code, "collect", str(path), "--out", str(out), *more]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_ctrl_c_leaves_the_batch_running_and_the_command_goes_on(tmp_path, start_batches):
    server, out = start_batches(delay=3.0), tmp_path / "run"
    process = command_line(out, server.batch_ref("openai"))
    while server.events()["state"] < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"goes on at 127.0.0.1:{server.port}" in said
    assert "batch 1 of 1: in_progress, 0/24" in said
    assert "run the same command to go on" in said
    shown = CliRunner().invoke(app, ["store", "ls", str(out)])
    assert f"out: batch_2, 24 requests for train, at http://127.0.0.1:{server.port}/v1" in shown.stdout
    again = command_line(out, server.batch_ref("openai"))
    _, said = again.communicate(timeout=60)
    assert again.returncode == 0, said
    assert server.events()["accepted"] == 1
    assert sorted(server.billed().values()) == [1] * 24
    samples = read_shards(out / "samples")
    assert len(samples) == 24
    live = command_line(out, server.batch_ref("openai"), "--set", "collect.mode=live")
    _, said = live.communicate(timeout=60)
    assert live.returncode == 0 and "collect: done before, kept" in said


def test_a_file_goes_out_and_answers_come_in(tmp_path):
    folder, out = tmp_path / "files", tmp_path / "run"
    asked = recipe(f"batch-file:{folder}#org/name")
    with pytest.raises(SpiritSafeError, match="24 requests wait for their answers") as stopped:
        run(asked, out, until="collect")
    (path,) = folder.glob("batch-*.jsonl")
    answers = path.with_suffix(".answers.jsonl")
    command = stopped.value.hint.splitlines()[1]
    assert command == (
        f"vllm run-batch -i {path} -o {answers}.part --model org/name && mv {answers}.part {answers}"
    )
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 24 and {row["body"]["model"] for row in rows} == {"org/name"}
    assert all(row["body"]["max_tokens"] == 8 for row in rows)
    with pytest.raises(SpiritSafeError, match="24 requests wait"):  # the same file, not a second one
        run(asked, out, until="collect")
    assert len(list(folder.glob("*"))) == 1
    play_vllm(rows[:20], answers)
    with pytest.raises(SpiritSafeError, match="4 requests wait"):  # what was not answered goes out again
        run(asked, out, until="collect")
    (second,) = set(folder.glob("batch-*.jsonl")) - {path, answers}
    left = [json.loads(line) for line in second.read_text().splitlines()]
    assert {row["custom_id"] for row in left} == {row["custom_id"] for row in rows[20:]}
    play_vllm(left, second.with_suffix(".answers.jsonl"))
    run(asked, out, until="select")
    assert {s.request_hash for s in read_shards(out / "selected")} == {row["custom_id"] for row in rows}
    samples = read_shards(out / "samples")
    assert {s.text for s in samples} == {f"answer {row['custom_id'][:4]}" for row in rows}
    assert {(s.origin.teacher, s.origin.channel) for s in samples} == {("org/name@offline", "batch")}
    with Ledger(RunDir(out).ledger) as ledger:
        assert (ledger.totals().rejected, ledger.totals().in_flight) == (24, 0)  # wrong, all of them


def play_vllm(rows, path):
    """Answer a batch file as `vllm run-batch` does, in another order."""
    lines = []
    for row in reversed(rows):
        message = {"role": "assistant", "content": f"answer {row['custom_id'][:4]}"}
        body = {
            "choices": [{"message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 3},
        }
        response = {"status_code": 200, "request_id": "r", "body": body}
        lines.append(
            json.dumps({"id": "v", "custom_id": row["custom_id"], "response": response, "error": None})
        )
    path.write_text("\n".join(lines) + "\n")


def test_the_plan_of_a_batch_run_is_at_the_batch_price(tmp_path, start_server):
    server = start_server()
    estimate = plan(recipe(server.ref), tmp_path / "run")
    assert estimate.batch and estimate.measured == 16
    assert estimate.usd.mid == pytest.approx(estimate.live_usd.mid / 2)
    assert estimate.bound.usd > estimate.usd.high
    text = describe(estimate)
    assert f"batch    the same requests live would take {estimate.live_usd.mid:,.4f} USD" in text
    assert "up to a day" in text


def test_the_plan_of_a_teacher_without_a_live_way_is_an_upper_bound(tmp_path):
    estimate = plan(recipe(f"batch-file:{tmp_path}#m"), tmp_path / "run")
    assert (estimate.measured, estimate.requests) == (0, 30)
    assert (estimate.usd.low, estimate.usd.mid) == (0.0, estimate.bound.usd)
    assert "none measured" in describe(estimate)


def test_a_launched_server_is_not_asked_by_the_batch():
    with pytest.raises(RecipeError, match=r"collect.mode batch asks a provider, teacher.launch serves live"):
        recipe("http://127.0.0.1:8000/v1#m", set=["teacher.launch=vllm serve m --port 8000"])


def test_a_local_model_is_not_asked_by_the_batch(tmp_path):
    with pytest.raises(SpiritSafeError, match="bundled:teacher runs in this process"):
        run(recipe("bundled:teacher"), tmp_path / "run", until="collect")


def test_no_key_is_written(tmp_path, start_batches, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-files")
    server, out = start_batches(), tmp_path / "run"
    process = command_line(out, server.batch_ref("openai"))
    assert process.communicate(timeout=60) and process.returncode == 0
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or b"sk-not-for-files" not in path.read_bytes(), path
