"""What a kind of picture is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from regrun.pictures.sheet import Sheet
from regrun.pictures.style import Look
from regrun.pictures.subject import Subject


class Picture(ABC):
    """A kind of picture: what it needs, and how it is drawn."""

    name: ClassVar[str]
    """Of `--kind`, and of the files."""
    summary: ClassVar[str]

    @abstractmethod
    def problem(self, subject: Subject) -> str | None:
        """Why the subject has no such picture; None when it has one."""

    @abstractmethod
    def draw(self, subject: Subject, look: Look) -> Sheet:
        """Draw it, in the style of `style.styled`."""
