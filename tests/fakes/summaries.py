"""A teacher who summarises incident reports, and a judge who knows their key facts, for the fake server.

Both know the reports that recipes with seed 0 draw: the first KNOWN of each split.
"""

from __future__ import annotations

import hashlib
import re

from spiritsafe.evaluate.summaries import covered, faithful
from spiritsafe.tasks.incidents.generator import generate

KNOWN = {"train": 4000, "validation": 200, "test": 300}
SUMMARIES = {
    prompt.messages[-1]["content"]: prompt.solution
    for split, n in KNOWN.items()
    for prompt in generate(split, n, 0)
}


def teacher(asked: str) -> str:
    """The model summary; one report in eight gets only its first sentence."""
    summary = SUMMARIES[asked]
    careless = hashlib.sha256(asked.encode()).digest()[0] % 8 == 0
    return summary.partition(". ")[0] + "." if careless else summary


def judge(asked: str) -> str:
    """Counts the key facts that an answer has, and takes away what it invents."""
    shown = dict(re.findall(r"<(task|answer|answer_A|answer_B)>\n(.*?)\n</\1>", asked, re.DOTALL))
    if "answer" in shown:
        return f"Facts counted.\n#### {round(10 * worth(shown['answer'], shown['task']))}"
    first, second = (worth(shown[name], shown["task"]) for name in ("answer_A", "answer_B"))
    return "#### tie" if first == second else "#### A" if first > second else "#### B"


def worth(answer: str, task: str) -> float:
    return (covered(answer, SUMMARIES[task]) or 0.0) * faithful(answer, task)
