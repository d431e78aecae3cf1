"""What all pictures have in common: their style, and the way to inline SVG with the page's colours and fonts.

matplotlib draws with stand-in colours; they are replaced by CSS variables, so one picture serves the light
and the dark scheme. Each model has its colour and its marker, the same in every picture.
"""

from __future__ import annotations

import contextlib
import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, FAINT = "#010203", "#010204"
SERIES = tuple(f"#0102{10 + i:02d}" for i in range(8))  # stand-ins, replaced by var(--series-N)
MARKERS = ("s", "o", "^", "v", "D", "P", "X", "*")
WIDTH = 4.4  # inches, at 96 px each: fits a phone without shrinking the letters much
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
}


@dataclass(frozen=True, slots=True)
class Look:
    """Colour and marker of a model."""

    colour: str
    marker: str


def looks(names: Sequence[str]) -> dict[str, Look]:
    """One look per model, in the order of the table."""
    return {n: Look(SERIES[i % len(SERIES)], MARKERS[i % len(MARKERS)]) for i, n in enumerate(names)}


def drawing(salt: str) -> contextlib.AbstractContextManager[None]:
    """matplotlib's settings for one picture; the salt makes its ids the same every time."""
    settings: Any = {**STYLE, "svg.hashsalt": salt}
    return matplotlib.rc_context(settings)


def new_figure(height: float) -> tuple[Figure, Axes]:
    """A figure of so many inches in height, as wide as the page has room for."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasSVG(figure)
    return figure, figure.add_subplot()


def legend(axes: Axes) -> None:
    """Above the picture, in rows that read from left to right."""
    handles, labels = axes.get_legend_handles_labels()
    columns = max(1, min(len(labels), 5, int(52 / (4 + max(map(len, labels), default=0)))))
    # matplotlib fills columns first; taking every k-th entry makes the order go by rows.
    order = [i for column in range(columns) for i in range(column, len(labels), columns)]
    axes.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=columns,
        handletextpad=0.3,
        columnspacing=1.0,
        borderaxespad=0.2,
        handlelength=1.4,
        fontsize=8.5,
    )


def to_svg(figure: Figure, name: str, title: str, text: str) -> str:
    """The figure as an SVG element to put into HTML: named parts, the page's colours, a text equivalent."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.S)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(url\(|href=")#', rf"\g<1>#{name}-", svg)
    for stand_in, variable in _variables().items():
        svg = svg.replace(stand_in, f"var({variable})")
    svg = svg.replace("'DejaVu Sans'", "var(--sans)").replace("DejaVu Sans", "var(--sans)")
    described = (
        f'<title id="{name}-title">{html.escape(title)}</title>'
        f'<desc id="{name}-desc">{html.escape(text)}</desc>'
    )
    opening = f'<svg role="img" aria-labelledby="{name}-title {name}-desc"'
    svg = svg.replace("<svg", opening, 1)
    end = svg.index(">") + 1
    return svg[:end] + described + svg[end:]


def _variables() -> dict[str, str]:
    series = {stand_in: f"--series-{i}" for i, stand_in in enumerate(SERIES)}
    return {INK: "--ink", FAINT: "--rule-strong", **series}
