"""Problems of a config, told as a compiler tells them: place, message, excerpt, count."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from regrun.errors import ConfigError, Path, Problem

SHOWN = 50
"""Problems that are printed; the rest is counted."""
_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Mark:
    """A stretch of the file; lines and columns count from 0."""

    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True)
class Finding:
    """A problem and its place: in the file (``mark``), or in an override or axis (``said_by``)."""

    problem: Problem
    mark: Mark | None = None
    said_by: str = ""
    """``override 2: optimizer.lr=-1``"""
    said_by_path: Path | None = None
    """What the override set, which need not be said again."""
    order: int = 0
    """The override's number."""


def located(findings: Sequence[Finding], label: str, lines: Sequence[str]) -> ConfigError:
    """All findings as one error: those of the file by position, then those of the overrides.

    label: the file's name as the user gave it, "" for a config that has no file.
    """
    ordered = sorted(findings, key=_position)
    told = [_tell(finding, label, lines) for finding in ordered[:SHOWN]]
    if len(ordered) > SHOWN:
        told.append(f"… and {len(ordered) - SHOWN} more")
    count = f"{len(ordered)} error" + ("s" if len(ordered) > 1 else "")
    told.append(f"{count} in {_scope(ordered, label)}")
    return ConfigError([finding.problem for finding in ordered], rendered="\n".join(told))


def path_text(path: Path) -> str:
    """``penalty.0.strength``, whatever the keys hold."""
    return ".".join(_clean(str(part))[:80] for part in path)


def _position(finding: Finding) -> tuple[int, int, int]:
    if finding.mark is None:
        return (1, finding.order, 0) if finding.said_by else (0, 0, 0)
    return (0, finding.mark.line, finding.mark.column)


def _scope(findings: Sequence[Finding], label: str) -> str:
    overridden = [finding.said_by.startswith("override ") for finding in findings]
    if all(overridden):
        return "the overrides"
    return (label or "the config") + (" and its overrides" if any(overridden) else "")


def _tell(finding: Finding, label: str, lines: Sequence[str]) -> str:
    mark, problem = finding.mark, finding.problem
    parts = []
    if mark is not None and label:
        parts.append(f"{label}:{mark.line + 1}:{mark.column + 1}")
    elif label and not finding.said_by:
        parts.append(f"{label}:1:1")
    if finding.said_by:
        parts.append(finding.said_by)
    if problem.path and problem.path != finding.said_by_path:
        parts.append(path_text(problem.path))
    text = ": ".join([*parts, problem.message])
    if mark is not None and mark.line < len(lines) and lines[mark.line].strip():
        text += "\n" + _excerpt(mark, lines[mark.line])
    return text


def _excerpt(mark: Mark, line: str) -> str:
    """The line, and a row of carets below the stretch; a long line is cut around it."""
    if mark.end_line > mark.line:
        end = len(re.sub(r"\s+#.*$", "", line).rstrip())
    else:
        end = mark.end_column
    start = max(0, mark.column - _WIDTH // 2) if mark.column > _WIDTH * 3 // 4 else 0
    shown = _clean(line[start : start + _WIDTH])
    before, below = shown[: mark.column - start], shown[mark.column - start : max(end - start, 0)]
    carets = "^" * max(1, _cells(below))
    lead = "…" if start else ""
    tail = "…" if len(line) > start + _WIDTH else ""
    number = f"{mark.line + 1:>5}"
    return (
        f"{number} | {lead}{shown}{tail}\n"
        f"{' ' * len(number)} | {' ' * (len(lead) + _cells(before))}{carets}"
    )


def _clean(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


def _cells(text: str) -> int:
    """Terminal cells: CJK characters take two."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
