"""Comments of a stored config on its plug-ins: where each came from.

They run nothing: what is missing is named, and the user says which file to take.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from regrun.kinds.base import Section, names_of
from regrun.kinds.registry import KINDS

_LINE = re.compile(r"# plug-in \S+ (\S+): (.+?)(?:, sha256 [0-9a-f]{64})?\s*")

PLUGGED: Mapping[str, type[Section]] = {
    name: kind
    for family in KINDS.values()
    for kind in family
    if kind.plugin_origin is not None
    for name in names_of(kind)
}
"""Name → the class of each plug-in."""


def origins_in(text: str) -> str:
    """The comments on the plug-ins that the text of a config names, a line for each."""
    lines = (
        _comment(name, kind)
        for name, kind in PLUGGED.items()
        if re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", text)
    )
    return "".join(f"{line}\n" for line in lines)


def missing(lines: Sequence[str]) -> list[str]:
    """What to do about plug-ins of a stored config that are not there now."""
    return [
        f"{name} came from {source} when this was stored; {_remedy(source)}"
        for _, name, source in _comments(lines)
        if name not in PLUGGED
    ]


def changed(lines: Sequence[str]) -> list[str]:
    """Notes on plug-ins of a stored config that are others now."""
    return [
        f"{name} has changed since this was stored, when it came from {source}"
        for line, name, source in _comments(lines)
        if name in PLUGGED and line != _comment(name, PLUGGED[name])
    ]


def _comment(name: str, kind: type[Section]) -> str:
    origin = kind.plugin_origin
    assert origin is not None
    digest = f", sha256 {origin.digest}" if origin.digest else ""
    return f"# plug-in {origin.group} {name}: {origin.source}{digest}"


def _comments(lines: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Line, name and source of each comment."""
    for line in lines:
        found = _LINE.fullmatch(line) if line.startswith("# plug-in ") else None
        if found:
            yield line.rstrip(), found[1], found[2]


def _remedy(source: str) -> str:
    path = source.removeprefix("the file ")
    if path == source:
        return "install it"
    where = "" if Path(path).is_file() else ", which is not there now"
    return f"add --plugin {shlex.quote(path)}{where}"
