"""Reading delimited text: whatever their bytes are, a table or an error that names the place."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regrun.data import delimited
from regrun.data.preprocessing import TableFormat
from regrun.data.table_file import read_table
from regrun.errors import CorruptInputError, RegrunError

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


MIXED = st.lists(
    st.lists(
        st.sampled_from(
            [
                *("1", "02", "2.5", "", "NA", "-999", "x", "9" * 17, " 7"),
                *('"a,b"', '"q""q"', '"l\nl"', '""', '5"', ' "b"', '"c"d'),
            ]
        ),
        min_size=2,
        max_size=2,
    ),
    min_size=1,
    max_size=12,
)


@given(MIXED, st.sampled_from(["\n", "\r\n", "\r"]))
def test_pyarrow_reads_what_the_csv_module_reads(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], end: str
) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_bytes(end.join(["x,y", *(",".join(row) for row in rows), ""]).encode())
    layout = TableFormat(missing_values=["-999"])
    found = []
    for by_hand in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            if by_hand:
                patch.setattr(delimited._File, "_blocks", lambda file: None)
            try:
                table = read_table(path, layout)
            except RegrunError as error:
                found.append(str(error))
            else:
                found.append(
                    repr([(c.name, c.numbers, c.codes, c.words) for c in table.columns.values()])
                    + repr([table.texts(name).to_pylist() for name in table.names])
                    + repr(table.notes)
                )
    assert found[0] == found[1]


def test_a_file_of_many_blocks_is_what_pandas_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers, integers, text with quotes, missing cells; some only after the first block."""
    monkeypatch.setattr(delimited, "_BLOCK", 4096)
    rng = np.random.default_rng(0)
    rows = 5000
    late = np.arange(rows) > 4000
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=rows),
            "i": rng.integers(0, 100, rows),
            "gaps": np.where(late, np.nan, rng.normal(size=rows)),
            "k": rng.choice(["a", "b, c", 'd"e'], rows),
            "zip": np.where(late, "01067", "80331"),
            "late": np.where(late, "x", "1.5"),
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    table = read_table(tmp_path / "t.csv", TableFormat())
    for name in ("x", "i", "gaps"):
        np.testing.assert_array_equal(table.numbers(name), frame[name])
    for name in ("k", "zip"):
        assert table.texts(name).to_pylist() == frame[name].tolist()
    assert table.columns["zip"].codes == "01067"
    assert table.texts("late").to_pylist() == frame["late"].tolist()
    assert table.place(4321) == f"{tmp_path / 't.csv'}:4323"
