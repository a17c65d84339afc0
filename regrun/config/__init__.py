"""YAML → `Config`: one frozen, validated experiment, every problem with its place.

load_config            a file and KEY=VALUE overrides
config_from_mapping    the same from Python
Loaded                 the config and its source; `with_values` sets a sweep's axes
Source                 adds file, line and column to problems found later (`locate`)
dump_config            back to YAML
json_schema            for editors
"""

from __future__ import annotations

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
