"""What the pilot predicts: a picture and a table for the page, and the same in a few lines for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from spiritsafe.report import parts
from spiritsafe.report.canvas import FAINT, INK, SERIES, drawing, legend, new_figure, to_svg
from spiritsafe.report.model import Report
from spiritsafe.report.table import Json, count, dollars, percent, whole

TITLES = ("", "Answers", "US dollars", "Score", "90 % interval")


def section(report: Report) -> str:
    """The pilot's part of the page; empty where there was none."""
    found = report.pilot
    if not found:
        return ""
    told = (
        "Points are students of the pilot. The line is the median of the curves that explain them; the band "
        f"holds with 90 % what one more training would score on these {whole(found['problems'])} problems: "
        "it covers the choice of the curve, the chance of a training and that of the test. Dashed are the "
        "answers at hand and those with the next dollars."
    )
    picture = parts.figure(_picture(found, _score_of_run(report)), told)
    body = (
        parts.note(_verdict(found))
        + picture
        + parts.plain_table(TITLES, rows(found))
        + parts.note(_money(found))
    )
    return parts.section("pilot", "What more answers would bring", body)


def describe(found: Json) -> str:
    """The forecast in a few lines for a person."""
    table = [TITLES, *rows(found)]
    widths = [max(len(row[i]) for row in table) for i in range(len(TITLES))]
    lines = ["  ".join(_padded(cell, i, widths[i]) for i, cell in enumerate(row)).rstrip() for row in table]
    return "\n".join([*lines, _money(found), _verdict(found)])


def rows(found: Json) -> list[tuple[str, ...]]:
    """Name, answers, dollars, score and interval of each measured and each predicted score."""
    price = found["usd_per_answer"]
    shown: list[tuple[str, ...]] = [
        (
            "measured",
            whole(m["answers"]),
            dollars(m["answers"] * price if price else None),
            percent(m["solved"] / m["problems"]),
            "",
        )
        for m in sorted(found["measured"], key=lambda m: m["answers"])
    ]
    for name, point in (("all at hand", found["now"]), (_next_name(found), found["next"])):
        shown.append((name, whole(point["answers"]), dollars(point["usd"]), *_score(point["score"])))
    return shown


def _score(score: Json) -> tuple[str, str]:
    return percent(score["value"]), f"{100 * score['low']:.1f} to {100 * score['high']:.1f}"


def _next_name(found: Json) -> str:
    if found["capped"]:
        return f"{found['next']['answers'] / found['now']['answers']:.0f} times as many"
    return f"with {dollars(found['usd'])} more"


def _money(found: Json) -> str:
    price = found["usd_per_answer"]
    if not price:
        return (
            "What an answer costs is not known, so the forecast ends at a number of answers, not of dollars."
        )
    told = f"An answer that is trained on costs {dollars(price)}, rejected ones included."
    if found["capped"]:
        bought = whole(found["usd"] / price)
        told += f" {dollars(found['usd'])} would buy {bought}, farther than three sizes can tell."
    return told


def _verdict(found: Json) -> str:
    return f"{found['verdict'].capitalize()}: {found['reason']}."


def _padded(cell: str, place: int, width: int) -> str:
    return cell.ljust(width) if place == 0 else cell.rjust(width)


def _score_of_run(report: Report) -> float | None:
    """What the student of the whole run scores, where it has been measured since."""
    score = report.models.get("student", {}).get("task_score")
    return score["value"] if score else None


def _picture(found: Json, measured: float | None) -> str:
    with drawing("pilot"):
        figure, axes = new_figure(3.1)
        sizes = [point["answers"] for point in found["curve"]]
        low, middle, high = ([p["score"][key] for p in found["curve"]] for key in ("low", "value", "high"))
        axes.fill_between(sizes, low, high, color=SERIES[2], alpha=0.25, linewidth=0, label="90 % interval")
        axes.plot(sizes, middle, color=SERIES[2], linewidth=1.4, label="predicted")
        seen = found["measured"]
        solved = [m["solved"] / m["problems"] for m in seen]
        axes.plot([m["answers"] for m in seen], solved, "o", color=INK, markersize=4.5, label="pilot")
        if measured is not None:
            axes.plot(
                [found["now"]["answers"]], [measured], "D", color=SERIES[1], markersize=5, label="student"
            )
        for point in (found["now"], found["next"]):
            axes.axvline(point["answers"], color=FAINT, linewidth=0.7, linestyle="--")
        axes.set_ylim(-0.03, 1.03)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:.0f} %"))
        axes.set_ylabel("problems solved")
        axes.grid(axis="y", alpha=0.5)
        _answer_axis(axes, sizes)
        _dollar_axis(axes, found["usd_per_answer"])
        legend(axes)
        return to_svg(figure, "pilot", "Score against answers", f"{_in_words(found)}.")


def _in_words(found: Json) -> str:
    """The picture in words."""
    now, following = found["now"], found["next"]
    scores = [(whole(point["answers"]), *_score(point["score"])) for point in (now, following)]
    told = (f"{score} at {answers} answers, 90 % interval {interval}" for answers, score, interval in scores)
    return f"Predicted: {'; '.join(told)}"


def _answer_axis(axes: Axes, sizes: Sequence[float]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xlim(sizes[0] / 1.2, sizes[-1] * 1.2)
    axes.xaxis.set_major_locator(LogLocator(base=2, numticks=7))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: count(x)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("answers trained on")


def _dollar_axis(axes: Axes, usd_per_answer: float | None) -> None:
    """The same in dollars, below the numbers of answers."""
    if usd_per_answer:
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda x, _: f"{count(x)}\n{dollars(x * usd_per_answer)}")
        )
