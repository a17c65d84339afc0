"""YAML → `Config`: one frozen, validated experiment, every problem with its place.

load_config            a file and KEY=VALUE overrides
config_from_mapping    the same from Python
Loaded                 the config and its source; `with_values` sets a sweep's axes
Source                 adds file, line and column to problems found later (`locate`)
dump_config            back to YAML
json_schema            for editors
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regrun.config.dump import dump_config, json_schema
    from regrun.config.load import Loaded, config_from_mapping, load_config
    from regrun.config.schema import Config
    from regrun.config.source import Source

__all__ = [
    "Config",
    "Loaded",
    "Source",
    "config_from_mapping",
    "dump_config",
    "json_schema",
    "load_config",
]

_HOMES = {
    "Config": "schema",
    "Loaded": "load",
    "Source": "source",
    "config_from_mapping": "load",
    "dump_config": "dump",
    "json_schema": "dump",
    "load_config": "load",
}


def __getattr__(name: str) -> Any:
    """Imports the schema with the first use, as plug-ins import their base classes before it."""
    if name in _HOMES:
        return getattr(import_module(f"regrun.config.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'regrun.config' has no attribute {name!r}")
