"""Small models side by side: one process per core trains or measures one arm.

Two one-thread processes do about twice the work of one process with two threads where matrices are small,
and the result no longer depends on how many cores there are. A worker ends with the process that began it.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

from spiritsafe import environment
from spiritsafe.pipeline.stage import Runner, Stage

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PR_SET_PDEATHSIG = 1


def do_together(runner: Runner, stages: Sequence[Stage], *, workers: int) -> None:
    """Do stages that need nothing of each other, `workers` at a time; raises the first failure.

    With one worker they are done here, one after the other.
    """
    for stage in stages:
        runner.keys[stage.name] = runner.key(stage)
    if workers < 2 or len(stages) < 2:
        for stage in stages:
            runner.do(stage)
        return
    fresh = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=fresh, initializer=_begin, initargs=(os.getpid(),))
    try:
        for future in as_completed([pool.submit(runner.do, stage) for stage in stages]):
            future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def workers_for(bytes_of_model: int) -> int:
    """Processes to use: one per core for models under 100 MB on a machine without an accelerator."""
    small = bytes_of_model <= 100_000_000
    alone = environment.accelerator() is not None or sys.platform == "darwin"
    return environment.cores() if small and not alone else 1


def _begin(parent: int) -> None:
    """Set up a worker: one thread, Ctrl-C left to the parent, death with the parent."""
    for name in THREAD_VARIABLES:
        os.environ[name] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    # Where prctl does not exist, and for a parent that died before it was called.
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)
