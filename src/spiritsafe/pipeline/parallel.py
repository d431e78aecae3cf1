"""Small models side by side: one process per core trains or measures one arm.

Workers are set up as `spiritsafe.workers` says; why one thread each is said there too.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from spiritsafe.errors import SpiritSafeError
from spiritsafe.pipeline.stage import Runner, Stage
from spiritsafe.workers import begin


def do_together(runner: Runner, stages: Sequence[Stage], *, workers: int) -> None:
    """Do stages that need nothing of each other, `workers` at a time; raises the first failure.

    With one worker they are done here, one after the other.
    """
    if workers < 2 or len(stages) < 2:
        for stage in stages:
            runner.do(stage)
        return
    fresh = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=fresh, initializer=begin, initargs=(os.getpid(),))
    try:
        for future in as_completed([pool.submit(runner.do, stage) for stage in stages]):
            future.result()
    except BrokenProcessPool:
        raise SpiritSafeError(
            "a process that trained or measured a student was ended from outside, often for want of memory",
            hint="run the same command again: it goes on at the last checkpoint; "
            "lower train.micro_batch_tokens or evaluate.batch_size if it happens again",
        ) from None
    except KeyboardInterrupt:
        # Nobody waits for minutes after Ctrl-C: what a worker had not finished goes on at its checkpoint.
        for worker in multiprocessing.active_children():
            worker.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
