"""What the report says of a judge: how far its verdicts can be trusted, what it found, what it cost."""

from __future__ import annotations

from spiritsafe.report import parts
from spiritsafe.report.model import Report
from spiritsafe.report.table import NOTHING, Json, dollars, interval, is_number, percent, whole

TOLD = {
    "pairwise": "Each answer was compared with the teacher's in both orders. A pair whose two verdicts "
    "disagree is a tie. The task score is the share of wins, ties by half; the teacher's is 50 % by "
    "definition.",
    "rubric": "Each answer was marked alone. The task score is the mean mark, scaled to 0 to 100 %.",
}
OUT = {"judge_unparsed": "no verdict in format", "unverified": "no answer of the teacher"}


def section(report: Report) -> str:
    """The judge's part of the page; nothing for a run without one."""
    judge = report.result.get("judge")
    if not judge:
        return ""
    test = judge.get("test")
    body = parts.note(TOLD[test["mode"]]) if test else ""
    return parts.section("judge", "The judge", body + parts.pairs(rows(judge)))


def rows(judge: Json) -> list[tuple[str, str]]:
    """Names and values, from the result's `judge`."""
    test, chosen = judge.get("test") or {}, judge.get("select") or {}
    found = [("Judge", str(judge.get("model"))), *_test_rows(test), *_filter_rows(chosen)]
    failed = f", {whole(judge['failed'])} failed" if judge.get("failed") else ""
    spent = f"{dollars(judge.get('spent_usd'))} for {whole(judge.get('requests'))} requests{failed}"
    return [*found, ("Spent on it", spent)]


def lines(result: Json) -> list[str]:
    """The same for a terminal, one per line."""
    judge = result.get("judge")
    return [f"{name}: {value}" for name, value in rows(judge)] if judge else []


def _test_rows(test: Json) -> list[tuple[str, str]]:
    if not test:
        return []
    twice = "in both orders" if test.get("mode") == "pairwise" else "marked twice"
    found = [
        ("Agrees with itself", _share(test.get("self_agreement"), twice, test)),
        ("Agrees with people's preferences", _share(test.get("agreement_labels"), "pairs")),
        (
            "Agrees with references",
            _share(test.get("agreement_references"), "pairs, the nearer one is better"),
        ),
    ]
    out = ", ".join(f"{whole(n)} {OUT.get(name, name)}" for name, n in (test.get("left_out") or {}).items())
    found = [row for row in found if row[1] != NOTHING]
    found += [
        ("Verdicts not in format", f"{whole(test.get('unparsed'))} of {whole(test.get('asked'))}"),
        ("Problems judged", f"{whole(test.get('n'))}" + (f"; left out: {out}" if out else "")),
    ]
    return found + [
        (f"Length, {name}", _length(values))
        for name, values in (test.get("models") or {}).items()
        if is_number(values.get("length_ratio"))
    ]


def _filter_rows(chosen: Json) -> list[tuple[str, str]]:
    if not chosen:
        return []
    marked = f"{whole(chosen.get('n'))}, mean mark {percent(chosen.get('mean_score'))}"
    return [
        ("Training answers marked", f"{marked}, {whole(chosen.get('unparsed'))} without a mark in format"),
        ("Marks the same answer the same", _share(chosen.get("self_agreement"), "marked twice", chosen)),
    ]


def _share(value: Json | None, what: str, figures: Json | None = None) -> str:
    if not value:
        return NOTHING
    apart = (figures or {}).get("mean_difference")
    differ = f"; marks differ by {percent(apart)} of the scale on average" if is_number(apart) else ""
    return f"{percent(value['value'])} ({interval(value)}, n = {whole(value['n'])} {what}){differ}"


def _length(values: Json) -> str:
    longer = f"{values['length_ratio']:.2f} times the teacher's"
    even = values.get("length_controlled")
    if not even:
        return f"{longer}; no win rate at equal length: all its answers are longer, or all shorter"
    return f"{longer}; win rate at equal length {percent(even['value'])} ({interval(even)})"
