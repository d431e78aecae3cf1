"""benchmarks/kinds.py in small: a teacher that is trained here, a student of a third of its size at most."""

import importlib.util
import json
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kinds.py"


@pytest.mark.slow  # two teachers and two students are trained: minutes
@pytest.mark.parametrize("name", ["tickets", "invoices"])
def test_the_benchmark_measures_what_it_says(tmp_path, name):
    spec = importlib.util.spec_from_file_location("kinds", SCRIPT)
    kinds = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kinds)
    found = kinds.measure(name, tmp_path, scale=0.06)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["size_ratio"] <= 1 / 3
    n = int(kinds.TEST_PROMPTS[name] * 0.06) if name == "tickets" else 40
    assert found["difference"]["n"] == found["measures"]["student"]["n"] == n
    assert found["difference"]["low"] <= found["difference"]["value"] <= found["difference"]["high"]
    if name == "tickets":
        assert found["measures"]["student"]["ece"] is not None
        assert found["scores"]["teacher"]["value"] > 1 / 8
    else:
        assert found["measures"]["teacher"]["valid_json"] is not None
