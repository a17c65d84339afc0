"""Columns that keep their place: one line a row, numbers below each other by their point."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from rich.cells import cell_len
from rich.text import Text

from regrun.cli.console import spelled
from regrun.escapes import escaped

_GAP = "  "
_NUMBER = re.compile(r"(?P<whole>[-+]?\d+(?:,\d{3})*)(?P<rest>\S*)(?P<after>.*)")


@dataclass(frozen=True)
class Column:
    """A title over the texts of the rows."""

    title: str
    texts: Sequence[str]
    rank: int = 0
    """Where there is no room, the column of the highest rank is left out first; 0 stays."""
    is_numeric: bool = True
    """Whether texts begin with numbers, which stand below each other by their decimal point."""

    @cached_property
    def lines(self) -> list[str]:
        """The texts as stdout can print them, aligned."""
        texts = [spelled(escaped(text)) for text in self.texts]
        return by_point(texts) if self.is_numeric else texts

    @cached_property
    def _width(self) -> int:
        return max(map(_length, self.lines), default=0)

    def width(self, title: Iterable[str]) -> int:
        """How wide it is with its title on these lines."""
        return max(self._width, *map(_length, title))

    @cached_property
    def broken_title(self) -> list[str]:
        """The title on two lines, as even as its words allow."""
        title = spelled(self.title)
        breaks = [at for at, sign in enumerate(title, 1) if sign in " _." and at < len(title)]
        if not breaks:
            return [title]
        at = min(breaks, key=lambda at: max(at, len(title) - at))
        return [title[:at].rstrip(), title[at:]]

    @property
    def saved(self) -> int:
        """How much narrower it is with a broken title."""
        return self.width([spelled(self.title)]) - self.width(self.broken_title)


def width_of(columns: Sequence[Column]) -> int:
    """How wide columns are at least, one line a row."""
    widths = (column.width(column.broken_title) + len(_GAP) for column in columns)
    return sum(widths) - len(_GAP)


def side_by_side(columns: Sequence[Column], width: int, bold: int | None = None) -> Text:
    """The table. Long titles are broken where it has no other room. bold: a row."""
    titled = _with_titles(columns, width)
    height = max(len(title) for _, title in titled)
    padded = []
    for column, title in titled:
        wide = column.width(title)
        is_right = column.is_numeric and not any(" " in text.strip() for text in column.lines)
        place = _to_right if is_right else _to_left
        head = [place(text, wide) for text in [""] * (height - len(title)) + title]
        padded.append(head + [_to_left(text, wide) for text in column.lines])
    lines = [_GAP.join(row).rstrip() for row in zip(*padded, strict=True)]
    text = Text("\n".join(lines), no_wrap=True)
    start = 0
    for at, line in enumerate(lines):
        if at < height or at - height == bold:
            text.stylize("bold", start, start + len(line))
        start += len(line) + 1
    return text


def rows_table(
    titles: Sequence[str],
    rows: Iterable[Sequence[str]],
    numeric: Collection[str] = (),
    width: int = 0,
) -> Text:
    """The same from rows. numeric: titles of columns of numbers. width: of the terminal."""
    texts = [*zip(*rows, strict=True)] or [()] * len(titles)
    pairs = zip(titles, texts, strict=True)
    columns = [Column(title, column, is_numeric=title in numeric) for title, column in pairs]
    return side_by_side(columns, width)


def by_point(texts: Iterable[str]) -> list[str]:
    """Numbers below each other by their decimal point, and what follows each of them likewise.

    >>> by_point(["0.5 ± 0.1", "12 ± 3", "–"])
    [' 0.5 ± 0.1', '12   ± 3', ' –']
    """
    found = [(_NUMBER.fullmatch(text), text) for text in texts]
    parts = [match.group("whole", "rest", "after") if match else (t, "", "") for match, t in found]
    left = max((len(whole) for whole, _, _ in parts), default=0)
    right = max((len(rest) for _, rest, _ in parts), default=0)
    return [(f"{whole:>{left}}{rest:<{right}}{after}").rstrip() for whole, rest, after in parts]


def _with_titles(columns: Sequence[Column], width: int) -> list[tuple[Column, list[str]]]:
    """Each column with its title on one line, or on two where that saves room that is needed."""
    titles = [[spelled(column.title)] for column in columns]
    pairs = zip(columns, titles, strict=True)
    spare = width + len(_GAP) - sum(column.width(title) + len(_GAP) for column, title in pairs)
    for at in sorted(range(len(columns)), key=lambda at: -columns[at].saved):
        if spare >= 0:
            break
        titles[at] = columns[at].broken_title
        spare += columns[at].saved
    return [*zip(columns, titles, strict=True)]


def _length(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)


def _to_left(text: str, width: int) -> str:
    return text + " " * (width - _length(text))


def _to_right(text: str, width: int) -> str:
    return " " * (width - _length(text)) + text
