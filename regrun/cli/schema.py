"""`regrun schema`: the config's JSON Schema."""

from __future__ import annotations


def schema() -> None:
    """Print the JSON Schema of the config, for editors."""
    from regrun.cli.console import print_json
    from regrun.config.schema import Config

    print_json(
        {"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()}
    )
