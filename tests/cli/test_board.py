"""Runs from somebody else: nothing outside the directory is shown, and nothing hangs.

The module under test is `regrun.analysis.board`; stored runs with curves are made here.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regrun.analysis import board as module
from regrun.analysis.board import Board
from regrun.analysis.overview import every_run, overview

SECRET = 777.0
"""The test loss of a run outside."""

FILES = ["config.yaml", "metrics.jsonl", "histograms.jsonl", "summary.json"]
PLACES = [*FILES, "", "train", "test", "checkpoints", "train/events.out.tfevents.1", "data.json"]


def _pipe(place: Path, outside: Path) -> None:
    os.mkfifo(place)


def _link_to_the_like(place: Path, outside: Path) -> None:
    place.symlink_to(outside / place.name if place.name in FILES else outside)


def _link_to_a_device(place: Path, outside: Path) -> None:
    place.symlink_to("/dev/zero")


def _link_to_everything(place: Path, outside: Path) -> None:
    place.symlink_to("/", target_is_directory=True)


def _link_to_itself(place: Path, outside: Path) -> None:
    place.symlink_to(place)


def _link_above(place: Path, outside: Path) -> None:
    place.symlink_to("../..", target_is_directory=True)


def _folder(place: Path, outside: Path) -> None:
    place.mkdir()


KINDS: list[Callable[[Path, Path], None]] = [
    _pipe,
    _link_to_the_like,
    _link_to_a_device,
    _link_to_everything,
    _link_to_itself,
    _link_above,
    _folder,
]


@pytest.mark.parametrize(
    ("place", "kind"),
    list(product(PLACES, KINDS)),
    ids=lambda value: getattr(value, "__name__", value),
)
def test_what_a_run_directory_holds_leads_nowhere(
    make_run: Any, tmp_path: Path, place: str, kind: Callable[[Path, Path], None]
) -> None:
    outside = make_run("outside", test=SECRET).rename(tmp_path / "outside")
    make_run("good", test=1.0)
    hostile = make_run("hostile", test=2.0)
    put = hostile / place
    if put.is_dir():
        shutil.rmtree(put)
    else:
        put.unlink(missing_ok=True)
    kind(put, outside)
    board = Board(tmp_path / "runs")
    shown = [*overview(board, str).shown, *every_run(board).shown]
    assert {each.name for each in shown} - {"toy/hostile"} == {"toy/good"}
    for each in shown:
        for _, metrics in each.lines():
            for curve in metrics.values():
                assert np.max(np.abs(curve.values), initial=0.0) < SECRET
        assert "outside" not in each.settings().get("dataset.root", "")


@pytest.mark.parametrize(
    "row",
    [
        b"{}",
        b"[]",
        b"null",
        b"{",
        b"\xff",
        b'{"epoch": 1, "step": "4"}',
        b'{"epoch": 1, "step": -4}',
        b'{"epoch": 1, "step": 4, "train/loss": "x"}',
        b'{"epoch": 1, "step": 4, "train/loss": [1]}',
        b'{"epoch": 1, "step": 1e400}',
        b'{"epoch": 1, "step": 99999999999999999999999}',
    ],
)
def test_rows_that_are_no_evaluations_leave_out_the_run_alone(
    make_run: Any, tmp_path: Path, row: bytes
) -> None:
    make_run("good")
    damaged = make_run("damaged")
    (damaged / "metrics.jsonl").write_bytes(row + b"\n")
    board = Board(tmp_path / "runs")
    assert [shown.name for shown in overview(board, str).shown] == ["toy/good"]
    assert list(board.damaged) == [damaged]


def test_a_run_with_damaged_histograms_is_left_out(make_run: Any, tmp_path: Path) -> None:
    make_run("good", histograms_every=1)
    for finished in (True, False):
        damaged = make_run(f"damaged {finished}", histograms_every=1, finished=finished)
        data = (damaged / "histograms.jsonl").read_bytes()
        (damaged / "histograms.jsonl").write_bytes(data.replace(b"1", b"2", 1))
    board = Board(tmp_path / "runs")
    assert [shown.name for shown in every_run(board).shown] == ["toy/good"]
    assert all("histograms.jsonl" in reason for reason in board.damaged.values())
    assert len(board.damaged) == 2


@pytest.mark.parametrize(
    ("name", "shown"), [("a\x1b[31mb", "a\\x1b[31mb"), ("a\u202eb", "a\\u202eb"), ("a\nb", "a\\nb")]
)
def test_control_characters_in_names_are_shown_escaped(
    make_run: Any, tmp_path: Path, name: str, shown: str
) -> None:
    make_run(name)
    assert [each.name for each in overview(Board(tmp_path / "runs"), str).shown] == [f"toy/{shown}"]


def test_a_run_that_goes_on_is_read_again_and_others_are_not(
    make_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LOOKS", -1.0)
    make_run("ended")
    board = Board(tmp_path / "runs")
    before = board.runs()
    assert board.runs() is before
    going_on = make_run("going on", finished=False)
    after = board.runs()
    ended = tmp_path / "runs" / "toy" / "ended"
    assert after.keys() == {ended, going_on}
    assert after[ended] is before[ended]
    shutil.rmtree(going_on)
    assert board.runs().keys() == {ended}
