"""`regrun list` of names and keys, and `regrun schema`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from regrun.cli.catalog import SWITCHES, entries, find, override_keys
from regrun.cli.completion import TOPICS
from regrun.config.schema import Config
from regrun.errors import UsageError
from regrun.kinds.registry import KINDS


def test_every_name_of_the_schema_is_listed() -> None:
    schema = json.dumps(Config.model_json_schema())
    assert set(TOPICS) == {*KINDS, *SWITCHES}
    for topic in TOPICS:
        names = [entry.name for entry in entries(topic)]
        assert len(names) == len(set(names)) > 1
        assert all(f'"{name}"' in schema for name in names)
    listed = {entry.name for entry in entries("datasets")}
    assert {"synthetic_linear", "mnist", "csv", "npz", "image_folder"} <= listed
    assert {"linear", "mlp", "cnn", "resnet18"} <= {entry.name for entry in entries("models")}


@pytest.mark.parametrize("topic", KINDS)
def test_every_entry_has_a_line_and_every_key_a_default_that_the_schema_accepts(topic: str) -> None:
    for entry in entries(topic):
        assert entry.line.endswith((".", "…"))
        fields = entry.section.model_fields
        for key in entry.keys:
            required = fields[key.name].is_required()
            assert (key.default == "required") == required


@pytest.mark.parametrize("topic", SWITCHES)
def test_every_switch_says_where_it_is_written_and_is_off_by_default(topic: str) -> None:
    config = json.dumps(Config.model_json_schema())
    for entry in entries(topic):
        own, *inner = entry.keys
        written = entry.capabilities["written"]
        assert written in (own.name, f"{own.name}: {entry.name}")
        assert f'"{own.name.rpartition(".")[2]}"' in config
        assert all(key.name.startswith(f"{own.name}.") for key in inner)
        off = ("0", "0.0", "null", "false") if written == own.name else ("none", "auto", "standard")
        assert own.default in off


def test_a_switch_that_only_some_models_have_says_which() -> None:
    assert find("noise", "spatial").capabilities["models"] == "cnn"
    assert find("noise", "gaussian").capabilities["models"] == "mlp, cnn"
    assert find("noise", "input_noise").capabilities["models"] == "linear, mlp, cnn"
    assert find("noise", "dropout").capabilities["models"] == "mlp, cnn, torchvision"
    assert "models" not in find("training", "sam").capabilities


def test_a_switch_with_keys_of_its_own_shows_them(invoke: Any) -> None:
    shown = json.loads(invoke("list", "training", "swa", "--json").stdout)
    assert [key["name"] for key in shown["keys"]] == [
        "training.swa", "training.swa.start", "training.swa.every", "training.swa.lr",
    ]  # fmt: skip
    assert shown["source"] == "Izmailov et al. 2018"
    text = invoke("list", "noise", "alpha").stdout
    assert "written: model.dropout_type: alpha" in text
    assert "needs: activation: selu" in text


def test_penalties_have_formula_and_source() -> None:
    assert find("penalties", "l2").about == {
        "formula": "½ λ Σ w²  (half: false: λ Σ w²)",
        "source": "Hoerl & Kennard 1970",
    }


@pytest.mark.parametrize(
    ("topic", "name", "key", "values", "default"),
    [
        ("models", "mlp", "dropout", "number in [0, 1] | list of number in [0, 1]", "0.0"),
        ("models", "mlp", "hidden", "list of integer ≥ 1", "[256, 256]"),
        ("optimizers", "sgd", "lr", "number > 0", "required"),
        ("optimizers", "sgd", "momentum", "number in [0, 1)", "0.0"),
        ("penalties", "l2", "half", "true, false", "true"),
        ("datasets", "csv", "test_path", "string | null", "null"),
    ],
)
def test_keys_are_described_in_words(
    topic: str, name: str, key: str, values: str, default: str
) -> None:
    keys = {item.name: item for item in find(topic, name).keys}
    assert (keys[key].values, keys[key].default) == (values, default)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r'resnet19: .*did you mean "resnet18"'):
        find("models", "resnet19")
    with pytest.raises(UsageError, match="regrun list datasets"):
        find("datasets", "zzz")


def test_override_keys_reach_every_leaf_of_the_config() -> None:
    keys = override_keys()
    for name in (
        "seed",
        "optimizer.lr",
        "optimizer.betas",
        "model.hidden",
        "penalty.l1_ratio",
        "schedule.gamma",
        "training.early_stopping.patience",
        "dataset.num_train",
    ):
        assert name in keys
    assert "optimizer" not in keys
    assert {"sgd", "adamw"} <= set(keys["optimizer.name"].choices)


def test_list_shows_everything_in_short(invoke: Any) -> None:
    result = invoke("list")
    assert result.exit_code == 0
    for text in (
        "datasets", "fashion_mnist", "group_lasso", "adamw", "cosine", "max_norm", "alexnet",
        "drop_connect", "label_smoothing", "early_stopping", "decoupled_schedule", "list WORD",
        "lasso_path_diabetes",
    ):  # fmt: skip
        assert text in result.stdout
    assert "λ Σ|w|" in invoke("list", "penalties").stdout
    assert "vgg16" in invoke("list", "models").stdout
    assert result.stderr == ""


def test_list_of_one_shows_its_keys(invoke: Any) -> None:
    result = invoke("list", "penalties", "elastic_net")
    assert "l1_ratio" in result.stdout
    assert "Zou & Hastie 2005" in result.stdout


def test_list_as_json(invoke: Any) -> None:
    everything = json.loads(invoke("list", "--json").stdout)
    assert set(everything) == {*TOPICS, "reproductions"}
    optimizers = json.loads(invoke("list", "optimizers", "--json").stdout)
    assert everything["optimizers"] == optimizers
    sgd = json.loads(invoke("list", "optimizers", "sgd", "--json").stdout)
    defaults = {key["name"]: key["default"] for key in sgd["keys"]}
    assert defaults["lr"] == "required"
    assert defaults["momentum"] == "0.0"


def test_an_unknown_topic_or_name_ends_with_2(invoke: Any) -> None:
    assert invoke("list", "penaltys").exit_code == 2
    result = invoke("list", "optimizers", "adamv")
    assert result.exit_code == 2
    assert 'did you mean "adam' in result.stderr


def test_schema_is_a_json_schema_of_the_config(invoke: Any) -> None:
    schema = json.loads(invoke("schema").stdout)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert set(schema["properties"]) == set(Config.model_fields)
    assert schema["additionalProperties"] is False
