"""Running foreign text as code, far from this process.

`run_tests` runs a model's Python against unit tests; `math_worker` compares mathematical answers, which
sympy evaluates. Both live in child processes with an empty environment, resource limits and a wall clock
that kills the process group. Where the system permits (Linux with user namespaces: `unshare`; Landlock)
the child also has no network, a process table of its own, and can read only Python's own files and write
only into its temporary folder. Where it does not, the limits remain, but the network and the user's
files are not shut off: judge code of strangers in a container there. Needs a POSIX system.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
import json
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from importlib import resources
from typing import IO

from spiritsafe.errors import MissingExtra, UsageError

MEMORY_BYTES = 1 << 30
"""Address space of a test run. Interpreter and standard library take about 50 MB of it."""
FILE_BYTES = 1 << 20
MATH_TIMEOUT_S = 12.0
"""math-verify stops itself after 5 s per step; this is the wall behind it."""
_VERDICT_BYTES = 200
_NAMESPACES = ("--user", "--map-current-user", "--net", "--pid", "--fork", "--kill-child")


@functools.cache
def isolation() -> tuple[str, ...]:
    """The command prefix that cuts off network and process table; empty where it is not permitted."""
    unshare = shutil.which("unshare")
    for options in (_NAMESPACES, ("--user", "--map-root-user", "--net")) if unshare else ():
        prefix = (str(unshare), *options)
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            if (
                subprocess.run([*prefix, *_python("")], capture_output=True, env={}, timeout=10).returncode
                == 0
            ):
                return prefix
    return ()


def run_tests(code: str, tests: str, *, timeout_s: float, memory_bytes: int = MEMORY_BYTES) -> str | None:
    """Run `tests` (asserts, test_ functions or TestCase classes) after `code`, in one fresh process.

    Returns None when all pass, else the reason: wrong_answer (an assertion), code_error, test_error (any
    other exception, such as a missing function), out_of_memory, timeout, crashed, bad_reference.
    """
    if os.name != "posix":
        raise UsageError(
            "the verifier python needs a POSIX system", hint="run it in a Linux container or WSL"
        )
    nonce = secrets.token_hex(16)  # so that a verdict cannot be had by leaving early or printing one
    job = {"code": code, "tests": tests, "nonce": nonce, "cpu_s": int(timeout_s) + 1}
    job |= {"memory": memory_bytes, "file": FILE_BYTES}
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        tempfile.TemporaryFile() as output,
    ):
        with tempfile.TemporaryFile() as given:
            given.write(json.dumps(job).encode())
            given.seek(0)
            status = _run([*isolation(), *_python(_source("runner"))], folder, given, output, timeout_s)
        output.seek(0)
        verdict = output.read(_VERDICT_BYTES).decode("ascii", "replace")
    if status in ("timeout", "out_of_memory"):
        return status
    word = verdict.partition(" ")[2].strip() if verdict.startswith(nonce) else "crashed"
    return None if word == "passed" else word


def _run(
    command: list[str], folder: str, given: IO[bytes], output: IO[bytes], timeout_s: float
) -> str | None:
    """One child in its own session; its whole group is killed at the end, whatever it left behind."""
    child = subprocess.Popen(
        command,
        cwd=folder,
        env={},
        stdin=given,
        stdout=output,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        code = child.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return "timeout"
    finally:
        _kill_group(child)
    # Behind `unshare --fork` a signal of the child shows as 128 + number.
    return "timeout" if code in (-signal.SIGXCPU, 128 + signal.SIGXCPU) else None


class MathWorker:
    """A child process that compares two answers at a time; restarted after a timeout or crash."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def __call__(self, reference: str, text: str) -> str:
        """equal, different, bad_reference, no_answer, timeout or crashed."""
        with self._lock:
            child = self._child or self._start()
            reply = _exchange(child, json.dumps([reference, text]), MATH_TIMEOUT_S)
            if reply in ("timeout", "crashed"):
                self._stop()
            return reply

    def close(self) -> None:
        """End the process. Safe to call twice; the next question starts a new one."""
        with self._lock:
            self._stop()

    def _start(self) -> subprocess.Popen[bytes]:
        # Its library lies where ours does, which isolated mode may not see: our path goes along.
        command = [*isolation(), *_python(_source("compare"), site=True), json.dumps(sys.path)]
        self._child = subprocess.Popen(
            command, env={}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True, bufsize=0,
        )  # fmt: skip
        return self._child

    def _stop(self) -> None:
        child, self._child = self._child, None
        if child:
            _kill_group(child)
            for pipe in (child.stdin, child.stdout):
                if pipe:
                    pipe.close()


@functools.cache
def math_worker() -> MathWorker:
    """The one worker of this process; raises MissingExtra where math-verify is not installed."""
    if importlib.util.find_spec("math_verify") is None:
        raise MissingExtra("the verifier math needs math-verify", hint="pip install 'spiritsafe[eval]'")
    worker = MathWorker()
    atexit.register(worker.close)
    return worker


def _exchange(child: subprocess.Popen[bytes], line: str, timeout_s: float) -> str:
    assert child.stdin and child.stdout, "the worker has pipes"
    try:
        data = memoryview(line.encode() + b"\n")
        while data:
            data = data[child.stdin.write(data) or 0 :]
    except BrokenPipeError:
        return "crashed"
    ready, _, _ = select.select([child.stdout], [], [], timeout_s)
    if not ready:
        return "timeout"
    return os.read(child.stdout.fileno(), _VERDICT_BYTES).decode("ascii", "replace").strip() or "crashed"


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _python(source: str, site: bool = False) -> list[str]:
    """Isolated interpreter (no environment, no user site, no current folder); -S: no site-packages."""
    return [sys.executable, "-I", *([] if site else ["-S"]), "-c", source]


@functools.cache
def _source(name: str) -> str:
    return resources.files("spiritsafe.tasks").joinpath(f"inside_{name}.py").read_text(encoding="utf-8")
