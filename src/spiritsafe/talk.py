"""What the program says while it works: to stderr, so that stdout carries data alone.

On a terminal a moving line; in a pipe or a log one plain line every few seconds.
"""

from __future__ import annotations

import sys
import time
from typing import TextIO


class Talk:
    """Progress and notes of one command."""

    def __init__(self, stream: TextIO | None = None, *, every_s: float = 5.0, quiet: bool = False) -> None:
        self.stream = stream or sys.stderr
        self.moving = self.stream.isatty()
        self.every_s = 0.1 if self.moving else every_s
        self.quiet = quiet
        self._last_s = 0.0
        self._open_line = False
        self._started_s = time.monotonic()

    def __reduce__(self) -> tuple[object, ...]:
        # A worker process talks to the same stderr, in whole lines: moving lines of two would mix.
        return (_for_worker, (self.quiet, self._started_s))

    def note(self, text: str) -> None:
        """One line that stays."""
        self._end_line()
        self._write(f"{self._clock()} {text}\n")

    def progress(self, what: str, done: int, total: int, detail: str = "") -> None:
        """The state of one stage; shown at most every few seconds and always when complete."""
        now = time.monotonic()
        if done < total and now - self._last_s < self.every_s:
            return
        self._last_s = now
        share = f"{100 * done // max(total, 1):3d} %"
        line = f"{self._clock()}   {what} {share}  {done:,}/{total:,}  {detail}".rstrip()
        if self.moving:
            self._write(f"\r\x1b[2K{line}")
            self._open_line = True
            if done >= total:
                self._end_line()
        else:
            self._write(line + "\n")

    def _clock(self) -> str:
        seconds = int(time.monotonic() - self._started_s)
        return f"{seconds // 60:3d}:{seconds % 60:02d}"

    def _end_line(self) -> None:
        if self._open_line:
            self._write("\n")
            self._open_line = False

    def _write(self, text: str) -> None:
        if not self.quiet:
            self.stream.write(text)
            self.stream.flush()


def _for_worker(quiet: bool, started_s: float) -> Talk:
    talk = Talk(quiet=quiet)
    talk.moving, talk.every_s, talk._started_s = False, 5.0, started_s
    return talk
