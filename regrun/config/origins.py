"""Comments of a stored config on its plug-ins: where each came from.

They run nothing: what is missing is named, and the user says which file to take.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from regrun.config.diagnostics import printable
from regrun.kinds.base import Section, names_of
from regrun.kinds.given import given
from regrun.kinds.registry import KINDS

_LINE = re.compile(r"# plug-in \S+ (\S+): (.+?)(?:, sha256 [0-9a-f]{64})?\s*")

_CLASS = "the Python class "

PLUGGED: Mapping[str, type[Section]] = {
    name: kind
    for family in KINDS.values()
    for kind in family
    if kind.plugin_origin is not None
    for name in names_of(kind)
}
"""Name → the class of each plug-in that is installed, or in a file."""


def _plugged() -> Mapping[str, type[Section]]:
    """The same, with the network that the present call was given."""
    model = given()
    return PLUGGED if model is None else {**PLUGGED, **dict.fromkeys(names_of(model), model)}


def origins_in(text: str) -> str:
    """The comments on the plug-ins that the text of a config names.

    A line for each, and the source of a class that a Python program gave.
    """
    lines = (
        line
        for name, kind in _plugged().items()
        if re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", text)
        for line in (_comment(name, kind), *_source(kind))
    )
    return "".join(f"{line}\n" for line in lines)


def missing(lines: Sequence[str]) -> list[str]:
    """What to do about plug-ins of a stored config that are not there now."""
    return [
        f"{name} came from {source} when this was stored; {_remedy(source)}"
        for _, name, source in _comments(lines)
        if name not in _plugged()
    ]


def changed(lines: Sequence[str]) -> list[str]:
    """Notes on plug-ins of a stored config that are others now."""
    return [
        f"{name} has changed since this was stored, when it came from {source}"
        for line, name, source in _comments(lines)
        if name in _plugged() and line != _comment(name, _plugged()[name])
    ]


def _comment(name: str, kind: type[Section]) -> str:
    origin = kind.plugin_origin
    assert origin is not None
    digest = f", sha256 {origin.digest}" if origin.digest else ""
    return f"# plug-in {origin.group} {name}: {origin.source}{digest}"


def _source(kind: type[Section]) -> Iterator[str]:
    """The source of a class of a Python program, as comments."""
    origin = kind.plugin_origin
    for line in origin.text.splitlines() if origin else ():
        yield f"#   {printable(line)}".rstrip()


def _comments(lines: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Line, name and source of each comment."""
    for line in lines:
        found = _LINE.fullmatch(line) if line.startswith("# plug-in ") else None
        if found:
            yield line.rstrip(), found[1], found[2]


def _remedy(source: str) -> str:
    if source.startswith(_CLASS):
        name = source.rpartition(".")[2]
        return (
            f"give the class to the Python function: regrun.resume(…, model={name}), load_model, "
            "load_predictor"
        )
    path = source.removeprefix("the file ")
    if path == source:
        return "install it"
    where = "" if Path(path).is_file() else ", which is not there now"
    return f"add --plugin {shlex.quote(path)}{where}"
