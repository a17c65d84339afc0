"""Settings of a config as plain data: their dotted keys, and their values as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys → leaves. Lists of sections are numbered, other lists stay whole.

    >>> flatten({"model": {"hidden": [8, 6]}, "penalty": [{"type": "l1"}]})
    {'model.hidden': [8, 6], 'penalty.0.type': 'l1'}
    """
    leaves: dict[str, Any] = {}
    for key, value in config.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            leaves |= flatten(value, f"{path}.")
        elif _are_sections(value):
            for index, item in enumerate(value):
                leaves |= flatten(item, f"{path}.{index}.")
        else:
            leaves[path] = list(value) if isinstance(value, tuple) else value
    return leaves


def numbered(config: Mapping[str, Any]) -> dict[str, Any]:
    """Sections as they are, with lists of sections numbered, as `flatten` does.

    >>> numbered({"model": {"hidden": [8, 6]}, "penalty": [{"type": "l1"}]})
    {'model': {'hidden': [8, 6]}, 'penalty': {'0': {'type': 'l1'}}}
    """
    return {key: _numbered(value) for key, value in config.items()}


def _numbered(value: Any) -> Any:
    if _are_sections(value):
        value = {str(index): item for index, item in enumerate(value)}
    return numbered(value) if isinstance(value, Mapping) else value


def _are_sections(value: Any) -> bool:
    """Whether this is a list of sections; values of an axis may be sections and others."""
    if not isinstance(value, list | tuple) or not value:
        return False
    return all(isinstance(each, Mapping) for each in value)


def format_value(value: Any, digits: int | None = 6) -> str:
    """A value as YAML would have it, on one line. digits: of floats; None: all.

    >>> format_value({"type": "l1", "strength": 1e-4})
    '{type: l1, strength: 0.0001}'
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(value) if digits is None else f"{value:.{digits}g}"
    if isinstance(value, Mapping):
        parts = (f"{key}: {format_value(each, digits)}" for key, each in value.items())
        return "{" + ", ".join(parts) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(format_value(each, digits) for each in value) + "]"
    return str(value)


_VAGUE = ("name", "type", "seed")
"""Last parts of keys that say too little alone."""


def short_keys(keys: Iterable[str]) -> dict[str, str]:
    """Dotted keys → the shortest end of each, in whole parts, that no other of them has.

    >>> short_keys(["optimizer.weight_decay", "dataset.name", "penalty.0.strength"])
    {'optimizer.weight_decay': 'weight_decay', 'dataset.name': 'dataset.name', \
'penalty.0.strength': 'strength'}
    """
    ends = {key: _ends(key) for key in dict.fromkeys(keys)}
    owners = Counter(end for each in ends.values() for end in each)
    return {key: next((end for end in each if owners[end] == 1), key) for key, each in ends.items()}


def _ends(key: str) -> list[str]:
    """Its ends that may stand for it, shortest first."""
    parts = key.split(".")
    starts = range(len(parts) - 1, -1, -1)
    return [
        ".".join(parts[start:])
        for start in starts
        if start == 0 or parts[start:] not in ([word] for word in _VAGUE)
    ]
