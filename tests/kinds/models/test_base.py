"""What a model says about itself, and what is refused of a plug-in's."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint
from typing import Any, Literal

import pytest
from pydantic import TypeAdapter
from torch import nn

from regrun.errors import PluginError
from regrun.kinds import plugins
from regrun.kinds.base import Choices, Described
from regrun.kinds.boundary import Origin
from regrun.kinds.models import ModelSection, build_model
from regrun.kinds.registry import AnyModel


class Unfinished(ModelSection):
    """Has no network yet."""

    name: Literal["unfinished"]


class Flat(ModelSection):
    """Flattens its inputs."""

    name: Literal["flat"]

    def build(self, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        if len(input_shape) > 2:
            raise ValueError("too many axes")
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_outputs))


def section(**keys: Any) -> ModelSection:
    model: ModelSection = TypeAdapter(AnyModel).validate_python(keys)
    return model


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (section(name="mlp"), ""),
        (section(name="cnn"), ""),
        (section(name="cnn", hidden=[]), ""),
        (section(name="mlp", hidden=[]), "has no hidden layer"),
        (section(name="linear"), "has no hidden layer"),
        (section(name="resnet18"), "comes from torchvision and hands over its outputs only"),
        (Flat(name="flat"), "is a plug-in and hands over its outputs only"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_model_says_why_its_hidden_activations_cannot_be_penalised(
    model: ModelSection, why: str
) -> None:
    assert model.no_hidden_activations == why


@pytest.mark.parametrize("name", ["linear", "mlp", "cnn", "resnet18"])
def test_only_the_linear_model_is_linear_and_only_torchvision_groups_convolutions(
    name: str,
) -> None:
    model = section(name=name)
    assert model.is_linear == (name == "linear")
    assert model.grouped_convolutions == (name == "resnet18")
    assert model.symbols() == []


def test_the_defaults_of_a_plugin_promise_nothing() -> None:
    model = Flat(name="flat")
    assert not model.is_linear and not model.grouped_convolutions
    assert model.symbols() == [] and model.notes((3,)) == []


def test_what_a_plugins_build_raises_names_it() -> None:
    plugins.accept(Flat, ModelSection, Origin("a group", "an entry", __name__, "tests 1.0"))
    with pytest.raises(PluginError, match=r"\.Flat\.build failed: ValueError: too many axes \("):
        build_model(Flat(name="flat"), (1, 2, 3), 2, seed=0)


def test_what_a_built_in_build_raises_passes_as_a_bug() -> None:
    with pytest.raises(TypeError):
        build_model(section(name="linear"), (3,), "two", seed=0)  # type: ignore[arg-type]


def test_a_plugin_without_build_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("unfinished", f"{__name__}:Unfinished", "regrun.models")
    monkeypatch.setattr(plugins, "_installed", lambda: {"regrun.models": [point]})
    with pytest.raises(PluginError, match="Unfinished: has no method build"):
        plugins.sections("regrun.models")


NOISY: dict[str, dict[str, Any]] = {
    "mlp": {
        "hidden": [4, 4], "residual": True, "stochastic_depth": 0.1, "dropout": [0.1, 0.2],
        "drop_connect": 0.1, "input_dropout": 0.1, "input_noise": 0.1, "norm": "batch",
    },
    "cnn": {"conv_dropout": 0.1, "dropout": 0.1, "dropout_type": "gaussian", "norm": "layer"},
    "linear": {"input_dropout": 0.1, "input_noise": 0.1},
    "squeezenet1_1": {"dropout": 0.1},
}  # fmt: skip


def marks(model: ModelSection) -> Iterator[tuple[str, Described]]:
    """The keys of a model that add noise or norms, with the mark that describes them."""
    for key, field in type(model).model_fields.items():
        for mark in field.metadata:
            if isinstance(mark, Described):
                yield key, mark
            elif isinstance(mark, Choices):
                yield from ((key, choice) for choice in mark.values() if choice.regularizes)


@pytest.mark.parametrize("name", NOISY)
def test_the_off_values_switch_all_noise_and_norms_off(name: str) -> None:
    noisy = section(name=name, **NOISY[name])
    assert noisy.symbols() != []
    off = {key: mark.off for key, mark in marks(noisy)}
    assert set(NOISY[name]) - {"hidden", "residual", "dropout_type"} <= set(off)
    quiet = section(**{**noisy.model_dump(), **off})
    assert quiet.symbols() == []
    module = build_model(quiet, (3, 32, 32), 2)
    assert not any(isinstance(layer, nn.BatchNorm1d | nn.GroupNorm) for layer in module.modules())
