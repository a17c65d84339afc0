"""What there is, read from the one table that also validates: the config's schema. No torch."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from regrun.errors import UsageError

if TYPE_CHECKING:
    from regrun.config.base import Section

FAMILIES: Mapping[str, tuple[str, str]] = {
    "datasets": ("unions", "Dataset"),
    "models": ("unions", "Model"),
    "penalties": ("unions", "Penalty"),
    "constraints": ("constraints", "Constraint"),
    "optimizers": ("optimizers", "Optimizer"),
    "schedules": ("optimizers", "Schedule"),
}
"""Topic of `regrun list` → module of `regrun.config` and the union in it."""


@dataclass(frozen=True)
class Key:
    """One key of a section."""

    name: str
    values: str
    """What it may hold, in words: ``number ≥ 0``."""
    default: str
    """As YAML would have it; ``required`` without one."""
    help: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One name that a config may use."""

    name: str
    line: str
    facts: Mapping[str, str]
    """``formula``, ``source`` or ``origin`` where the table has them."""
    section: type[Section]

    @property
    def capabilities(self) -> dict[str, str]:
        """What it needs and can be combined with, where the table says so."""
        section: Any = self.section
        found = {}
        if hasattr(section, "needs"):
            found["needs"] = section.needs
        if hasattr(section, "methods"):
            found["methods"] = ", ".join(section.methods)
        if hasattr(section, "proximal"):
            found["proximal penalties"] = "yes" if section.proximal else "no"
        return found

    @property
    def keys(self) -> list[Key]:
        """Its keys with their defaults, those without a default first."""
        schema = self.section.model_json_schema()
        keys = [_key(name, info, schema) for name, info in schema["properties"].items()]
        chosen = [key for key in keys if key.name not in ("name", "type")]
        return sorted(chosen, key=lambda key: key.default != "required")


def entries(topic: str | None) -> list[Entry]:
    """The entries of one topic, in the order of the table; none for an unknown topic."""
    if topic is None or topic not in FAMILIES:
        return []
    module, union = FAMILIES[topic]
    return [
        Entry(name, _paragraph(section), _facts(section), section)
        for section in _sections(_union(module, union))
        for name in _names(section)
    ]


def find(topic: str, name: str) -> Entry:
    """The entry of that name; UsageError with a suggestion when there is none."""
    import difflib

    known = {entry.name: entry for entry in entries(topic)}
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f', did you mean "{close[0]}"?' if close else f"; see `regrun list {topic}`"
    raise UsageError(f"{name}: not one of the {topic}{hint}")


def override_keys() -> dict[str, Key]:
    """Every dotted key that an override may set, over all names of every section."""
    from regrun.config.schema import Config

    schema = Config.model_json_schema()
    return {key.name: key for key in _walk(schema, schema, "")}


def _walk(node: Mapping[str, Any], root: Mapping[str, Any], prefix: str) -> Iterator[Key]:
    found: dict[str, list[Key]] = {}
    for option in _options(node, root):
        for name, info in option.get("properties", {}).items():
            path = f"{prefix}{name}"
            inner = list(_walk(info, root, f"{path}."))
            yield from inner
            if not inner:
                found.setdefault(path, []).append(_key(path, info, root))
    for path, same in found.items():
        choices = tuple(dict.fromkeys(choice for key in same for choice in key.choices))
        yield Key(path, same[0].values, same[0].default, same[0].help, choices)


def _options(node: Mapping[str, Any], root: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The object schemas that a node can be: through references, unions and lists."""
    if "$ref" in node:
        yield from _options(root["$defs"][node["$ref"].rpartition("/")[2]], root)
    elif "properties" in node:
        yield node
    for inner in (*node.get("oneOf", ()), *node.get("anyOf", ())):
        yield from _options(inner, root)
    if isinstance(node.get("items"), Mapping):
        yield from _options(node["items"], root)


def _key(name: str, info: Mapping[str, Any], root: Mapping[str, Any]) -> Key:
    default = _as_yaml(info["default"]) if "default" in info else "required"
    help_text = " ".join(info.get("description", "").split())
    return Key(name, _in_words(info, root), default, help_text, tuple(_choices(info)))


def _choices(info: Mapping[str, Any]) -> Iterator[str]:
    if info.get("type") == "boolean":
        yield from ("true", "false")
    if "const" in info:
        yield str(info["const"])
    yield from (str(value) for value in info.get("enum", ()))
    for inner in info.get("anyOf", ()):
        yield from _choices(inner)


def _in_words(info: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """A JSON schema as people say it."""
    if "const" in info:
        return str(info["const"])
    if "enum" in info:
        return ", ".join(str(value) for value in info["enum"])
    if "anyOf" in info:
        return " | ".join(_in_words(inner, root) for inner in info["anyOf"])
    if info.get("type") == "array":
        items = info.get("prefixItems") or [info.get("items", {})]
        inner = ", ".join(dict.fromkeys(_in_words(item, root) for item in items))
        return f"list of {inner}" if inner else "list"
    kind = {"integer": "whole number", "string": "text", "boolean": "true, false"}
    named = str(info.get("type", "section"))
    return kind.get(named, named) + _bounds(info)


def _bounds(info: Mapping[str, Any]) -> str:
    """`` ≥ 1``, or `` in [0, 1)``."""
    low = info.get("minimum", info.get("exclusiveMinimum"))
    high = info.get("maximum", info.get("exclusiveMaximum"))
    if high is not None and high >= 2**31 - 1:
        high = None  # a bound of the machine's integers explains nothing to a reader
    if low is not None and high is not None:
        left, right = "[" if "minimum" in info else "(", "]" if "maximum" in info else ")"
        return f" in {left}{low}, {high}{right}"
    if low is not None:
        return f" {'≥' if 'minimum' in info else '>'} {low}"
    return "" if high is None else f" {'≤' if 'maximum' in info else '<'} {high}"


def _as_yaml(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(_as_yaml(item) for item in value) + "]"
    return str(value)


def _union(module: str, name: str) -> Any:
    import importlib

    return getattr(importlib.import_module(f"regrun.config.{module}"), name)


def _sections(annotation: Any) -> Iterator[type[Section]]:
    """The classes of a union, through Annotated."""
    from regrun.config.base import Section

    if inspect.isclass(annotation) and issubclass(annotation, Section):
        yield annotation
    else:
        for argument in get_args(annotation):
            yield from _sections(argument)


def _names(section: type[Section]) -> tuple[str, ...]:
    field = section.model_fields.get("name") or section.model_fields["type"]
    return tuple(str(name) for name in get_args(field.annotation))


def _paragraph(section: type[Section]) -> str:
    return " ".join(inspect.getdoc(section).split()) if section.__doc__ else ""  # type: ignore[union-attr]


def _facts(section: type[Section]) -> dict[str, str]:
    labels = ("formula", "source", "origin")
    return {label: getattr(section, label) for label in labels if hasattr(section, label)}
