"""The result as a table: for the terminal, for Markdown, and as cells for the page. Numbers in words.

A value that was not measured is shown as "-", never as 0 and never as NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table

NOTHING = "-"
ORDER = ("teacher", "student", "baseline", "untrained")
DATA = {
    "teacher": "the teacher's answers",
    "answers": "bare answers",
    "gold": "worked ground truth",
    "none": "nothing",
}

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its title, what it says of a model, and whether it is a number."""

    title: str
    cell: Callable[[str, Json], str]
    numeric: bool = True


def is_number(value: object) -> bool:
    """True for a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def percent(value: Any, digits: int = 1) -> str:
    """0.9523 as "95.2 %"."""
    return f"{100 * value:.{digits}f} %" if is_number(value) else NOTHING


def interval(value: Json | None, digits: int = 1) -> str:
    """The 95 % interval as "93.8 to 96.4"."""
    if not value or not (is_number(value.get("low")) and is_number(value.get("high"))):
        return NOTHING
    return f"{100 * value['low']:.{digits}f} to {100 * value['high']:.{digits}f}"


def count(value: Any) -> str:
    """Short form of a big number: 834 K, 5.02 M, 32.8 B."""
    return _scaled(value, 1000, ("", " K", " M", " B", " T"))


def size(value: Any) -> str:
    """Bytes as 9.8 MB (10^6)."""
    return _scaled(value, 1000, (" B", " kB", " MB", " GB", " TB"))


def whole(value: Any) -> str:
    """A number with separators: 12,345."""
    return f"{value:,.0f}" if is_number(value) else NOTHING


def dollars(value: Any) -> str:
    """US dollars with as many digits as a small amount needs."""
    if not is_number(value):
        return NOTHING
    if value == 0:
        return "$0"
    if value < 0.000_01:
        return f"${value:.1e}"
    digits = 2 if value >= 1 else max(2, 1 - math.floor(math.log10(value)))
    return f"${value:,.{digits}f}"


def seconds(value: Any) -> str:
    """A duration: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if not is_number(value):
        return NOTHING
    if value < 9.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes == 0:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _scaled(value: Any, base: int, units: tuple[str, ...]) -> str:
    if not is_number(value):
        return NOTHING
    scale = 0
    while abs(value) >= base and scale < len(units) - 1:
        value, scale = value / base, scale + 1
    if scale == 0:
        return f"{value:,.0f}{units[0]}"
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f}{units[scale]}"


def speed(model: Json, key: str) -> Any:
    """One speed of a model in tokens/s, or None."""
    return (model.get("speed") or {}).get(key)


def trained_on(name: str, model: Json) -> str:
    """What a row of the table was trained on."""
    return "" if name == "teacher" else DATA.get(str(model.get("data")), NOTHING)


def score_cell(name: str, model: Json) -> str:
    """Task score of a model."""
    return percent((model.get("task_score") or {}).get("value"))


def interval_cell(name: str, model: Json) -> str:
    """95 % interval of the task score."""
    return interval(model.get("task_score"))


def with_interval(value: Json | None) -> str:
    """An estimate with its 95 % interval: "95.2 % (93.8 to 96.4)"."""
    return f"{percent(value.get('value'))} ({interval(value)})" if value else NOTHING


MEASURES: dict[str, tuple[str, Callable[[Any], str]]] = {
    "accuracy": ("Accuracy", percent),
    "macro_f1": ("Macro-F1", percent),
    "ece": ("Calibration error", lambda value: f"{value:.3f}" if is_number(value) else NOTHING),
    "brier": ("Brier score", lambda value: f"{value:.3f}" if is_number(value) else NOTHING),
    "field_f1_micro": ("F1 over all fields", percent),
    "exact": ("All fields right", percent),
    "valid_json": ("Valid JSON", percent),
    "valid_schema": ("In the schema", percent),
    "length_ratio": ("Length of the source's", with_interval),
    "faithful": ("Names and numbers that the source has", with_interval),
    "covered": ("Names and numbers of the reference", with_interval),
    "rouge_l_teacher": ("ROUGE-L to the teacher's", with_interval),
}
"""Title and form of what may be told beside the task score, by its key in `measures`."""


def measures(result: Json) -> tuple[list[str], list[list[str]]]:
    """Titles and rows (model, n, values) of what is told beside the task score; empty for chat students."""
    told = [(name, model["measures"]) for name, model in ordered(result) if model.get("measures")]
    keys = [key for key in MEASURES if any(key in found for _, found in told)]
    rows = [
        [name, whole(found.get("n")), *(MEASURES[key][1](found.get(key)) for key in keys)]
        for name, found in told
    ]
    return ["Model", "n", *(MEASURES[key][0] for key in keys)], rows


def notes(result: Json) -> list[str]:
    """The same as lines for a terminal."""
    titles, rows = measures(result)
    return [
        f"{row[0]}: {', '.join(f'{t} {v}' for t, v in zip(titles[2:], row[2:], strict=True))} (n = {row[1]})"
        for row in rows
    ]


def texts_per_second(model: Json) -> str:
    """Speed of a model that sorts texts and writes none, batch 1 / 64."""
    both = [whole(speed(model, f"examples_{batch}")) for batch in (1, 64)]
    return NOTHING if both == [NOTHING, NOTHING] else f"{both[0]} / {both[1]} texts/s"


def _speeds(kind: str) -> Callable[[str, Json], str]:
    def cell(name: str, model: Json) -> str:
        both = [whole(speed(model, f"{kind}_{batch}")) for batch in (1, 64)]
        if both == [NOTHING, NOTHING]:
            return texts_per_second(model) if kind == "prefill" else NOTHING
        return " / ".join(both)

    return cell


COLUMNS = (
    Column("model", lambda name, model: name, numeric=False),
    Column("trained on", trained_on, numeric=False),
    Column("task score", score_cell),
    Column("95 % interval", interval_cell),
    Column("parameters", lambda name, model: count(model.get("parameters"))),
    Column("size", lambda name, model: size(model.get("bytes"))),
    Column("prefill tokens/s, batch 1 / 64", _speeds("prefill")),
    Column("decode tokens/s, batch 1 / 64", _speeds("decode")),
    Column("USD per 1,000 requests", lambda name, model: dollars(model.get("cost_per_1k_usd"))),
)


def ordered(result: Json) -> list[tuple[str, Json]]:
    """Models in the order of the table: teacher, student, baseline, untrained, then as in the recipe."""
    models = result.get("models") or {}
    names = [name for name in ORDER if name in models] + [name for name in models if name not in ORDER]
    return [(name, models[name]) for name in names]


def problems(result: Json) -> int | None:
    """Problems of the standard test."""
    found = [(model.get("task_score") or {}).get("n") for _, model in ordered(result)]
    return next((n for n in found if is_number(n)), None)


def rows(result: Json, columns: tuple[Column, ...] = COLUMNS) -> list[list[str]]:
    """The cells of the table, one list per model."""
    return [[column.cell(name, model) for column in columns] for name, model in ordered(result)]


def caption(result: Json, environment: Json | None = None) -> str:
    """What a number needs beside it: n, seed, hardware, date and commit."""
    environment = environment or {}
    cores = environment.get("cores")
    parts = [
        f"n = {whole(problems(result))} held-out problems, 95 % intervals",
        f"seed {(result.get('recipe') or {}).get('seed', NOTHING)}",
        environment.get("accelerator"),
        environment.get("processor"),
        f"{cores} cores" if cores else None,
        str(environment.get("date") or "")[:10],
        f"commit {environment['commit']}" if environment.get("commit") else None,
    ]
    return "; ".join(str(part) for part in parts if part)


def terminal(result: Json, environment: Json | None = None) -> Table:
    """The table for a terminal; nothing in it depends on colour."""
    columns = tuple(column for column in COLUMNS if column.title != "trained on")
    below = "\n".join([caption(result, environment), *notes(result)])
    table = Table(caption=below, caption_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column.title, justify="right" if column.numeric else "left", vertical="bottom")
    for row in rows(result, columns):
        table.add_row(*row)
    return table


def markdown(result: Json, environment: Json | None = None) -> str:
    """The table as Markdown, with its caption below."""
    lines = [
        "| " + " | ".join(column.title for column in COLUMNS) + " |",
        "|" + "|".join("---:" if column.numeric else "---" for column in COLUMNS) + "|",
        *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows(result)),
    ]
    return (
        "\n".join(lines)
        + "".join(f"\n\n{line}" for line in (caption(result, environment), *notes(result)))
        + "\n"
    )
