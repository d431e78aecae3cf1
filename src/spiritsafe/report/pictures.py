"""The pictures of the page: losses, scores by slice, quality against cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from spiritsafe.report.canvas import FAINT, Look, drawing, legend, new_figure, to_svg
from spiritsafe.report.model import Curve
from spiritsafe.report.table import Json, count, dollars, is_number

POINTS = 120  # points per curve; more only make the file bigger


def learning_curves(curves: Sequence[Curve], kind: str, look: Mapping[str, Look]) -> str | None:
    """Loss against tokens seen, one line per student; None without data."""
    chosen = [curve for curve in curves if curve.kind == kind and curve.arm in look]
    if not chosen:
        return None
    with drawing(kind):
        figure, axes = new_figure(2.9)
        for curve in chosen:
            tokens, loss = _thin(curve.tokens), _thin(curve.loss)
            style = look[curve.arm]
            label = curve.arm if curve.seed == min(c.seed for c in chosen if c.arm == curve.arm) else None
            every = max(1, len(tokens) // 8)
            axes.plot(
                tokens,
                loss,
                color=style.colour,
                label=label,
                linewidth=1.4,
                marker=style.marker,
                markersize=3.5,
                markevery=every,
            )
        axes.set_xlabel("tokens seen by the student")
        axes.set_ylabel("loss, nats per token")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: count(x)))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", alpha=0.5)
        legend(axes)
        title = f"{'Training' if kind == 'train' else 'Validation'} loss"
        ends = "; ".join(f"{c.arm} ends at {c.loss[-1]:.3f}" for c in chosen)
        return to_svg(figure, f"curve-{kind}", title, f"{title} against tokens seen. {ends}.")


def slice_scores(scores: Mapping[str, Mapping[str, Json]], look: Mapping[str, Look]) -> str | None:
    """Score with interval per slice (outer key) and model (inner key); None without data."""
    if not scores:
        return None
    models = [name for name in look if any(name in of_slice for of_slice in scores.values())]
    with drawing("slices"):
        height = 0.75 + len(scores) * (0.14 + 0.105 * len(models))
        figure, axes = new_figure(height)
        for place, of_slice in enumerate(scores.values()):
            for index, name in enumerate(models):
                if name in of_slice:
                    offset = (index - (len(models) - 1) / 2) * 0.72 / max(len(models), 1)
                    _point(axes, of_slice[name], place + offset, look[name], name if place == 0 else None)
        axes.set_yticks(range(len(scores)), list(scores))
        axes.set_ylim(len(scores) - 0.4, -0.6)
        axes.set_xlim(-0.02, 1.02)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:.0f} %"))
        axes.set_xlabel("problems solved, with 95 % interval")
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", alpha=0.5)
        for edge in range(1, len(scores)):
            axes.axhline(edge - 0.5, color=FAINT, linewidth=0.4, alpha=0.6)
        legend(axes)
        text = "Problems solved by slice and model; the numbers are in the table below the picture."
        return to_svg(figure, "slices", "Score by difficulty and slice", text)


def quality_against_cost(models: Mapping[str, Json], look: Mapping[str, Look]) -> str | None:
    """Task score against cost per 1,000 requests, both as measured; None with fewer than two costs."""
    placed = {
        name: model
        for name, model in models.items()
        if name in look and model.get("task_score") and is_number(model.get("cost_per_1k_usd"))
    }
    if len(placed) < 2:
        return None
    with drawing("cost"):
        figure, axes = new_figure(2.9)
        for name, model in placed.items():
            score, style = model["task_score"], look[name]
            error = [[score["value"] - score["low"]], [score["high"] - score["value"]]]
            axes.errorbar(
                model["cost_per_1k_usd"],
                score["value"],
                yerr=error,
                fmt=style.marker,
                color=style.colour,
                capsize=2,
                linewidth=1,
                label=name,
            )
        _cost_axis(axes, [model["cost_per_1k_usd"] for model in placed.values()])
        axes.set_ylim(-0.03, 1.03)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:.0f} %"))
        axes.set_xlabel("US dollars per 1,000 requests")
        axes.set_ylabel("task score")
        axes.grid(alpha=0.5)
        legend(axes)
        text = "; ".join(
            f"{name}: {100 * m['task_score']['value']:.1f} % at {dollars(m['cost_per_1k_usd'])}"
            for name, m in placed.items()
        )
        return to_svg(
            figure, "cost", "Quality against cost", f"Task score and cost per 1,000 requests. {text}."
        )


def _cost_axis(axes: Axes, costs: Sequence[float]) -> None:
    """Logarithmic where costs differ tenfold and more and none is free, else from zero."""
    if min(costs) > 0 and max(costs) >= 10 * min(costs):
        axes.set_xscale("log")
        axes.set_xlim(min(costs) / 2, max(costs) * 2)
        axes.minorticks_off()
    else:
        axes.set_xlim(0, 1.15 * (max(costs) or 1))
        axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: dollars(x)))


def _point(axes: Axes, score: Json, y: float, style: Look, label: str | None) -> None:
    axes.plot([score["low"], score["high"]], [y, y], color=style.colour, linewidth=1.2)
    axes.plot(
        [score["value"]],
        [y],
        linestyle="",
        marker=style.marker,
        markersize=4.5,
        color=style.colour,
        label=label,
    )


def _thin(values: Sequence[float]) -> list[float]:
    """At most POINTS means of neighbouring values."""
    size = -(-len(values) // POINTS)
    return [sum(part) / len(part) for i in range(0, len(values), size) if (part := values[i : i + size])]
