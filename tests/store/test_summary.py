from dataclasses import replace

from spiritsafe.records import Origin, Sample, Usage
from spiritsafe.store.shards import write_shards
from spiritsafe.store.summary import list_store

ORIGIN = Origin(teacher="m@local", channel="local", fingerprint=None, date="2026-01-02")


def sample(number: int, **changes) -> Sample:
    base = Sample(
        request_hash=f"{number:064x}",
        prompt_id=f"p{number}",
        messages=({"role": "user", "content": "2 + 2?"},),
        text="4",
        reasoning=None,
        finish_reason="stop",
        index=0,
        usage=Usage(),
        cost_usd=0.0,
        origin=ORIGIN,
    )
    return replace(base, **changes)


def test_list_store_counts_by_decision_and_origin(tmp_path):
    other = replace(ORIGIN, teacher="gpt@api.x.com", channel="api")
    rows = [
        sample(1, accepted=True),
        sample(2, accepted=False, reject_reason="wrong"),
        sample(3, accepted=False, reject_reason="wrong", origin=other),
        sample(4, accepted=False, reject_reason="too_long"),
    ]
    write_shards([sample(n) for n in range(3)], tmp_path / "samples")
    files = write_shards(rows, tmp_path / "selected", rows_per_shard=2)
    (tmp_path / "prompts").mkdir()
    first, second = list_store(tmp_path)
    assert (first.directory, first.rows, first.undecided) == (str(tmp_path / "samples"), 3, 3)
    assert (second.rows, second.accepted, second.undecided) == (4, 1, 0)
    assert second.rejected == {"too_long": 1, "wrong": 2}
    assert second.origins == {"gpt@api.x.com (api)": 1, "m@local (local)": 3}
    assert second.bytes == sum(path.stat().st_size for path in files[:-1])
    assert second.problems == ()
    assert list_store(tmp_path / "selected") == [second]


def test_list_store_shows_damage_and_counts_the_rest(tmp_path):
    first, *_ = write_shards([sample(n) for n in range(4)], tmp_path, rows_per_shard=2)
    first.write_bytes(b"")
    (summary,) = list_store(tmp_path)
    assert summary.rows == 2
    assert len(summary.problems) == 1
