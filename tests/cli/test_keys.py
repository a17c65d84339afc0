"""The keys in words, against pydantic's own JSON Schema of the config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from regrun.cli.catalog import key_of, override_keys
from regrun.config.schema import Config
from regrun.kinds.registry import KINDS

Schema = Mapping[str, Any]


def options(node: Schema, root: Schema) -> Iterator[Schema]:
    """The object schemas that a node can be: through references, unions and lists."""
    if "$ref" in node:
        yield from options(root["$defs"][node["$ref"].rpartition("/")[2]], root)
    elif "properties" in node:
        yield node
    for inner in (*node.get("oneOf", ()), *node.get("anyOf", ())):
        yield from options(inner, root)
    if isinstance(node.get("items"), Mapping):
        yield from options(node["items"], root)


def leaves(node: Schema, root: Schema, prefix: str = "") -> dict[str, list[Schema]]:
    """Dotted path of every key without keys of its own → its schemas, one for each kind."""
    found: dict[str, list[Schema]] = {}
    for option in options(node, root):
        for name, schema in option.get("properties", {}).items():
            inner = leaves(schema, root, f"{prefix}{name}.")
            for path, schemas in (inner or {f"{prefix}{name}": [schema]}).items():
                found.setdefault(path, []).extend(schemas)
    return found


def choices(schema: Schema) -> list[str]:
    if schema.get("type") == "boolean":
        return ["true", "false"]
    if schema.get("type") == "array":
        return choices(schema.get("items", {}))
    words = schema.get("enum", [schema["const"]] if "const" in schema else [])
    return [*map(str, words), *(word for each in schema.get("anyOf", ()) for word in choices(each))]


def in_words(schema: Schema) -> str:
    if "const" in schema or "enum" in schema:
        return ", ".join(choices(schema))
    if "anyOf" in schema:
        return " | ".join(in_words(each) for each in schema["anyOf"])
    if schema.get("type") == "array":
        items = schema.get("prefixItems") or [schema["items"]]
        return f"list of {', '.join(dict.fromkeys(in_words(item) for item in items))}"
    kind: str = schema.get("type", "section")
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    bounds = ""
    if high is not None and high < 2**31 - 1:
        opening = "[" if "minimum" in schema else "("
        bounds = f" in {opening}{low}, {high}{']' if 'maximum' in schema else ')'}"
    elif low is not None:
        bounds = f" {'≥' if 'minimum' in schema else '>'} {low}"
    return {"boolean": "true, false"}.get(kind, kind) + bounds


def test_every_key_that_an_override_may_set_is_found() -> None:
    schema = Config.model_json_schema()
    expected = leaves(schema, schema)
    keys = override_keys()
    assert set(keys) == set(expected)
    for path, schemas in expected.items():
        words = {word for each in schemas for word in choices(each)}
        assert set(keys[path].choices) == words
        descriptions = {" ".join(each.get("description", "").split()) for each in schemas}
        assert keys[path].description in descriptions


@pytest.mark.parametrize("kind", [kind for kinds in KINDS.values() for kind in kinds])
def test_a_key_is_described_as_its_schema_says(kind: Any) -> None:
    properties = kind.model_json_schema()["properties"]
    assert list(properties) == list(kind.model_fields)
    for name, schema in properties.items():
        key = key_of(kind, name)
        assert key.values == in_words(schema)
        assert (key.default == "required") == ("default" not in schema)
        if isinstance(schema.get("default"), int | float | str):
            assert key.default.lower() == str(schema["default"]).lower()
