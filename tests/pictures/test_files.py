"""Pictures as files: equal data give equal bytes, and text from data is only text."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from regrun.errors import UsageError
from regrun.pictures.axis import Axis
from regrun.pictures.files import LEFT, find_picture, picture_file, picture_files
from regrun.pictures.sheet import Format
from regrun.pictures.style import LOOKS, Theme
from tests.support.drawn import cell, subject

SWEPT = subject(
    [cell({"a<b>&$x_1$\x1b[31m": s}, {"test/loss": [1.0 + s, 1.1 + s]}) for s in (1, 2, 3)]
)


def test_png_and_svg_are_left_light_and_dark_and_always_alike() -> None:
    files = picture_files(SWEPT, Axis())
    assert [*files] == ["axis.png", "axis.svg", "axis-dark.png", "axis-dark.svg"]
    assert picture_files(SWEPT, Axis()) == files
    assert len(set(files.values())) == len(files)


@pytest.mark.parametrize("theme", LOOKS)
def test_an_svg_is_well_formed_and_has_no_date(theme: Theme) -> None:
    content = picture_file(SWEPT, Axis(), theme, "svg")
    root = ElementTree.fromstring(content)
    assert root.tag.endswith("svg")
    assert b"\x1b" not in content
    assert b"<dc:date>" not in content


@pytest.mark.parametrize("kind", LEFT)
def test_a_change_of_the_data_changes_the_picture(kind: Format) -> None:
    other = subject([*SWEPT.cells[:2], cell(SWEPT.cells[2].params, {"test/loss": [4.0, 4.2]})])
    first, second = (picture_file(each, Axis(), "light", kind) for each in (SWEPT, other))
    assert first != second


def test_users_settings_of_matplotlib_change_nothing() -> None:
    import matplotlib as mpl

    before = picture_file(SWEPT, Axis(), "light", "svg")
    with mpl.rc_context({"font.size": 30, "axes.grid": True, "lines.linewidth": 9}):
        assert picture_file(SWEPT, Axis(), "light", "svg") == before
        assert mpl.rcParams["font.size"] == 30


@pytest.mark.parametrize(
    ("kind", "words"),
    [("axs", 'did you mean "axis"'), ("axis", "no picture axis: it needs more than one cell")],
)
def test_a_picture_that_cannot_be_drawn_says_why(kind: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        find_picture(subject([SWEPT.cells[0]]), kind)
