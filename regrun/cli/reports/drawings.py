"""The pictures of `regrun plot` within a page: data URIs, for light and for dark paper."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from regrun.analysis.sweeps import OnDamage
from regrun.cli.reports.parts import Drawing
from regrun.errors import CorruptInputError
from regrun.pictures.base import Picture
from regrun.pictures.registry import PICTURES
from regrun.pictures.sheet import rendered
from regrun.pictures.style import LOOKS, Theme, styled
from regrun.pictures.subject import Subject

MOST_DRAWN = 200
"""Runs up to which all pictures are drawn; of more, the main one."""

LARGEST_SVG = 400_000
"""Bytes of a picture above which its pixels are smaller than its lines."""


def drawings(subject: Subject, runs: int, on_damage: OnDamage) -> list[Drawing]:
    """All pictures; of many runs the main one. on_damage: takes what kept one from being drawn."""
    found: list[Drawing] = []
    for picture in PICTURES.values():
        if found and runs > MOST_DRAWN:
            break
        try:
            if picture.problem(subject) is None:
                found.append(_drawing(subject, picture))
        except CorruptInputError as damage:
            on_damage(damage)
    return found


def _drawing(subject: Subject, picture: Picture) -> Drawing:
    found: dict[Theme, str] = {}
    title, notes = "", ""
    for theme, look in LOOKS.items():
        with styled(look):
            sheet = picture.draw(subject, look)
            title, notes, figure = sheet.title, _joined(sheet.notes), sheet.finish()
        svg = rendered(figure, look, "svg")
        if len(svg) <= LARGEST_SVG:
            kind, content = "svg+xml", svg
        else:
            kind, content = "png", rendered(figure, look, "png")
        found[theme] = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return Drawing(picture.name, f"{title}. {notes}".strip(), found["light"], found["dark"])


def _joined(notes: Sequence[str]) -> str:
    return " ".join(note for note in notes if note)
