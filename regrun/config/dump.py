"""`Config` → YAML that loads back to an equal config, and the schema as JSON Schema."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import BaseModel

from regrun.config.schema import Config
from regrun.config.yaml_nodes import resolve

_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _ConfigDumper(_Dumper):  # type: ignore[misc]  # the base is chosen at import
    """Quotes the texts that a reader of YAML 1.1 or 1.2 would take for another type."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        style = None if _is_read_as_text(text) else "'"
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)  # type: ignore[no-any-return]

    def represent_items(self, items: list[Any]) -> yaml.SequenceNode:
        flat = not any(isinstance(item, Mapping | list) for item in items)
        return self.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=flat)  # type: ignore[no-any-return]


_ConfigDumper.add_representer(str, _ConfigDumper.represent_text)
_ConfigDumper.add_representer(list, _ConfigDumper.represent_items)


def dump_config(config: Config) -> str:
    """Every key with its value, defaults too; `name` or `type` leads each section."""
    return "".join(_dump_entry(key, json.dumps(_plain(value))) for key, value in config)


@functools.lru_cache(maxsize=4096)
def _dump_entry(key: str, value: str) -> str:
    """value: as JSON, by which the sections that runs of a sweep share are found again."""
    return dump_tree({key: json.loads(value)})


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value.model_dump() if isinstance(value, BaseModel) else value


def dump_tree(tree: Mapping[str, Any]) -> str:
    """Plain data as YAML that loads back to the same."""
    text: str = yaml.dump(
        _led_by_kind(tree),
        Dumper=_ConfigDumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=100,
    )
    return text


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of what a config file may hold, shorthands included."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Config.model_json_schema(),
        "title": "regrun config",
    }


def _is_read_as_text(text: str) -> bool:
    try:
        return isinstance(resolve(text), str)
    except ValueError:  # more digits than Python reads
        return False


def _led_by_kind(value: Any) -> Any:
    if isinstance(value, Mapping):
        lead = [key for key in ("name", "type") if key in value]
        rest = [key for key in value if key not in lead]
        return {key: _led_by_kind(value[key]) for key in lead + rest}
    if isinstance(value, list | tuple):
        return [_led_by_kind(each) for each in value]
    return value
