"""What is dumped loads back equal, under YAML 1.1 and 1.2, and fits the JSON Schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings

from regrun.config.dump import dump_config, json_schema
from regrun.config.load import config_from_mapping, load_config
from regrun.config.yaml_nodes import compose, parse_config
from regrun.errors import ConfigError
from tests.support.config_strategies import TRICKY, configs

BASE = {"dataset": {"name": "digits"}, "model": {"name": "mlp"}}
SGD = {**BASE, "optimizer": {"name": "sgd", "lr": 0.1}}
VALIDATOR = jsonschema.Draft202012Validator(json_schema())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=configs())
def test_what_is_dumped_loads_back_equal(
    data: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    try:
        config = config_from_mapping(data).config
    except ConfigError:
        assume(False)
    path = tmp_path_factory.mktemp("dump") / "config.yaml"
    path.write_text(dump_config(config), encoding="utf-8")
    assert load_config(path).config == config
    assert not list(VALIDATOR.iter_errors(data))
    assert not list(VALIDATOR.iter_errors(compose(dump_config(config)).data))


@pytest.mark.parametrize("text", [*TRICKY, "9" * 5_000])
def test_a_text_stays_a_text_under_yaml_1_1_and_1_2(text: str) -> None:
    data = {**SGD, "dataset": {"name": "csv", "path": "/x.csv", "target": text}}
    dumped = dump_config(config_from_mapping(data).config)
    assert yaml.safe_load(dumped)["dataset"]["target"] == text
    assert compose(dumped).data["dataset"]["target"] == text


@pytest.mark.parametrize("lr", [1e-4, 1e-5, 1e-300, 1e22, 0.1, 3.0, 123456789.0])
def test_a_float_is_read_as_that_float_by_yaml_1_1_and_1_2(lr: float) -> None:
    dumped = dump_config(config_from_mapping(SGD, {"optimizer.lr": lr}).config)
    for read in (yaml.safe_load(dumped), compose(dumped).data):
        assert read["optimizer"]["lr"] == lr
        assert isinstance(read["optimizer"]["lr"], float)


def test_the_kind_leads_its_section_and_defaults_are_written() -> None:
    data = {**SGD, "penalty": {"type": "l1", "strength": 1}}
    read = yaml.safe_load(dump_config(config_from_mapping(data).config))
    assert [next(iter(read[key])) for key in ("dataset", "model", "optimizer")] == ["name"] * 3
    assert next(iter(read["penalty"][0])) == "type"
    assert next(iter(read)) == "name"
    assert read["training"]["early_stopping"] is None
    assert read["optimizer"]["weight_decay"] == 0


def test_axes_of_a_sweep_come_back(tmp_path: Path) -> None:
    sweep = {
        "grid": {
            "penalty": ["none", {"type": "l1", "strength": 1e-5}],
            "model.hidden": [[8], [8, 8]],
        },
        "seeds": 3,
    }
    config = config_from_mapping({**SGD, "sweep": sweep}).config
    path = tmp_path / "x.yaml"
    path.write_text(dump_config(config), encoding="utf-8")
    assert load_config(path).config == config


def test_the_json_schema_is_one_of_draft_2020_12() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "regrun config"


SHORTHANDS = [
    "penalty: none",
    "penalty:",
    "penalty: {type: l1, strength: 1}",
    "penalty: [{type: l1, strength: 1}, {type: none}]",
    "penalty: {type: none, strength: 1}",
    "penalty: {type: l2, strength: 1, apply_to: all}",
    "constraints: none",
    "constraints: {type: max_norm, limit: 3}",
    "schedule: cosine",
    "schedule: {type: step, step_size: 3}",
    "training: {batch_size: full}",
    "sweep: {grid: {optimizer.lr: [0.1, 1]}}",
    "sweep: {search: tpe, space: {optimizer.lr: {log_uniform: [1e-3, 1]}}}",
]


@pytest.mark.parametrize("line", SHORTHANDS)
def test_an_editor_does_not_flag_a_shorthand(line: str, tmp_path: Path) -> None:
    text = (
        "dataset: {name: digits}\nmodel: {name: resnet18}\noptimizer: {name: sgd, lr: 1}\n" + line
    )
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")
    load_config(path)
    assert not list(VALIDATOR.iter_errors(parse_config(text, "x").data))


@pytest.mark.parametrize("line", ["penalty: l1", "schedule: step", "zzz: 1", "seed: -1", "seed: a"])
def test_an_editor_flags_what_the_loader_refuses(line: str, tmp_path: Path) -> None:
    text = "dataset: {name: digits}\nmodel: {name: mlp}\noptimizer: {name: sgd, lr: 1}\n" + line
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError):
        load_config(path)
    assert list(VALIDATOR.iter_errors(parse_config(text, "x").data))


def test_every_shipped_config_fits_the_json_schema() -> None:
    shipped = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
    assert shipped
    for path in shipped:
        load_config(path)
        assert not list(VALIDATOR.iter_errors(parse_config(path.read_bytes(), str(path)).data))
