"""Files that hold tables: delimited text, compressed or not, Parquet, Feather and Excel."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from regrun.data.delimited import MOST_COLUMNS, read_delimited
from regrun.data.preprocessing import TableFormat
from regrun.data.sizes import Stream, Unpacking, check_fits
from regrun.data.table import Table, as_text, typed_table
from regrun.errors import CorruptInputError, UsageError
from regrun.regular_files import open_file

_OTHERS = (
    (b"\x89HDF", "an HDF5 file"),
    (b"%PDF", "a PDF file"),
    (b"\x93NUMPY", "a NumPy array (dataset: npz reads arrays)"),
    (b"MATLAB", "a MATLAB file"),
    (b"SQLite", "an SQLite database"),
    (b"ORC", "an ORC file"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b'{"', "JSON"),
    (b"[{", "JSON"),
    (b"<html", "HTML"),
    (b"<!DOCTYPE", "HTML"),
    (b"<table", "HTML"),
    (b"<?xml", "XML"),
)
"""How files begin that are no tables, or none that can be read."""


def read_table(path: Path, layout: TableFormat) -> Table:
    """Read a table from a file; what is in it decides how, not its name.

    Raises CorruptInputError for a file that holds no table or a damaged one, ConfigError at a key
    of `format` that must change, UsageError where a package is missing, OutOfMemoryError for a file
    that is larger than the memory.
    """
    try:
        with open_file(path) as file:
            begin = file.read(16)
    except OSError as error:
        raise CorruptInputError(f"{path}: cannot be read: {error.strerror}") from error
    check_fits(path)
    if begin.startswith(b"PAR1"):
        return _read_arrow(path, layout, "Parquet")
    if begin.startswith(b"ARROW1"):
        return _read_arrow(path, layout, "Feather")
    if begin.startswith(b"\xd0\xcf\x11\xe0"):
        raise CorruptInputError(
            f"{path}: is a workbook of old versions of Excel, or an encrypted one; save it as "
            ".xlsx or .csv"
        )
    if begin.startswith(b"PK\x03\x04"):
        return _read_zip(path, layout)
    for mark, noun in _OTHERS:
        if begin.startswith(mark):
            raise CorruptInputError(f"{path}: is {noun}, not a table of text, Parquet or Excel")
    return _read_text(path, _opener(path, begin), layout)


def _opener(path: Path, begin: bytes) -> Callable[[], BinaryIO]:
    """What opens the file, decompressed."""
    unpack: Callable[[], Stream]
    if begin.startswith(b"\x1f\x8b"):
        unpack = partial(gzip.open, path)
    elif begin.startswith(b"BZh"):
        unpack = partial(bz2.open, path)
    elif begin.startswith(b"\xfd7zXZ"):
        unpack = partial(lzma.open, path)
    elif begin.startswith(b"\x28\xb5\x2f\xfd"):
        import pyarrow as pa

        unpack = partial(pa.CompressedInputStream, str(path), "zstd")
    else:
        return lambda: open_file(path)
    return lambda: cast("BinaryIO", Unpacking(unpack(), path))


def _read_text(path: Path, open_bytes: Callable[[], BinaryIO], layout: TableFormat) -> Table:
    try:
        return read_delimited(path, open_bytes, layout)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        reason = str(error) or type(error).__name__
        raise CorruptInputError(f"{path}: cannot be read: {reason}") from error


def _read_zip(path: Path, layout: TableFormat) -> Table:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not _is_clutter(name)]
    except zipfile.BadZipFile as error:
        raise CorruptInputError(f"{path}: a damaged zip archive or workbook: {error}") from error
    if "xl/workbook.xml" in names:
        return _read_excel(path, layout)
    if len(names) == 1 and not names[0].endswith(".npy"):

        def open_member() -> BinaryIO:
            return io.BytesIO(zipfile.ZipFile(path).read(names[0]))

        return _read_text(path, open_member, layout)
    if any(name.endswith(".npy") for name in names):
        raise CorruptInputError(f"{path}: holds NumPy arrays, which dataset: npz reads")
    if "mimetype" in names:
        raise CorruptInputError(f"{path}: is an OpenDocument file; save it as .xlsx or .csv")
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    raise CorruptInputError(f"{path}: is a zip archive of {len(names)} files ({shown}), not of one")


def _is_clutter(name: str) -> bool:
    return name.endswith("/") or name.startswith("__MACOSX/") or "/." in f"/{name}"


def _read_excel(path: Path, layout: TableFormat) -> Table:
    """Read the first sheet as delimited text, a line for each of its rows."""
    import pandas as pd

    try:
        with pd.ExcelFile(path, engine="openpyxl") as book:
            sheets = book.sheet_names
            frame = pd.read_excel(book, sheets[0], header=None, dtype=object, na_filter=False)
    except ImportError as error:
        raise UsageError(f"{path}: reading Excel needs a package: pip install openpyxl") from error
    except (ValueError, KeyError, OSError, zipfile.BadZipFile, SyntaxError) as error:
        raise CorruptInputError(f"{path}: cannot be read as a workbook: {error}") from error
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    rows = [[_as_written(cell, layout) for cell in row] for row in frame.to_numpy()]
    used = max((i + 1 for row in rows for i, cell in enumerate(row) if cell), default=0)
    for row in rows:
        if any(row):
            writer.writerow(row[:used])
        else:
            buffer.write("\n")
    data = buffer.getvalue().encode()
    as_text = layout.model_copy(update={"separator": ",", "encoding": "utf-8"})
    table = read_delimited(path, lambda: io.BytesIO(data), as_text)
    if len(sheets) == 1:
        return table
    note = f'{path}: the first of {len(sheets)} sheets, "{sheets[0]}", is read'
    return replace(table, notes=(note, *table.notes))


def _as_written(cell: object, layout: TableFormat) -> str:
    """A cell as it would be written in a file of this format; of one line, so that lines count."""
    text = as_text(cell) or ""
    if isinstance(cell, float):
        return text.replace(".", layout.decimal)
    return " ".join(text.splitlines())


def _read_arrow(path: Path, layout: TableFormat, noun: str) -> Table:
    import pyarrow as pa
    from pyarrow import feather, parquet

    try:
        if noun == "Parquet":
            schema = parquet.read_schema(path)
            _check_names(path, schema.names)
            table = parquet.read_table(path, use_threads=False, pre_buffer=False)
        else:
            table = feather.read_table(path, use_threads=False)
            _check_names(path, table.schema.names)
    except (pa.ArrowException, OSError) as error:
        raise CorruptInputError(f"{path}: cannot be read as {noun}: {error}") from error
    if not table.num_rows:
        raise CorruptInputError(f"{path}: has columns but no rows")
    read = typed_table(
        str(path),
        [str(name) for name in table.schema.names],
        table.columns,
        lambda row: f"{path}: row {row + 1}",
        layout,
    )
    index = (table.schema.pandas_metadata or {}).get("index_columns", [])
    return replace(read, index=tuple(name for name in read.names if name in index))


def _check_names(path: Path, names: Sequence[str]) -> None:
    if len(names) > MOST_COLUMNS:
        raise CorruptInputError(
            f"{path}: {len(names):,} columns; a table has at most {MOST_COLUMNS:,}"
        )
    for position, name in enumerate(names):
        if name in names[:position]:
            raise CorruptInputError(f'{path}: two columns are named "{name}"')
