"""A config file → plain data with marks: what is read, how much of it, in which encoding."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Any

from regrun.config.report import Mark, located
from regrun.config.yaml_compose import Document, YAMLProblem, compose, problem_at, split_lines
from regrun.errors import UsageError
from regrun.suggest import did_you_mean

MAX_BYTES = 1_000_000


def read_config(path: FilePath | str) -> Document:
    """Read a config file; its root is a mapping.

    Raises UsageError when the file cannot be read, ConfigError (located) when it is not YAML.
    """
    return parse_config(_read(FilePath(path)), label=str(path))


def parse_config(text: str | bytes, label: str) -> Document:
    """Parse a config whose root is a mapping. Raises ConfigError, located in ``label``."""
    lines: tuple[str, ...] = ()
    try:
        decoded = _decode(text)
        lines = split_lines(decoded)
        document = compose(decoded)
        if not isinstance(document.data, dict):
            mark = None if document.data is None else document.values[()]
            raise problem_at(mark, _not_a_mapping(document.data))
    except YAMLProblem as problem:
        raise located(problem.findings, label, lines) from None
    return document


def _read(path: FilePath) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        hint = did_you_mean(path.name, _neighbours(path))
        raise UsageError(f"{path}: no such config file{hint}") from None
    except IsADirectoryError:
        raise UsageError(f"{path}: a folder, not a config file") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise UsageError(f"{str(path)!r}: not a file name ({error})") from None


def _neighbours(path: FilePath) -> list[str]:
    try:
        return sorted(each.name for each in path.parent.glob("*.y*ml"))[:500]
    except OSError:
        return []


def _decode(text: str | bytes) -> str:
    if isinstance(text, str):
        return text
    if len(text) > MAX_BYTES:
        raise problem_at(None, f"the file is larger than {MAX_BYTES:,} bytes")
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start)
        begin = text.rfind(b"\n", 0, error.start) + 1
        column = len(text[begin : error.start].decode("utf-8", errors="replace"))
        mark = Mark(line, column, line, column + 1)
        raise problem_at(mark, f"byte 0x{text[error.start]:02x}: not UTF-8 text") from None


def _not_a_mapping(data: Any) -> str:
    if data is None:
        return "the config is empty; it needs at least dataset, model and optimizer"
    kind = "a list" if isinstance(data, list) else "a single value"
    return f"the config is {kind}, not a mapping of keys to values"
