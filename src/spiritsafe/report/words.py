"""What the report says in plain words: sentences, names and definitions, all from the result."""

from __future__ import annotations

from collections.abc import Sequence

from spiritsafe.report.model import Report
from spiritsafe.report.table import Json, count, dollars, is_number, percent, problems, whole

MEASURED = (
    "Beside the task score, on the standard test. Calibration error: distance of the probability of the "
    "answer from the share of right answers, over 15 bins of equal width. Brier score: squared distance of "
    "the probabilities from the truth, 0 to 2. A model whose probabilities are unknown has neither. A JSON "
    "answer is in the schema where it can be used as it is."
)
KINDS = {
    "won": "Student and teacher right, baseline wrong",
    "lost": "Teacher right, student wrong",
    "beyond": "Student right, teacher wrong",
    "hard": "All wrong",
    "easy": "All right",
    "other": "Student and teacher wrong, baseline right",
}
REASONS = {
    "accepted": "accepted",
    "wrong_answer": "wrong answer",
    "no_answer": "no answer was collected",
    "no_number": "no number found in the answer",
    "no_label": "none of the labels in the answer",
    "no_json": "no JSON in the answer",
    "schema_mismatch": "JSON that does not satisfy the schema",
    "cut_off": "cut off at max_tokens",
    "judge_low": "marked too low by the judge",
    "judge_unparsed": "no verdict of the judge in format",
}


def label_sources(labels: Json) -> str:
    """How the shares of labels were made that a classifier was trained on."""
    answers, prompts = (whole(labels.get(name)) for name in ("answers", "prompts"))
    told = f"{answers} answers give the shares of labels of {prompts} texts"
    if not labels.get("from_logprobs"):
        return f"{told}, each its label."
    return (
        f"{told}; {whole(labels['from_logprobs'])} of them by log-probabilities, in which "
        f"{percent(labels.get('mean_mass'))} of the probability was found on labels."
    )


def run_name(report: Report) -> str:
    """The recipe's name, or a word for a run without one."""
    return str(report.recipe.get("name") or "run")


def headline(report: Report) -> str:
    """The result in one sentence."""
    gap, result = report.result.get("gap_closed"), report.result
    if not report.models:
        return "This run has no result yet."
    if not gap:
        reason = str(result.get("gap_reason") or "not computed")
        return f"No share of the gap can be given: {reason}."
    compared = " and ".join(part for part in (_size_words(result), _speed_words(result)) if part)
    ending = f", at {compared}" if compared else ""
    return f"The student closes {percent(gap['value'], 0)} of the gap between baseline and teacher{ending}."


def _size_words(result: Json) -> str:
    ratio = result.get("size_ratio")
    return f"{percent(ratio, 0)} of the size" if is_number(ratio) else ""


def _speed_words(result: Json) -> str:
    found = [v for v in (result.get("speedup") or {}).values() if is_number(v)]
    return f"{max(found):.1f} times the speed" if found else ""


def explanation(report: Report) -> str:
    """The scores behind the sentence, with n and intervals."""
    n = problems(report.result)
    scores = {name: model["task_score"] for name, model in report.models.items() if model.get("task_score")}
    if not scores:
        return "No test problem has been judged." if report.models else "The parts below are what there is."
    told = [
        f"{_who(report, name)} {_scored(scores[name])}" for name in ("student", "teacher") if name in scores
    ]
    told += [
        f"{_who(report, name)} {percent(scores[name]['value'])}"
        for name in ("baseline", "untrained")
        if name in scores
    ]
    return f"On {whole(n)} held-out problems {_listed(told)}."


def _scored(score: Json) -> str:
    low, high = 100 * score["low"], 100 * score["high"]
    return f"{percent(score['value'])} (95 % interval {low:.1f} to {high:.1f})"


def _who(report: Report, name: str) -> str:
    data = report.models.get(name, {}).get("data")
    names = {
        "student": "the student scores",
        "teacher": "the teacher",
        "baseline": f"the baseline, the same checkpoint {_baseline_data(data)},",
        "untrained": "the untrained checkpoint",
    }
    return names[name]


def _baseline_data(data: object) -> str:
    return {"answers": "trained on bare answers", "none": "left untrained"}.get(
        str(data), "trained otherwise"
    )


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def key_figures(report: Report) -> list[tuple[str, str, str]]:
    """(name, value, note) of the few numbers that matter most."""
    result, figures = report.result, []
    if gap := result.get("gap_closed"):
        low, high = 100 * gap["low"], 100 * gap["high"]
        figures.append(("Gap closed", percent(gap["value"]), f"95 % interval {low:.1f} to {high:.1f}"))
    models = report.models
    if is_number(result.get("size_ratio")):
        sizes = [count(models.get(name, {}).get("parameters")) for name in ("student", "teacher")]
        figures.append(("Size", percent(result["size_ratio"], 0), f"{sizes[0]} of {sizes[1]} parameters"))
    speedup = result.get("speedup") or {}
    if is_number(speedup.get("batch_1")) and is_number(speedup.get("batch_64")):
        figures.append(
            ("Decode speed", f"{speedup['batch_1']:.1f}x", f"batch 1; {speedup['batch_64']:.1f}x at 64")
        )
    cost = result.get("cost") or {}
    if is_number(cost.get("spent_usd")):
        on = "on the teacher's answers" + (" and the judge" if result.get("judge") else "")
        figures.append(("Spent", dollars(cost["spent_usd"]), on))
    return figures


def reason(name: object) -> str:
    """A reason as words: wrong_answer becomes "wrong answer"."""
    text = str(name)
    return REASONS.get(text, text.replace("_", " "))


def definitions(report: Report) -> list[tuple[str, str]]:
    """The words of this page, and what its numbers do not say."""
    recipe = report.recipe
    teacher = (recipe.get("teacher") or {}).get("model", "the teacher")
    student = (recipe.get("student") or {}).get("model", "the student's checkpoint")
    rows = [
        ("Teacher", f"{teacher}: its answers are what the student is trained on."),
        ("Student", f"{student}, trained on the selected answers of the teacher."),
        (
            "Baseline",
            "The same checkpoint with the same number of training tokens, trained on the task's bare "
            "answers, or left as it is where the task has none. What it solves is not owed to the teacher.",
        ),
        ("Untrained", "The same checkpoint as it was before."),
        (
            "Gold",
            "The same checkpoint trained on ground-truth worked answers, where shown: what there was to gain "
            "without a teacher.",
        ),
        (
            "Task score",
            "The mean over the test problems: 1 for a right answer, 0 for a wrong one, and between the two "
            "where the verifier counts parts, such as the fields of a JSON answer, or where a judge decides.",
        ),
        (
            "Gap closed",
            "(student - baseline) / (teacher - baseline) on the standard test, with a paired bootstrap "
            "over the problems (and over trainings, where there are several). Not given when the teacher is "
            "not measurably better than the baseline.",
        ),
        (
            "Interval",
            "95 %: Wilson for one training judged right or wrong, else bootstrap over problems and "
            "trainings. With one training it says nothing about how much another seed would differ.",
        ),
        (
            "Speed",
            "Tokens are each model's own; prefill is reading the prompt, decode is writing. Speeds hold "
            "for this machine and this implementation.",
        ),
        (
            "Limits",
            "The scores are of this task's test problems; nothing here says how the student does elsewhere.",
        ),
    ]
    verdict = (report.result.get("terms") or {}).get("verdict")
    return [*rows, ("Terms verdict", str(verdict))] if verdict else rows
