"""Runs inside the sandbox, as `python -I -S -c`; started only so. Standard library only.

Reads a job from stdin, locks itself in, runs the answer and its tests, and writes `NONCE verdict`.
"""

import contextlib
import ctypes
import json
import os
import resource
import sys
import types
import unittest
from typing import Any

# Landlock (Linux 5.13+): rights by version of the interface; see the kernel's landlock.h.
CREATE, ADD, RESTRICT = 444, 445, 446
READ = 1 << 0 | 1 << 2 | 1 << 3  # execute, read file, read folder
RIGHTS_OF_VERSION = {1: 13, 2: 14, 3: 15, 4: 15}
READABLE = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/dev")


class Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64))


class Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"  # named because newer Pythons warn about the implied one
    _fields_ = (("rights", ctypes.c_uint64), ("folder", ctypes.c_int32))


def confine(folder: str) -> bool:
    """Read only Python's own files, write only `folder`. False where the kernel cannot."""
    call = ctypes.CDLL(None, use_errno=True).syscall
    version = call(CREATE, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    everything = (1 << RIGHTS_OF_VERSION.get(version, 16)) - 1
    network = 3 if version >= 4 else 0  # bind and connect of TCP
    rules = Ruleset(everything, network)
    size = ctypes.c_size_t(16 if version >= 4 else 8)
    handle = call(CREATE, ctypes.byref(rules), size, 0)
    allowed = {path: READ for path in (*READABLE, *sys.path) if path and os.path.exists(path)}
    allowed[folder] = everything
    for path, rights in allowed.items():
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        granted = rights if os.path.isdir(path) else rights & ~(1 << 3)
        call(ADD, handle, 1, ctypes.byref(Beneath(granted, place)), 0)
        os.close(place)
    ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)  # no new privileges: required by the next call
    done = bool(call(RESTRICT, handle, 0) == 0)
    os.close(handle)
    return done


def limit(job: dict[str, Any]) -> None:
    """Resource limits; one that the system does not know is left out."""
    wanted = {
        "RLIMIT_CPU": job["cpu_s"], "RLIMIT_AS": job["memory"], "RLIMIT_FSIZE": job["file"],
        "RLIMIT_NOFILE": 64, "RLIMIT_NPROC": 0, "RLIMIT_CORE": 0,
    }  # fmt: skip
    for name, value in wanted.items():
        try:
            resource.setrlimit(getattr(resource, name), (value, value))
        except (AttributeError, ValueError, OSError):
            continue


def execute(source: str, name: str, names: dict[str, Any]) -> str | None:
    """Run one source; the name of what it raised, or None."""
    try:
        exec(compile(source, f"<{name}>", "exec"), names)
    except MemoryError:
        return "out_of_memory"
    except AssertionError:
        return "wrong_answer" if name == "tests" else "code_error"
    except BaseException:
        return "test_error" if name == "tests" else "code_error"
    return None


def found_tests(names: dict[str, Any], before: set[str]) -> str | None:
    """Run test_ functions and TestCase classes that the tests defined; None when all pass."""
    for key in [key for key in names if key not in before]:
        value = names[key]
        if isinstance(value, types.FunctionType) and key.startswith("test"):
            names["__call"] = value
            if failed := execute("__call()", "tests", names):
                return failed
        if isinstance(value, type) and issubclass(value, unittest.TestCase):
            result = unittest.TestResult()
            unittest.defaultTestLoader.loadTestsFromTestCase(value).run(result)
            if not result.wasSuccessful():
                return "wrong_answer" if result.failures else "test_error"
    return None


def judge(job: dict[str, Any]) -> str:
    """passed, or why not."""
    module = types.ModuleType("answer")
    sys.modules["answer"] = module
    names = module.__dict__
    try:
        compile(job["tests"], "<tests>", "exec")
    except (SyntaxError, ValueError):
        return "bad_reference"
    if not job["tests"].strip():
        return "bad_reference"
    failed = execute(job["code"], "code", names)
    before = set(names)
    failed = failed or execute(job["tests"], "tests", names)
    return failed or found_tests(names, before) or "passed"


def main() -> None:
    """One job, one verdict, and out, without waiting for threads or exit handlers of the answer."""
    job = json.load(sys.stdin)
    report = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # the answer may print: nobody listens
        os.dup2(nothing, stream)
    nonce = job.pop("nonce")
    with contextlib.suppress(OSError):
        confine(os.getcwd())
    limit(job)
    verdict = judge(job)
    os.write(report, f"{nonce} {verdict}".encode())
    os._exit(0)


if __name__ == "__main__":
    main()
