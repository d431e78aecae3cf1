"""Foreign text on the page."""

from spiritsafe.report.parts import text


def test_markup_and_control_characters_do_no_harm():
    assert text("<script>\x00\x1b&") == "&lt;script&gt;\ufffd\ufffd&amp;"
    assert text("two\n\tlines") == "two\n\tlines"
    assert text("95 %") == "95&nbsp;%"
