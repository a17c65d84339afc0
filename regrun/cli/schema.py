"""`regrun schema`: the config's JSON Schema."""

from __future__ import annotations

from regrun.cli.options import Plugins


def schema(plugins: Plugins = None) -> None:
    """Print the JSON Schema of the config, for editors."""
    from regrun.cli.console import print_json
    from regrun.config.dump import json_schema

    print_json(json_schema())
