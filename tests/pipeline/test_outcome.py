"""What the result says of the run's time."""

import pytest

from spiritsafe.pipeline.outcome import wall_s


def span(started_at, seconds):
    return {"name": "s", "started_at": started_at, "seconds": seconds}


def test_stages_side_by_side_count_once():
    assert wall_s([]) == 0
    assert wall_s([span(100.0, 10.0), span(102.0, 3.0), span(108.0, 7.0)]) == pytest.approx(15.0)


def test_pauses_between_sessions_do_not_count():
    assert wall_s([span(500.0, 2.0), span(100.0, 4.0)]) == pytest.approx(6.0)
