"""`Config` → YAML that loads back to an equal config, and the schema as JSON Schema."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from regrun.config.origins import origins_in
from regrun.config.paths import with_portable_paths
from regrun.config.schema import Config
from regrun.config.yaml_nodes import is_string

if TYPE_CHECKING or yaml.__with_libyaml__:
    from yaml import CSafeDumper as SafeDumper
else:
    from yaml import SafeDumper


class _Dumper(SafeDumper):
    """Quotes the strings that a reader of YAML 1.1 or 1.2 would take for another type."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_string(self, text: str) -> yaml.ScalarNode:
        style = None if is_string(text) else "'"
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    def represent_items(self, items: list[Any]) -> yaml.SequenceNode:
        flat = not any(isinstance(item, Mapping | list) for item in items)
        return self.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=flat)


_Dumper.add_representer(str, _Dumper.represent_string)
_Dumper.add_representer(list, _Dumper.represent_items)


def dump_config(
    config: Config, directory: Path | None = None, projects: Sequence[Path] = ()
) -> str:
    """Every key with its value, defaults too; `name` or `type` leads each section.

    directory, projects: where it is stored; see `portable`.
    """
    data = config.model_dump()
    if directory is not None:
        data = with_portable_paths(data, directory, projects)
    text = "".join(_dump_entry(key, json.dumps(data[key])) for key in data)
    return text + origins_in(text)


@functools.lru_cache(maxsize=4096)
def _dump_entry(key: str, value: str) -> str:
    """Dump one section; ``value`` is JSON, since 1 and 1.0 are equal but are written differently.

    The cache serves the runs of a sweep, which share most sections.
    """
    return dump_tree({key: json.loads(value)})


def dump_tree(tree: Mapping[str, Any]) -> str:
    """Plain data as YAML that loads back to the same."""
    text: str = yaml.dump(
        _led_by_kind(tree),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=100,
    )
    return text


def dump_value(value: object) -> str:
    """Plain data as YAML of one line."""

    def dumped(style: str | None) -> str:
        text: str = yaml.dump(
            value,
            Dumper=_Dumper,
            default_style=style,
            default_flow_style=True,
            sort_keys=False,
            allow_unicode=True,
            width=1 << 30,
        )
        return text.removesuffix("\n").removesuffix("\n...")

    text = dumped(None)
    return dumped('"') if len(text.splitlines()) > 1 else text


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of what a config file may hold, shorthands included."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Config.model_json_schema(),
        "title": "regrun config",
    }


def _led_by_kind(value: Any) -> Any:
    if isinstance(value, Mapping):
        keys = sorted(value, key=lambda key: key not in ("name", "type"))
        return {key: _led_by_kind(value[key]) for key in keys}
    if isinstance(value, list | tuple):
        return [_led_by_kind(each) for each in value]
    return value
