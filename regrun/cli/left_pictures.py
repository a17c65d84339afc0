"""The picture that a sweep or study leaves; matplotlib is imported only where one is drawn."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regrun.results import SweepSummary

MOST_LEFT = 200
"""Runs of a sweep up to which its picture is always left: it takes about a second."""

WORTH_A_PICTURE = 30.0
"""Seconds after which a larger sweep leaves its picture, too."""

WORTH_READING = 0.01
"""Seconds for each run after which it does so: what is drawn is read again from all runs."""


def leaves_picture(sweep: SweepSummary) -> bool:
    """Whether a sweep that has ended leaves its picture at once.

    Not where a second would be much of its time: many small runs take little more.
    """
    enough = max(WORTH_A_PICTURE, WORTH_READING * sweep.runs)
    return sweep.runs <= MOST_LEFT or sweep.seconds.total >= enough


def leave_main_picture(sweep: SweepSummary) -> list[str]:
    """Draw what a sweep shows into its directory; returns the lines that say so."""
    directory = Path(sweep.sweep_dir)
    if sweep.unfinished or sweep.failed == sweep.runs:
        return []
    if not leaves_picture(sweep):
        return [f"pictures   {_command(directory)}"]
    return leave_picture_of(directory)


def leave_picture_of(directory: Path) -> list[str]:
    """Draw the main picture of a directory into it; returns the lines that say so."""
    from regrun.pictures.files import leave_picture, main_picture
    from regrun.pictures.subject import load_subject

    subject = load_subject(directory)
    picture = main_picture(subject)
    if picture is None:
        return []
    leave_picture(subject, picture)
    path = directory / picture.name
    return [f"picture    {path}.png, .svg", f"{'':<11}for all: {_command(directory)}"]


def _command(directory: Path) -> str:
    return f"regrun plot {shlex.quote(str(directory))}"
