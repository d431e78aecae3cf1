"""Worker processes for small models: how many, and how one is set up.

Two one-thread processes do about twice the work of one process with two threads where matrices are small,
and the result no longer depends on how many cores there are. A worker ends with the process that began it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time

from spiritsafe import environment

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
SMALL_BYTES = 100_000_000
PR_SET_PDEATHSIG = 1


def workers_for(bytes_of_model: int) -> int:
    """Processes to use: one per core for models under 100 MB on a machine without an accelerator."""
    small = bytes_of_model <= SMALL_BYTES
    alone = environment.accelerator() is not None or sys.platform == "darwin"
    return environment.cores() if small and not alone else 1


def begin(parent: int) -> None:
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
