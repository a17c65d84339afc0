"""Paths of data that are not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from regrun.data.files import find_path
from regrun.errors import ConfigError


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
