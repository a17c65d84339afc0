"""Tables in memory: numbers as Python reads them, and columns from data frames."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regrun.data.preprocessing import TableFormat
from regrun.data.table import EXACT, column_of, parse_numbers, table_of, unmarked
from regrun.errors import CorruptInputError

PLAIN = TableFormat()
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(FLOATS, min_size=1))
def test_numbers_are_read_to_the_last_bit(values: list[float]) -> None:
    found = parse_numbers(pa.array([repr(value) for value in values]), PLAIN)
    assert found is not None
    assert found[0].tolist() == values


@given(st.lists(FLOATS.filter(lambda x: abs(x) < 1e15), min_size=1))
def test_numbers_in_german_notation_are_those_in_english(values: list[float]) -> None:
    german = TableFormat(decimal=",", thousands=".")
    cells = [f"{value:,.3f}".translate(str.maketrans(",.", ".,")) for value in values]
    found = parse_numbers(pa.array(cells), german)
    assert found is not None
    assert found[0].tolist() == [float(f"{value:.3f}") for value in values]


@pytest.mark.parametrize(
    ("cell", "layout"),
    [
        ("1.5", TableFormat(decimal=",")),
        ("1,5", PLAIN),
        ("12,34", TableFormat(thousands=",")),
        ("1,2345", TableFormat(thousands=",")),
        ("1.234", TableFormat(decimal=",", thousands="'")),
        ("0x10", PLAIN),
        ("1_000", PLAIN),
        ("1e", PLAIN),
    ],
)
def test_another_notation_is_no_number(cell: str, layout: TableFormat) -> None:
    assert parse_numbers(pa.array(["1", cell]), layout) is None


def test_words_among_numbers_are_missing_cells_and_are_kept() -> None:
    found = parse_numbers(pa.array(["1", "NA", " 2 ", "null", "", "+3", "−4", "nan"]), PLAIN)
    assert found is not None
    np.testing.assert_array_equal(found[0], [1, np.nan, 2, np.nan, np.nan, 3, -4, np.nan])
    assert found[1] == {"NA", "null", "nan"}


def test_a_marker_that_is_a_number_is_found_however_it_is_written() -> None:
    found = parse_numbers(pa.array(["-999", "1", "-999.0"]), TableFormat(missing_values=["-999"]))
    assert found is not None
    np.testing.assert_array_equal(found[0], [np.nan, 1, np.nan])


@pytest.mark.parametrize(
    ("cells", "code"),
    [
        (["1067", "01067"], "01067"),
        (["0", "0.5", "10"], None),
        (["00", "1"], "00"),
        (["02", "2.5"], None),
        ([" 07", "1"], "07"),
        ([str(int(EXACT) - 1), "1"], None),
        ([str(int(EXACT) + 1), "1"], str(int(EXACT) + 1)),
        (["1e20", "2e20"], None),
    ],
)
def test_integers_that_lose_something_as_numbers_keep_their_text(
    cells: list[str], code: str | None
) -> None:
    column = column_of("zip", pa.array(cells), PLAIN)
    assert column.codes == code
    if code is not None:
        assert column.texts.to_pylist() == [cell.strip() for cell in cells]


@pytest.mark.parametrize(
    ("cell", "bare"),
    [
        ("12%", "12"),
        ("$ 9.50", "9.50"),
        ("-$9", "-9"),
        ("9 €", "9"),
        ("3.5 kg", "3.5"),
        ("(120)", "-120"),
        ("($1.5)", "-1.5"),
        ("abc", "abc"),
    ],
)
def test_signs_and_units_are_taken_off(cell: str, bare: str) -> None:
    assert unmarked(pa.array([cell])).to_pylist() == [bare]


def test_a_data_frame_is_the_table_that_its_csv_would_be() -> None:
    frame = pd.DataFrame(
        {
            "x": [1.5, math.nan, 3],
            "n": [1, 2, 3],
            "k": ["a", None, "01"],
            "c": pd.Categorical(["u", "v", "u"]),
            "b": [True, False, True],
            "t": pd.to_datetime(["2020-01-01", "2020-01-02T03:04", "2020-01-03"], format="ISO8601"),
            "mixed": [1, "x", 2.0],
        }
    )
    table = table_of(frame)
    assert table.names == list(frame.columns)
    np.testing.assert_array_equal(table.numbers("x"), [1.5, np.nan, 3])
    assert table.texts("n").to_pylist() == ["1", "2", "3"]
    assert table.texts("k").to_pylist() == ["a", None, "01"]
    assert table.texts("c").to_pylist() == ["u", "v", "u"]
    assert table.labels("b", boolean=True).tolist() == ["True", "False", "True"]
    assert table.texts("t").to_pylist()[1] == "2020-01-02 03:04:00"
    assert table.texts("mixed").to_pylist() == ["1", "x", "2"]
    with pytest.raises(CorruptInputError, match="row 0: column \"k\": 'a' is not a number"):
        table.numbers("k")


def test_markers_and_notations_hold_in_data_frames_too() -> None:
    frame = pd.DataFrame({"x": [-999, 1], "y": ["3,5", "-999"]})
    table = table_of(frame, TableFormat(decimal=",", missing_values=["-999"]))
    np.testing.assert_array_equal(table.numbers("x"), [np.nan, 1])
    np.testing.assert_array_equal(table.numbers("y"), [3.5, np.nan])
