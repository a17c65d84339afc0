"""The keys of the config in words, read from its JSON Schema. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


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


def override_keys() -> dict[str, Key]:
    """Every dotted key that an override may set, over all names of every section."""
    from regrun.config.schema import Config

    schema = Config.model_json_schema()
    return {key.name: key for key in walk(schema, schema, "")}


def walk(node: Mapping[str, Any], root: Mapping[str, Any], prefix: str) -> Iterator[Key]:
    """The keys below a node of a schema, over all that it can be; a section is its keys."""
    found: dict[str, list[Key]] = {}
    for option in _options(node, root):
        for name, info in option.get("properties", {}).items():
            path = f"{prefix}{name}"
            inner = list(walk(info, root, f"{path}."))
            yield from inner
            if not inner:
                found.setdefault(path, []).append(as_key(path, info, root))
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


def as_key(name: str, info: Mapping[str, Any], root: Mapping[str, Any]) -> Key:
    """One property of a schema."""
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
