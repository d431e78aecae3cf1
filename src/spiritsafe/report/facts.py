"""What the report lists: scores by slice, costs, spending and the environment, as rows to be laid out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spiritsafe.report.model import Report
from spiritsafe.report.table import Json, dollars, is_number, size, whole
from spiritsafe.report.words import reason

USAGE = {
    "input_tokens": "Input tokens",
    "output_tokens": "Output tokens",
    "reasoning_tokens": "of these for reasoning",
    "cached_tokens": "of the input from the provider's cache",
}


def slice_table(models: Sequence[tuple[str, Json]]) -> dict[str, dict[str, Json]]:
    """Scores by slice, then model: the standard test first, levels, further slices, themes last."""
    found: dict[str, dict[str, Json]] = {}
    for name, model in models:
        if model.get("task_score"):
            found.setdefault("standard test", {})[name] = model["task_score"]
        for slice_, score in (model.get("slices") or {}).items():
            if score:
                found.setdefault(slice_, {})[name] = score
    names = sorted(found, key=lambda s: (s != "standard test", _place(s), s))
    return {name: found[name] for name in names}


def _place(name: str) -> int:
    if name.startswith("level "):
        return 0
    return 1 if " " not in name else 2


def cost_rows(report: Report) -> list[tuple[str, str]]:
    """What requests cost and when the student pays back."""
    cost = report.result.get("cost") or {}
    rows = [
        (f"1,000 requests to the {name}", dollars(cost[f"per_1k_{name}"]))
        for name in ("teacher", "student")
        if is_number(cost.get(f"per_1k_{name}"))
    ]
    if is_number(cost.get("break_even_requests")):
        rows.append(("Break-even", _break_even(cost["break_even_requests"], report)))
    elif rows:
        rows.append(("Break-even", "never, or not computable from the known prices"))
    return rows


def _break_even(requests: float, report: Report) -> str:
    if not requests:
        return "from the first request"
    per_day = (report.recipe.get("evaluate") or {}).get("requests_per_day")
    if per_day is None:
        return f"after {whole(requests)} requests"
    return f"after {whole(requests)} requests, {requests / per_day:,.1f} days at {whole(per_day)} a day"


def cost_note(report: Report) -> str:
    """The assumptions behind the costs."""
    evaluate = report.recipe.get("evaluate") or {}
    student = dollars(evaluate.get("student_usd_per_hour"))
    teacher = dollars(evaluate.get("local_teacher_usd_per_hour"))
    return (
        f"Costs of local models follow from their measured speed and an assumed machine price per hour: "
        f"{student} for students, {teacher} for a local teacher. "
        "A teacher behind an API costs what its tokens cost."
    )


def spend_rows(report: Report) -> list[tuple[str, str]]:
    """Requests, attempts, tokens and money, as the ledger has them."""
    ledger = (report.result.get("counts") or {}).get("ledger") or {}
    if not ledger:
        return []
    usage = ledger.get("usage") or {}
    rows = _request_rows(ledger)
    rows += [(name, whole(usage[key])) for key, name in USAGE.items() if usage.get(key)]
    budget = report.recipe.get("budget") or {}
    limit = f" of a budget of {dollars(budget['usd'])}" if is_number(budget.get("usd")) else ""
    rows.append(("Spent", f"{dollars(ledger.get('spent_usd'))}{limit}"))
    if ledger.get("unknown_usd"):
        rows.append(("Charged for unknown outcomes", f"at most {dollars(ledger['unknown_usd'])}"))
    return rows


def _request_rows(ledger: Json) -> list[tuple[str, str]]:
    def total(*states: str) -> int:
        return sum(ledger.get(state) or 0 for state in states)

    open_states = ("planned", "in_flight", "unknown")
    reasons = ", ".join(f"{whole(n)} {reason(name)}" for name, n in (ledger.get("reasons") or {}).items())
    failed = whole(total("failed")) + (f" ({reasons})" if reasons else "")
    rows = [
        ("Requests", whole(total("settled", "rejected", "failed", *open_states))),
        ("Answered", whole(total("settled", "rejected"))),
        ("Failed for good", failed),
        ("Attempts sent", whole(ledger.get("attempts"))),
        (
            "Attempts of unknown outcome",
            f"{whole(total('unknown_attempts'))} (perhaps billed without an answer; they stay charged)",
        ),
    ]
    if total(*open_states):
        rows.insert(3, ("Not finished", whole(total(*open_states))))
    return rows


def environment_rows(report: Report) -> list[tuple[str, str]]:
    """Date, commit, hardware, versions and seeds."""
    values = report.environment
    cores, memory = values.get("cores"), values.get("memory_bytes")
    packages = values.get("packages") or {}
    rows: list[tuple[str, Any]] = [
        ("Date (UTC)", str(values.get("date") or "").replace("T", " ").removesuffix("+00:00")),
        ("Commit", values.get("commit")),
        ("Processor", values.get("processor")),
        ("Cores", cores),
        ("Memory", size(memory) if is_number(memory) else None),
        ("Accelerator", values.get("accelerator") or ("none" if values else None)),
        ("System", values.get("system")),
        ("Python", values.get("python")),
        ("Packages", ", ".join(f"{name} {version}" for name, version in packages.items())),
        ("Seeds", _seeds(report.recipe)),
        ("Speed", _speed_setting(report)),
        ("Duration", report.result.get("seconds") and f"{report.result['seconds']:,.0f} s"),
    ]
    return [(name, str(value)) for name, value in rows if value not in (None, "", "None")]


def _seeds(recipe: Json) -> str | None:
    if "seed" not in recipe:
        return None
    first = recipe["seed"]
    arms = [f"{name} {arm.get('seeds', 1)}" for name, arm in (recipe.get("arms") or {}).items()]
    return f"first seed {first}; trainings per arm: {', '.join(arms)}" if arms else str(first)


def _speed_setting(report: Report) -> str | None:
    speed = next((m["speed"] for m in report.models.values() if m.get("speed")), None)
    if not speed or not speed.get("repeats"):
        return None
    return (
        f"median of {speed['repeats']} repeats, models in turn; {whole(speed.get('prompt_tokens'))} prompt "
        f"tokens, {whole(speed.get('decode_tokens'))} written; {speed.get('device')}, {speed.get('dtype')}, "
        f"{speed.get('threads')} threads"
    )
