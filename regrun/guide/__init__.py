"""The guide: Markdown pages that are installed with the program and shown by `regrun guide`."""

from __future__ import annotations

import re
from pathlib import Path

from regrun.errors import UsageError
from regrun.suggest import did_you_mean

TOPICS = (
    "first-experiment",
    "your-data",
    "words",
    "sweeps",
    "statistics",
    "studies",
    "pictures",
    "data",
    "predict",
    "your-network",
    "plugins",
    "files",
    "python",
    "many-machines",
    "reliability",
    "performance",
    "architecture",
    "contributing",
)
"""The pages, in reading order. Each is a Markdown file next to this module."""

_COMMENT = re.compile(r"<!--.*?-->\n*", re.DOTALL)
_LINK = re.compile(r"\[[^\]]+\]\(([a-z-]+)\.md\)")


def read(topic: str) -> str:
    """Return a page as Markdown, with links to other pages as commands that show them.

    Args:
        topic: One of `TOPICS`.

    Raises:
        UsageError: There is no such page.
    """
    if topic not in TOPICS:
        raise UsageError(
            f"{topic}: no such page{did_you_mean(topic, TOPICS)}\nPages: {', '.join(TOPICS)}"
        )
    text = Path(__file__).with_name(f"{topic}.md").read_text(encoding="utf-8")
    return _LINK.sub(r"`regrun guide \1`", _COMMENT.sub("", text))


def title(topic: str) -> str:
    """Return the heading of a page, which says in one line what it is about."""
    return read(topic).partition("\n")[0].removeprefix("# ")
