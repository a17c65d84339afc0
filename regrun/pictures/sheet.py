"""A sheet to draw on: a sentence as its title, notes below, and labels that do not overlap."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from regrun.escapes import escaped_name
from regrun.pictures.style import SIZES, Look

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.figure import Figure
    from matplotlib.text import Text

Format = Literal["png", "svg", "pdf"]

MARGIN = 0.14
"""Inches around everything."""

AWAY = 1.04
"""Where names to the right of axes begin, in widths of the axes."""

LINE = 1.3
"""The distance of lines of text, in font sizes."""

DPI = 150
"""Pixels per inch of a PNG."""


@dataclass
class Sheet:
    """A figure whose texts are laid out once everything is drawn.

    title: what the picture shows, as a sentence. notes: what a reader must know, below the picture.
    """

    look: Look
    title: str
    notes: Sequence[str] = ()
    width: float = 8.0
    height: float = 5.2
    figure: Figure = field(init=False)
    _ends: list[tuple[Axes, list[Text]]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.figure = Figure(figsize=(self.width, self.height))
        FigureCanvasAgg(self.figure)
        self._write_texts()

    @property
    def renderer(self) -> RendererAgg:
        """What measures texts."""
        return self.figure.canvas.get_renderer()  # type: ignore[attr-defined, no-any-return]

    def _write_texts(self) -> None:
        """The title above and the notes below, wrapped; the sheet grows by their lines."""
        room = self.width - 2 * MARGIN
        title = wrapped(self, escaped_name(self.title), SIZES["title"], room, weight="bold")
        notes = [
            line
            for note in self.notes
            for line in wrapped(self, escaped_name(note), SIZES["note"], room)
        ]
        above = MARGIN + len(title) * SIZES["title"] * LINE / 72 + 0.08
        below = (len(notes) * SIZES["note"] * LINE / 72 + MARGIN) if notes else 0.06
        self.height += above + below
        self.figure.set_size_inches(self.width, self.height)
        self.figure.text(
            MARGIN / self.width,
            1 - MARGIN / self.height,
            "\n".join(title),
            fontsize=SIZES["title"],
            fontweight="bold",
            verticalalignment="top",
            linespacing=LINE,
        )
        self.figure.text(
            MARGIN / self.width,
            0.7 * MARGIN / self.height,
            "\n".join(notes),
            fontsize=SIZES["note"],
            color=self.look.soft,
            verticalalignment="bottom",
            linespacing=LINE,
        )
        bottom = below / self.height
        self.figure.set_layout_engine(
            "constrained",
            rect=(0, bottom, 1, 1 - above / self.height - bottom),
            w_pad=MARGIN,
            h_pad=0.04,
        )

    def label_ends(self, axes: Axes, labels: Sequence[tuple[float, str, str]]) -> None:
        """Write names to the right of the axes: height in data, text and colour of each."""
        drawn = [
            axes.text(
                AWAY,
                height,
                text,
                transform=axes.get_yaxis_transform(),
                color=colour,
                verticalalignment="center",
            )
            for height, text, colour in labels
        ]
        self._ends.append((axes, drawn))

    def finish(self) -> Figure:
        """Lay everything out; the figure stays as it is from then on."""
        with warnings.catch_warnings():
            # A picture too small for its labels is drawn as well as it can be.
            warnings.filterwarnings("ignore", "constrained_layout not applied")
            warnings.filterwarnings("ignore", "Glyph .* missing from")
            self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")
        for axes, labels in self._ends:
            self._spread(axes, labels)
        for axes in self.figure.axes:
            self._thin(axes.xaxis, 0)
            self._thin(axes.yaxis, 1)
        return self.figure

    def _spread(self, axes: Axes, labels: Sequence[Text]) -> None:
        """Move labels up and down until they are apart, each with a line to where it belongs."""
        import numpy as np

        if not labels:
            return
        frame = axes.get_window_extent(self.renderer)
        gap = 1.06 * max(label.get_window_extent(self.renderer).height for label in labels)
        wanted = axes.transData.transform([(1, label.get_position()[1]) for label in labels])[:, 1]
        wanted = (np.clip(wanted, frame.y0, frame.y1) - frame.y0) / frame.height
        for label, there, here in zip(
            labels, wanted, apart(wanted, gap / frame.height), strict=True
        ):
            label.set_transform(axes.transAxes)
            label.set_position((AWAY, here))
            axes.plot(
                [1.005, AWAY - 0.008],
                [there, here],
                transform=axes.transAxes,
                color=label.get_color(),
                linewidth=0.7,
                clip_on=False,
            )

    def _thin(self, axis: Axis, side: int) -> None:
        """Erase the labels of ticks that would touch the one before."""
        labels = [label for label in axis.get_ticklabels() if label.get_text()]
        last = -math.inf
        boxes = [label.get_window_extent(self.renderer) for label in labels]
        order = sorted(range(len(labels)), key=lambda index: boxes[index].min[side])
        fixed = [tick.get_text() for tick in axis.get_ticklabels()]
        kept = set()
        for index in order:
            room = 3 if side == 0 else 0
            if boxes[index].min[side] > last + room:
                kept.add(index)
                last = boxes[index].max[side]
        if len(kept) == len(labels) or not _has_fixed_ticks(axis):
            return
        erased = {id(label) for index, label in enumerate(labels) if index not in kept}
        texts = [
            "" if id(label) in erased else text
            for label, text in zip(axis.get_ticklabels(), fixed, strict=True)
        ]
        axis.set_ticklabels(texts)


def _has_fixed_ticks(axis: Axis) -> bool:
    from matplotlib.ticker import FixedLocator

    return isinstance(axis.get_major_locator(), FixedLocator)


def wrapped(
    sheet: Sheet, text: str, size: float, width: float, weight: str = "normal"
) -> list[str]:
    """The text in lines of at most `width` inches; a word that is longer is broken."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if text_width(sheet, longer, size, weight) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if text_width(sheet, lines[-1] + letter, size, weight) > width:
                lines.append("")
            lines[-1] += letter
    return lines if text.strip() else []


def text_width(sheet: Sheet, text: str, size: float, weight: str = "normal") -> float:
    """The width of a line in inches."""
    from matplotlib.font_manager import FontProperties

    font = FontProperties(size=size, weight=weight)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        measured = sheet.renderer.get_text_width_height_descent(text, font, False)  # type: ignore[no-untyped-call]
    return float(measured[0]) / float(sheet.figure.dpi)


def apart(wanted: np.ndarray, gap: float) -> np.ndarray:
    """Heights at least `gap` apart, in the order of those wanted, and near them: (n,).

    The least-squares answer: after subtracting the gaps, the heights must only be sorted.
    """
    import numpy as np
    from scipy.optimize import isotonic_regression

    order = np.argsort(wanted, kind="stable")
    gaps = gap * np.arange(len(wanted))
    heights = np.empty_like(wanted)
    heights[order] = isotonic_regression(wanted[order] - gaps).x + gaps
    return heights


def rendered(figure: Figure, look: Look, kind: Format) -> bytes:
    """The file of a figure. Equal figures give equal bytes."""
    from regrun.pictures.style import styled

    nothing = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": None}
    buffer = io.BytesIO()
    with styled(look), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure.savefig(buffer, format=kind, dpi=DPI, metadata=nothing[kind])
    return buffer.getvalue()
