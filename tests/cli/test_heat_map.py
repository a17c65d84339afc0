"""Two swept keys as a shaded table."""

from __future__ import annotations

from regrun.cli.heat_map import SHADES, heat_map

MEANS = {("0", "a"): 1.0, ("0", "b"): 2.0, ("10", "a"): 5.0, ("10", "b"): 11.0}


def test_the_better_the_darker() -> None:
    drawn = heat_map("test/loss", ("decay", ["0", "10"]), ("act", ["a", "b"]), MEANS, 80)
    assert drawn is not None
    title, head, first, second = drawn.plain.splitlines()
    assert title == "test/loss, act →"
    assert head.split() == ["decay", "a", "b"]
    assert first.split() == ["0", "1", SHADES[0], "2", SHADES[0]]
    assert second.split() == ["10", "5", SHADES[2], "11"]


def test_where_more_is_better_the_most_is_darkest() -> None:
    drawn = heat_map("acc", ("decay", ["0", "10"]), ("act", ["a", "b"]), MEANS, 80, sign=-1)
    assert drawn is not None
    assert drawn.plain.splitlines()[3].split() == ["10", "5", SHADES[3], "11", SHADES[0]]


def test_a_missing_cell_is_blank_and_a_wide_table_is_not_drawn() -> None:
    some = {place: mean for place, mean in MEANS.items() if place != ("0", "b")}
    drawn = heat_map("test/loss", ("decay", ["0", "10"]), ("act", ["a", "b"]), some, 80)
    assert drawn is not None
    assert drawn.plain.splitlines()[2].split() == ["0", "1", SHADES[0]]
    assert heat_map("test/loss", ("decay", ["0"]), ("act", ["a", "b"]), MEANS, 15) is None
