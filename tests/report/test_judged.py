"""The judge in the report: every number with its n, nothing where nothing was judged."""

from spiritsafe.report import judged

SHARE = {"value": 0.9, "low": 0.8, "high": 0.95, "n": 60}
JUDGE = {
    "model": "A/<b>B</b>",
    "requests": 120,
    "failed": 2,
    "spent_usd": 0.25,
    "select": {"n": 50, "unparsed": 1, "mean_score": 0.75, "self_agreement": SHARE, "mean_difference": 0.04},
    "test": {
        "mode": "pairwise",
        "n": 30,
        "asked": 60,
        "unparsed": 3,
        "left_out": {"judge_unparsed": 3},
        "self_agreement": SHARE,
        "agreement_labels": None,
        "agreement_references": SHARE,
        "models": {
            "student": {"length_ratio": 1.25, "length_controlled": SHARE},
            "baseline": {"length_ratio": 0.5, "length_controlled": None},
        },
    },
}


def test_the_judge_s_numbers_have_their_n():
    assert judged.lines({"judge": JUDGE}) == [
        "Judge: A/<b>B</b>",
        "Agrees with itself: 90.0 % (80.0 to 95.0, n = 60 in both orders)",
        "Agrees with references: 90.0 % (80.0 to 95.0, n = 60 pairs, the nearer one is better)",
        "Verdicts not in format: 3 of 60",
        "Problems judged: 30; left out: 3 no verdict in format",
        "Length, student: 1.25 times the teacher's; win rate at equal length 90.0 % (80.0 to 95.0)",
        "Length, baseline: 0.50 times the teacher's; no win rate at equal length: all its answers are "
        "longer, or all shorter",
        "Training answers marked: 50, mean mark 75.0 %, 1 without a mark in format",
        "Marks the same answer the same: 90.0 % (80.0 to 95.0, n = 60 marked twice); marks differ by 4.0 % "
        "of the scale on average",
        "Spent on it: $0.25 for 120 requests, 2 failed",
    ]


def test_marks_are_given_twice_and_pairs_in_both_orders():
    test = {"mode": "rubric", "self_agreement": SHARE, "mean_difference": 0.04}
    assert judged.lines({"judge": {"model": "m", "test": test}})[1] == (
        "Agrees with itself: 90.0 % (80.0 to 95.0, n = 60 marked twice); marks differ by 4.0 % of the scale "
        "on average"
    )


def test_a_run_without_a_judge_says_nothing_of_one():
    from spiritsafe.report.model import Report

    assert judged.lines({}) == []
    assert judged.section(Report()) == ""


def test_what_comes_from_outside_is_escaped():
    from spiritsafe.report.model import Report

    page = judged.section(Report(result={"judge": JUDGE}))
    assert "&lt;b&gt;B&lt;/b&gt;" in page and "<b>B" not in page
    assert "compared with the teacher&#x27;s in both orders" in page
