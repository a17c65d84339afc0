"""The JSON Schema next to the shipped configs, to which their first lines point."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from regrun.config.dump import json_schema

CONFIGS = Path(__file__).parents[2] / "configs"


def test_the_shipped_schema_is_the_current_one() -> None:
    shipped = json.loads((CONFIGS / "regrun.schema.json").read_text(encoding="utf-8"))
    assert shipped == json.loads(json.dumps(json_schema())), (
        "regrun schema > configs/regrun.schema.json"
    )


@pytest.mark.parametrize("config", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_config_points_to_it(config: Path) -> None:
    first = config.read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=regrun.schema.json"
