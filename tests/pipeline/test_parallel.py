"""A process that is killed is told as what it is."""

import os
import signal

import pytest

from spiritsafe import recipe_file
from spiritsafe.errors import SpiritSafeError
from spiritsafe.pipeline.parallel import do_together
from spiritsafe.pipeline.stage import Context, Runner, Stage
from spiritsafe.rundir import RunDir
from spiritsafe.talk import Talk


def killed(_context):
    os.kill(os.getpid(), signal.SIGKILL)
    return []


def test_a_killed_process_is_named_with_its_cure(tmp_path):
    runner = Runner(Context(recipe=recipe_file.parse({}), run=RunDir(tmp_path), talk=Talk(quiet=True)))
    stages = [Stage(name=n, group="train", inputs={}, needs=(), action=killed) for n in ("a", "b")]
    with pytest.raises(SpiritSafeError, match="ended from outside") as caught:
        do_together(runner, stages, workers=2)
    assert "run the same command again" in caught.value.hint
