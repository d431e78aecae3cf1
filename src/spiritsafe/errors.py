"""Every way in which the program stops, as one tree.

    SpiritSafeError                 exit 1
    +-- UsageError                  exit 2   recipe, arguments or input file are wrong
    |   +-- RecipeError                      all problems of a recipe at once
    |   +-- InputError                       a file of the user's, named with its line
    |   +-- MissingExtra                     an optional library, with the command that installs it
    +-- TeacherError                exit 1   unreachable, refuses, unknown model
    +-- BudgetReached               exit 4   the next request could exceed the budget
    +-- CorruptData                 exit 5   a checksum or a file does not match

An error carries one line and a hint, never a key and never the text of a prompt: both lines may be
pasted into a bug report. Add a class only where a caller or the exit code tells it apart.
"""


class SpiritSafeError(Exception):
    """A failure that the user can act on: one line, and `hint` says what to do."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.message, self.hint))


class UsageError(SpiritSafeError):
    """Recipe, arguments or input are wrong; nothing was done."""

    exit_code = 2


class RecipeError(UsageError):
    """The recipe has these problems, one per line of the message."""


class InputError(UsageError):
    """A file of the user's cannot be used; the message names file and line."""


class MissingExtra(UsageError):
    """An optional library is not installed; the hint is the command that installs it."""


class TeacherError(SpiritSafeError):
    """The teacher cannot be reached, refuses the key, or does not serve that model."""


class BudgetReached(SpiritSafeError):
    """The next request could exceed the budget; everything settled so far is kept."""

    exit_code = 4


class CorruptData(SpiritSafeError):
    """A stored file does not match its checksum or cannot be read."""

    exit_code = 5
