"""The keys of `dataset` that suit a file, for a first config, each with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

KeyValue = str | int | float | bool | Sequence[str] | dict[str, str]


@dataclass(frozen=True)
class WrittenKey:
    """A key, its value, and what a reader should know about it."""

    key: str
    value: KeyValue
    why: str
