"""Problems of a config as a compiler reports them: place, message, excerpt, count."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from regrun.errors import ConfigError, KeyPath, Problem

SHOWN = 50
"""Problems that are printed; the rest is counted."""
_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the file; lines and columns count from 0."""

    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True)
class Diagnostic:
    """A problem and its place: in the file (``span``), or in an override or axis (``origin``)."""

    problem: Problem
    span: Span | None = None
    origin: str = ""
    """``override 2: optimizer.lr=-1``"""
    origin_path: KeyPath | None = None
    """What the override set; a message does not repeat it."""
    number: int = 0
    """The override's number."""


def config_error(
    diagnostics: Sequence[Diagnostic],
    label: str = "",
    lines: Sequence[str] = (),
    *,
    scope: str = "",
    shown: int = SHOWN,
    hint: str = "",
) -> ConfigError:
    """All diagnostics as one error: those of the file by position, then those of the overrides.

    ``label`` is the file's name as the user gave it, empty for a config without a file. ``scope``
    names what the errors are counted in; by default the file, its overrides, or both. ``hint``
    ends the message.
    """
    ordered = sorted(diagnostics, key=_position)
    blocks = [_render(each, label, lines) for each in ordered[:shown]]
    if len(ordered) > shown:
        blocks.append(f"… and {len(ordered) - shown} more")
    count = f"{len(ordered)} error" + ("s" if len(ordered) > 1 else "")
    blocks.append(f"{count} in {scope or _scope(ordered, label)}")
    if hint:
        blocks.append(hint)
    return ConfigError([each.problem for each in ordered], ordered, "\n".join(blocks))


def _position(diagnostic: Diagnostic) -> tuple[int, int, int]:
    if diagnostic.span is None:
        return (1, diagnostic.number, 0) if diagnostic.origin else (0, 0, 0)
    return (0, diagnostic.span.line, diagnostic.span.column)


def _scope(diagnostics: Sequence[Diagnostic], label: str) -> str:
    overridden = [each.number > 0 for each in diagnostics]
    if all(overridden):
        return "the overrides"
    return (label or "the config") + (" and its overrides" if any(overridden) else "")


def _render(diagnostic: Diagnostic, label: str, lines: Sequence[str]) -> str:
    span, problem = diagnostic.span, diagnostic.problem
    parts = []
    if label and (span is not None or not diagnostic.origin):
        line, column = (span.line, span.column) if span else (0, 0)
        parts.append(f"{label}:{line + 1}:{column + 1}")
    if diagnostic.origin:
        parts.append(diagnostic.origin)
    if problem.path and problem.path != diagnostic.origin_path:
        parts.append(".".join(printable(str(part))[:80] for part in problem.path))
    text = ": ".join([*parts, problem.message])
    if span is not None and span.line < len(lines) and lines[span.line].strip():
        text += "\n" + _excerpt(span, lines[span.line])
    return text


def _excerpt(span: Span, line: str) -> str:
    """The line, and a row of carets under the span; a long line is cut around it."""
    whole = span.end_line > span.line
    end = len(re.sub(r"\s+#.*$", "", line).rstrip()) if whole else span.end_column
    start = max(0, span.column - _WIDTH // 2) if span.column > _WIDTH * 3 // 4 else 0
    shown = printable(line[start : start + _WIDTH])
    before, marked = shown[: span.column - start], shown[span.column - start : max(end - start, 0)]
    carets = "^" * max(1, _cells(marked))
    lead = "…" if start else ""
    tail = "…" if len(line) > start + _WIDTH else ""
    number = f"{span.line + 1:>5} | "
    margin = f"{'| ':>{len(number)}}{' ' * (len(lead) + _cells(before))}"
    return f"{number}{lead}{shown}{tail}\n{margin}{carets}"


def printable(text: str) -> str:
    """The text with a space for every character that moves the cursor or has no shape."""
    return "".join(char if char.isprintable() else " " for char in text)


def _cells(text: str) -> int:
    """Terminal cells: CJK characters take two."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
