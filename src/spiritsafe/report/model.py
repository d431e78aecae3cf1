"""What the report shows, read from a run directory: whatever is there, nothing else.

Every part may be missing: a run that stopped half-way, a teacher behind an API, a task without slices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from spiritsafe.evaluate.grade import Graded, read_graded
from spiritsafe.records import Prompt
from spiritsafe.report.table import Json, is_number
from spiritsafe.rundir import RunDir

SHOWN_ANSWERS = 10
COLUMNS = ("teacher", "student", "baseline")
# How many answers of each kind to show before the rest is filled up: what the distillation won and lost.
WANTED = (("won", 3), ("lost", 3), ("beyond", 1), ("hard", 1), ("easy", 1))


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One test problem with the answers of several models."""

    prompt: Prompt | None
    answers: Mapping[str, Graded]
    kind: str
    """won, lost, beyond, hard, easy or other: see `_kind`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """Loss of one student over the tokens it has seen, in nats per token."""

    arm: str
    seed: int
    kind: str
    tokens: Sequence[float]
    loss: Sequence[float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All that the page shows."""

    result: Json = field(default_factory=dict)
    recipe: Json = field(default_factory=dict)
    environment: Json = field(default_factory=dict)
    selection: Json = field(default_factory=dict)
    spans: Sequence[tuple[str, float]] = ()
    """Stage and seconds, in the order in which the stages began."""
    curves: Sequence[Curve] = ()
    comparisons: Sequence[Comparison] = ()
    pilot: Json = field(default_factory=dict)
    """The forecast of `pilot`."""

    @property
    def models(self) -> Json:
        """Models of the result by name."""
        return dict(self.result.get("models") or {})


def read(run: RunDir) -> Report:
    """The report of a run directory; raises CorruptData for a damaged file."""
    result = _json(run, "result.json")
    return Report(
        result=result,
        recipe=result.get("recipe") or _json(run, "recipe.json"),
        environment=_json(run, "environment.json"),
        selection=_json(run, "selected/counts.json"),
        spans=_spans(run.read_lines("spans.jsonl")),
        curves=_curves(run.read_lines("metrics.jsonl")),
        comparisons=_comparisons(run),
        pilot=_json(run, "pilot.json"),
    )


def _json(run: RunDir, name: str) -> dict[str, Any]:
    value = run.read_json(name) if (run.path / name).exists() else {}
    return value if isinstance(value, dict) else {}


def _spans(rows: Iterable[Json]) -> list[tuple[str, float]]:
    """Seconds per stage; a stage that was interrupted and resumed is the sum of its parts."""
    total: dict[str, float] = {}
    for row in rows:
        if is_number(row.get("seconds")):
            total[str(row.get("name"))] = total.get(str(row.get("name")), 0.0) + row["seconds"]
    return list(total.items())


def _curves(rows: Iterable[Json]) -> list[Curve]:
    """Train and validation losses; where a resumed training wrote a step again, the later row counts."""
    points: dict[tuple[str, int, str], dict[int, tuple[float, float]]] = {}
    for row in rows:
        kind, loss, tokens = row.get("kind"), row.get("loss"), row.get("tokens")
        if kind in ("train", "validation") and is_number(loss) and is_number(tokens):
            key = (str(row.get("arm", "student")), int(row.get("seed", 0)), str(kind))
            points.setdefault(key, {})[int(row.get("step", 0))] = (float(tokens), float(loss))  # type: ignore[arg-type]
    curves = []
    for (arm, seed, kind), steps in points.items():
        pairs = [steps[step] for step in sorted(steps)]
        curves.append(
            Curve(
                arm=arm,
                seed=seed,
                kind=kind,
                tokens=[t for t, _ in pairs],
                loss=[value for _, value in pairs],
            )
        )
    return curves


def _comparisons(run: RunDir) -> list[Comparison]:
    """Ten informative problems of the standard test, chosen the same way every time."""
    folder = "judged" if (_json(run, "result.json").get("judge") or {}).get("test") else "evaluation"
    answers = {name: found for name in COLUMNS if (found := _graded(run, folder, name))}
    if "student" not in answers:
        return []
    prompts = {row["prompt_id"]: Prompt.from_json(row) for row in run.read_lines("prompts/test.jsonl")}
    compared = []
    for prompt_id in answers["student"]:
        given = {name: rows[prompt_id] for name, rows in answers.items() if prompt_id in rows}
        compared.append(Comparison(prompt=prompts.get(prompt_id), answers=given, kind=_kind(given)))
    return choose(compared)


def _graded(run: RunDir, folder: str, name: str) -> dict[str, Graded]:
    for stem in (name, f"{name}-0"):
        path = run.path / folder / f"{stem}.jsonl"
        if path.exists():
            return {row.prompt_id: row for row in read_graded(path) if row.slice == "test"}
    return {}


def _kind(answers: Mapping[str, Graded]) -> str:
    """won: right like the teacher where the baseline fails. lost: wrong where the teacher is right.
    beyond: right where the teacher fails. hard: all wrong. easy: all right.
    """
    student = answers["student"].correct
    teacher = answers["teacher"].correct if "teacher" in answers else True
    baseline = answers["baseline"].correct if "baseline" in answers else False
    if student and not teacher:
        return "beyond"
    if student:
        return "easy" if baseline else "won"
    return "lost" if teacher else "other" if baseline else "hard"


def choose(found: Sequence[Comparison], n: int = SHOWN_ANSWERS) -> list[Comparison]:
    """At most n comparisons: the wanted number of each kind, spread over the problems, then the rest."""
    chosen: list[Comparison] = []
    for kind, wanted in WANTED:
        chosen += _spread([c for c in found if c.kind == kind], wanted)
    ids = {id(c) for c in chosen}
    rest = [c for c in found if id(c) not in ids]
    informative = [c for c in rest if c.kind != "easy"] or rest
    chosen = (chosen + _spread(informative, n - len(chosen)))[:n]
    kinds = [kind for kind, _ in WANTED]
    return sorted(chosen, key=lambda c: kinds.index(c.kind) if c.kind in kinds else len(kinds))


def _spread(items: Sequence[Comparison], n: int) -> list[Comparison]:
    """n items at even distances, so that they are not all of one level or theme."""
    step = max(len(items) / n, 1.0) if n > 0 else 0.0
    return [items[int(i * step)] for i in range(min(n, len(items)))]
