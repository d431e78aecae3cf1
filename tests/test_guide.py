"""docs/guide/first-hour.md as it is written: its commands, in an empty folder, without a network."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.cores import one_core

PAGE = Path(__file__).parents[1] / "docs" / "guide" / "first-hour.md"
OFFLINE = {"HF_HUB_OFFLINE": "1", "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}


def commands():
    return [
        line
        for block in re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.S)
        for line in block.splitlines()
    ]


def execute(command, folder):
    program, *arguments = shlex.split(command)
    assert program == "spiritsafe"
    return subprocess.run(
        [sys.executable, "-m", "spiritsafe", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, **OFFLINE},
        timeout=500,
        preexec_fn=one_core,
    )


def test_the_ten_commands_of_the_first_hour(tmp_path):
    """Takes about a minute of one core: it is the whole way, twice, as a new user goes it."""
    written = commands()
    assert len(written) == 10
    for command in written:
        done = execute(command, tmp_path)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert re.search(r"^next: ", done.stderr, re.MULTILINE), command
    first, second = (
        json.loads((tmp_path / "runs" / r / "result.json").read_text()) for r in ("first", "second")
    )
    assert first["models"]["teacher"]["task_score"]["value"] >= 0.8
    assert second["gap_reason"] == "not evaluated: teacher"
    card = (tmp_path / "my-student" / "README.md").read_text()
    assert "| bundled:teacher@local | import | 2026-11 to 2026-11 |" in card
    assert f"{100 * second['models']['student']['task_score']['value']:.1f} %" in card
