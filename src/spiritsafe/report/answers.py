"""A few answers side by side: the problem, and what each model wrote."""

from __future__ import annotations

from spiritsafe.evaluate.grade import Graded
from spiritsafe.records import Prompt
from spiritsafe.report import parts, words
from spiritsafe.report.model import Comparison, Report
from spiritsafe.report.parts import text
from spiritsafe.report.table import percent, whole
from spiritsafe.tasks.verifiers import WRONG

LONGEST = 1600  # characters of an answer that are shown


def side_by_side(report: Report) -> str:
    if not report.comparisons:
        return ""
    told = (
        "Chosen to be informative, not representative: most show where the student gained on the baseline or "
        "falls behind the teacher."
    )
    judged = bool((report.result.get("judge") or {}).get("test"))
    body = parts.note(told) + "".join(
        _comparison(i, c, judged) for i, c in enumerate(report.comparisons, start=1)
    )
    return parts.section("answers", f"{_number(len(report.comparisons))} answers side by side", body)


def _comparison(number: int, comparison: Comparison, judged: bool) -> str:
    prompt = comparison.prompt
    kind = "" if judged else words.KINDS.get(comparison.kind, "")
    answers = "".join(
        f'<section class="answer {"right" if graded.correct else "wrong"}">'
        f"<h4>{text(name)} {_score(graded) if judged else parts.mark(graded.correct)}</h4>"
        f"<pre>{_shortened(graded.text)}</pre>"
        + "".join(f"<p>{text(said)}</p>" for said in ([] if judged else _told(graded)))
        + "</section>"
        for name, graded in comparison.answers.items()
    )
    first = next(iter(comparison.answers.values()))
    return (
        f'<article class="comparison"><h3><span>{number}</span> {text(kind)}</h3>'
        f'<div class="problem">{_problem(prompt, first.prompt_id)}</div>'
        f'<div class="answers">{answers}</div></article>'
    )


def _score(graded: Graded) -> str:
    """A judge knows better and worse, not right and wrong."""
    return f'<span class="mark">{text(percent(graded.score, 0))}</span>'


def _told(graded: Graded) -> list[str]:
    """What is to be said of a wrong answer beside that it is wrong."""
    if graded.correct:
        return []
    why = [words.reason(graded.reason)] if graded.reason not in (None, WRONG) else []
    return why + ([f"score {percent(graded.score)}"] if graded.score else [])


def _problem(prompt: Prompt | None, prompt_id: str) -> str:
    if prompt is None:
        return f"<p>{text(prompt_id)}</p>"
    turns = "".join(
        f"<p>{_role(message['role'])}{_shortened(message['content'])}</p>" for message in prompt.messages
    )
    reference = f'<p class="reference">Reference: {_shortened(prompt.answer)}</p>' if prompt.answer else ""
    return turns + reference


def _role(role: str) -> str:
    return "" if role == "user" else f"<b>{text(role)}:</b> "


def _shortened(given: str) -> str:
    left_out = len(given) - LONGEST
    rest = f" <i>... ({whole(left_out)} more characters)</i>" if left_out > 0 else ""
    return text(given[:LONGEST]) + rest


def _number(n: int) -> str:
    names = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")
    return names[n] if n < len(names) else str(n)
