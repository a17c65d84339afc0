"""`regrun list WORD`: every key, kind, section and topic is found and explained."""

from __future__ import annotations

import json
from typing import Any

import pytest

from regrun.cli.catalog import entries, override_keys
from regrun.cli.completion import TOPICS
from regrun.cli.lookup import look_up
from regrun.config.schema import Config
from regrun.errors import UsageError


def test_every_key_of_the_config_is_found_and_explained() -> None:
    for name, key in override_keys().items():
        found = {each.name for each, _ in look_up(name).keys}
        assert name in found
        assert key.description or name.rpartition(".")[2] in ("name", "type"), name


@pytest.mark.parametrize("topic", TOPICS)
def test_every_name_of_a_topic_is_found(topic: str) -> None:
    for entry in entries(topic):
        found = look_up(entry.name)
        assert (topic, entry.name) in {(of, each.name) for of, each in found.entries}


@pytest.mark.parametrize("section", Config.model_fields)
def test_every_section_leads_somewhere(section: str) -> None:
    found = look_up(section)
    assert found.topics or found.keys


@pytest.mark.parametrize(
    ("word", "topics", "keys", "names"),
    [
        ("optimizer", ["optimizers"], [], []),
        ("model", ["models"], [], []),
        ("dropout", [], ["model.dropout"], ["dropout"]),
        ("batch_size", [], ["training.batch_size"], []),
        ("training.batch_size", [], ["training.batch_size"], []),
        ("sgd", [], [], ["sgd"]),
        ("patience", [], ["schedule.patience", "training.early_stopping.patience"], []),
        ("fashion", [], [], ["fashion_mnist"]),
    ],
)
def test_a_word_finds_what_it_names(
    word: str, topics: list[str], keys: list[str], names: list[str]
) -> None:
    found = look_up(word)
    assert list(found.topics) == topics
    assert [key.name for key, _ in found.keys] == keys
    assert [entry.name for _, entry in found.entries] == names


def test_a_key_that_only_some_kinds_have_says_which() -> None:
    ((_, kinds),) = look_up("momentum").keys
    assert kinds == ["sgd", "rmsprop"]
    ((_, kinds),) = look_up("batch_size").keys
    assert kinds == ()


def test_a_section_of_one_kind_shows_all_its_keys(invoke: Any) -> None:
    shown = invoke("list", "sweep").stdout
    for name in ("sweep.grid", "sweep.seeds", "sweep.search", "sweep.metric"):
        assert f"{name}\n" in shown
    training = invoke("list", "training").stdout
    assert "training.epochs\n" in training
    assert "early_stopping" in training


def test_a_kind_of_a_section_is_shown_as_that_of_its_topic(invoke: Any) -> None:
    assert invoke("list", "optimizer", "sgd").stdout == invoke("list", "optimizers", "sgd").stdout


def test_what_is_nothing_is_answered_with_the_nearest(invoke: Any) -> None:
    with pytest.raises(UsageError, match='did you mean "batch_size"'):
        look_up("batchsize")
    shown = invoke("list", "qqq")
    assert shown.exit_code == 2
    assert "regrun list" in shown.stderr


def test_a_word_as_json(invoke: Any) -> None:
    found = json.loads(invoke("list", "dropout", "--json").stdout)
    assert [key["name"] for key in found["keys"]] == ["model.dropout"]
    assert [(entry["topic"], entry["name"]) for entry in found["entries"]] == [("noise", "dropout")]
