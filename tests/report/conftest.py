"""Gives the tests the module that writes an example run; test files cannot import their neighbours."""

import importlib.util
import shutil
from pathlib import Path

import pytest

from spiritsafe.rundir import RunDir


@pytest.fixture(scope="session")
def example():
    spec = importlib.util.spec_from_file_location("report_example", Path(__file__).with_name("fixture.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def finished(example, tmp_path_factory):
    """A finished run; not to be changed."""
    return example.write(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="session")
def finished_api(example, tmp_path_factory):
    """A finished run whose teacher is behind an API; not to be changed."""
    return example.write(tmp_path_factory.mktemp("finished"), api_teacher=True)


@pytest.fixture
def copy(finished, tmp_path):
    """A finished run to change."""
    return RunDir(shutil.copytree(finished.path, tmp_path / "copy"))
