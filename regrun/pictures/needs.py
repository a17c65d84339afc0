"""What pictures need of a subject: None where it is there, else the sentence that says so."""

from __future__ import annotations

from regrun.pictures.sentences import words_of
from regrun.pictures.subject import Subject


def several_cells(subject: Subject) -> str | None:
    """Something to compare."""
    return "it needs more than one cell" if len(subject.cells) < 2 else None


def one_number(subject: Subject) -> str | None:
    """An axis of numbers, and no other."""
    if len(subject.keys) == 1 and subject.numeric:
        return None
    return "it needs one swept key, whose values are numbers"


def measured(subject: Subject) -> str | None:
    """A value of the metric in some run."""
    return None if subject.best else f"no run has a {words_of(subject.metric)}"
