"""What columns are taken for: one decision over the texts of all tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from regrun.data.columns import ColumnType, Declared, check_categories, column_type
from regrun.data.preprocessing import TableFormat
from regrun.data.table import Table
from regrun.data.table_file import read_table
from regrun.errors import ConfigError, CorruptInputError, RegrunError

NUMBERS = [f"{i + 0.5}" for i in range(30)]


def tables(tmp_path: Path, *columns: Sequence[str]) -> list[Table]:
    """A table for each list of cells, in a column "x"."""
    read = []
    for number, cells in enumerate(columns):
        path = tmp_path / f"{number}.csv"
        path.write_text("x;other\n" + "".join(f"{cell};0\n" for cell in cells), encoding="utf-8")
        read.append(read_table(path, TableFormat(separator=";")))
    return read


def decide(tmp_path: Path, *columns: Sequence[str], declared: Declared | None = None) -> ColumnType:
    return column_type("x", tables(tmp_path, *columns), declared)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ([["1", "2.5", "-3e4", ""]], "number"),
        ([["1", "NA", "3"]], "number"),
        ([["a", "b"]], "category"),
        ([["NA", "EU", "NA"]], "category"),
        ([["01", "02"]], "category"),
        ([["1", "2"], ["1", "x"]], "category"),
        ([["10", "20"], ["01", "20"]], "category"),
        ([[str(2**60), str(2**60 + 1)]], "category"),
        ([["true", "false"]], "boolean"),
        ([["true", "false"], ["TRUE", "1"]], "boolean"),
        ([["0", "1"], ["True", "False"]], "boolean"),
        ([["yes", "no"]], "category"),
        ([["", ""], [""]], "empty"),
        ([["2020-01-02", "2020-01-03"]], "date"),
        ([["2.1.2020", "31.12.1999", ""]], "date"),
        ([["03/04/21", "12/31/20"]], "date"),
        ([["5 Jan 2020", "12 March 2021"]], "date"),
        ([["Jan 5, 2020", "March 12, 2021"]], "date"),
        ([["2020-01-02T03:04:05Z", "2020-01-02 03:04:05.5"]], "date"),
        ([["12:30", "3:45 PM"]], "date"),
        ([["10-20", "20-30"]], "category"),
        ([["1", "2", "x"] * 9], "category"),
    ],
)
def test_the_type_of_a_column(tmp_path: Path, columns: list[list[str]], expected: str) -> None:
    assert decide(tmp_path, *columns).type == expected


@pytest.mark.parametrize(
    ("cells", "key", "hint"),
    [
        (["3,5", "4,25"], "decimal", 'decimal: ","'),
        ([*NUMBERS, "3,5"], "decimal", 'decimal: ","'),
        (["-0,5", ",5"], "decimal", 'decimal: ","'),
        (["1.234,5", "2.345,75"], "thousands", 'thousands: "." with decimal: ","'),
        (["1,234", "2,345,678"], "thousands", 'thousands: ","'),
        (["900", "1,234.5"], "thousands", 'thousands: ","'),
        (["1,234", "2,345"], "thousands", 'or decimal: ","'),
        (["1 234", "12 345"], "thousands", 'thousands: " "'),
        (["1'234", "12'345.5"], "thousands", 'thousands: "\'"'),
        (["1.234.567", "2.345.678"], "thousands", 'thousands: "." with decimal: ","'),
        (["12%", "7.5 %"], "columns", "columns: {x: number}"),
        (["$900", "$12.50"], "columns", "columns: {x: number}"),
        (["$1,900", "$12.50"], "columns", 'columns: {x: number} with thousands: ","'),
        (["900 €", "12,50 €"], "columns", 'columns: {x: number} with decimal: ","'),
        (["(120)", "80", "(5)"], "columns", "columns: {x: number}"),
        ([f"{number} kg" for number in NUMBERS], "columns", "reads it without the unit"),
        ([*NUMBERS, "?"], "missing_values", 'missing_values: ["?"]'),
        (["1", "2", "-", "1"], "missing_values", 'missing_values: ["-"]'),
        (["1", "?", "?", "?"], "missing_values", 'missing_values: ["?"]'),
        ([*NUMBERS, "n.a.", "n.a."], "missing_values", 'missing_values: ["n.a."]'),
        ([*NUMBERS, "unknown", "unknown"], "missing_values", "missing_values: [unknown]"),
    ],
)
def test_numbers_in_disguise_are_refused_with_the_key_that_helps(
    tmp_path: Path, cells: list[str], key: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        decide(tmp_path, cells)
    assert str(caught.value).startswith(f'dataset.{key}: column "x": ')
    assert hint in str(caught.value)
    assert "0.csv:" in str(caught.value)
    assert decide(tmp_path, cells, declared="category").type == "category"


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([*NUMBERS, "1a"], "0.csv:32: column \"x\": '1a' is not a number, as the 30 others"),
        ([*NUMBERS, "x"], '0.csv:32: column "x": the header again, among the rows'),
    ],
)
def test_a_mistyped_number_is_found_where_it_is(
    tmp_path: Path, column: list[str], message: str
) -> None:
    with pytest.raises(CorruptInputError) as caught:
        decide(tmp_path, column)
    assert message in str(caught.value)


def test_a_mark_in_the_test_table_alone_is_found_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing_values: .*first at .*1\.csv:3"):
        decide(tmp_path, NUMBERS, ["1.5", "?", "2.5"])


@pytest.mark.parametrize(
    ("cells", "note"),
    [
        (["1", "NA", "null"], '"NA", "null" among the numbers: missing cells'),
        (["01", "10"], "leading zeros (01), so its cells are texts"),
        ([str(2**53 + 1), "5"], "integers beyond 2⁵³ (9007199254740993)"),
        (["a", "NA", "None"], '"NA", "None" in 2 rows is a text as any other'),
        (["a", "?", "b"], 'missing_values: ["?"]'),
        (["a ", "b", "a  "], "blanks removed at the end of 2 texts"),
        (["true", "false", "1"], '"1" among true and false: the same'),
        ([f"202001{day:02}" for day in range(10, 28)], "looks like dates (20200110)"),
    ],
)
def test_what_was_guessed_is_said(tmp_path: Path, cells: list[str], note: str) -> None:
    notes = decide(tmp_path, cells).notes
    assert len(notes) == 1
    assert note in notes[0]


@pytest.mark.parametrize(
    ("cells", "read"), [(["12%", "7"], "12"), (["$1.50", "2"], "1.50"), (["(5)", "7"], "-5")]
)
def test_what_is_taken_off_declared_numbers_is_said(
    tmp_path: Path, cells: list[str], read: str
) -> None:
    kind = decide(tmp_path, cells, declared="number")
    assert (kind.type, kind.marked) == ("number", True)
    assert kind.notes[0].endswith(f'"{cells[0]}" is read as {read}')
    assert tables(tmp_path, cells)[0].numbers("x", marked=True)[0] == float(read)


def test_a_column_that_counts_the_rows_is_noted_by_its_name_and_values(tmp_path: Path) -> None:
    rows = "".join(f"{i},{i},{i % 7}\n" for i in range(30))
    (tmp_path / "t.csv").write_text("user_id,amount,id\n" + rows)
    table = read_table(tmp_path / "t.csv", TableFormat())
    assert "counts the rows" in column_type("user_id", [table]).notes[0]
    assert column_type("amount", [table]).notes == []
    assert column_type("id", [table]).notes == []


@pytest.mark.parametrize(
    ("cells", "declared", "refused"),
    [
        ([f"Person {i}" for i in range(60)], None, True),
        ([f"Person {i}" for i in range(12)], None, True),
        ([f"{i:08x}z" for i in range(5000)], None, True),
        ([f"Person {i // 3}" for i in range(60)], None, False),
        ([f"Person {i}" for i in range(9)], None, False),
        ([f"Person {i}" for i in range(60)], "category", False),
        ([f"Person {i}" for i in range(1001)] * 3, "category", True),
    ],
)
def test_nearly_a_text_for_each_row_is_no_feature_at_any_size(
    tmp_path: Path, cells: list[str], declared: Declared | None, refused: bool
) -> None:
    read = tables(tmp_path, cells)
    assert column_type("x", read, declared).type == "category"
    try:
        check_categories("x", read, declared)
    except RegrunError as error:
        assert refused
        assert "leave it out by ignore: [x]" in str(error)
    else:
        assert not refused
