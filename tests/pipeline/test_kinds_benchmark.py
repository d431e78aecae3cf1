"""benchmarks/kinds.py in small: a teacher that is trained here, a student of a third of its size at most."""

import importlib.util
import json
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kinds.py"


@pytest.mark.slow  # a teacher and a student are trained: minutes
def test_the_benchmark_measures_what_it_says(tmp_path):
    spec = importlib.util.spec_from_file_location("kinds", SCRIPT)
    kinds = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kinds)
    found = kinds.measure("tickets", tmp_path, scale=0.25)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["size_ratio"] <= 1 / 3
    assert found["difference"]["n"] == found["measures"]["student"]["n"] == 250
    assert found["difference"]["low"] <= found["difference"]["value"] <= found["difference"]["high"]
    assert found["measures"]["student"]["ece"] is not None
    assert found["scores"]["teacher"]["value"] > 1 / 8
