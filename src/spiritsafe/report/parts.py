"""The building blocks of the page. Every text that comes in is escaped by `text`."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence

from spiritsafe.report import table
from spiritsafe.report.table import Json

RIGHT, WRONG = "&#10003; right", "&#10007; wrong"


def text(value: str) -> str:
    """Foreign text as HTML; a number and its percent sign stay on one line."""
    # HTML allows no control characters, not even escaped; an answer may hold any.
    value = re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\N{REPLACEMENT CHARACTER}", value)
    return re.sub(r"(?<=\d) (?=%)", "&nbsp;", html.escape(value))


def section(name: str, title: str, body: str) -> str:
    """A part of the page under its heading; `body` is HTML."""
    return f'<section id="{name}">\n<h2>{text(title)}</h2>\n{body}</section>\n'


def note(words: str) -> str:
    """A paragraph of plain text."""
    return f'<p class="note">{text(words)}</p>\n'


def details(title: str, body: str) -> str:
    """HTML that is folded away until asked for."""
    return f"<details><summary>{text(title)}</summary>{body}</details>\n"


def mark(correct: bool) -> str:
    """Right or wrong as sign and word, so that colour is not needed."""
    return f'<span class="mark">{RIGHT if correct else WRONG}</span>'


def figure(svg: str | None, caption: str) -> str:
    """A picture with its caption; nothing where there is no picture."""
    below = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    return f"<figure>{svg}{below}</figure>\n" if svg else ""


def pairs(rows: Sequence[tuple[str, str]]) -> str:
    """Names and their values as a definition list."""
    inner = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in rows)
    return f'<dl class="pairs">{inner}</dl>\n' if rows else ""


def bars(titles: Sequence[str], rows: Sequence[tuple[str, float, str, str]]) -> str:
    """A table of (name, length, shown value, shown share) with a bar in the row."""
    longest = max((row[1] for row in rows), default=0) or 1
    head = "".join(f'<th scope="col">{text(title)}</th>' for title in titles)
    body = "".join(
        f'<tr><th scope="row">{text(name)}<span class="bar" aria-hidden="true">'
        f'<i style="width:{max(100 * length / longest, 0.4):.1f}%"></i></span></th>'
        f"<td>{text(value)}</td><td>{text(share)}</td></tr>"
        for name, length, value, share in rows
    )
    return _scrolling(f'<table class="bars"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>')


def plain_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column names the rows."""
    head = "".join(f'<th scope="col">{text(title)}</th>' for title in titles)
    body = "".join(
        f'<tr><th scope="row">{text(row[0])}</th>'
        + "".join(f"<td>{text(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return _scrolling(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


HEADS = (
    ('rowspan="2"', "Task score"),
    ('rowspan="2" class="text"', "Trained on"),
    ('rowspan="2"', "Parameters"),
    ('rowspan="2"', "Size"),
    ('colspan="2"', "Prefill, tokens/s"),
    ('colspan="2"', "Decode, tokens/s"),
    ('rowspan="2"', "USD per<br>1,000 requests"),
)


def model_table(result: Json) -> str:
    """The models of a result with score, size, speed and cost."""
    head = '<tr><th scope="col" rowspan="2">Model</th>' + "".join(
        f'<th scope="{"colgroup" if "colspan" in span else "col"}" {span}>{title}</th>'
        for span, title in HEADS
    )
    batches = '<th scope="col">batch 1</th><th scope="col">batch 64</th>' * 2
    body = "".join(_model_row(name, model) for name, model in table.ordered(result))
    return _scrolling(
        f'<table class="models"><thead>{head}</tr><tr>{batches}</tr></thead><tbody>{body}</tbody></table>'
    )


def _model_row(name: str, model: Json) -> str:
    score = f"<b>{table.score_cell(name, model)}</b><small>{table.interval_cell(name, model)}</small>"
    seeds = model.get("seeds")
    repeated = f", mean of {seeds} seeds" if isinstance(seeds, int) and seeds > 1 else ""
    data = table.trained_on(name, model) + repeated
    speeds = [_speed(model, kind, batch) for kind in ("prefill", "decode") for batch in (1, 64)]
    numbers = [
        table.count(model.get("parameters")),
        table.size(model.get("bytes")),
        *speeds,
        table.dollars(model.get("cost_per_1k_usd")),
    ]
    cells = "".join(f"<td>{text(number)}</td>" for number in numbers)
    return (
        f'<tr><th scope="row">{text(name)}</th><td class="score">{score}</td>'
        f'<td class="text">{text(data)}</td>{cells}</tr>'
    )


def _speed(model: Json, kind: str, batch: int) -> str:
    """Tokens/s; texts/s of a model that sorts texts."""
    texts = table.speed(model, f"examples_{batch}")
    if kind == "prefill" and texts is not None:
        return f"{table.whole(texts)} texts/s"
    return table.whole(table.speed(model, f"{kind}_{batch}"))


def measures_table(result: Json) -> str:
    """What is told of models beside their score; nothing for chat students."""
    titles, rows = table.measures(result)
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{text(title)}</th>' for title in titles)
    body = "".join(
        f'<tr><th scope="row">{text(row[0])}</th>{"".join(f"<td>{text(cell)}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    return _scrolling(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def slice_table(scores: Mapping[str, Mapping[str, Json]], models: Sequence[str]) -> str:
    """Scores by slice (rows) and model (columns)."""
    head = '<th scope="col">Slice</th><th scope="col">n</th>' + "".join(
        f'<th scope="col">{text(name)}</th>' for name in models
    )
    body = ""
    for name, of_slice in scores.items():
        n = next((score.get("n") for score in of_slice.values()), None)
        cells = "".join(f"<td>{_score(of_slice.get(model))}</td>" for model in models)
        body += f'<tr><th scope="row">{text(name)}</th><td>{table.whole(n)}</td>{cells}</tr>'
    return _scrolling(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def _score(score: Json | None) -> str:
    if not score:
        return table.NOTHING
    return f"{table.percent(score.get('value'))}<small>{table.interval(score)}</small>"


def _scrolling(inner: str) -> str:
    return f'<div class="scroll" role="region" tabindex="0" aria-label="table">{inner}</div>\n'
