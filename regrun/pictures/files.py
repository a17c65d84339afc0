"""Pictures as files: which a directory has, and where they are left."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from regrun.errors import UsageError
from regrun.pictures.base import Picture
from regrun.pictures.registry import PICTURES
from regrun.pictures.sheet import Format, rendered
from regrun.pictures.style import LOOKS, Look, Theme, styled
from regrun.pictures.subject import Subject
from regrun.store.atomic import write_atomic
from regrun.store.place import as_folder
from regrun.suggest import did_you_mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS: tuple[Format, ...] = get_args(Format)

LEFT: tuple[Format, ...] = ("png", "svg")
"""The formats that are left in a directory."""


def pictures_of(subject: Subject) -> list[Picture]:
    """Every picture that a subject has, the main one first."""
    return [each for each in PICTURES.values() if each.problem(subject) is None]


def main_picture(subject: Subject) -> Picture | None:
    """The first picture that a subject has; the others are not looked for."""
    return next((each for each in PICTURES.values() if each.problem(subject) is None), None)


def find_picture(subject: Subject, kind: str | None) -> Picture:
    """The picture of a kind, or the main one. Raises UsageError where there is none."""
    if kind is None:
        found = main_picture(subject)
        if found is None:
            raise UsageError(f"{subject.directory}: nothing here has a picture yet")
        return found
    if kind not in PICTURES:
        meant = did_you_mean(kind, PICTURES) or f"; they are {', '.join(PICTURES)}"
        raise UsageError(f"{kind}: no kind of picture{meant}")
    problem = PICTURES[kind].problem(subject)
    if problem is not None:
        others = ", ".join(each.name for each in pictures_of(subject))
        instead = f"; it has: {others}" if others else ""
        raise UsageError(f"{subject.directory}: no picture {kind}: {problem}{instead}")
    return PICTURES[kind]


def figure_of(subject: Subject, picture: Picture, theme: Theme = "light") -> Figure:
    """The picture as a figure of matplotlib."""
    if theme not in LOOKS:
        raise UsageError(f"theme {theme!r}: not {' or '.join(LOOKS)}")
    look = LOOKS[theme]
    with styled(look):
        figure = picture.draw(subject, look).finish()
    # Notebooks show it by this method, also where nobody has imported pyplot.
    vars(figure)["_repr_png_"] = partial(rendered, figure, look, "png")
    return figure


def picture_file(subject: Subject, picture: Picture, theme: Theme, kind: Format) -> bytes:
    """The content of one file. Equal subjects give equal bytes."""
    return rendered(figure_of(subject, picture, theme), LOOKS[theme], kind)


def picture_files(subject: Subject, picture: Picture) -> Mapping[str, bytes]:
    """Name → content of everything that is left of a picture: PNG and SVG, light and dark."""
    found = {}
    for theme, look in LOOKS.items():
        figure = figure_of(subject, picture, theme)
        for kind in LEFT:
            found[file_name(picture, look, kind)] = rendered(figure, look, kind)
    return found


def file_name(picture: Picture, look: Look, kind: Format) -> str:
    """``axis.png``, ``axis-dark.svg``."""
    suffix = "" if look.theme == "light" else f"-{look.theme}"
    return f"{picture.name}{suffix}.{kind}"


def leave_picture(subject: Subject, picture: Picture) -> list[Path]:
    """Write the files of a picture into the subject's directory. Raises StorageError."""
    folder = as_folder(subject.directory)
    files = picture_files(subject, picture)
    for name, data in files.items():
        write_atomic(folder / name, data, durable=False)
    return [subject.directory / name for name in files]
