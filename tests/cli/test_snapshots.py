"""Whole screens, as they are in terminals of 80, 100 and 140 columns.

A snapshot is a file that a person has read. After a change on purpose, renew them and read the
difference: ``REGRUN_RENEW_SNAPSHOTS=1 pytest tests/cli/test_snapshots.py; git diff tests/cli``.
"""

from __future__ import annotations

import io
import os
import random
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.cells import cell_len
from rich.text import Text

from regrun.cli.app import app
from regrun.cli.console import prepare_streams
from tests.support.stored_sweeps import write_stored_sweep

SNAPSHOTS = Path(__file__).parent / "snapshots"
WIDTHS = (80, 100, 140)
Metrics = Callable[[int, int], dict[str, float]]


def regression(cell: int, seed: int) -> dict[str, float]:
    """Losses over decades; the last two cells are alike."""
    noise = random.Random(f"{cell} {seed}").uniform(0.9, 1.1)
    return {
        "train/loss": 10.0 ** (cell - 11) * noise**9,
        "test/loss": [197.0, 155.0, 17.8, 0.16, 0.0201, 0.02][cell] * noise,
    }


def classes(cell: int, seed: int) -> dict[str, float]:
    """Losses and accuracies on three splits."""
    noise = random.Random(f"{cell} {seed}").uniform(-0.02, 0.02)
    metrics = {}
    for at, split in enumerate(("train", "val", "test")):
        metrics[f"{split}/loss"] = 0.3 + 0.1 * at + 0.05 * cell + noise
        metrics[f"{split}/accuracy"] = 1.0 if split == "train" else 0.9 - 0.02 * cell + noise
    return metrics


def searched(cell: int, seed: int) -> dict[str, float]:
    """Trials without an order."""
    return {"train/loss": 0.1, "test/loss": round(random.Random(cell).uniform(0.2, 3), 4)}


def stored(folder: Path) -> None:
    """The sweeps of the screens, in ``runs``."""
    decays = [0, 0.1, 1, 3, 10, 30]
    axis = [{"optimizer.weight_decay": decay} for decay in decays]
    write_stored_sweep(folder / "one-axis", axis, 5, regression)
    two = [
        {"model.dropout": rate, "optimizer.weight_decay": decay}
        for rate in (0.5, 0, 0.25)
        for decay in (1e-2, 0, 1e-3)
    ]
    write_stored_sweep(folder / "two-axes", two, 3, classes)
    draw = random.Random(0)
    trials = [
        {
            "optimizer.lr": float(f"{10 ** draw.uniform(-4, 0):.6g}"),
            "optimizer.name": draw.choice(["sgd", "adam"]),
            "optimizer.weight_decay": float(f"{10 ** draw.uniform(-5, 1):.6g}"),
            "model.dropout": round(draw.random(), 3),
            "model.hidden": draw.choice([[64], [256, 256]]),
        }
        for _ in range(8)
    ]
    write_stored_sweep(folder / "search", trials, 1, searched)
    many = [
        {f"model.long_setting_{at}": f"value-{at}-{cell}" for at in range(9)} for cell in (0, 1)
    ]
    write_stored_sweep(folder / "many-keys", many, 2, classes)


SCREENS: Mapping[str, tuple[str, ...]] = {
    **{n: ("compare", f"runs/{n}") for n in ("one-axis", "two-axes", "search", "many-keys")},
    "list": ("list",),
    "list-schedules": ("list", "schedule"),
    "list-dropout": ("list", "dropout"),
}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("screens")
    stored(folder / "runs")
    return folder


@pytest.fixture
def screen(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a command prints to a terminal."""
    monkeypatch.chdir(workplace)
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)

    def show(words: tuple[str, ...], width: int, *, colour: bool, encoding: str = "utf-8") -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        if colour:
            monkeypatch.setenv("FORCE_COLOR", "1")
        else:
            monkeypatch.delenv("FORCE_COLOR", raising=False)
        printed = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding=encoding))
        prepare_streams()
        typer.main.get_command(app).main([*words], prog_name="regrun", standalone_mode=False)
        sys.stdout.flush()
        return printed.getvalue().decode(encoding)

    return show


def matches(name: str, shown: str) -> None:
    """Compare with the snapshot, or write it where that is asked for."""
    path = SNAPSHOTS / f"{name}.txt"
    if os.environ.get("REGRUN_RENEW_SNAPSHOTS"):
        path.write_text(shown, encoding="utf-8")
    assert shown == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", SCREENS)
def test_a_screen_is_as_somebody_has_seen_it(name: str, width: int, screen: Any) -> None:
    shown = screen(SCREENS[name], width, colour=False)
    assert max(map(cell_len, shown.splitlines())) <= width
    matches(f"{name}-{width}", shown)


@pytest.mark.parametrize("name", SCREENS)
def test_a_coloured_screen_has_the_same_text(name: str, screen: Any) -> None:
    shown = screen(SCREENS[name], 80, colour=True)
    plain = Text.from_ansi(shown).plain.split()
    has_plot = name in ("one-axis", "two-axes")  # which has other characters without colours
    assert has_plot or plain == screen(SCREENS[name], 80, colour=False).split()
    matches(f"{name}-80-colour", shown)


@pytest.mark.parametrize("name", SCREENS)
def test_a_screen_in_ascii_keeps_its_columns(name: str, screen: Any) -> None:
    matches(f"{name}-80-ascii", screen(SCREENS[name], 80, colour=False, encoding="ascii"))


def test_every_snapshot_is_of_a_screen() -> None:
    known = {f"{name}-{width}" for name in SCREENS for width in (*WIDTHS, "80-colour", "80-ascii")}
    assert {path.stem for path in SNAPSHOTS.iterdir()} == known
