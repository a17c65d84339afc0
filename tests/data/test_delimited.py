"""Reading delimited text: whatever their bytes are, a table or an error that names the place."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regrun.data.preprocessing import TableFormat
from regrun.data.table_file import read_table
from regrun.errors import CorruptInputError

CELL = st.floats(-1e300, 1e300).map(repr)
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Zs"]), min_size=1).map(
    lambda text: f"t{text}"
)


@given(st.lists(st.tuples(CELL, TEXT, CELL), min_size=1, max_size=8))
def test_what_a_writer_wrote_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    buffer = io.StringIO()
    csv.writer(buffer).writerows([("x", "k, with comma", "y"), *rows])
    path.write_bytes(buffer.getvalue().encode())
    table = read_table(path, TableFormat())
    assert table.names == ["x", "k, with comma", "y"]
    assert table.numbers("x").tolist() == [float(x) for x, _, _ in rows]
    assert table.texts("k, with comma").to_pylist() == [k for _, k, _ in rows]
    assert [table.place(row) for row in range(len(rows))] == [
        f"{path}:{row + 2}" for row in range(len(rows))
    ]


@given(st.binary(max_size=80))
def test_any_bytes_are_a_table_or_a_named_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_bytes(content)
    try:
        table = read_table(path, TableFormat())
    except CorruptInputError as error:
        assert str(path) in str(error)
    else:
        assert table.rows > 0
        assert table.place(table.rows - 1).startswith(str(path))
        for name, column in table.columns.items():
            assert len(column) == len(table.texts(name)) == table.rows


@given(st.text(st.sampled_from('ab1.,"\n\r \t-e'), max_size=60))
def test_any_text_is_a_table_or_a_named_error(
    tmp_path_factory: pytest.TempPathFactory, content: str
) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_bytes(b"x,y\n" + content.encode())
    try:
        table = read_table(path, TableFormat())
    except CorruptInputError as error:
        assert str(path) in str(error)
    else:
        assert table.rows > 0
        assert table.place(table.rows - 1).startswith(str(path))
        for name, column in table.columns.items():
            assert len(column) == len(table.texts(name)) == table.rows
