"""`regrun guide`: the pages of the guide in the terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from regrun.cli.completion import complete_guide_topic

WIDTH = 100
"""Columns of a page on a wide terminal; longer lines are hard to read."""

Topic = Annotated[
    str | None,
    typer.Argument(
        metavar="TOPIC",
        help="A page of the guide. Default: the list of pages.",
        autocompletion=complete_guide_topic,
        show_default=False,
    ),
]


def guide(topic: Topic = None) -> None:
    """Show a page of the guide, or the list of pages."""
    from regrun.cli.console import output, say
    from regrun.cli.format import name_table
    from regrun.guide import TOPICS, read, title

    if topic is None:
        pages = name_table((each, title(each)) for each in TOPICS)
        pages.columns[0].no_wrap = True
        say(pages, "To read one: regrun guide TOPIC")
        return
    page = read(topic)
    console = output()
    if not console.is_terminal:
        say(page.rstrip("\n"))
        return
    from rich.markdown import Markdown
    from rich.theme import Theme

    # No background colours, so that code is readable on light terminals too.
    markdown = Markdown(page, code_theme="ansi_dark")
    with console.use_theme(Theme({"markdown.code": "bold cyan"})):
        console.print(markdown, width=min(console.width, WIDTH))
