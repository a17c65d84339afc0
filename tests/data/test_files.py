"""Paths of data that are not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from regrun.data.files import existing, find_file, find_or_download, find_path
from regrun.errors import ConfigError, UsageError
from tests.support.datasets import dataset_section


def test_a_missing_path_is_named_once(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.csv")
    with pytest.raises(ConfigError) as caught:
        find_path(missing, "path")
    assert str(caught.value).count(missing) == 1


def test_a_missing_path_of_a_home_is_named_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        find_path("~/none.csv", "path")
    assert f"~/none.csv: no such file or folder ({tmp_path / 'none.csv'})" in str(caught.value)


IMPOSSIBLE = {"x" * 300: "File name too long", "~nobody-has-this-name/x": "home directory"}
"""Names that no file can have → what is said."""


@pytest.mark.parametrize("name", IMPOSSIBLE, ids=lambda name: name[:8])
def test_impossible_names_are_wrong_usage(tmp_path: Path, name: str) -> None:
    for read in (existing, lambda path: find_path(path, "path"), lambda path: find_file(path, "x")):
        with pytest.raises(UsageError, match=IMPOSSIBLE[name]):
            read(name)
    with pytest.raises(ConfigError, match=IMPOSSIBLE[name]) as caught:
        find_or_download(name, ["file"], lambda folder: None, lambda folder, searched: "")
    assert caught.value.problems[0].path == ("dataset", "root")
    pictures = dataset_section(name="image_folder", path=str(tmp_path), labels=name)
    with pytest.raises(ConfigError) as caught:
        pictures.load()
    assert caught.value.problems[0].path == ("dataset", "labels")
