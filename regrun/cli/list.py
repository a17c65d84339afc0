"""`regrun list`: what there is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from regrun.cli.completion import LISTABLE, TOPICS, complete_name, complete_topic
from regrun.cli.console import output, print_json, say, show
from regrun.cli.format import name_table, table
from regrun.cli.options import RUNS, Json, Plugins, RunsDir
from regrun.errors import UsageError

if TYPE_CHECKING:
    from regrun.cli.catalog import Entry

What = Annotated[
    str | None,
    typer.Argument(
        metavar="WHAT",
        help=(
            f"{', '.join(LISTABLE[:-1])} or {LISTABLE[-1]}; or any section, kind or key of the "
            "config. Default: an overview."
        ),
        autocompletion=complete_topic,
        show_default=False,
    ),
]
Name = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME",
        help="One of them, with its keys and defaults; of runs: a folder.",
        autocompletion=complete_name,
        show_default=False,
    ),
]


def list_(
    what: What = None,
    name: Name = None,
    runs_dir: RunsDir = RUNS,
    plugins: Plugins = None,
    as_json: Json = False,
) -> None:
    """List what there is: names and keys for a config, published results, or the runs."""
    if what == "runs":
        from regrun.cli.run_list import list_runs

        list_runs(runs_dir, name, as_json=as_json)
    elif what is not None and what not in LISTABLE:
        _look_up(what, name, as_json)
    elif what == "reproductions":
        _list_reproductions(name, as_json)
    elif what is not None and name is not None:
        from regrun.cli.catalog import find

        entry = find(what, name)
        show(_document(entry, keys=True), lambda _: _details(entry), as_json=as_json)
    else:
        _list_names(what, as_json)


def _list_reproductions(name: str | None, as_json: bool) -> None:
    from regrun.cli import reproduce

    if name is not None:
        show(reproduce.described(name), reproduce.details, as_json=as_json)
    elif as_json:
        print_json(reproduce.listing())
    else:
        say(reproduce.listing_table(reproduce.listing()))
        say("Claims of one: regrun list reproductions NAME; to run it: regrun reproduce NAME")


def _look_up(word: str, name: str | None, as_json: bool) -> None:
    from regrun.cli import lookup

    found = lookup.look_up(word)
    if name is not None:
        if len(found.topics) != 1:
            raise UsageError(f"{word}: not one of {', '.join(LISTABLE)}")
        list_(found.topics[0], name, as_json=as_json)
    elif as_json:
        print_json(lookup.document(found))
    else:
        for topic in found.topics:
            _list_names(topic, as_json=False)
        say(*lookup.report(found))


def _overview() -> list[RenderableType]:
    """All names in short, a paragraph for each topic."""
    from regrun.cli import reproduce
    from regrun.cli.catalog import entries

    names = {topic: [entry.name for entry in entries(topic)] for topic in TOPICS}
    names["reproductions"] = [each["name"] for each in reproduce.listing()]
    width = max(map(len, names)) + 2
    return [
        *(f"{topic:<{width}}{_in_short(words)}" for topic, words in names.items()),
        "",
        "what they are     regrun list TOPIC",
        "keys of one       regrun list TOPIC NAME",
        "any word          regrun list WORD: a key, kind or section, such as dropout or sweep",
        "runs and sweeps   regrun list runs",
    ]


_MOST_NAMES = 24


def _in_short(words: Sequence[str]) -> str:
    more = len(words) - _MOST_NAMES
    return ", ".join(words[:_MOST_NAMES]) + (f" … {more:,} more" if more > 0 else "")


def _list_names(topic: str | None, as_json: bool) -> None:
    from regrun.cli import reproduce
    from regrun.cli.catalog import entries

    listed = {name: entries(name) for name in (TOPICS if topic is None else [topic])}
    if as_json:
        documents: Any = {name: [_document(each) for each in listed[name]] for name in listed}
        everything = {**documents, "reproductions": reproduce.listing()}
        print_json(everything if topic is None else documents[topic])
        return
    if topic is None:
        say(*_overview())
        return
    say(
        *_names_of_topic(topic, listed[topic]),
        f"Keys and defaults of one: regrun list {topic} NAME",
    )
    keys = _keys_of_section(topic)
    if keys:
        say("", *keys)


def _keys_of_section(topic: str) -> list[RenderableType]:
    """All keys of the section that is called like a topic, such as `training`."""
    from regrun.cli import lookup

    found = lookup.keys_below(topic)
    return [part for key in found for part in (*lookup.described(key), "")]


def _document(entry: Entry, *, keys: bool = False) -> dict[str, Any]:
    about = {**entry.about, **entry.capabilities}
    document: dict[str, Any] = {"name": entry.name, "description": entry.line, **about}
    if keys:
        shown = ("name", "values", "default", "description")
        document["keys"] = [{name: getattr(key, name) for name in shown} for key in entry.keys]
    return document


_NARROW = 120
"""Columns below which a table of names, formulas and sources would be a column of words."""


def _names_of_topic(topic: str, listed: list[Entry]) -> list[RenderableType]:
    """Each name with what it is, its formula and its source; names of one description together."""
    grouped = groupby(listed, key=lambda entry: (entry.section, entry.line))
    groups = [list(group) for _, group in grouped]
    if output().width >= _NARROW:
        return [_table(topic, groups)]
    parts: list[RenderableType] = [Text(topic, "bold")]
    for same in groups:
        parts.append(Text(", ".join(entry.name for entry in same), "bold"))
        parts += [f"  {text}" for text in (same[0].line, *same[0].about.values()) if text]
    return parts


def _table(topic: str, groups: Sequence[list[Entry]]) -> Table:
    columns = list(dict.fromkeys(column for same in groups for column in same[0].about))
    rows = []
    for same in groups:
        about = [same[0].about.get(column, "") for column in columns]
        rows.append((", ".join(entry.name for entry in same), same[0].line, *about))
    named = name_table(rows, topic)
    named.columns[0].max_width = 60
    return named


def _details(entry: Entry) -> list[RenderableType]:
    about = {**entry.about, **entry.capabilities}
    lines = [f"{label}: {value}" for label, value in about.items()]
    keys = [(key.name, key.default, key.values, key.description) for key in entry.keys]
    headers = ("key", "default", "values", "")
    shown: list[RenderableType] = [Text(entry.name, "bold"), entry.line, *lines]
    return [*shown, "", table(headers, keys)] if keys else shown
