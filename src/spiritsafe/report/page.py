"""The report: one HTML file without scripts and without network, read from the run directory alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from spiritsafe.report import canvas, facts, forecast, judged, parts, pictures, words
from spiritsafe.report.answers import side_by_side
from spiritsafe.report.model import Report, read
from spiritsafe.report.parts import text
from spiritsafe.report.table import caption, ordered, percent, seconds, whole
from spiritsafe.rundir import RunDir, write_atomic

# Nothing is loaded and nothing runs, whatever a model wrote into its answer.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def render(run: RunDir) -> Path:
    """Write report.html of a run and return its path. Raises CorruptData for a damaged file of the run."""
    report = read(run)
    path = run.file("report.html")
    write_atomic(path, page(report))
    return path


def page(report: Report) -> str:
    """The whole page."""
    sections = [section for make in SECTIONS for section in [make(report)] if section]
    title = f"{words.run_name(report)}: LLM distillation report"
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{text(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"{_header(report)}<main>\n{''.join(sections)}</main>\n{_footer(report)}</body>\n</html>\n"
    )


def _header(report: Report) -> str:
    date = str(report.environment.get("date") or "")[:10]
    meta = " &middot; ".join(text(part) for part in (words.run_name(report), date) if part)
    facts = "".join(
        f"<div><dt>{text(name)}</dt><dd>{text(value)}<small>{text(note)}</small></dd></div>"
        for name, value, note in words.key_figures(report)
    )
    return (
        f'<header>\n<p class="brand">Spirit Safe <span>LLM distillation report</span></p>\n'
        f'<p class="meta">{meta}</p>\n<h1>{text(words.headline(report))}</h1>\n'
        f'<p class="lead">{text(words.explanation(report))}</p>\n'
        + (f'<dl class="figures">{facts}</dl>\n' if facts else "")
        + "</header>\n"
    )


def _footer(report: Report) -> str:
    version = (report.environment.get("packages") or {}).get("spiritsafe")
    made = f"Made by spiritsafe {version}" if version else "Made by spiritsafe"
    return f"<footer><p>{text(made)}. This page loads nothing and runs no script.</p></footer>\n"


def _models(report: Report) -> str:
    if not report.models:
        return parts.section("models", "Models", parts.note("No model has been evaluated in this run yet."))
    body = parts.model_table(report.result) + parts.note(caption(report.result, report.environment))
    if told := parts.measures_table(report.result):
        body += told + parts.note(words.MEASURED)
    models = ordered(report.result)
    if scores := facts.slice_table(models):
        inner = parts.slice_table(scores, [name for name, _ in models])
        body += parts.details("Scores by slice, in numbers", inner)
    return parts.section("models", "Models", body)


def _pictures(report: Report) -> str:
    both = _scores(report) + _cost(report)
    return f'<div class="pair">{both}</div>' if both else ""


def _scores(report: Report) -> str:
    models = ordered(report.result)
    look = canvas.looks([name for name, _ in models])
    scores = facts.slice_table(models)
    if not scores:
        return ""
    drawn = {name: of_slice for name, of_slice in scores.items() if not name.startswith("theme ")}
    picture = pictures.slice_scores(drawn or scores, look)
    body = parts.figure(picture, "Points are task scores, bars their 95 % intervals.")
    return parts.section("scores", "Scores by difficulty and slice", body)


def _cost(report: Report) -> str:
    models = ordered(report.result)
    look = canvas.looks([name for name, _ in models])
    picture = pictures.quality_against_cost(dict(models), look)
    rows = facts.cost_rows(report)
    if not picture and not rows:
        return ""
    body = parts.figure(picture, facts.cost_note(report)) + parts.pairs(rows)
    return parts.section("cost", "Quality against cost", body)


def _learning(report: Report) -> str:
    look = canvas.looks([name for name, _ in ordered(report.result)] or [c.arm for c in report.curves])
    kinds = {"train": "Training loss", "validation": "Validation loss"}
    drawn = {title: pictures.learning_curves(report.curves, kind, look) for kind, title in kinds.items()}
    if not any(drawn.values()):
        return ""
    told = (
        "Loss is counted on the completion alone. Arms are trained on different texts, so compare the "
        "shape of "
        "two arms, not their height: a bare answer has few tokens and most of them are hard to guess."
    )
    body = (
        '<div class="pair">'
        + "".join(parts.figure(p, title) for title, p in drawn.items())
        + "</div>"
        + parts.note(told)
    )
    return parts.section("learning", "Learning curves", body)


def _data(report: Report) -> str:
    counts = report.selection
    if not counts:
        return ""
    collected, accepted = counts.get("collected"), counts.get("accepted")
    rejected = counts.get("rejected") or {}
    rows = [("accepted", accepted), *sorted(rejected.items(), key=lambda row: (-row[1], row[0]))]
    told = f"{whole(accepted)} of {whole(collected)} collected answers were accepted for training."
    body = parts.note(told) + parts.bars(
        ("answers", "number", "share of collected"),
        [
            (words.reason(name), n, whole(n), percent(n / collected if collected else None))
            for name, n in rows
        ],
    )
    if labels := counts.get("labels"):
        body += parts.note(words.label_sources(labels))
    return parts.section("data", "What the student was trained on", body)


def _spend(report: Report) -> str:
    rows = facts.spend_rows(report)
    return parts.section("spend", "What it took to ask the teacher", parts.pairs(rows)) if rows else ""


def _time(report: Report) -> str:
    if not report.spans:
        return ""
    total = sum(s for _, s in report.spans)
    rows = [(name, s, seconds(s), percent(s / total if total else None, 0)) for name, s in report.spans]
    body = parts.bars(("stage", "time", "share"), rows) + parts.note(f"All stages: {seconds(total)}.")
    return parts.section("time", "Where the time went", body)


def _recipe(report: Report) -> str:
    if not report.recipe:
        return ""
    written: str = yaml.safe_dump(dict(report.recipe), sort_keys=False, allow_unicode=True, width=90)
    body = parts.note("The resolved recipe, every default written out: save it as a file and run it again.")
    return parts.section("recipe", "Recipe", body + parts.details("Show the recipe", _code(written)))


def _code(written: str) -> str:
    return f'<pre class="code" tabindex="0">{text(written)}</pre>'


def _environment(report: Report) -> str:
    rows = facts.environment_rows(report)
    return parts.section("environment", "Environment", parts.pairs(rows)) if rows else ""


def _words(report: Report) -> str:
    rows: list[tuple[str, Any]] = words.definitions(report)
    return parts.section("words", "What the words mean, and limits", parts.pairs(rows))


SECTIONS = (
    _models,
    _pictures,
    judged.section,
    _learning,
    forecast.section,
    _data,
    side_by_side,
    _spend,
    _time,
    _recipe,
    _environment,
    _words,
)
