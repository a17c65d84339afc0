"""`regrun plot`, and the pictures that sweeps leave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from regrun.cli.completion import complete_picture
from regrun.cli.left_pictures import MOST_LEFT, WORTH_A_PICTURE, leaves_picture
from regrun.pictures.registry import PICTURES
from regrun.results import Seconds, SweepSummary
from tests.support.stored_sweeps import write_stored_sweep

AXIS = ["axis.png", "axis.svg", "axis-dark.png", "axis-dark.svg"]


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    cells = [{"optimizer.weight_decay": decay} for decay in (0, 0.1, 1)]
    losses = [3.0, 1.0, 2.0]

    def metrics(cell: int, seed: int) -> dict[str, float]:
        return {"train/loss": 0.5, "test/loss": losses[cell] + 0.1 * seed}

    return write_stored_sweep(tmp_path / "sweep", cells, 3, metrics).path


def test_all_pictures_of_a_sweep_are_written_into_it(invoke: Any, stored: Path) -> None:
    result = invoke("plot", stored, "--json")
    written = json.loads(result.stdout)["pictures"]
    assert {str(stored / name) for name in AXIS} <= set(written)
    assert all(Path(path).stat().st_size > 1000 for path in written)


@pytest.mark.parametrize(
    ("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("PDF", b"%PDF")]
)
def test_one_picture_goes_to_a_file_by_its_suffix(
    invoke: Any, stored: Path, tmp_path: Path, suffix: str, start: bytes
) -> None:
    file = tmp_path / f"mine.{suffix}"
    result = invoke("plot", stored, "--kind", "axis", "--output", file)
    assert (result.exit_code, result.stdout) == (0, f"picture    {file}\n")
    assert file.read_bytes().startswith(start)
    light = file.read_bytes()
    assert invoke("plot", stored, "--output", file, "--dark").exit_code == 0
    assert file.read_bytes() != light


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--kind", "axs"], 'axs: no kind of picture; did you mean "axis"?'),
        (["--output", "x.jpg"], "x.jpg: a picture is a file that ends in .png, .svg or .pdf"),
        (["--dark"], "--dark needs --output FILE"),
    ],
)
def test_wrong_usage_is_reported(
    invoke: Any, stored: Path, arguments: list[str], words: str
) -> None:
    result = invoke("plot", stored, *arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_folder_without_runs_has_no_picture(invoke: Any, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        assert invoke("plot", folder).exit_code == 2


def test_kinds_are_completed_from_the_registry() -> None:
    assert [name for name, _ in complete_picture("")] == [*PICTURES]
    assert complete_picture("ax") == [("axis", PICTURES["axis"].summary)]


@pytest.mark.parametrize(
    ("runs", "seconds", "leaves"),
    [
        (35, 1.0, True),
        (MOST_LEFT, 1.0, True),
        (MOST_LEFT + 1, 1.0, False),
        (1000, WORTH_A_PICTURE, True),
        (5000, WORTH_A_PICTURE, False),
        (5000, 50.0, True),
    ],
)
def test_many_small_runs_leave_no_picture_of_their_own_accord(
    runs: int, seconds: float, leaves: bool
) -> None:
    ended = SweepSummary(
        sweep_dir="x",
        runs=runs,
        completed=runs,
        diverged=0,
        failed=0,
        pruned=0,
        unfinished=0,
        cells=[],
        best=None,
        seconds=Seconds(total=seconds),
    )
    assert leaves_picture(ended) == leaves


CONFIG = """\
name: little
dataset: {name: synthetic_linear, num_features: 6, num_train: 10, num_test: 15}
model: {name: linear}
optimizer: {name: sgd, lr: 0.01}
training: {epochs: 2, batch_size: 5}
"""


def test_a_sweep_leaves_its_picture_and_says_where(invoke: Any, tmp_path: Path) -> None:
    config = tmp_path / "little.yaml"
    config.write_text(CONFIG)
    runs = tmp_path / "runs"
    result = invoke(
        "sweep", config, "optimizer.lr=0.01,0.02", "--runs-dir", runs, "--device", "cpu"
    )
    (directory,) = runs.glob("little/sweep-*")
    assert f"picture    {directory}/axis.png, .svg" in result.stdout
    assert f"regrun plot {directory}" in result.stdout
    assert {each.name for each in directory.glob("axis*")} == set(AXIS)
