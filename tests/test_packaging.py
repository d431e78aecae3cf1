"""What is installed where: a GPU box keeps its torch, a machine without a GPU is sent no CUDA."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text()
CONSTRAINTS = (ROOT / "constraints.txt").read_text()


@pytest.fixture(scope="module")
def install():
    spec = importlib.util.spec_from_file_location("install", ROOT / "scripts" / "install.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pyproject_gives_ranges_and_constraints_pin():
    project = tomllib.loads(PYPROJECT)["project"]
    wanted = [*project["dependencies"], *(r for e in project["optional-dependencies"].values() for r in e)]
    assert [r for r in wanted if "==" in r] == []
    assert "torch>=2.11" in wanted
    pins = [line for line in CONSTRAINTS.splitlines() if line and not line.startswith("#")]
    assert [line for line in pins if not re.fullmatch(r"[\w.-]+==[\w.+]+", line)] == []
    assert [line for line in pins if line.startswith(("nvidia", "triton"))] == []


def test_where_torch_comes_from(install):
    index = ["--index-url", "https://download.pytorch.org/whl/cpu", "--retries", "1", "--timeout", "15"]
    assert install.attempts(linux=True, gpu=False, index=None) == [index, []]
    assert install.attempts(linux=True, gpu=True, index=None) == [[]]
    assert install.attempts(linux=False, gpu=False, index=None) == [[]]
    assert install.attempts(linux=True, gpu=False, index="URL") == [["--index-url", "URL"]]


@pytest.mark.parametrize(
    ("torch", "gpu", "looked_for"),
    [("auto", True, True), ("auto", False, False), ("system", False, True), ("pinned", True, False)],
)
def test_whose_torch_is_kept(install, torch, gpu, looked_for):
    assert install.wants_host_torch(torch, gpu=gpu) is looked_for


def test_only_a_torch_in_the_range_is_kept(install):
    assert install.is_new_enough("2.13.0+cu130", PYPROJECT)
    assert install.is_new_enough("2.12.0a0+git1", PYPROJECT)
    assert not install.is_new_enough("2.11.0a0+git1", PYPROJECT)
    assert install.is_new_enough("3.0.1", PYPROJECT)
    assert not install.is_new_enough("2.9.1", PYPROJECT)
    assert not install.is_new_enough("", PYPROJECT)


def test_the_constraints_of_a_kept_torch_are_the_others(install):
    assert install.pinned(CONSTRAINTS) == "torch==2.13.0"
    left = install.without_torch(CONSTRAINTS)
    assert "torch==" not in left
    assert len(left.splitlines()) == len(CONSTRAINTS.splitlines()) - 1
