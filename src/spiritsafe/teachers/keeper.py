"""Keeps a server that must not outlive its owner: a process between the two, run by its path.

    python keeper.py GRACE_S PROGRAM ARGUMENT...

Its standard input is a pipe from the owner. When that closes, for the owner wants it or is dead, however it
died, the server's whole process group gets SIGTERM and, GRACE_S seconds later, SIGKILL. When the server ends
by itself, what is left of its group is killed and the keeper ends with its status (128 + n for signal n).
Standard library alone: it starts in some hundredths of a second and needs no package on its path.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading

PR_SET_PDEATHSIG = 1


def keep(command: list[str], grace_s: float) -> int:
    """Run `command` until standard input closes or it ends; returns its exit status."""
    before = _die_with_keeper if sys.platform == "linux" else None
    # Safe with preexec_fn: there is one thread as yet.
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0, preexec_fn=before)
    threading.Thread(target=_stop_at_end_of_input, args=(server, grace_s), daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: _signal(server, signal.SIGTERM))
    status = server.wait()
    _signal(server, signal.SIGKILL)  # helpers that it left behind hold the port and the device's memory
    return 128 - status if status < 0 else status


def _stop_at_end_of_input(server: subprocess.Popen[bytes], grace_s: float) -> None:
    while os.read(0, 4096):
        pass
    _signal(server, signal.SIGTERM)
    try:
        server.wait(timeout=grace_s)
    except subprocess.TimeoutExpired:
        _signal(server, signal.SIGKILL)


def _signal(server: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # the group is empty
        os.killpg(server.pid, number)


def _die_with_keeper() -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(keep(sys.argv[2:], float(sys.argv[1])))
