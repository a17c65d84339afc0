"""`regrun init`: a commented first config for data of the user's own."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from regrun.cli.console import print_json, say, verbatim
from regrun.cli.options import Json
from regrun.errors import UsageError


def init(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A table (csv, Parquet, Excel, …), an .npz archive, or a folder of pictures.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="FILE.yaml", help="Where to write it; default: by the data's name."
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target", metavar="COLUMN", help="What to predict; default: the last column."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    as_json: Json = False,
) -> None:
    """Write a commented first config for a data file, by looking at it."""
    file = output or Path(f"{data.absolute().name.partition('.')[0] or 'data'}.yaml")
    if file.suffix.lower() not in (".yaml", ".yml"):
        raise UsageError(f"--output {file}: a config is a .yaml file")
    if not force and (file.exists() or file.is_symlink()):
        raise UsageError(f"{file}: is there already; --output names another, --force overwrites it")
    from regrun.execution.first_config import first_config
    from regrun.store.atomic import write_atomic

    found, text = first_config(data, file, target)
    write_atomic(file, text)
    if as_json:
        print_json(found)
        return
    predicted = f' of "{found.target}"' if found.target else ""
    named = shlex.quote(str(file))
    say(
        f"{found.task}{predicted}",
        *(f"note: {note}" for note in found.notes),
        verbatim(f"config     {file}"),
        verbatim(f"next       regrun train {named}"),
        verbatim(f"           regrun sweep {named}"),
    )
