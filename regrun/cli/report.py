"""`regrun report`: one HTML page on what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from regrun.cli.compare import Directories, name_damage, refuse_damage
from regrun.cli.console import print_json, say, verbatim
from regrun.cli.options import Json
from regrun.errors import CorruptInputError, UsageError
from regrun.store.atomic import write_atomic
from regrun.store.place import as_folder

REPORT = "report.html"


def write(
    directories: Sequence[Path], output: Path | None = None
) -> tuple[Path, list[CorruptInputError]]:
    """Write the page on what can be read, and return its file, and what is damaged.

    Raises CorruptInputError when nothing is left, UsageError, StorageError.
    """
    from regrun.cli.reports.load import load_part
    from regrun.cli.reports.page import page

    if output is not None and output.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{output}: a report is a file that ends in .html")
    damaged: list[CorruptInputError] = []
    parts = []
    for directory in dict.fromkeys(directories):
        try:
            parts.append(load_part(directory, damaged))
        except CorruptInputError as damage:
            damaged += [] if damage in damaged else [damage]
    if not parts:
        raise damaged[0]
    place = as_folder(directories[0]) / REPORT if output is None else output
    write_atomic(place, page(parts).encode())
    return output or directories[0] / REPORT, damaged


def report(
    directories: Directories,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help=f"The .html file to write; default: {REPORT} in the first DIR.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write one HTML page on runs, sweeps and studies: answer, pictures, tables, limits."""
    written, damaged = write(directories, output)
    name_damage(damaged)
    if as_json:
        print_json({"report": str(written)})
    else:
        say(verbatim(f"report     {written}"))
    refuse_damage(damaged, directories)
