import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spiritsafe.errors import CorruptData, SpiritSafeError
from spiritsafe.records import Origin, Sample, Usage
from spiritsafe.store.shards import read_shards, verify, write_shards

ORIGIN = Origin(teacher="m@local", channel="local", fingerprint=None, date="2026-01-02")


def sample(number: int, **changes) -> Sample:
    base = Sample(
        request_hash=f"{number:064x}",
        prompt_id=f"p{number}",
        messages=({"role": "user", "content": f"What is {number} + 1?"},),
        text=f"#### {number + 1}",
        reasoning=None,
        finish_reason="stop",
        index=0,
        usage=Usage(input_tokens=7, output_tokens=3),
        cost_usd=0.25,
        origin=ORIGIN,
    )
    return replace(base, **changes)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_rows_come_back_sorted_and_whole(tmp_path):
    rows = [
        sample(3, accepted=False, reject_reason="wrong"),
        sample(1, reasoning="think", origin=replace(ORIGIN, fingerprint="fp_1")),
        sample(2, accepted=True),
    ]
    files = write_shards(rows, tmp_path / "samples", rows_per_shard=2)
    assert [path.suffix for path in files] == [".parquet", ".parquet", ".json"]
    assert read_shards(tmp_path / "samples") == [rows[1], rows[2], rows[0]]
    assert verify(tmp_path / "samples") == []


def test_manifest_says_what_is_there(tmp_path):
    *shards, manifest = write_shards([sample(n) for n in range(5)], tmp_path, rows_per_shard=2)
    value = json.loads(manifest.read_text())
    assert value["rows"] == 5
    assert [entry["rows"] for entry in value["shards"]] == [2, 2, 1]
    assert [entry["file"] for entry in value["shards"]] == [path.name for path in shards]
    assert [entry["bytes"] for entry in value["shards"]] == [path.stat().st_size for path in shards]


text = st.text(st.characters(exclude_categories=["Cs"]))
usages = st.builds(Usage, input_tokens=st.integers(0, 2**40), cached_tokens=st.integers(0, 9))
samples = st.builds(
    Sample,
    request_hash=st.text("0123456789abcdef", min_size=64, max_size=64),
    prompt_id=text,
    messages=st.lists(st.fixed_dictionaries({"role": text, "content": text}), max_size=3).map(tuple),
    text=text,
    reasoning=st.none() | text,
    finish_reason=text,
    index=st.integers(0, 2**31),
    usage=usages,
    cost_usd=st.floats(0, 1e6),
    origin=st.builds(Origin, teacher=text, channel=text, fingerprint=st.none() | text, date=text),
    accepted=st.none() | st.booleans(),
    reject_reason=st.none() | text,
)


@settings(max_examples=40, deadline=None)
@given(st.lists(samples, max_size=5, unique_by=lambda s: s.request_hash), st.integers(1, 3))
def test_round_trip(tmp_path_factory, rows, rows_per_shard):
    directory = tmp_path_factory.mktemp("shards")
    write_shards(rows, directory, rows_per_shard)
    assert read_shards(directory) == sorted(rows, key=lambda s: s.request_hash)
    assert verify(directory) == []


def test_equal_rows_give_equal_bytes_in_any_order(tmp_path):
    rows = [sample(n) for n in range(20)]
    write_shards(rows, tmp_path / "a", rows_per_shard=7)
    write_shards(reversed(rows), tmp_path / "b", rows_per_shard=7)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_second_write_replaces_the_first(tmp_path):
    write_shards([sample(n) for n in range(9)], tmp_path, rows_per_shard=2)
    (tmp_path / ".shard-00007-aa.parquet.1.tmp").write_bytes(b"left by a crash")
    files = write_shards([sample(1)], tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert read_shards(tmp_path) == [sample(1)]


def test_no_rows_make_an_empty_set(tmp_path):
    assert write_shards([], tmp_path) == [tmp_path / "manifest.json"]
    assert read_shards(tmp_path) == []


def test_other_readers_see_plain_columns(tmp_path):
    shard, _ = write_shards([sample(1, reasoning="r")], tmp_path)
    row = pq.read_table(shard).to_pylist()[0]
    assert row["messages"] == [{"role": "user", "content": "What is 1 + 1?"}]
    assert (row["text"], row["reasoning"], row["usage"]["output_tokens"]) == ("#### 2", "r", 3)


@pytest.mark.parametrize("damage", ["truncated", "edited", "missing"])
def test_a_damaged_shard_is_named(tmp_path, damage):
    first, second, _ = write_shards([sample(n) for n in range(4)], tmp_path, rows_per_shard=2)
    data = second.read_bytes()
    if damage == "missing":
        second.unlink()
    else:
        middle = len(data) // 2
        second.write_bytes(data[:-1] if damage == "truncated" else data[:middle] + b"\0" + data[middle + 1 :])
    with pytest.raises(CorruptData, match=second.name) as error:
        read_shards(tmp_path)
    assert error.value.hint
    assert [second.name in problem and first.name not in problem for problem in verify(tmp_path)] == [True]


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace('"rows": 2', '"rows": 3'),
        lambda text: text.replace("spiritsafe-shards-1", "spiritsafe-shards-9"),
        lambda text: text[:-20],
        lambda text: "[]",
        lambda text: '{"shards": 7}',
        lambda text: '{"shards": [{"file": "../../etc/passwd"}]}',
    ],
)
def test_an_edited_manifest_is_named(tmp_path, edit):
    *_, manifest = write_shards([sample(1), sample(2)], tmp_path)
    manifest.write_text(edit(manifest.read_text()))
    with pytest.raises(CorruptData, match=r"manifest\.json"):
        read_shards(tmp_path)
    assert len(verify(tmp_path)) == 1


def test_no_manifest_and_strangers(tmp_path):
    with pytest.raises(CorruptData, match="no manifest"):
        read_shards(tmp_path / "nowhere")
    shard, _ = write_shards([sample(1)], tmp_path)
    (tmp_path / "copy.parquet").write_bytes(shard.read_bytes())
    assert verify(tmp_path) == [f"not in the manifest: {tmp_path / 'copy.parquet'}"]


FULL_DISK = """
import random, resource, sys
from dataclasses import replace
from pathlib import Path
from spiritsafe.errors import SpiritSafeError
from spiritsafe.store.shards import read_shards, write_shards

directory = Path(sys.argv[1])
first = read_shards(directory)[0]
# The last answer hardly compresses: its shard does not fit any more, those before it do.
texts = [random.Random(size).randbytes(size).hex() for size in (9, 9, 60_000)]
new = [replace(first, request_hash=f"{n:064x}", text=text) for n, text in enumerate(texts)]
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    write_shards(new, directory, rows_per_shard=1)
except SpiritSafeError as error:
    print(error.message, "|", error.hint)
"""


def test_a_full_disk_leaves_the_old_set_and_nothing_else(tmp_path):
    write_shards([sample(n) for n in range(3)], tmp_path, rows_per_shard=1)
    before = contents(tmp_path)
    result = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith(f"cannot write {tmp_path}")
    assert "free some space" in result.stdout
    assert contents(tmp_path) == before


def test_a_crash_before_the_manifest_leaves_the_old_set(tmp_path):
    write_shards([sample(n) for n in range(3)], tmp_path / "new")
    write_shards([sample(1)], tmp_path / "old")
    for shard in (tmp_path / "new").glob("*.parquet"):
        shard.rename(tmp_path / "old" / shard.name)
    assert read_shards(tmp_path / "old") == [sample(1)]
    assert len(verify(tmp_path / "old")) == 1
    write_shards([sample(2)], tmp_path / "old")
    assert verify(tmp_path / "old") == []


STOPPED = """
import os, sys
from dataclasses import replace
from pathlib import Path
from spiritsafe import rundir
from spiritsafe.store.shards import read_shards, write_shards

directory, stop_at, calls = Path(sys.argv[1]), int(sys.argv[2]), 0
rows = [replace(row, text="new") for row in read_shards(directory)]

def interrupted(path):  # stands in for Ctrl-C right after a rename
    global calls
    calls += 1
    if calls == stop_at:
        raise KeyboardInterrupt

rundir.sync_directory = interrupted
try:
    write_shards(rows, directory, rows_per_shard=2)
except KeyboardInterrupt:
    print("stopped")
"""


@pytest.mark.parametrize("stop_at", [1, 2, 3])
def test_ctrl_c_after_any_rename_leaves_a_whole_set(tmp_path, stop_at):
    """Two shards, then the manifest: before the third rename the old set counts, after it the new one."""
    write_shards([sample(n) for n in range(4)], tmp_path, rows_per_shard=2)
    command = [sys.executable, "-c", STOPPED, str(tmp_path), str(stop_at)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "stopped\n"
    texts = [row.text for row in read_shards(tmp_path)]
    assert texts == (["new"] * 4 if stop_at == 3 else [f"#### {n + 1}" for n in range(4)])


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SpiritSafeError, match="cannot make the folder"):
        write_shards([], tmp_path / "file" / "samples")


def test_an_answer_that_is_not_text_is_named_and_the_old_set_stays(tmp_path):
    write_shards([sample(1)], tmp_path)
    before = contents(tmp_path)
    half = sample(2, text="\ud800")
    with pytest.raises(SpiritSafeError, match=half.request_hash[:12]):
        write_shards([sample(1), half, sample(3)], tmp_path, rows_per_shard=1)
    assert contents(tmp_path) == before
