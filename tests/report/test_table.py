import io

import pytest
from rich.console import Console

from spiritsafe.report import table


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (float("nan"), "-"), (0, "0"), (999, "999"), (834_000, "834 K"), (5_020_000, "5.02 M")],
)
def test_counts(value, shown):
    assert table.count(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "$0"), (12.345, "$12.35"), (0.25, "$0.25"), (0.000_92, "$0.00092"), (2e-9, "$2.0e-09"), (None, "-")],
)
def test_dollars(value, shown):
    assert table.dollars(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.44, "0.4 s"), (12.4, "12 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (float("inf"), "-")],
)
def test_seconds(value, shown):
    assert table.seconds(value) == shown


def test_sizes_percents_and_intervals():
    assert table.size(20_100_000) == "20.1 MB"
    assert table.size(500) == "500 B"
    assert table.percent(0.9523) == "95.2 %"
    assert table.interval({"low": 0.938, "high": 0.9641}) == "93.8 to 96.4"
    assert table.interval(None) == "-"
    assert table.interval({"low": float("nan"), "high": 1.0}) == "-"


def test_models_stand_in_the_order_of_the_question():
    models = {name: {} for name in ("gold", "untrained", "student", "logits", "teacher", "baseline")}
    names = [name for name, _ in table.ordered({"models": models})]
    assert names == ["teacher", "student", "baseline", "untrained", "gold", "logits"]


def test_the_terminal_shows_every_model_with_score_and_interval(finished):
    result = finished.read_json("result.json")
    console = Console(file=io.StringIO(), width=140, no_color=True)
    console.print(table.terminal(result, finished.read_json("environment.json")))
    text = console.file.getvalue()
    for name, model in result["models"].items():
        (line,) = (line for line in text.splitlines() if line.startswith(f"{name} "))
        assert table.percent(model["task_score"]["value"]) in line
        assert table.interval(model["task_score"]) in line
    assert "210 / 3,900" in text
    assert "n = 240" in text
    assert "commit 0123456789" in text


def test_markdown_has_one_row_per_model_and_its_caption(finished):
    text = table.markdown(finished.read_json("result.json"), finished.read_json("environment.json"))
    lines = text.splitlines()
    assert lines[1].startswith("|---|---|---:|")
    assert len([line for line in lines if line.startswith("|")]) == 2 + 5
    assert "worked ground truth" in text
    assert lines[-1].endswith("2026-02-03; commit 0123456789")


def test_an_empty_result_gives_an_empty_table():
    assert table.rows({}) == []
    assert "n = -" in table.caption({})
