"""Columns: alignment by the decimal point, broken titles, ASCII."""

from __future__ import annotations

import pytest

from regrun.cli.columns import Column, by_point, rows_table, side_by_side, width_of


@pytest.mark.parametrize(
    ("texts", "aligned"),
    [
        (["0.5", "12", "100.25"], ["  0.5", " 12", "100.25"]),
        (["-1", "2.5"], ["-1", " 2.5"]),
        (["1e-05", "0.25", "3"], ["1e-05", "0.25", "3"]),
        (["0.16 [0.1, 0.2]", "197 [179, 216]"], ["  0.16 [0.1, 0.2]", "197    [179, 216]"]),
        (["–", "12.5", "inf"], ["  –", " 12.5", "inf"]),
        ([], []),
    ],
)
def test_numbers_stand_below_each_other_by_their_point(
    texts: list[str], aligned: list[str]
) -> None:
    assert by_point(texts) == aligned


def test_titles_are_broken_only_where_there_is_no_other_room() -> None:
    columns = [Column("weight_decay", ["0.1", "3"]), Column("test loss", ["0.5", "0.25"])]
    assert width_of(columns) == len("weight_  test")
    wide = side_by_side(columns, 23).plain.splitlines()
    assert wide == ["weight_decay  test loss", "0.1           0.5", "3             0.25"]
    middle = side_by_side(columns, 22).plain.splitlines()
    assert middle[:2] == ["weight_", "  decay  test loss"]
    narrow = side_by_side(columns, 13).plain.splitlines()
    assert narrow[:2] == ["weight_  test", "  decay  loss"]


def test_the_title_and_the_chosen_row_are_bold() -> None:
    text = side_by_side([Column("a", ["1", "2", "3"])], 10, bold=1)
    assert [text.plain[span.start : span.end] for span in text.spans] == ["a", "2"]


def test_a_table_without_rows_is_its_titles() -> None:
    assert rows_table(["key", "value"], []).plain == "key  value"


def test_wide_characters_take_two_places() -> None:
    table = rows_table(["name", "n"], [("日本", "1"), ("a", "2")])
    assert table.plain.splitlines() == ["name  n", "日本  1", "a     2"]
