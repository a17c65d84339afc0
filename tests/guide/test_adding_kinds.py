"""The page on plug-ins, followed to the letter: kinds in packages, and kinds added to regrun."""

from __future__ import annotations

import itertools
import re
import shutil
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.guide.pages import PAGES, ROOT, blocks
from tests.support.program import run_python

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


def python(code: str, folder: Path, site: Path | None = None) -> None:
    """Run code in a fresh interpreter, which finds its plug-ins when it imports regrun."""
    ended = run_python(code, folder=folder, site=site, env={})
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


def test_classes_of_a_file_and_of_a_program_work_as_the_page_says(folder: Path) -> None:
    page = "your-network"
    (file,) = [block for block in blocks(page) if (block.file or "").endswith(".py")]
    assert file.file is not None
    (folder / file.file).write_text(file.text, encoding="utf-8")
    ended = run_python(
        f"from tests.guide.pages import obey; obey({page!r})",
        folder=folder,
        env={"REGRUN_PLUGINS": str(folder / file.file)},
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert len(list(folder.glob("runs/rows/*/summary.json"))) == 3
    (stored,) = folder.glob("runs/run/*/config.yaml")
    assert yaml.safe_load(stored.read_text())["model"]["name"] == "Net"


def test_kinds_become_part_of_regrun_as_the_page_says(tmp_path: Path, folder: Path) -> None:
    """Each by one new file and one line in the registry; the page's commands then train with it."""
    package = tmp_path / "copy" / "regrun"
    shutil.copytree(ROOT / "regrun", package, ignore=shutil.ignore_patterns("__pycache__"))
    before = {path: path.read_bytes() for path in package.rglob("*.py")}
    registry = package / "kinds" / "registry.py"
    lines = registry.read_text(encoding="utf-8").splitlines(keepends=True)
    added = table("class", "new file", "line in the registry")
    for name, file, line in added:
        path = package.parent / file
        assert not path.exists()
        path.write_text(inside_regrun(source_of(name)), encoding="utf-8")
        start = lines.index(f'    "{family_of(name)}": (\n')
        lines.insert(lines.index("    ),\n", start), f"        {line}\n")
    registry.write_text("".join(lines), encoding="utf-8")

    assert {"Log", "Box", "Lion", "Moons"} <= {name for name, *_ in added}
    new = {path for path in package.rglob("*.py") if path.read_bytes() != before.get(path)}
    assert new == {registry, *(package.parent / file for _, file, _ in added)}
    python(OBEY, folder, package.parent)


def table(*header: str) -> list[list[str]]:
    """Return the rows of a table of the page, cells without backticks."""
    lines = iter(PAGES[PAGE].read_text(encoding="utf-8").splitlines())
    assert f"| {' | '.join(header)} |" in lines
    next(lines)
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines)
    return [[cell.strip(" `") for cell in row.strip("|").split("|")] for row in rows]


def source_of(name: str) -> str:
    """Return the page's file with a class."""
    (text,) = (block.text for block in blocks(PAGE) if f"class {name}(" in block.text)
    return text


def family_of(name: str) -> str:
    """Return the family of a class: the group of entry points that the page names it in."""
    (text,) = (
        block.text
        for block in blocks(PAGE)
        if block.language == "toml" and f':{name}"' in block.text
    )
    (group,) = tomllib.loads(text)["project"]["entry-points"]
    return str(group).removeprefix("regrun.")


def inside_regrun(source: str) -> str:
    """Import the base classes from where the page says that they are."""
    modules = {
        name.strip(" `"): module
        for names, module in table("names", "module")
        for name in names.split(",")
    }
    imported = re.search(r"^from regrun\.plugins import (.+)$", source, re.MULTILINE)
    assert imported is not None
    lines = [f"from {modules[name]} import {name}" for name in imported[1].split(", ")]
    return source.replace(imported[0], "\n".join(lines))
