"""The run directory: whole files, stages that know when they are stale."""

import subprocess
import sys

import pytest

from spiritsafe.errors import CorruptData, SpiritSafeError, UsageError
from spiritsafe.rundir import RunDir, write_atomic


def test_json_and_lines_come_back(tmp_path):
    run = RunDir(tmp_path / "run")
    run.write_json("a/b.json", {"x": [1, None, "é"]})
    run.write_lines("rows.jsonl", [{"n": 1}, {"n": 2}])
    assert run.read_json("a/b.json") == {"x": [1, None, "é"]}
    assert run.read_lines("rows.jsonl") == [{"n": 1}, {"n": 2}]
    assert not list(tmp_path.rglob("*.tmp"))


def test_nan_never_enters_json(tmp_path):
    run = RunDir(tmp_path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        run.write_json("x.json", {"x": float("nan")})


def test_a_torn_line_is_cut_off_before_the_next_one(tmp_path):
    run = RunDir(tmp_path)
    run.log(a=1)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"b": ')
    run.log(c=3)
    assert run.read_lines("metrics.jsonl") == [{"a": 1}, {"c": 3}]
    (tmp_path / "metrics.jsonl").write_text('{"b": \n')
    with pytest.raises(CorruptData, match=r"damaged file: .*metrics.jsonl"):
        run.read_lines("metrics.jsonl")


def test_unfinished_last_line_is_left_out(tmp_path):
    run = RunDir(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"n": 1}\n{"n": 2')
    assert run.read_lines("rows.jsonl") == [{"n": 1}]


def test_damaged_json_names_the_file(tmp_path):
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(CorruptData, match=r"x\.json"):
        RunDir(tmp_path).read_json("x.json")


def test_stage_is_done_only_with_same_key_and_same_bytes(tmp_path):
    run = RunDir(tmp_path)
    path = run.write_json("out.json", 1)
    run.mark_done("s", "key", [path])
    assert run.is_done("s", "key")
    assert not run.is_done("s", "other")
    path.write_text("2")
    assert not run.is_done("s", "key")
    path.unlink()
    assert not run.is_done("s", "key")
    assert not run.is_done("never", "key")


def test_span_is_kept_when_the_stage_fails(tmp_path):
    run = RunDir(tmp_path)
    with pytest.raises(RuntimeError), run.span("s"):
        raise RuntimeError
    assert [row["name"] for row in run.read_lines("spans.jsonl")] == ["s"]


def test_disk_full_keeps_the_old_file(tmp_path):
    """A file-size limit stands for a full disk: the write fails half-way in the same place."""
    path = tmp_path / "x"
    write_atomic(path, "old")
    code = (
        "import resource, signal, sys\nfrom pathlib import Path\n"
        "from spiritsafe.errors import SpiritSafeError\nfrom spiritsafe.rundir import write_atomic\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_atomic(Path(sys.argv[1]), 'n' * 5000)\n"
        "except SpiritSafeError as error: print(error.message, '|', error.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert "cannot write" in done.stdout and "free some space" in done.stdout
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_two_runs_do_not_share_a_directory(tmp_path):
    refused = pytest.raises(SpiritSafeError, match="another run is at work")
    with RunDir(tmp_path).locked(), refused, RunDir(tmp_path).locked():
        pytest.fail("the lock was given twice")
    with RunDir(tmp_path).locked():
        pass


def test_a_file_is_no_run_directory(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "inside"):
        with pytest.raises(UsageError, match="cannot make the run directory"):
            RunDir(path)
