"""The verbs in this process: each call takes milliseconds instead of a new interpreter's seconds."""

import pytest
from typer.testing import CliRunner

from spiritsafe.cli.main import app


@pytest.fixture
def call():
    """call(*arguments, input=None) -> result with stdout and stderr; errors of errors.py are raised."""

    def run(*arguments, input=None):
        result = CliRunner().invoke(app, [str(a) for a in arguments], input=input, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result

    return run
