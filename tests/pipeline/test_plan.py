"""`plan`: what it counts, and that the run finds its answers."""

import math

from spiritsafe import recipe_file
from spiritsafe.collect.expand import SURPLUS, WANTED
from spiritsafe.pipeline.plan import SAMPLE, describe, plan
from spiritsafe.store.ledger import Ledger

SMALL = {
    "task": {"train_prompts": 30, "validation_prompts": 4, "test_prompts": 10},
    "collect": {"max_tokens": 8},
    "evaluate": {"max_tokens": 8},
}


def test_every_request_of_the_run_is_counted_and_little_is_sent(tmp_path):
    estimate = plan(recipe_file.parse(SMALL, ["task.expand_to=50"]), tmp_path / "run")
    asking_for_more = math.ceil(20 * SURPLUS / WANTED)
    assert estimate.requests == 50 + 4 + 10 + asking_for_more
    assert estimate.measured == SAMPLE
    assert estimate.tokens.low <= estimate.tokens.mid <= estimate.tokens.high <= estimate.bound.tokens
    assert describe(estimate).startswith(f"{estimate.requests} requests, from {SAMPLE} measured ones")
    with Ledger(tmp_path / "run" / "ledger.sqlite") as ledger:
        assert ledger.totals().attempts == SAMPLE
