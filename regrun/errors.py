"""Every error regrun raises on purpose, and the exit code each ends with.

    RegrunError
    ├── UsageError            2   wrong usage
    │   └── ConfigError       2   wrong config: all problems at once
    ├── PluginError           2   a plug-in failed; 3 where a run had begun
    ├── DivergedError         3   some runs diverged or failed
    ├── StorageError          4   disk full, read-only, no permission
    ├── OutOfMemoryError      4   more memory was needed than there is
    │   └── DataTooLargeError 4   for the examples alone
    ├── ClusterLostError      4   the cluster that trains a sweep answers no more
    ├── CorruptInputError     5   dataset file or checkpoint is damaged
    └── Interrupted           130 / 143   stopped by a signal after saving

Anything else that escapes is a bug in regrun and ends with 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regrun.config.diagnostics import Diagnostic
    from regrun.results import Result

KeyPath = tuple[str | int, ...]
"""Where in a config: ``("model", "dropout", 1)``."""


class RegrunError(Exception):
    """The root; never raised itself."""

    exit_code: int = 1


class DataWarning(UserWarning):
    """A note about the data, in Python; on the command line it is a line on stderr."""


class UsageError(RegrunError):
    """The command cannot mean anything as it was given."""

    exit_code = 2


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a config: where, and what (value first, then the rule)."""

    path: KeyPath
    message: str

    def __str__(self) -> str:
        return f"{dotted(self.path)}: {self.message}" if self.path else self.message


class ConfigError(UsageError):
    """The config is wrong; one error holds every problem.

    Code that knows nothing of files raises it with bare problems. `Source.locate` of
    `regrun.config.load` then finds the places, from which the text is rendered.

    Args:
        problems: What is wrong, each with the path of its key.
        diagnostics: The same problems with their places; empty until they are located.
        text: The message; by default a line per problem.
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        diagnostics: Sequence[Diagnostic] = (),
        text: str | None = None,
    ) -> None:
        self.problems = tuple(problems)
        self.diagnostics = tuple(diagnostics)
        super().__init__(text or "\n".join(str(problem) for problem in problems))

    def __reduce__(self) -> tuple[type[ConfigError], tuple[object, ...]]:
        """Pickle whole: errors travel from worker processes."""
        return type(self), (self.problems, self.diagnostics, str(self))

    @classmethod
    def at(cls, path: str, message: str) -> ConfigError:
        """One problem at a dotted path: ``ConfigError.at("model.name", "…")``."""
        return cls([Problem(tuple(path.split(".")), message)])


class PluginError(RegrunError):
    """The code of a plug-in failed, or returned what it must not.

    Args:
        text: The message, which names package, class and method.
        details: The traceback of what the plug-in raised; empty where it raised nothing.
    """

    exit_code = 2

    def __init__(self, text: str, details: str = "") -> None:
        super().__init__(text)
        self.details = details

    def __reduce__(self) -> tuple[type[PluginError], tuple[str, str]]:
        """Pickle whole: errors travel from worker processes."""
        return type(self), (str(self), self.details)


class DivergedError(RegrunError):
    """The command ran to its end and printed its result, but some runs diverged or failed."""

    exit_code = 3


class StorageError(RegrunError):
    """The runs directory cannot be written."""

    exit_code = 4


class OutOfMemoryError(RegrunError):
    """There is less memory than was needed; the message has the size and what to make smaller."""

    exit_code = 4


class DataTooLargeError(OutOfMemoryError):
    """The examples alone do not fit into memory, however few runs share them."""


class ClusterLostError(RegrunError):
    """The cluster that trains a sweep does not answer any more; what had come back is stored."""

    exit_code = 4


class CorruptInputError(RegrunError):
    """A file that regrun reads is damaged; the message names it."""

    exit_code = 5


class Interrupted(RegrunError):  # noqa: N818 - a control-flow signal, not an error
    """A signal stopped the run after it was saved. result: what `--json` prints of it."""

    def __init__(self, message: str, signal_number: int, result: Result | None = None) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
        self.result = result


def dotted(path: KeyPath) -> str:
    """``("penalty", 0, "type")`` → ``penalty.0.type``."""
    return ".".join(str(part) for part in path)
