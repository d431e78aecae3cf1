import pytest

from spiritsafe.thinking import is_opened, split, tags_of


@pytest.mark.parametrize(
    ("text", "opened", "expected"),
    [
        ("It is 4.", False, (None, "It is 4.")),
        ("<think>\nTwo.\n</think>\n\nIt is 4.", False, ("Two.", "It is 4.")),
        ("Two.\n</think>\n\nIt is 4.", False, ("Two.", "It is 4.")),  # the prompt had opened it
        ("Two.\n</think>\n\nIt is 4.", True, ("Two.", "It is 4.")),
        ("<think>\n\n</think>\n\nIt is 4.", False, (None, "It is 4.")),
        ("<think>\nTwo and", False, ("Two and", "")),  # cut off
        ("Two and", True, ("Two and", "")),
        ("[THINK]Two.[/THINK]It is 4.", False, ("Two.", "It is 4.")),
        ("Say <think> and </think> aloud.", False, (None, "Say <think> and </think> aloud.")),
        ("  kept as it is\n", False, (None, "  kept as it is\n")),
        ("", True, (None, "")),
    ],
)
def test_split(text, opened, expected):
    assert split(text, opened=opened) == expected


def test_tags_and_open_prompts():
    assert tags_of("... [/THINK] ...") == ("[THINK]", "[/THINK]")
    assert tags_of(None) == ("<think>", "</think>")
    assert is_opened("<|assistant|><think>\n")
    assert not is_opened("<think>\n\n</think>\n\n")
