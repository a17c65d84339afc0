"""What a report consists of, as plain data: `page` makes HTML of it, and escapes all text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from regrun.cli.reports.charts import Chart, Space
from regrun.results import DataCard

LONGEST_LINE = 36
"""Characters of a field that stays on one line."""


@dataclass(frozen=True)
class Field:
    """A field of a table: its text, and the number that it is sorted by."""

    text: str
    value: float | None = None

    @property
    def is_prose(self) -> bool:
        """Whether it is so long that it may take several lines."""
        return len(self.text) > LONGEST_LINE


@dataclass(frozen=True)
class Grid:
    """A table. rows: the first field of each is its header.

    space: what its rows are in the charts of the part, where each row is a mark; else empty.
    """

    caption: str
    headers: Sequence[str]
    rows: Sequence[Sequence[Field]]
    note: str = ""
    space: Space | Literal[""] = ""


@dataclass(frozen=True)
class Drawing:
    """A picture as data URIs, and the sentence that says what it shows."""

    name: str
    text: str
    light: str
    dark: str


@dataclass(frozen=True)
class Text:
    """A config as YAML, under its heading."""

    heading: str
    text: str


@dataclass(frozen=True)
class Setup:
    """How the numbers came about."""

    configs: Sequence[Text] = ()
    """The first is shown, the others on demand."""
    grids: Sequence[Grid] = ()
    """The axes of a sweep; the parts of a reproduction."""
    axes: Mapping[str, str] = field(default_factory=dict)
    """Swept key → what was tried."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Dotted key → value of all but the axes; empty where there is no single config."""
    chosen: frozenset[str] = frozenset()
    """The keys among them that differ from their defaults."""
    versions: Mapping[str, str] = field(default_factory=dict)
    card: DataCard | None = None


@dataclass(frozen=True)
class ReportPart:
    """What the report says of one directory."""

    directory: Path
    kind: str
    question: str
    answer: str
    """One sentence or a few, with full stops."""
    findings: Sequence[str] = ()
    limits: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    charts: Sequence[Chart] = ()
    drawings: Sequence[Drawing] = ()
    tables: Sequence[Grid] = ()
    setup: Setup = Setup()
    commands: Sequence[str] = ()
