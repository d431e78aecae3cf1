"""A finished run with a model in it."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from spiritsafe import recipe_file
from spiritsafe.records import Origin, Sample, Usage
from spiritsafe.store.shards import write_shards
from spiritsafe.teachers.folders import resolve_model


@pytest.fixture
def finished(tmp_path):
    """The example run of the report's tests, with a student and the answers that it learned."""
    path = Path(__file__).parents[1] / "report" / "fixture.py"
    spec = importlib.util.spec_from_file_location("report_example", path)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    run = example.write(tmp_path / "r")
    run.write_json("recipe.json", recipe_file.parse(json.loads(example.recipe().model_dump_json())).to_json())
    shutil.copytree(resolve_model("bundled:base"), run.path / "students/student-0/model")
    dates = [
        ("m@host", "api", "2026-05-01"),
        ("m@host", "api", "2026-05-03"),
        ("old|log", "import", "2025-12"),
    ]
    write_shards([sample(i, *date) for i, date in enumerate(dates)], run.path / "selected")
    return run


def sample(i, teacher, channel, date):
    return Sample(
        request_hash=f"{i:064x}",
        prompt_id=f"p{i}",
        messages=({"role": "user", "content": f"question {i}"},),
        text="#### 1",
        reasoning=None,
        finish_reason="stop",
        index=0,
        usage=Usage(),
        cost_usd=0.0,
        origin=Origin(teacher=teacher, channel=channel, fingerprint=None, date=date),
        accepted=True,
    )
