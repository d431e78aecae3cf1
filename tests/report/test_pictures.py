import re

from spiritsafe.report import canvas, pictures
from spiritsafe.report.model import Curve

LOOK = canvas.looks(["teacher", "student"])
SCORE = {"value": 0.9, "low": 0.85, "high": 0.93, "n": 100}


def curve(points=500):
    return Curve(
        arm="student", seed=0, kind="train", tokens=range(points), loss=[1 / (1 + i) for i in range(points)]
    )


def test_colours_and_fonts_are_the_pages_own():
    svg = pictures.learning_curves([curve()], "train", LOOK)
    assert "var(--series-1)" in svg
    assert "var(--ink)" in svg
    assert not re.search(r"#0102\d\d", svg)
    assert "DejaVu" not in svg


def test_a_picture_has_a_text_equivalent_and_no_date():
    svg = pictures.learning_curves([curve()], "train", LOOK)
    assert svg.startswith('<svg role="img" aria-labelledby="curve-train-title curve-train-desc"')
    assert "student ends at 0.002" in svg
    assert "<metadata>" not in svg
    assert svg == pictures.learning_curves([curve()], "train", LOOK)


def test_long_curves_are_thinned():
    short, long = (pictures.learning_curves([curve(n)], "train", LOOK) for n in (120, 60_000))
    assert len(long) < 1.3 * len(short)


def test_without_data_there_is_no_picture():
    assert pictures.learning_curves([curve()], "validation", LOOK) is None
    assert pictures.slice_scores({}, LOOK) is None
    one = {"student": {"task_score": SCORE, "cost_per_1k_usd": 0.1}, "teacher": {"task_score": SCORE}}
    assert pictures.quality_against_cost(one, LOOK) is None


def test_costs_apart_by_tenfold_and_free_ones_are_drawn():
    for costs in ((0.4, 0.001), (0.0, 0.0), (0.0, 2.0), (0.1, 0.2)):
        models = {
            name: {"task_score": SCORE, "cost_per_1k_usd": cost}
            for name, cost in zip(LOOK, costs, strict=True)
        }
        assert "<svg" in pictures.quality_against_cost(models, LOOK)
