"""A local model in a process of its own: one thread, asked over its standard streams.

The process is started as a command, not with multiprocessing, so that it imports nothing of the caller's
main module: a script without `if __name__ == "__main__"` works, and what it prints cannot disturb us.
Messages are pickles: (method, arguments) to the worker; the result, or the SpiritSafeError raised, back.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

from spiritsafe.errors import SpiritSafeError, TeacherError
from spiritsafe.workers import THREAD_VARIABLES, begin


class Worker:
    """One process that holds the model. `ask` blocks, and is for one thread at a time."""

    def __init__(self, model: str) -> None:
        command = [sys.executable, "-P", "-m", __name__, str(os.getpid()), model]
        one_thread = dict.fromkeys(THREAD_VARIABLES, "1")
        path = os.pathsep.join(entry for entry in sys.path if entry)
        with _no_interrupt():
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, **one_thread, "PYTHONPATH": path},
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        """What this method of the worker's LocalModel returns; the first call waits until it is loaded.

        Raises what the method raises, and TeacherError when the process is gone.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            pickle.dump((method, arguments, options), self._process.stdin, pickle.HIGHEST_PROTOCOL)
            self._process.stdin.flush()
            result = pickle.load(self._process.stdout)
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            raise TeacherError(
                f"a process with the local teacher ended (exit status {self._process.poll()})",
                hint="if memory ran out, lower teacher.max_concurrency or teacher.batch_size",
            ) from None
        if isinstance(result, SpiritSafeError):
            raise result
        return result

    def kill(self) -> None:
        """End the process now, whatever it is doing; a blocked `ask` then raises. Safe to call twice."""
        self._process.kill()
        self._process.wait()

    def release(self) -> None:
        """Close the pipes, when no `ask` is running any more."""
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # what was not flushed to a dead process
                if pipe is not None:
                    pipe.close()


@contextlib.contextmanager
def _no_interrupt() -> Iterator[None]:
    """Started meanwhile, a process never sees Ctrl-C, not even before it can ignore it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve(model: str, source: BinaryIO, target: BinaryIO) -> None:
    """Load the model, then answer until the source ends. A model that cannot be loaded answers with that."""
    from spiritsafe.teachers.local import LocalModel

    local: LocalModel | None = None
    while True:
        try:
            method, arguments, options = pickle.load(source)
        except EOFError:
            return
        result: Any
        try:
            local = local or LocalModel.load(model, device="cpu")
            result = getattr(local, method)(*arguments, **options)
        except SpiritSafeError as error:
            result = error
        pickle.dump(result, target, pickle.HIGHEST_PROTOCOL)
        target.flush()


def main() -> None:
    """The worker's side: `python -m spiritsafe.teachers.worker PARENT MODEL`."""
    begin(int(sys.argv[1]))
    # Answers keep the real standard output to themselves; prints of libraries go to standard error.
    with os.fdopen(os.dup(1), "wb") as target:
        os.dup2(2, 1)
        serve(sys.argv[2], sys.stdin.buffer, target)


if __name__ == "__main__":
    main()
