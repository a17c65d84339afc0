"""`regrun reproduce`: a published result, trained again and judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from regrun.cli.completion import complete_reproduction
from regrun.cli.options import RUNS, Device, Json, Quiet, RunsDir


def reproduce(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="One of `regrun list reproductions`.",
            autocompletion=complete_reproduction,
        ),
    ],
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds", min=1, help="Judge by this many seeds; default: the reproduction's own."
        ),
    ] = None,
    runs_dir: RunsDir = RUNS,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a published experiment again: published values, ours, and whether they agree."""
    from regrun.cli.console import show
    from regrun.cli.progress import watching
    from regrun.store.atomic import probe_writable
    from regrun.studies.reproductions.table import find

    reproduction = find(name)
    probe_writable(runs_dir)
    with watching(quiet=quiet) as observer:
        from regrun.studies.reproductions.run import reproduce as run_reproduction
        from regrun.sweeps.run import Options

        document = {
            "name": name,
            **run_reproduction(
                reproduction,
                runs_dir=runs_dir,
                seeds=seeds,
                options=Options(device=device),
                observer=observer,
            ),
        }
    show(document, _report, as_json=as_json)
    if document["diverged"] or document["failed"]:
        raise typer.Exit(3)


_COLOURS = {"agrees": "green", "differs": "red"}


def _report(document: Mapping[str, Any]) -> list[Any]:
    from rich.table import Table
    from rich.text import Text

    table = Table("claim", "published", box=None, pad_edge=False)
    table.add_column("ours", justify="right")
    table.add_column("verdict")
    for claim in document["claims"]:
        told, ours = Text(claim["published"]), Text(_ours(claim["ours"]))
        table.add_row(Text(claim["claim"]), told, ours, _verdict(claim["verdict"]))
    facts = {
        "source": document["source"],
        "budget": document["budget"],
        "published": document["published_budget"],
        "note": document["remark"],
    }
    parts: list[Any] = [Text(document["title"], "bold"), table]
    parts.append(Text.assemble("overall    ", _verdict(document["verdict"])))
    parts += [Text(f"{name:<10} {text}") for name, text in facts.items() if text]
    parts += [Text(f"chosen     {line}") for line in _chosen(document)]
    parts += [Text(f"runs       {place}") for place in document["runs_in"]]
    if document["runs"]:
        parts.append(Text(f"next       regrun compare {document['runs_in'][-1]}"))
    return parts


def _ours(ours: Any) -> str:
    """``13.4 ± 0.3 (20 seeds)``."""
    from regrun.analysis.statistics import Interval
    from regrun.cli.numbers import NOTHING, plus_minus

    if ours is None or isinstance(ours, str):
        return ours or NOTHING
    interval = Interval(**ours)
    return f"{plus_minus(interval)} ({interval.n} seed{'s' if interval.n > 1 else ''})"


def _verdict(verdict: str | None) -> Any:
    from rich.text import Text

    return Text(verdict or "not judged", _COLOURS.get(verdict or "", ""))


def _chosen(document: Mapping[str, Any]) -> list[str]:
    """What validation chose, of methods that were tuned."""
    from regrun.cli.numbers import value

    return [
        f"{method['name']}: "
        + ", ".join(f"{key}={value(setting)}" for key, setting in method["tuned"].items())
        for method in document["methods"]
        if method["tuned"]
    ]
