"""Data files far larger than the memory: refused by what is seen of them, or read in bounds."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from regrun.data.npz_file import size_of
from regrun.data.picture_table import read_rows
from regrun.data.preprocessing import TableFormat
from regrun.data.sizes import TABLE_FACTOR, unpacked_bytes
from regrun.data.table_file import read_table
from regrun.errors import OutOfMemoryError
from tests.support import program
from tests.support.datasets import dataset_section

TEXT = b"a,b,y\n" + b"".join(b"%d,%d,%f\n" % (i, i % 7, i / 2) for i in range(2000))
FREE = 10**8
"""Bytes of memory that are free in these tests."""


@pytest.fixture(autouse=True)
def _little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("data.sizes", "execution.budget", "memory"):
        monkeypatch.setattr(f"regrun.{module}.free_bytes", lambda: FREE)


def sparse(path: Path, size: int, begin: bytes = TEXT) -> Path:
    """A file of this size that takes no room on the disk."""
    path.write_bytes(begin)
    os.truncate(path, size)
    return path


def zipped(path: Path, member: str, data: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, data)
    return path


def test_what_a_file_holds_is_seen_without_reading_it(tmp_path: Path) -> None:
    table = pa.table({"x": pa.array(np.zeros(5000)), "y": pa.array(np.zeros(5000))})
    parquet.write_table(table, tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_bytes(TEXT)
    assert unpacked_bytes(tmp_path / "t.csv") == len(TEXT)
    assert unpacked_bytes(zipped(tmp_path / "t.zip", "t.csv", TEXT)) == len(TEXT)
    assert unpacked_bytes(tmp_path / "t.parquet") == 8 * 5000 * 2
    assert unpacked_bytes(tmp_path / "none.csv") is None
    section = dataset_section(
        name="csv", path=str(tmp_path / "t.csv"), test_path=str(tmp_path / "t.zip"), target="y"
    )
    assert section.estimate_bytes() == TABLE_FACTOR * 2 * len(TEXT)


def test_the_arrays_that_are_wanted_are_counted(tmp_path: Path) -> None:
    x, y = np.zeros((50, 30)), np.zeros(50)
    np.savez_compressed(tmp_path / "a.npz", images=x, labels=y, others=np.zeros(10**6))
    found = size_of(tmp_path / "a.npz", {"x", "y"})
    assert found is not None
    headers = found - x.nbytes - y.nbytes
    assert 0 < headers < 1000
    assert dataset_section(name="npz", path=str(tmp_path / "a.npz")).estimate_bytes() == found
    (tmp_path / "b.npz").write_bytes(b"PK\x03\x04 and no archive")
    assert size_of(tmp_path / "b.npz", {"x"}) is None


def refused(path: Path) -> str:
    tracemalloc.start()
    try:
        with pytest.raises(OutOfMemoryError) as caught:
            read_table(path, TableFormat())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * FREE
    return str(caught.value)


def test_a_table_of_200_gb_is_refused_unread(tmp_path: Path) -> None:
    path = sparse(tmp_path / "t.csv", 200 * 10**9)
    assert refused(path) == (
        f"{path}: 200.0 GB, and 100.0 MB of memory are free; give fewer rows or columns"
    )


COMPRESSED: dict[str, Callable[[bytes], Any]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: pa.compress(data, "zstd", asbytes=True),
}


@pytest.mark.parametrize("kind", COMPRESSED)
def test_no_more_is_unpacked_than_a_table_could_be(kind: str, tmp_path: Path) -> None:
    compress = COMPRESSED[kind]
    path = tmp_path / f"t.csv.{kind}"
    path.write_bytes(compress(TEXT) + 20 * compress(b"1,2,3\n" * 10**6))
    assert path.stat().st_size < 10**6
    assert refused(path).startswith(f"{path}: unpacks to more than 25.0 MB, and a table takes 4")
    path.write_bytes(compress(TEXT))
    assert read_table(path, TableFormat()).rows == 2000


def test_labels_of_pictures_of_200_gb_are_refused_unread(tmp_path: Path) -> None:
    path = sparse(tmp_path / "labels.csv", 200 * 10**9, b"file,label\n")
    with pytest.raises(OutOfMemoryError, match=r"labels\.csv: 200\.0 GB, and 100\.0 MB of"):
        list(read_rows(path))


def test_a_zip_archive_is_refused_by_its_list(tmp_path: Path) -> None:
    path = zipped(tmp_path / "t.zip", "t.csv", TEXT + bytes(2 * FREE))
    assert "200.0 MB, and 100.0 MB of memory are free" in refused(path)


def header_of(shape: tuple[int, ...]) -> bytes:
    head = io.BytesIO()
    declared = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(head, declared)
    return head.getvalue()


CONFIGS: dict[str, Callable[[Path], str]] = {
    "text": lambda folder: f"csv, path: {sparse(folder / 't.csv', 200 * 10**9)}, target: y",
    "text to test on": lambda folder: (
        f"csv, path: {sparse(folder / 'a.csv', len(TEXT))}, target: y, "
        f"test_path: {sparse(folder / 't.csv', 200 * 10**9)}"
    ),
    "zip": lambda folder: (
        f"csv, path: {zipped(folder / 't.zip', 't.csv', TEXT + bytes(FREE))}, target: y"
    ),
    "arrays": lambda folder: (
        f"npz, path: {zipped(folder / 't.npz', 'x.npy', header_of((2 * FREE,)) + bytes(2 * FREE))}"
    ),
}


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("verb", ["train", "sweep", "inspect", "path", "ablate"])
def test_every_verb_refuses_files_that_do_not_fit(verb: str, kind: str, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(
        f"dataset: {{name: {CONFIGS[kind](tmp_path)}}}\nmodel: {{name: linear}}\n"
        "penalty: {type: l1, strength: 0.1}\noptimizer: {lr: 0.1}\n"
    )
    seeds = ["--seeds", "2"] if verb == "sweep" else []
    place = [] if verb == "inspect" else ["--runs-dir", tmp_path / "runs"]
    ended = program.invoke(verb, config, *seeds, *place)
    assert ended.exit_code == 2
    size = {"text": "800.0 GB", "text to test on": "800.0 GB", "zip": "400.1 MB"}
    assert f"the examples take {size.get(kind, '200.0 MB')}, but cpu has 100.0 MB free" in (
        ended.stderr
    )
    assert "(or --allow-large to try)" in ended.stderr


DAMAGED = {
    "a shape beyond the memory": (10**15,),
    "a shape beyond all addresses": (2**62, 4),
    "a negative shape": (-1,),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_header_that_claims_too_much_is_a_damaged_file(kind: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as archive:
        archive.writestr("x.npy", header_of(DAMAGED[kind]) + bytes(800))
        archive.writestr("y.npy", header_of((100,)) + bytes(800))
    (tmp_path / "c.yaml").write_text(
        f"dataset: {{name: npz, path: {tmp_path / 't.npz'}}}\nmodel: {{name: linear}}\n"
        "optimizer: {lr: 0.1}\n"
    )
    ended = program.invoke("inspect", tmp_path / "c.yaml")
    assert ended.exit_code == 5
    assert str(tmp_path / "t.npz") in ended.stderr
