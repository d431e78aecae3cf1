"""Commands that see one core start no workers, each of which would load the libraries again."""

import os


def one_core() -> None:
    """For `preexec_fn` of a child process; does nothing where a process cannot be bound to cores."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[os.getppid() % len(cores)]})
