"""Files of every format: the same table, or a message that says what they are."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from regrun.data.delimited import MOST_COLUMNS
from regrun.data.preprocessing import TableFormat
from regrun.data.table_file import read_table
from regrun.errors import ConfigError, CorruptInputError, RegrunError

FRAME = pd.DataFrame(
    {
        "x": [0.1, 2.5, None, -3.0],
        "k": ["a", "b, c", 'd"e', "é"],
        "n": [1, 2, 3, 4],
        "y": [0.5, 1.5, 2.5, 3.5],
    }
)
TEXT = FRAME.to_csv(index=False)


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, TEXT)
    return buffer.getvalue()


def excel(startrow: int = 0) -> bytes:
    buffer = io.BytesIO()
    FRAME.to_excel(buffer, index=False, startrow=startrow)
    return buffer.getvalue()


def arrow(write: Callable[[pd.DataFrame, io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    write(FRAME, buffer)
    return buffer.getvalue()


def zstandard() -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(TEXT.encode())
    return bytes(sink.getvalue())


def read(tmp_path: Path, data: bytes, name: str = "t.csv", **keys: Any) -> pd.DataFrame:
    """The table as a data frame."""
    (tmp_path / name).write_bytes(data)
    table = read_table(tmp_path / name, TableFormat(**keys))
    return pd.DataFrame(
        {
            each: column.texts.to_pylist() if column.numbers is None else column.numbers
            for each, column in table.columns.items()
        }
    )


@pytest.mark.parametrize(
    ("name", "data", "keys"),
    [
        ("t.csv", TEXT.encode(), {}),
        ("t.csv.gz", gzip.compress(TEXT.encode()), {}),
        ("t.csv", gzip.compress(TEXT.encode()), {}),
        ("t.csv.bz2", bz2.compress(TEXT.encode()), {}),
        ("t.csv.xz", lzma.compress(TEXT.encode()), {}),
        ("t.csv.zst", zstandard(), {}),
        ("t.zip", zipped("t.csv"), {}),
        ("t.zip", zipped("t.csv", "__MACOSX/._t.csv"), {}),
        ("t.xlsx", excel(), {}),
        ("t.csv", excel(startrow=3), {}),
        ("t.parquet", arrow(lambda frame, file: frame.to_parquet(file)), {}),
        ("t.feather", arrow(lambda frame, file: frame.to_feather(file)), {}),
        ("t.tsv", FRAME.to_csv(index=False, sep="\t").encode(), {}),
        ("t.csv", FRAME.to_csv(index=False, quoting=1).encode(), {}),
        ("t.csv", FRAME.to_csv(index=False, lineterminator="\r").encode(), {}),
        ("t.csv", TEXT.encode("utf-16"), {}),
        ("t.csv", TEXT.encode("utf-8-sig"), {}),
        ("t.csv", TEXT.encode("latin-1"), {"encoding": "latin-1"}),
        ("t.csv", TEXT.encode("utf-16-be"), {"encoding": "utf-16-be"}),
        ("t.csv", FRAME.to_csv(index=False, sep=";", decimal=",").encode(),
         {"separator": ";", "decimal": ","}),
        ("t.csv", b"# by hand\n\n  # twice\n" + TEXT.encode(), {"comment": "#"}),
        ("t.csv", TEXT.replace("\n", "\n#,\n").encode(), {"comment": "#"}),
        ("t.csv", TEXT.replace("b, c", "b_ c").replace(",", "¦").replace("_", ",").encode(),
         {"separator": "¦"}),
        ("t.csv", b"A title\n\n" + TEXT.encode(), {"skip_rows": 1}),
        ("t.csv", TEXT.replace("\n", ",\n").encode(), {}),
        ("t.csv", TEXT.replace("\n", ",\n").replace("y,\n", "y\n", 1).encode(), {}),
    ],
)  # fmt: skip
def test_the_same_table_in_every_format(
    tmp_path: Path, name: str, data: bytes, keys: dict[str, Any]
) -> None:
    pd.testing.assert_frame_equal(
        read(tmp_path, data, name, **keys), FRAME.astype({"n": float}), check_dtype=False
    )


def test_runs_of_blanks_separate_where_the_separator_is_one(tmp_path: Path) -> None:
    text = 'x   k    y\n  1  "a b"\t 2 \n30 c  4\n'
    found = read(tmp_path, text.encode(), separator=" ")
    assert found.to_dict("list") == {"x": [1, 30], "k": ["a b", "c"], "y": [2, 4]}


def test_without_a_header_columns_are_counted_and_no_row_is_lost(tmp_path: Path) -> None:
    found = read(tmp_path, b"5.1,a\n8.4,b\n", header=False)
    assert found.to_dict("list") == {"0": [5.1, 8.4], "1": ["a", "b"]}


@pytest.mark.parametrize(
    ("text", "index"),
    [
        (FRAME.to_csv(), ("column 1",)),
        ("x y\n1 2 3\n4 5 6\n".replace(" ", ","), ("column 1",)),
        (FRAME.rename_axis("Unnamed: 0").to_csv(), ("Unnamed: 0",)),
        (FRAME.rename_axis("Unnamed: 0").reset_index().to_csv(), ("column 1", "Unnamed: 0")),
    ],
)
def test_the_index_that_a_writer_added_is_recognised(
    tmp_path: Path, text: str, index: tuple[str, ...]
) -> None:
    (tmp_path / "t.csv").write_text(text)
    assert read_table(tmp_path / "t.csv", TableFormat()).index == index


def test_the_index_of_a_parquet_file_is_recognised(tmp_path: Path) -> None:
    FRAME.set_index(pd.Index([4, 7, 1, 2], name="key")).to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet", TableFormat()).index == ("key",)


@pytest.mark.parametrize("units", ["m,,kg", "[m],[-],[kg]", "%,x,°C", '"m","a","s"'])
def test_a_line_of_units_is_left_out_and_said(tmp_path: Path, units: str) -> None:
    rows = "".join(f"{i},a,{i / 2}\n" for i in range(5))
    (tmp_path / "t.csv").write_text(f"x,k,y\n{units}\n{rows}")
    table = read_table(tmp_path / "t.csv", TableFormat())
    assert table.numbers("x").tolist() == [0, 1, 2, 3, 4]
    assert table.texts("x").to_pylist() == list("01234")
    assert table.place(0).endswith("t.csv:3")
    assert "units of the numbers below" in table.notes[0]
    assert table.skipped == (f"{tmp_path / 't.csv'}:2: a line of units",)
    assert table.notes[0].startswith(f"{tmp_path / 't.csv'}:2: ")


def test_a_line_of_units_is_kept_where_they_stand_for_missing_cells(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x,y\nm,s\n1,2\n3,4\n")
    table = read_table(tmp_path / "t.csv", TableFormat(missing_values=["m", "s"]))
    np.testing.assert_array_equal(table.numbers("x"), [np.nan, 1, 3])
    assert table.notes == ()


def test_a_lone_mistyped_first_cell_is_no_line_of_units(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x,k,y\nabc,u,1\n2,v,2\n3,w,3\n")
    table = read_table(tmp_path / "t.csv", TableFormat())
    assert table.rows == 3
    assert table.notes == ()


@pytest.mark.parametrize(
    ("header", "is_noted"), [("5.1,setosa", True), ("0,1", False), ("2019,2020", False)]
)
def test_a_header_of_numbers_is_noted_unless_it_counts(
    tmp_path: Path, header: str, is_noted: bool
) -> None:
    (tmp_path / "t.csv").write_text(f"{header}\n1,a\n2,b\n")
    notes = read_table(tmp_path / "t.csv", TableFormat()).notes
    assert any("header: none" in note for note in notes) == is_noted


WIDE = ",".join(f"c{i}" for i in range(MOST_COLUMNS + 1)).encode()


@pytest.mark.parametrize(
    ("data", "keys", "error", "message"),
    [
        (TEXT.encode("latin-1"), {}, CorruptInputError, ':5: byte 0xe9 at 56 is not UTF-8; '),
        (TEXT.encode("cp1252"), {}, CorruptInputError, 'in cp1252 (Latin-1) it is "é"'),
        (TEXT.encode(), {"encoding": "latin_77"}, ConfigError, 'encoding: "latin_77": unknown'),
        (TEXT.encode(), {"encoding": "rot13"}, ConfigError, 'encoding: "rot13": unknown encoding'),
        (TEXT.encode("utf-16-le"), {}, CorruptInputError, "is it UTF-16? encoding: utf-16-le"),
        (b"# by hand\n" + TEXT.encode(), {}, ConfigError, 'dataset.comment: '),
        (b"% by hand\n" + TEXT.encode(), {}, ConfigError, 'comment: "%" skips such lines'),
        (b"A title\n" + TEXT.encode(), {}, CorruptInputError, "skip_rows skips lines above"),
        (b"sep=;\n" + TEXT.encode(), {"separator": ";"}, CorruptInputError, ":2: "),
        (b"x;k;y\n1,5;a;2,5\n", {}, CorruptInputError, "is ';' the separator?"),
        (b"5.1,5.1,a\n1,2,b\n", {}, CorruptInputError, "header: none reads line 1 as a row"),
        (b"x,,column 2\n1,2,3\n", {}, CorruptInputError, "called here, column 2"),
        (b"x,k\n1,2,3\n1,2,3\n", {}, CorruptInputError, ":2: 3 cells; the header has 2"),
        (zipped("a.csv", "b.csv"), {}, CorruptInputError, "is a zip archive of 2 files"),
        (gzip.compress(TEXT.encode())[:40], {}, CorruptInputError, "cannot be read: "),
        (excel()[:600], {}, CorruptInputError, "a damaged zip archive or workbook"),
        (arrow(lambda f, b: f.to_parquet(b))[:300], {}, CorruptInputError, "as Parquet: "),
        (b"\xd0\xcf\x11\xe0" + bytes(600), {}, CorruptInputError, "save it as .xlsx or .csv"),
        (b"%PDF-1.4", {}, CorruptInputError, "is a PDF file, not a table"),
        (b"\x89HDF\r\n\x1a\n", {}, CorruptInputError, "is an HDF5 file, not a table"),
        (b'{"x": [1]}', {}, CorruptInputError, "is JSON, not a table"),
        (b"<html><table>", {}, CorruptInputError, "is HTML, not a table"),
        (WIDE, {}, CorruptInputError, ":1: 20,001 columns; a table has at most 20,000"),
        (b"x" * 2**25, {}, CorruptInputError, ":1: is longer than 16 MiB; this is no table"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_named(
    tmp_path: Path, data: bytes, keys: dict[str, Any], error: type[RegrunError], message: str
) -> None:
    with pytest.raises(error) as caught:
        read(tmp_path, data, **keys)
    assert message in str(caught.value)


def test_cells_that_are_no_values_are_named_with_their_column(tmp_path: Path) -> None:
    FRAME.assign(e=pd.Series([[1.0, 2.0]] * 4)).to_parquet(tmp_path / "t.parquet")
    column = read_table(tmp_path / "t.parquet", TableFormat()).columns["e"]
    assert 'column "e" holds list<' in column.fault
    np.testing.assert_array_equal(column.texts.is_null(), True)
