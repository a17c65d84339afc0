"""`regrun init`: the file that it writes, what it prints, and what it leaves alone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.program import Invoke

TABLE = "size,rooms,rent\n" + "".join(f"{30 + i},{i % 4},{500.5 + 3 * i}\n" for i in range(40))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flats.csv").write_text(TABLE)
    return tmp_path


def test_the_config_is_called_as_the_data_and_the_next_commands_work(
    folder: Path, invoke: Invoke
) -> None:
    ended = invoke("init", "flats.csv")
    assert ended.exit_code == 0
    assert ended.stdout.splitlines()[0] == 'regression of "rent"'
    assert [line.split() for line in ended.stdout.splitlines()[-3:]] == [
        ["config", "flats.yaml"],
        ["next", "regrun", "train", "flats.yaml"],
        ["regrun", "sweep", "flats.yaml"],
    ]
    assert invoke("train", "flats.yaml", "training.epochs=1", "--quiet").exit_code == 0
    assert invoke("sweep", "flats.yaml", "training.epochs=1", "--quiet").exit_code == 0


def test_json_says_what_was_chosen(folder: Path, invoke: Invoke) -> None:
    found = json.loads(invoke("init", "flats.csv", "--target", "rooms", "--json").stdout)
    assert (found["output"], found["dataset"], found["ignored"]) == ("flats.yaml", "csv", [])
    assert (found["target"], found["task"]) == ("rooms", "classification")


def test_a_config_that_is_there_is_overwritten_by_force_only(folder: Path, invoke: Invoke) -> None:
    (folder / "flats.yaml").write_text("mine")
    ended = invoke("init", "flats.csv")
    assert (ended.exit_code, (folder / "flats.yaml").read_text()) == (2, "mine")
    assert "--force" in ended.stderr
    assert invoke("init", "flats.csv", "--force").exit_code == 0
    assert "target: rent" in (folder / "flats.yaml").read_text()


def test_the_path_leads_from_the_config_to_the_data(folder: Path, invoke: Invoke) -> None:
    (folder / "configs").mkdir()
    assert invoke("init", "flats.csv", "--output", "configs/a.yaml").exit_code == 0
    assert f"path: {folder / 'flats.csv'}" in (folder / "configs/a.yaml").read_text()
    (folder / "data").mkdir()
    (folder / "data/flats.csv").write_text(TABLE)
    assert invoke("init", "data/flats.csv", "--output", "b.yaml").exit_code == 0
    assert "path: data/flats.csv" in (folder / "b.yaml").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none.csv"], 2, "none.csv: no such file or folder"),
        (["flats.csv", "--target", "rend"], 2, 'did you mean "rent"'),
        (["flats.csv", "--output", "flats.txt"], 2, "a config is a .yaml file"),
        (["empty.csv"], 5, "empty.csv: is empty"),
        (["alone.csv"], 2, 'the only column is "y"'),
        (["nothing"], 2, "nothing"),
        (["pipe"], 5, "pipe"),
        (["picture.csv"], 5, "is a picture"),
        (["damaged.npz"], 5, "damaged.npz"),
    ],
)
def test_nothing_is_written_where_nothing_can_be_learnt(
    arguments: list[str], code: int, message: str, folder: Path, invoke: Invoke
) -> None:
    (folder / "empty.csv").touch()
    (folder / "alone.csv").write_text("y\n1\n2\n3\n")
    (folder / "nothing").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "picture.csv").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "damaged.npz").write_bytes(b"PK\x03\x04 no more")
    before = sorted(folder.iterdir())
    ended = invoke("init", *arguments)
    assert ended.exit_code == code
    assert message in ended.stderr
    assert sorted(folder.iterdir()) == before
