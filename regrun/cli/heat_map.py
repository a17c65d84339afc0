"""Two swept keys against each other: the means of one metric as a shaded table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.text import Text

from regrun.cli.columns import by_point
from regrun.cli.console import spelled
from regrun.cli.format import number

SHADES = "█▓▒░ "
"""Best to worst."""
_COLOURS = (22, 28, 58, 94, 236)
"""The same as backgrounds, by their numbers among the 256 of a terminal."""

_LOG_RATIO = 100.0


def heat_map(
    title: str,
    rows: tuple[str, Sequence[str]],
    columns: tuple[str, Sequence[str]],
    means: Mapping[tuple[str, str], float],
    width: int,
    *,
    sign: int = 1,
    colour: bool = False,
) -> Text | None:
    """The table, the better the darker; None where it is wider than the terminal.

    rows, columns: a key and its values. means: (row, column) → mean. sign: -1 where more is better.
    """
    places = {place: at for at, place in enumerate(means)}
    texts = by_point([number(value) for value in means.values()])
    size = max(map(len, [*texts, *columns[1]]), default=0)
    shades = _shades(means, sign)
    first = max(map(len, [*rows[1], rows[0]]))
    if first + 2 + (size + 4) * len(columns[1]) > width or not means:
        return None
    lines = Text(no_wrap=True)
    lines.append(f"{title}, {columns[0]} →\n", "bold")
    head = "  ".join(f"{value:<{size + 2}}" for value in columns[1])
    lines.append(f"{rows[0]:<{first}}  {head}".rstrip() + "\n", "bold")
    for row in rows[1]:
        lines.append(f"{row:<{first}}")
        for column in columns[1]:
            at = places.get((row, column))
            if at is None:
                lines.append(f"  {'':<{size + 2}}")
                continue
            shade = shades[row, column]
            text = f"{texts[at]:<{size}}"
            if colour:
                lines.append("  ")
                lines.append(f" {text} ", f"color(15) on color({_COLOURS[shade]})")
            else:
                lines.append(f"  {text} {SHADES[shade]}")
        lines.append("\n")
    lines.rstrip()
    plain = Text(spelled(lines.plain), no_wrap=True)
    plain.spans = lines.spans if len(plain.plain) == len(lines.plain) else []
    return plain


def _shades(means: Mapping[tuple[str, str], float], sign: int) -> dict[tuple[str, str], int]:
    """The fifth of the range, from the best on, in which each mean lies."""
    low, high = min(means.values()), max(means.values())
    log = low > 0 and high / low > _LOG_RATIO
    scaled = {place: math.log(value) if log else value for place, value in means.items()}
    best = min(sign * value for value in scaled.values())
    span = max(sign * value for value in scaled.values()) - best
    share = {
        place: (sign * value - best) / span if span else 0.0 for place, value in scaled.items()
    }
    return {place: min(int(5 * each), 4) for place, each in share.items()}
