"""TensorBoard as a person sees it: a real browser opens it, and its first charts have curves."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regrun.cli.tensorboard_server import serving
from tests.cli.conftest import WriteSweep

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

SIZES = [
    pytest.param(7, 5, id="35"),
    pytest.param(40, 5, id="200", marks=pytest.mark.long),
    pytest.param(100, 10, id="1000", marks=pytest.mark.long),
]
"""Cells and seeds."""

FIRST_CHART = (330, 210, 720, 430)
"""Where the tab Scalars has its first chart, in pixels: left, top, right, bottom."""


def chromium(url: str, folder: Path, *options: str) -> str:
    """What a browser without a window prints that opens the page."""
    command = [
        str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1500,1000",
        "--virtual-time-budget=30000", f"--user-data-dir={folder / 'profile'}", *options, url,
    ]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, timeout=300, check=True)
    return ended.stdout.decode()


def colours(picture: Path, box: tuple[int, int, int, int]) -> int:
    """How many different hues a part of a picture has; axes and texts are grey."""
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("HSV").crop(box)).reshape(-1, 3)
    vivid = pixels[(pixels[:, 1] > 120) & (pixels[:, 2] > 100)]
    counts = np.bincount(vivid[:, 0] // 8, minlength=32)
    return int((counts > 20).sum())


def ticked(page: str) -> tuple[int, int]:
    """(ticked, all) runs in the list of the tab Time Series."""
    rows = re.findall(r'data-id="defaultExperimentId/.*?<input type="checkbox" class="(.*?)"', page)
    return sum("selected" in row for row in rows), len(rows)


@contextmanager
def opened(runs: Path) -> Iterator[str]:
    with serving(runs, "127.0.0.1", None) as server:
        yield server.url


def has_curves(url: str, folder: Path) -> bool:
    picture = folder / "scalars.png"
    chromium(f"{url}#scalars", folder, f"--screenshot={picture}")
    return colours(picture, FIRST_CHART) >= 2


@pytest.mark.parametrize(("cells", "seeds"), SIZES)
def test_a_sweep_of_any_size_opens_with_curves(
    write_sweep: WriteSweep, tmp_path: Path, cells: int, seeds: int
) -> None:
    write_sweep(cells, seeds)
    with opened(tmp_path / "runs") as url:
        assert has_curves(url, tmp_path)
        page = chromium(url, tmp_path, "--dump-dom")
    assert "weight_decay=2/test" in page
    count = 3 * min(cells, 13)
    assert ticked(page) == (count, count)


def test_two_runs_open_with_curves(make_run: Any, tmp_path: Path) -> None:
    for number in range(2):
        make_run(f"run{number}", test=float(number))
    with opened(tmp_path / "runs") as url:
        assert has_curves(url, tmp_path)


@pytest.mark.long
def test_an_empty_chart_is_seen_as_one(write_sweep: WriteSweep, tmp_path: Path) -> None:
    write_sweep(14, 1)
    with opened(tmp_path / "runs") as url:
        assert not has_curves(f"{url}all/", tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("tab", ["histograms", "distributions"])
def test_histograms_are_drawn(write_sweep: WriteSweep, tmp_path: Path, tab: str) -> None:
    write_sweep(2, 2, histograms_every=1)
    picture = tmp_path / "tab.png"
    with opened(tmp_path / "runs") as url:
        chromium(f"{url}#{tab}", tmp_path, f"--screenshot={picture}")
    assert colours(picture, (330, 230, 1500, 500)) >= 2
