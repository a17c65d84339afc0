"""The page on plug-ins, followed to the letter: kinds in packages, and kinds added to regrun."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.guide.pages import ROOT, blocks

PAGE = "plugins"
OBEY = f"from tests.guide.pages import obey; obey({PAGE!r})"


def install(site: Path) -> None:
    """Install the packages of the page, as an installer leaves them."""
    information = site / "plugins_of_the_page-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: plugins\nVersion: 1.0\n")
    for block in blocks(PAGE):
        if block.language == "toml":
            groups = tomllib.loads(block.text)["project"]["entry-points"]
            with (information / "entry_points.txt").open("a") as file:
                for group, points in groups.items():
                    lines = [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
                    file.write("\n".join(lines) + "\n")
        elif block.language == "python" and block.file is not None:
            (site / block.file).write_text(block.text, encoding="utf-8")


def python(code: str, folder: Path, *path: Path) -> None:
    """Run code in a fresh interpreter, which finds its plug-ins when it imports regrun."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (*path, ROOT))),
        "OMP_NUM_THREADS": "1",
    }
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the shipped configs."""
    for name in ("FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    shutil.copytree(ROOT / "configs", tmp_path / "work" / "configs")
    return tmp_path / "work"


def test_plug_ins_in_packages_work_as_the_page_says(tmp_path: Path, folder: Path) -> None:
    install(tmp_path / "site")
    python(OBEY, folder, tmp_path / "site")
