"""The forecast of a pilot as a file of the run, valid while answers and training are what it was made of."""

from __future__ import annotations

from typing import Any

from spiritsafe.costs.forecast import Forecast
from spiritsafe.pipeline.stage import Context
from spiritsafe.records import content_hash

FILE = "pilot.json"


def write_forecast(context: Context, forecast: Forecast) -> None:
    """Keep a forecast with what it was made of."""
    context.run.write_json(FILE, {**forecast.to_json(), "made_of": _made_of(context)})


def current_forecast(context: Context) -> dict[str, Any] | None:
    """The forecast of this run. One of other answers or another training is removed: it speaks of neither."""
    path = context.run.path / FILE
    if not path.exists():
        return None
    value: dict[str, Any] = context.run.read_json(FILE)
    if value.get("made_of") == _made_of(context):
        return value
    path.unlink()
    context.talk.note("the forecast of the pilot was of other answers or another training: removed")
    return None


def _made_of(context: Context) -> str:
    recipe = context.recipe
    parts = {
        "answers": context.run.outputs("select"),
        "student": recipe.student.model_dump(),
        "train": recipe.train.model_dump(exclude={"checkpoint_steps"}),
        "verifier": recipe.task.verifier.model_dump(),
        "seed": recipe.seed,
    }
    return content_hash("spiritsafe-pilot-1", parts)
