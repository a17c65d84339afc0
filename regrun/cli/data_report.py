"""What the data were taken for, in one line and at length; pictures and rows to look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from regrun.cli.format import NOTHING, name_table, number, table
from regrun.results import DataCard

if TYPE_CHECKING:
    from regrun.execution.preview import Picture, Preview

THUMBNAIL = 16
"""Columns of a picture in the terminal; two of its rows share a line."""

PER_LINE = 6
"""Pictures next to each other, at most."""

MOST_COLUMNS, MOST_CLASSES, MOST_NAMED, MOST_FILES = 60, 30, 5, 2

_RAMP = " .:-=+*#%@"
"""From dark to light, where there is no colour."""


Pixels = list[list[tuple[int, int, int]]]
"""Rows of red, green and blue."""


def data_line(card: DataCard) -> str:
    """``flats.csv: regression of price from 8 features; 160 train, 40 test``."""
    named = card.files if len(card.files) <= MOST_FILES else []
    source = ", ".join(Path(file).name for file in named) or card.dataset
    shape = "×".join(map(str, card.input.shape))
    inputs = f"{shape} feature{'s' * (shape != '1')}" if len(card.input.shape) == 1 else shape
    sizes = ", ".join(f"{size:,} {part}" for part, size in card.sizes.items())
    return f"{source}: {_task(card)} from {inputs}; {sizes}"


def _task(card: DataCard) -> str:
    if card.task == "regression":
        return f"regression of {_some([each.name for each in card.targets])}"
    names = _some([each.name for each in card.classes])
    return f"classification, {len(card.classes):,} classes ({names})"


def _some(names: Sequence[str]) -> str:
    more = f", … {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED + 1 else ""
    return ", ".join(names[:MOST_NAMED] if more else names) + more


def data_report(card: DataCard) -> list[RenderableType]:
    """The card part by part, without its notes."""
    parts: list[RenderableType] = [name_table(data_facts(card))]
    for each in data_tables(card):
        parts += [Text(), table(each.headers, each.rows, right=each.right)]
        parts += [Text(each.more)] if each.more else []
    return parts


def data_facts(card: DataCard) -> list[tuple[str, str]]:
    """What the card says of all data, by name."""
    shape, low, high = card.input.shape, card.input.low, card.input.high
    values = "" if low is None or high is None else f", values {low:.6g} to {high:.6g}"
    inputs = f"{'×'.join(map(str, shape))}, read as {card.input.dtype}{values}"
    return [
        ("data", card.dataset),
        *(("file", file) for file in card.files),
        ("task", f"{card.task}{f': {card.task_reason}' if card.task_reason else ''}"),
        ("examples", ", ".join(f"{size:,} {part}" for part, size in card.sizes.items())),
        *([("split", card.split)] if card.split else []),
        ("input", f"{inputs}; {card.input.scaling}"),
        *(("skipped", text) for text in card.skipped),
    ]


@dataclass(frozen=True)
class CardTable:
    """A table of the card; `right` names its columns of numbers, `more` says what it leaves out."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: Sequence[str]
    more: str = ""


def data_tables(card: DataCard) -> list[CardTable]:
    """The classes, targets and columns of the data, as far as it has them."""
    tables = (_classes(card), _targets(card), _columns(card))
    return [each for each in tables if each.rows]


def _classes(card: DataCard) -> CardTable:
    parts = [part for part in ("train", "validation", "test") if part in card.sizes]
    rows = [
        (each.name, *(f"{getattr(each, part) or 0:,}" for part in parts))
        for each in card.classes[:MOST_CLASSES]
    ]
    more = len(card.classes) - MOST_CLASSES
    return CardTable(
        ("class", *parts), rows, parts, f"and {more:,} more classes" if more > 0 else ""
    )


def _targets(card: DataCard) -> CardTable:
    rows = [
        (each.name, number(each.mean), number(each.std), "yes" if each.standardized else "no")
        for each in card.targets
    ]
    headers = ("target", "mean", "std", "standardized")
    return CardTable(headers, rows, ("mean", "std"))


def _columns(card: DataCard) -> CardTable:
    rows = [
        (
            each.name,
            each.role,
            each.type,
            each.encoding,
            f"{each.missing:,}" if each.missing else NOTHING,
            each.imputed or "",
        )
        for each in card.columns[:MOST_COLUMNS]
    ]
    more = len(card.columns) - MOST_COLUMNS
    headers = ("column", "role", "type", "encoding", "missing", "imputed by")
    return CardTable(headers, rows, ("missing",), f"and {more:,} more columns" if more > 0 else "")


def preview_report(found: Preview) -> list[RenderableType]:
    """The card, some examples to look at, and the notes."""
    parts = data_report(found.card)
    if found.rows:
        examples = [f"example {i + 1}" for i in range(len(found.rows[0][1]))]
        rows = [(name, *values) for name, values in found.rows]
        parts += [Text(), table(("", *examples), rows, right=examples)]
    if found.pictures:
        parts += [Text(), _thumbnails(found)]
    return [*parts, *(f"note: {note}" for note in found.card.notes)]


def _thumbnails(found: Preview) -> Table:
    """Pictures with their captions, as many on a line as fit."""
    from regrun.cli.console import output

    console = output()
    colour = console.is_terminal and not console.no_color and not console.is_dumb_terminal
    draw = _half_blocks if colour else _characters
    across = max(1, min(PER_LINE, console.width // (THUMBNAIL + 2)))
    grid = Table.grid(padding=(0, 2, 1, 0))
    cells = [
        Group(*draw(picture), Text(caption[:THUMBNAIL]))
        for picture, caption in zip(found.pictures, found.captions, strict=True)
    ]
    for start in range(0, len(cells), across):
        grid.add_row(*cells[start : start + across])
    return grid


def _half_blocks(picture: Picture) -> Iterator[Text]:
    """Two rows of pixels on a line: the colour of an upper half block, and its background."""
    pixels = _resized(picture, THUMBNAIL, rows_per_line=1)
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        line = Text()
        for (r, g, b), (R, G, B) in zip(upper, lower, strict=True):
            line.append("▀", style=f"rgb({r},{g},{b}) on rgb({R},{G},{B})")
        yield line


def _characters(picture: Picture) -> Iterator[Text]:
    """One character for each pixel, by its brightness."""
    for row in _resized(picture, THUMBNAIL, rows_per_line=2):
        grey = [(299 * r + 587 * g + 114 * b) // 1000 for r, g, b in row]
        yield Text("".join(_RAMP[value * len(_RAMP) // 256] for value in grey))


def _resized(picture: Picture, width: int, rows_per_line: int) -> Pixels:
    """Rows of pixels, as many as keep the picture's proportions, an even number."""
    import numpy as np
    from PIL import Image

    height = max(1, round(width * picture.shape[0] / picture.shape[1] / rows_per_line / 2)) * 2
    image = Image.fromarray(picture).resize((width, height), Image.Resampling.BOX)
    pixels: Pixels = np.asarray(image).tolist()
    return pixels


def picture_grid(found: Preview, columns: int = PER_LINE, side: int = 96) -> bytes:
    """The pictures with their captions, as a PNG."""
    import io

    from PIL import Image, ImageDraw

    caption = 14
    lines = -(-len(found.pictures) // columns)
    sheet = Image.new("RGB", (columns * (side + 4), lines * (side + caption + 4)), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (picture, text) in enumerate(zip(found.pictures, found.captions, strict=True)):
        x, y = index % columns * (side + 4), index // columns * (side + caption + 4)
        image = Image.fromarray(picture)
        image = image.resize(_within(image.size, side), Image.Resampling.NEAREST)
        sheet.paste(image, (x, y))
        draw.text((x, y + side + 1), text[:18], fill="black")
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _within(size: tuple[int, int], side: int) -> tuple[int, int]:
    """The size whose longer edge is `side`."""
    longer = max(size)
    return max(1, round(size[0] * side / longer)), max(1, round(size[1] * side / longer))
