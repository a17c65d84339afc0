"""Every error regrun raises on purpose, and the exit code each ends with.

    RegrunError
    ├── UsageError            2   wrong usage
    │   └── ConfigError       2   wrong config: all problems at once
    ├── DivergedError         3   some runs diverged or failed
    ├── StorageError          4   disk full, read-only, no permission
    ├── CorruptInputError     5   dataset file or checkpoint is damaged
    └── Interrupted           130 / 143   stopped by a signal after saving

Anything else that escapes is a bug in regrun and ends with 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Path = tuple[str | int, ...]
"""Where in a config: ``("model", "dropout", 1)``."""


class RegrunError(Exception):
    """The root; never raised itself."""

    exit_code: int = 1


class UsageError(RegrunError):
    """The command cannot mean anything as it was given."""

    exit_code = 2


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a config: where, and what (value first, then the rule)."""

    path: Path
    message: str

    def __str__(self) -> str:
        return f"{dotted(self.path)}: {self.message}" if self.path else self.message


class ConfigError(UsageError):
    """The config is wrong.

    ``problems`` holds all of them. Code below the loader raises it with bare problems; the
    loader's source adds file, line, column and excerpt (`regrun.config.load`), which then
    stand in ``rendered``.
    """

    def __init__(self, problems: Sequence[Problem], rendered: str | None = None) -> None:
        self.problems = tuple(problems)
        self.rendered = rendered
        super().__init__(rendered or "\n".join(str(problem) for problem in problems))

    def __reduce__(self) -> tuple[type[ConfigError], tuple[object, ...]]:
        """Pickle whole: errors travel from worker processes."""
        return type(self), (self.problems, self.rendered)

    @classmethod
    def at(cls, path: str, message: str) -> ConfigError:
        """One problem at a dotted path: ``ConfigError.at("model.name", "…")``."""
        return cls([Problem(tuple(path.split(".")), message)])


class DivergedError(RegrunError):
    """Everything ran to its end, but some runs diverged or failed."""

    exit_code = 3


class StorageError(RegrunError):
    """The runs directory cannot be written."""

    exit_code = 4


class CorruptInputError(RegrunError):
    """A file that regrun reads is damaged; the message names it."""

    exit_code = 5


class Interrupted(RegrunError):  # noqa: N818 - it is not an error of anyone's
    """A signal stopped the run after it was saved. document: what `--json` prints of it."""

    def __init__(
        self, message: str, signal_number: int, document: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
        self.document = document


def dotted(path: Path) -> str:
    """``("penalty", 0, "type")`` → ``penalty.0.type``."""
    return ".".join(str(part) for part in path)
