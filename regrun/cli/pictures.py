"""`regrun plot`: pictures of what is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from regrun.cli.completion import complete_picture
from regrun.cli.console import print_json, say
from regrun.cli.options import Json, RunDirectory
from regrun.errors import UsageError
from regrun.pictures.registry import PICTURES
from regrun.store.atomic import write_atomic

KINDS = "; ".join(f"{each.name}: {each.summary}" for each in PICTURES.values())


def plot(
    directory: RunDirectory,
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            metavar="KIND",
            help=f"{KINDS}. Default: all that there are.",
            autocompletion=complete_picture,
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="A .png, .svg or .pdf file for one picture; default: files in DIR.",
            show_default=False,
        ),
    ] = None,
    dark: Annotated[
        bool, typer.Option("--dark", help="Draw FILE for dark pages; files in DIR are of both.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Draw the pictures of a run, sweep, path or study."""
    from regrun.pictures.files import (
        FORMATS,
        find_picture,
        leave_picture,
        picture_file,
        pictures_of,
    )
    from regrun.pictures.subject import load_subject

    if output is not None and output.suffix.lower().lstrip(".") not in FORMATS:
        raise UsageError(f"{output}: a picture is a file that ends in {_listed(FORMATS)}")
    if dark and output is None:
        raise UsageError("--dark needs --output FILE; without it both variants are drawn")
    subject = load_subject(directory)
    first = find_picture(subject, kind)
    if output is not None:
        (form,) = (each for each in FORMATS if each == output.suffix.lower().lstrip("."))
        write_atomic(output, picture_file(subject, first, "dark" if dark else "light", form))
        written = [output]
    else:
        chosen = [first] if kind else pictures_of(subject)
        written = [path for picture in chosen for path in leave_picture(subject, picture)]
    if as_json:
        print_json({"pictures": [str(path) for path in written]})
    elif output is not None:
        say(f"picture    {output}")
    else:
        names = dict.fromkeys(path.stem.removesuffix("-dark") for path in written)
        say(*(f"picture    {directory / name}.png, .svg; {name}-dark.png, .svg" for name in names))


def _listed(formats: tuple[str, ...]) -> str:
    *first, last = (f".{each}" for each in formats)
    return f"{', '.join(first)} or {last}"
