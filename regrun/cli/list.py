"""`regrun list`: what there is."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from regrun.cli.completion import LISTABLE, TOPICS, complete_name, complete_topic
from regrun.cli.console import print_json, say, show
from regrun.cli.format import name_table, number, table
from regrun.cli.options import RUNS, Json, Plugins, RunsDir
from regrun.errors import UsageError
from regrun.store.reading import find_runs, load_stored_run
from regrun.store.study import find_studies, summary_of

if TYPE_CHECKING:
    from regrun.cli.catalog import Entry

What = Annotated[
    str | None,
    typer.Argument(
        metavar="WHAT",
        help=f"{', '.join(LISTABLE[:-1])} or {LISTABLE[-1]}; default: everything but the runs.",
        autocompletion=complete_topic,
        show_default=False,
    ),
]
Name = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME",
        help="One of them, with its keys and defaults.",
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
    """List what there is: names for a config, published results to reproduce, or the runs."""
    if what is not None and what not in LISTABLE:
        raise UsageError(f"{what}: not one of {', '.join(LISTABLE)}")
    if what == "runs":
        if name is not None:
            raise UsageError(f"{name}: for one run use `regrun compare {runs_dir / name}`")
        _list_runs(runs_dir, as_json)
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


def _list_names(topic: str | None, as_json: bool) -> None:
    from regrun.cli import reproduce
    from regrun.cli.catalog import entries

    listed = {name: entries(name) for name in (TOPICS if topic is None else [topic])}
    if as_json:
        documents: Any = {name: [_document(each) for each in listed[name]] for name in listed}
        everything = {**documents, "reproductions": reproduce.listing()}
        print_json(everything if topic is None else documents[topic])
        return
    for name, found in listed.items():
        say(_table(name, found))
    if topic is None:
        say(reproduce.listing_table(reproduce.listing()))
    say(f"Keys and defaults of one: regrun list {topic or 'WHAT'} NAME")


def _document(entry: Entry, *, keys: bool = False) -> dict[str, Any]:
    about = {**entry.about, **entry.capabilities}
    document: dict[str, Any] = {"name": entry.name, "description": entry.line, **about}
    if keys:
        shown = ("name", "values", "default", "description")
        document["keys"] = [{name: getattr(key, name) for name in shown} for key in entry.keys]
    return document


def _table(topic: str, listed: list[Entry]) -> Table:
    columns = list(dict.fromkeys(column for entry in listed for column in entry.about))
    rows = []
    for _, group in groupby(listed, key=lambda entry: (entry.section, entry.line)):
        same = list(group)
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


def _list_runs(runs_dir: Path, as_json: bool) -> None:
    runs = [load_stored_run(path) for path in find_runs([runs_dir])] if runs_dir.is_dir() else []
    studies = [summary_of(*each) for each in find_studies(runs_dir)]
    if as_json:
        print_json([*(run.result for run in runs), *studies])
        return
    rows = []
    for run in runs:
        metrics = run.result.metrics
        losses = [number(metrics.get(f"{split}/loss")) for split in ("train", "test")]
        epochs = str(run.summary.epochs) if run.summary else ""
        rows.append((str(run.path), run.status, epochs, *losses))
    rows += [(each.study_dir, each.status, each.study, "", "") for each in studies]
    headers = ("run", "status", "epochs", "train/loss", "test/loss")
    say(
        table(headers, rows) if rows else f"No runs in {runs_dir}. To make one: regrun train CONFIG"
    )
