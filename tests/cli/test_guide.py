"""`regrun guide`: the list of pages, one page, and a misspelt one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from regrun.cli.completion import complete_guide_topic
from regrun.guide import TOPICS, read, title
from tests.guide.pages import PAGES
from tests.support.program import Invoke


def test_every_page_has_a_place_in_the_list() -> None:
    folder = PAGES[TOPICS[0]].parent
    assert {path.stem for path in folder.glob("*.md")} == set(TOPICS)


def test_the_list_has_a_line_per_page(invoke: Invoke) -> None:
    *lines, last = invoke("guide").output.splitlines()
    assert [line.split()[0] for line in lines] == list(TOPICS)
    assert all(title(topic) in line for topic, line in zip(TOPICS, lines, strict=True))
    assert last == "To read one: regrun guide TOPIC"


@pytest.mark.parametrize("topic", TOPICS)
def test_a_page_begins_with_its_title_and_hides_its_comments(topic: str, invoke: Invoke) -> None:
    text = invoke("guide", topic).output
    assert text.startswith(f"# {title(topic)}\n\n")
    assert text == read(topic)
    assert "<!--" not in text


def test_links_become_commands() -> None:
    source = PAGES["first-experiment"].read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\((\S+)\.md\)", source))
    assert linked
    assert all(f"`regrun guide {topic}`" in read("first-experiment") for topic in linked)


@pytest.mark.parametrize("topic", TOPICS)
def test_a_terminal_shows_a_page_rendered(topic: str, invoke: Invoke) -> None:
    text = invoke("guide", topic, env={"FORCE_COLOR": "1", "COLUMNS": "100"}).output
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert text != plain
    assert title(topic).replace("`", "") in " ".join(plain.split())
    assert not re.search(r"^(#|```)", plain, re.MULTILINE)
    assert max(len(line) for line in plain.splitlines()) <= 100


def test_a_misspelt_topic_is_a_usage_error_with_a_suggestion(invoke: Invoke) -> None:
    result = invoke("guide", "plugin")
    assert result.exit_code == 2
    assert result.output.startswith('plugin: no such page; did you mean "plugins"?\nPages: ')


def test_topics_are_completed() -> None:
    assert complete_guide_topic("") == list(TOPICS)
    assert complete_guide_topic("w") == ["words"]


def test_pages_keep_to_a_width() -> None:
    for path in PAGES.values():
        assert isinstance(path, Path)
        for line in path.read_text(encoding="utf-8").splitlines():
            assert len(line) <= 120 or line.startswith("|") or "://" in line
