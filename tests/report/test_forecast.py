"""The pilot's forecast on the page and in the terminal."""

from spiritsafe.costs.curve import Measured
from spiritsafe.costs.forecast import forecast
from spiritsafe.report.forecast import describe, section
from spiritsafe.report.model import Report, read
from spiritsafe.report.page import page
from spiritsafe.rundir import RunDir

SEEN = [
    Measured(answers=n, solved=s, problems=500)
    for n, s in ((1000, 170), (1000, 180), (2000, 250), (4000, 330))
]


def found(price=0.002):
    return forecast(SEEN, 8000, price, 20).to_json()


def test_the_page_shows_what_was_measured_and_predicted(tmp_path):
    run = RunDir(tmp_path)
    run.write_json("pilot.json", found())
    html = page(read(run))
    assert (
        '<section id="pilot">' in html and '<svg role="img" aria-labelledby="pilot-title pilot-desc"' in html
    )
    assert "<td>4,000</td><td>$8.00</td><td>66.0&nbsp;%</td>" in html
    assert "with $20.00 more" in html and "<td>18,000</td><td>$36.00</td>" in html


def test_without_a_pilot_there_is_no_such_part():
    assert section(Report()) == ""


def test_the_student_of_the_whole_run_is_drawn_beside_its_prediction():
    models = {"student": {"task_score": {"value": 0.75}}}
    assert ">student<" in section(Report(pilot=found(), result={"models": models}))
    assert ">student<" not in section(Report(pilot=found()))


def test_a_person_reads_numbers_cost_and_verdict():
    lines = describe(found()).splitlines()
    assert lines[0].split() == ["Answers", "US", "dollars", "Score", "90", "%", "interval"]
    assert lines[1].split() == ["measured", "1,000", "$2.00", "34.0", "%"]
    assert lines[5].startswith("all at hand") and lines[6].startswith("with $20.00 more")
    assert lines[7] == "An answer that is trained on costs $0.0020, rejected ones included."
    assert lines[8].startswith(("Go on: 20 USD more buy", "Stop here: 20 USD more buy"))


def test_answers_without_a_price_are_told_in_answers():
    text = describe(found(price=None))
    assert "8 times as many" in text and "What an answer costs is not known" in text
    dear = describe(found(price=1e-6))
    assert "$20.00 would buy 20,000,000, farther than three sizes can tell" in dear
