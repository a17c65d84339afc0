"""Places below a directory, and the folder that is opened once for many of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from regrun.errors import CorruptInputError, StorageError
from regrun.store.atomic import read_bytes, write_atomic
from regrun.store.place import Place
from tests.support.faults import recorded


def open_descriptors() -> int:
    """How many there are; 0 on systems that do not say."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", "a\0b"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not plain names"):
        _ = Place(tmp_path) / name


def test_a_folder_that_is_kept_open_is_opened_once(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    run = Place(tmp_path) / "run"
    before = open_descriptors()
    with recorded() as apart:
        for number in range(3):
            write_atomic(run / str(number), "x", durable=False)
    with recorded() as together, run.kept_open(), run.kept_open():
        for number in range(3):
            write_atomic(run / str(number), "y", durable=False)
    assert apart.names.count("open") == 3 * 3  # the directory, the folder, the file
    assert together.names.count("open") == 2 + 3
    assert [read_bytes(run / str(number)) for number in range(3)] == [b"y"] * 3
    assert open_descriptors() == before


def test_a_folder_that_cannot_be_kept_open_is_named(tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(tmp_path)
    for name, error in (("missing", StorageError), ("linked", CorruptInputError)):
        place = Place(tmp_path) / name
        with pytest.raises(error, match=name), place.kept_open():
            raise AssertionError
