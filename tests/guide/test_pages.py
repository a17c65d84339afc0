"""Every command, config and Python block of README and the guide does what the page says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.architecture.source import FILES
from tests.architecture.test_imports import imported_parts, part_of
from tests.guide.pages import PAGES, ROOT, blocks, obey, program_verbs

LANGUAGES = {"console", "diff", "json", "python", "text", "toml", "yaml"}
PLUGINS = "plugins"
"""The page whose commands need other packages or files in regrun: see `test_adding_kinds`."""
OWN_FILES = "your-network"
"""The page whose commands need a file of Python before regrun is imported: see there, too."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory as a reader of the guide has it: with the shipped configs."""
    for name in ("FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if page not in (PLUGINS, OWN_FILES)])
def test_a_page_does_what_it_says(page: str, folder: Path) -> None:
    obey(page)


@pytest.mark.parametrize("page", PAGES)
def test_blocks_have_a_language_that_is_checked(page: str) -> None:
    assert {block.language for block in blocks(page)} <= LANGUAGES


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_pages_and_files(page: str) -> None:
    text = PAGES[page].read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        is_address = target.startswith("https://")
        assert is_address or (PAGES[page].parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES)
def test_modules_in_prose_exist(page: str) -> None:
    text = re.sub(r"```.*?```", "", PAGES[page].read_text(encoding="utf-8"), flags=re.DOTALL)
    for module in re.findall(r"`(\w+/[\w/]+\.py)`", text):
        folders = [ROOT, ROOT / "regrun"]
        is_proposed = page == PLUGINS  # which names files that the reader would add
        assert is_proposed or any((folder / module).is_file() for folder in folders), module


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_prose_exist(page: str) -> None:
    text = re.sub(r"```.*?```", "", PAGES[page].read_text(encoding="utf-8"), flags=re.DOTALL)
    verbs = set(re.findall(r"`regrun ([a-z]+)", text))
    assert verbs <= set(program_verbs().commands)


def test_readme_is_a_front_page() -> None:
    assert len(PAGES["README"].read_text(encoding="utf-8").splitlines()) <= 120


def test_the_order_of_packages_is_the_order_of_imports() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (?=\w)", page_section("## The packages"), re.MULTILINE)
    order = {part: position for position, part in enumerate(rows)}
    assert {part_of(path) for path in FILES} - {"__init__", "__main__"} == order.keys()
    for path in FILES:
        if part_of(path) in order:
            imported = imported_parts(path.read_text(encoding="utf-8")) & order.keys()
            assert all(order[part] <= order[part_of(path)] for part in imported), path


def test_the_glossary_has_ten_words() -> None:
    assert len(re.findall(r"^\| \*\*", page_section("## Glossary"), re.MULTILINE)) == 10


def page_section(heading: str) -> str:
    text = PAGES["architecture"].read_text(encoding="utf-8")
    return text.partition(f"\n{heading}\n")[2].partition("\n## ")[0]
