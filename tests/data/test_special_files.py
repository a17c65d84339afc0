"""Every reader of files refuses pipes, sockets and devices by name, and never waits for one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from PIL import Image

from regrun.config.yaml_nodes import read_config
from regrun.data.files import find_file
from regrun.data.images import check_idx_pair
from regrun.data.npz_file import names_in, read_array, read_npz
from regrun.data.picture_folder import find_by_folders, find_new
from regrun.data.picture_table import read_rows
from regrun.data.pictures import read_pictures
from regrun.data.preprocessing import PictureInputs, TableFormat
from regrun.data.table_file import read_table
from regrun.errors import ConfigError, CorruptInputError, RegrunError, UsageError
from tests.support.special_files import SPECIAL, make_special

READERS: Mapping[str, tuple[Callable[[Path], object], type[RegrunError]]] = {
    "config": (read_config, UsageError),
    "a file of a dataset": (lambda path: find_file(str(path), "path"), ConfigError),
    "table": (lambda path: read_table(path, TableFormat()), CorruptInputError),
    "archive": (lambda path: read_npz(path, {"x"}), CorruptInputError),
    "names in an archive": (names_in, CorruptInputError),
    "array": (read_array, CorruptInputError),
    "picture": (
        lambda path: read_pictures([path], PictureInputs(size=(4, 4), background="white")),
        CorruptInputError,
    ),
    "new picture": (
        lambda path: read_pictures(
            find_new(path, []).paths, PictureInputs(size=(4, 4), background="white")
        ),
        CorruptInputError,
    ),
    "labels of pictures": (lambda path: list(read_rows(path)), CorruptInputError),
    "images of torchvision": (lambda path: check_idx_pair(path, path, 10), CorruptInputError),
}
"""What reads a file, and the error it gives for what is none."""


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_refused_by_name(tmp_path: Path, reader: str, kind: str) -> None:
    read, error = READERS[reader]
    path = make_special(tmp_path / "data", kind)
    with pytest.raises(error) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert f"it is {SPECIAL[kind]}, not a file" in str(caught.value)


@pytest.mark.parametrize("kind", SPECIAL)
def test_in_a_folder_of_pictures_it_is_skipped_and_counted(tmp_path: Path, kind: str) -> None:
    for name in ("a/1.png", "b/1.png"):
        (tmp_path / name).parent.mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    make_special(tmp_path / "a" / "2.png", kind)
    found = find_by_folders(tmp_path)
    assert [path.name for path in found.files] == ["1.png", "1.png"]
    assert found.skipped == ["1 entry that is no file: a/2.png"]
