"""The style that all pictures share: sizes, fonts, and colours on white and on dark paper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from regrun.escapes import escaped_name
from regrun.metrics import Split

if TYPE_CHECKING:
    from matplotlib.colors import LinearSegmentedColormap

Theme = Literal["light", "dark"]


@dataclass(frozen=True)
class Look:
    """Colours, all from the palette of Okabe and Ito or grey, and where they lie lightest first."""

    theme: Theme
    paper: str
    ink: str
    """Titles, and what matters most."""
    soft: str
    """Axes, ticks and notes."""
    faint: str
    """Grids, and lines in the background."""
    shade: str
    """Areas behind curves."""
    splits: Mapping[Split, str]
    series: tuple[str, ...]
    """For lines that have no order, the most distinct first."""
    ramp: tuple[str, ...]
    """A scale of one hue, from little to much; lightness changes evenly."""

    @property
    def accent(self) -> str:
        """The best of many."""
        return self.splits["test"]


LOOKS: Mapping[Theme, Look] = {
    "light": Look(
        theme="light",
        paper="#ffffff",
        ink="#1a1a1a",
        soft="#595959",
        faint="#dcdcdc",
        shade="#eceff3",
        splits={"train": "#0072b2", "val": "#009e73", "test": "#d55e00"},
        series=("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"),
        ramp=("#f2f6fa", "#6baed6", "#08306b"),
    ),
    "dark": Look(
        theme="dark",
        paper="#16181c",
        ink="#f0f0f0",
        soft="#a9aeb6",
        faint="#363b43",
        shade="#262b33",
        splits={"train": "#56b4e9", "val": "#2bc39a", "test": "#f08a3c"},
        series=("#56b4e9", "#f08a3c", "#2bc39a", "#e29cc4", "#f0c040", "#8fa8ff"),
        ramp=("#20242b", "#3f7fb5", "#c9e6ff"),
    ),
}

LINES: Mapping[Split, str] = {"train": "--", "val": "-.", "test": "-"}
"""How the splits differ in print without colour."""

MARKERS: Mapping[Split, str] = {"train": "o", "val": "s", "test": "D"}

SIZES = {"title": 11.5, "label": 9.5, "text": 9.0, "tick": 8.5, "note": 8.0}
"""In points."""

LONGEST_TEXT = 48
"""Characters of a name that a picture shows."""


@contextmanager
def styled(look: Look) -> Iterator[None]:
    """Let matplotlib draw in this style within the block, whatever the user's settings are."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(
            {
                "font.size": SIZES["text"],
                "axes.labelsize": SIZES["label"],
                "xtick.labelsize": SIZES["tick"],
                "ytick.labelsize": SIZES["tick"],
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.axisbelow": True,
                "figure.facecolor": look.paper,
                "axes.facecolor": look.paper,
                "savefig.facecolor": look.paper,
                "text.color": look.ink,
                "axes.labelcolor": look.ink,
                "axes.edgecolor": look.soft,
                "xtick.color": look.soft,
                "ytick.color": look.soft,
                "grid.color": look.faint,
                "grid.linewidth": 0.6,
                "lines.linewidth": 1.8,
                "lines.solid_capstyle": "round",
                "hatch.color": look.soft,
                "hatch.linewidth": 0.5,
                # A $ in a name is a $.
                "text.parse_math": False,
                "svg.hashsalt": "regrun",
            }
        )
        yield


def plain(text: str, longest: int = LONGEST_TEXT) -> str:
    """A name from data on one line, cut in the middle where it is long, as its end may matter.

    >>> plain("a_name_that_does_not_end", 12)
    'a_name_…_end'
    """
    name = escaped_name(text)
    if len(name) <= longest:
        return name
    end = longest // 3
    return f"{name[: longest - end - 1]}…{name[-end:]}"


def tick_text(value: float) -> str:
    """A number at a tick: ``0.03``, ``1000``, ``2·10⁻⁵``.

    >>> tick_text(0.001), tick_text(1e-5), tick_text(2e6)
    ('0.001', '10⁻⁵', '2·10⁶')
    """
    if value == 0 or 1e-4 < abs(value) < 1e5:
        return f"{value:.6g}".replace("-", "−")
    digits, _, exponent = f"{value:.6e}".partition("e")
    factor = f"{float(digits):g}"
    power = "10" + str(int(exponent)).translate(_SUPERSCRIPTS)
    if factor in ("1", "-1"):
        return factor.replace("-1", "−").replace("1", "") + power
    return f"{factor}·{power}".replace("-", "−")


_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def ramp_colours(look: Look, number: int) -> list[str]:
    """Colours along the scale of one hue that can all be seen on the paper."""
    from matplotlib.colors import to_hex

    colours = ramp(look)
    return [to_hex(colours(0.35 + 0.65 * index / max(number - 1, 1))) for index in range(number)]


def ramp(look: Look) -> LinearSegmentedColormap:
    """The scale of one hue."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("regrun", look.ramp)
