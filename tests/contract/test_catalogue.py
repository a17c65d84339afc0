"""What every entry of the catalogue promises, over the tables of the schema itself."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from regrun.cli.catalog import Entry, entries
from regrun.cli.completion import TOPICS
from regrun.config.load import config_from_mapping
from regrun.config.schema import Config
from regrun.config.training import Training
from regrun.data.dataset import Dataset
from regrun.errors import ConfigError
from regrun.kinds.augmentation import Augment
from regrun.kinds.base import Choices, Described, Section, values_of
from regrun.kinds.docstrings import description
from regrun.kinds.optimizers.base import Optimizer
from regrun.kinds.penalties import WeightPenalty
from regrun.kinds.registry import KINDS
from regrun.nn.roles import select
from regrun.training.engine import Engine
from regrun.training.events import MemberEnd
from regrun.training.state import EngineState
from tests.support.program import invoke

CPU = torch.device("cpu")
REGULARIZERS = ("penalties", "constraints")


def one_per_section(topic: str) -> list[Entry]:
    """Entries of one class are the same but for their name."""
    found = {(entry.section, entry.line): entry for entry in reversed(entries(topic))}
    return list(found.values())[::-1]


def listed(*words: str) -> Any:
    ended = invoke("list", *words, "--json")
    assert ended.exit_code == 0, ended.output
    return json.loads(ended.stdout)


@pytest.mark.parametrize("topic", TOPICS)
def test_every_entry_is_listed_with_its_line_and_its_keys(topic: str) -> None:
    for entry in one_per_section(topic):
        shown = listed(topic, entry.name)
        assert shown["name"] == entry.name
        assert len(shown["description"]) > 10
        assert shown["description"].endswith(".")
        assert all(key["values"] and key["default"] for key in shown["keys"])


@pytest.mark.parametrize("topic", REGULARIZERS)
def test_every_regularizer_is_listed_with_its_formula_and_source(topic: str) -> None:
    for entry in entries(topic):
        shown = listed(topic, entry.name)
        assert "w" in shown["formula"] or "h" in shown["formula"] or "W" in shown["formula"]
        assert any(digit in shown["source"] for digit in "0123456789") or "Keras" in shown["source"]
        if topic == "penalties":
            assert "λ" in shown["formula"]
            assert shown["needs"]
            assert set(shown["methods"].split(", ")) <= {"gradient", "proximal"}


@pytest.mark.parametrize("topic", [each for each in TOPICS if each not in ("datasets", "models")])
def test_everything_computed_has_a_formula_and_a_source_in_list_and_schema(topic: str) -> None:
    schema = json.dumps(Config.model_json_schema(), ensure_ascii=False)
    for entry in listed(topic):
        assert entry["formula"].strip()
        assert any(digit in entry["source"] for digit in "0123456789") or (
            "torch" in entry["source"] or "Keras" in entry["source"]
        )
        assert f"{entry['formula']} ({entry['source']})" in schema


def test_the_catalogue_is_complete() -> None:
    names = {topic: {entry.name for entry in entries(topic)} for topic in TOPICS}
    assert names["noise"] == {
        "dropout", "conv_dropout", "input_dropout", "standard", "spatial", "gaussian", "alpha",
        "drop_block",
        "drop_connect", "input_noise", "stochastic_depth",
    }  # fmt: skip
    assert names["norms"] == {"batch", "layer", "weight_standardization"}
    assert names["augmentation"] == set(Augment.model_fields)
    assert names["training"] == {
        "clip_value", "clip_norm", "ema", "swa", "sam", "early_stopping", "lookahead", "r_drop",
    }  # fmt: skip
    assert names["decay"] == {"weight_decay", "coupled", "decoupled", "decoupled_schedule"}


SHAPE = {
    "name", "init", "init_std", "activation", "hidden", "channels", "kernel_size", "pool",
    "residual", "small_images", "block_size",
    "epochs", "batch_size", "evaluate_every", "evaluate_train", "precision", "matmul", "compile",
    "checkpoint_every", "keep_checkpoint", "test_examples", "histograms_every",
    "lr", "decay_on",
}  # fmt: skip
"""Keys that say what is trained and how long, and regularize nothing."""


@pytest.mark.parametrize(
    "section",
    [*KINDS["models"], Augment, Training, Optimizer],
    ids=lambda section: section.__name__,
)
def test_every_other_key_says_what_it_computes_and_who_published_it(section: type[Section]) -> None:
    for name, field in section.model_fields.items():
        marks = [mark for mark in field.metadata if isinstance(mark, Described | Choices)]
        assert len(marks) == (name not in SHAPE), name
        assert description(section, name) or name in SHAPE, name
        for kinds in marks:
            if isinstance(kinds, Choices):
                values = set(values_of(field.annotation)) - {"none", "auto"}
                assert values <= set(kinds), name
                assert all(kinds[value].summary for value in values), name


def test_every_dataset_says_where_it_comes_from() -> None:
    assert all(listed("datasets", entry.name)["origin"] for entry in entries("datasets"))


def test_every_optimizer_says_whether_it_takes_proximal_penalties() -> None:
    for entry in entries("optimizers"):
        assert listed("optimizers", entry.name)["proximal penalties"] in ("yes", "no")


def test_every_kind_of_noise_in_the_batches_is_described_and_off_by_default() -> None:
    for name, field in Augment.model_fields.items():
        assert description(Augment, name), name
        assert field.default == 0, name


def test_the_table_that_is_listed_is_the_table_that_validates() -> None:
    for topic in REGULARIZERS:
        assert [entry.section for entry in entries(topic)] == list(KINDS[topic])


MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"name": "mlp", "hidden": [6, 5], "dropout": 0.2},
    "cnn": {"name": "cnn", "channels": [3, 2], "hidden": [5], "dropout": 0.2},
    "squeezenet1_1": {"name": "squeezenet1_1"},
}
HEAVY = ("squeezenet1_1",)


def variants(topic: str) -> list[tuple[str, dict[str, Any]]]:
    """Every regularizer of a table with every method that it declares."""
    found: list[tuple[str, dict[str, Any]]] = []
    for entry in entries(topic):
        for method in getattr(entry.section, "methods", ("",)):
            section: dict[str, Any] = {"type": entry.name}
            if method:
                section |= {"strength": 0.05, "method": method}
            if "limit" in entry.section.model_fields:
                section |= {"limit": 0.2}
            found.append((" ".join(filter(None, (entry.name, method))), section))
    return found


PENALTIES = dict(variants("penalties"))
CONSTRAINTS = dict(variants("constraints"))
ALL: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: ("penalty", section) for name, section in PENALTIES.items()},
    **{name: ("constraints", section) for name, section in CONSTRAINTS.items()},
}


def config(model: str, **changes: Any) -> Config:
    """A config of two steps. Raises ConfigError for what is refused."""
    count = 10 if model in HEAVY else 20
    tree = {
        "dataset": {"name": "digits", "num_train": count, "num_test": 10},
        "model": MODELS[model],
        "optimizer": {"name": "sgd", "lr": 0.05},
        "training": {"epochs": 2, "batch_size": "full", "precision": "float64"},
        **changes,
    }
    return config_from_mapping(tree).config


@functools.cache
def digits(count: int) -> Dataset:
    section = Config.model_validate(
        {
            "dataset": {"name": "digits", "num_train": count, "num_test": 10},
            "model": {"name": "linear"},
            "optimizer": {"name": "sgd", "lr": 1.0},
        }
    ).dataset
    return section.load().to(CPU, torch.float64)


def engine(configs: Sequence[Config]) -> Engine:
    return Engine(configs, digits(configs[0].dataset.model_dump()["num_train"]), CPU)


def end(running: Engine) -> list[dict[str, torch.Tensor]]:
    """The weights that each member ends with."""
    found: dict[int, dict[str, torch.Tensor]] = {}
    for event in running.run():
        if isinstance(event, MemberEnd):
            assert event.status == "completed" and event.weights is not None
            found[event.member] = event.weights
    return [found[member] for member in sorted(found)]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@functools.cache
def without(model: str) -> dict[str, torch.Tensor]:
    return end(engine([config(model)]))[0]


def allowed(model: str, name: str) -> Config:
    """The config with a regularizer; where it is refused, checks that it says why, and skips."""
    key, section = ALL[name]
    try:
        return config(model, **{key: section})
    except ConfigError as error:
        assert section["type"] in str(error)
        assert f"needs hidden activations; {model}" in str(error)
        pytest.skip("refused, and says why")


def cases() -> list[Any]:
    return [
        pytest.param(model, name, marks=pytest.mark.long if model in HEAVY else ())
        for model in MODELS
        for name in ALL
    ]


@pytest.mark.parametrize(("model", "name"), [(model, name) for model in MODELS for name in ALL])
def test_each_works_on_each_model_or_is_refused_with_the_reason(model: str, name: str) -> None:
    ended = end(engine([allowed(model, name)]))[0]
    assert not same(ended, without(model)), "it does something"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", PENALTIES)
def test_strength_0_changes_nothing(model: str, name: str) -> None:
    allowed(model, name)
    nothing = config(model, penalty={**PENALTIES[name], "strength": 0.0})
    assert same(end(engine([nothing]))[0], without(model))


@pytest.mark.parametrize(("model", "name"), cases())
def test_alone_is_together(model: str, name: str) -> None:
    key, section = ALL[name]
    first = allowed(model, name)
    numbers = [number for number in ("strength", "limit") if number in section]
    changed = section | {number: 2 * section[number] for number in numbers}
    sections: dict[str, Any] = {key: changed, "seed": 1}
    members = [first, config(model), config(model, **sections)]
    for mine, alone in zip(end(engine(members)), members, strict=True):
        for parameter, expected in end(engine([alone]))[0].items():
            torch.testing.assert_close(mine[parameter], expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("model", "name"), cases())
def test_a_run_carried_on_is_the_run_bit_for_bit(model: str, name: str) -> None:
    members = [allowed(model, name), config(model, seed=1)]
    whole = engine(members)
    events = whole.run()
    for _ in events:
        if whole.epoch == 1:
            break
    assert whole.epoch == 1
    tensors, numbers = whole.state_dict()
    tensors = {key: tensor.clone() for key, tensor in tensors.items()}
    numbers = EngineState.model_validate_json(numbers.model_dump_json(), strict=True)
    half = engine(members)
    half.load_state_dict(tensors, numbers)
    for carried_on, straight in zip(end(half), end(engine(members)), strict=True):
        assert same(carried_on, straight)


@pytest.mark.parametrize(("model", "name"), cases())
def test_only_what_apply_to_chooses_is_touched(model: str, name: str) -> None:
    key, section = ALL[name]
    allowed(model, name)
    if key == "penalty" and not issubclass(kind_of(section["type"]), WeightPenalty):
        pytest.skip("acts on activations, and through them on all that leads there")
    one_step = {"epochs": 1, "batch_size": "full", "precision": "float64"}
    roles = engine([config(model)]).roles
    last = [parameter for parameter in roles if parameter.endswith("weight")][-1]
    chosen = {**section, "apply_to": last}
    assert select((last,), roles, "") == {last}
    touched = end(engine([config(model, training=one_step, **{key: chosen})]))[0]
    plain = end(engine([config(model, training=one_step)]))[0]
    # What pulls back to the start does nothing where the weights are still there.
    at_start = key == "penalty" and kind_of(section["type"]).from_start
    changed = {each for each in plain if not torch.equal(plain[each], touched[each])}
    assert changed == (set() if at_start else {last})


def kind_of(penalty: str) -> type[Any]:
    return next(entry.section for entry in entries("penalties") if entry.name == penalty)
