"""Judges of known character, for the fake server: each writes a verdict from the text that it is shown.

The quality of an answer is the number behind `quality` in it; an answer without one has quality 0.
"""

import re


def parts(asked: str) -> dict[str, str]:
    """What stands between the tags of a judge's question, by tag."""
    return dict(re.findall(r"<(task|answer|answer_A|answer_B)>\n(.*?)\n</\1>", asked, re.DOTALL))


def quality(answer: str) -> int:
    found = re.search(r"quality (\d+)", answer)
    return int(found[1]) if found else 0


def choose(asked: str, key) -> str:
    shown = parts(asked)
    first, second = key(shown["answer_A"]), key(shown["answer_B"])
    return "#### tie" if first == second else "#### A" if first > second else "#### B"


def perfect(asked: str) -> str:
    """Prefers the better answer; marks it with its quality."""
    shown = parts(asked)
    if "answer" in shown:
        return f"Well.\n#### {quality(shown['answer'])}"
    return f"One of them is better.\n\n{choose(asked, quality)}"


def first_always(asked: str) -> str:
    """Position bias: whatever stands first is better."""
    return "The first one.\n#### A"


def longer(asked: str) -> str:
    """Length bias: the longer answer is better."""
    return choose(asked, len)


def talkative(asked: str) -> str:
    """Never answers in format."""
    return "I like the first answer better: A."


def lapsing(asked: str) -> str:
    """Forgets the format for tasks whose number is divisible by three."""
    number = int(re.search(r"task (\d+)", parts(asked)["task"])[1])
    return perfect(asked) if number % 3 else "Both have merits."


def teacher(asked: str) -> str:
    """Answers `write quality N` as told."""
    return f"quality {quality(asked)}"
