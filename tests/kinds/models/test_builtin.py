"""Modules as the config says: shapes, names, activations, dropout, initial weights."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from regrun.errors import ConfigError
from regrun.kinds.models import build_model
from regrun.kinds.models.builtin import Activation
from regrun.kinds.registry import AnyModel
from regrun.nn.modules import ACTIVATIONS


def section(**keys: Any) -> Any:
    return TypeAdapter(AnyModel).validate_python(keys)


def build(
    shape: tuple[int, ...] = (1, 8, 8), outputs: int = 3, seed: int | None = 0, **keys: Any
) -> nn.Module:
    return build_model(section(**keys), shape, outputs, seed)


def names_and_shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(p.shape) for name, p in module.named_parameters()}


def kinds(module: nn.Module) -> list[str]:
    return [type(layer).__name__ for layer in module.modules() if not list(layer.children())]


def test_linear_is_one_affine_map_of_the_flattened_input() -> None:
    module = build((2, 3), 4, name="linear")
    assert names_and_shapes(module) == {"output.weight": (4, 6), "output.bias": (4,)}
    x = torch.randn(5, 2, 3)
    state = module.state_dict()
    expected = (
        x.flatten(1).numpy() @ state["output.weight"].numpy().T + state["output.bias"].numpy()
    )
    np.testing.assert_allclose(module(x).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_an_mlp_has_a_linear_map_an_activation_and_a_dropout_per_hidden_layer() -> None:
    module = build((10,), name="mlp", hidden=[7, 5], dropout=[0.2, 0.5], input_dropout=0.1)
    assert names_and_shapes(module) == {
        "hidden.0.linear.weight": (7, 10), "hidden.0.linear.bias": (7,),
        "hidden.1.linear.weight": (5, 7), "hidden.1.linear.bias": (5,),
        "output.weight": (3, 5), "output.bias": (3,),
    }  # fmt: skip
    dropouts = {n: d.p for n, d in module.named_modules() if isinstance(d, nn.Dropout)}
    assert dropouts == {"input_dropout": 0.1, "hidden.0.dropout": 0.2, "hidden.1.dropout": 0.5}
    x = torch.randn(4, 10)
    h = x.numpy()
    p = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    for layer in ("hidden.0.linear", "hidden.1.linear"):
        h = np.maximum(h @ p[f"{layer}.weight"].T + p[f"{layer}.bias"], 0)
    expected = h @ p["output.weight"].T + p["output.bias"]
    np.testing.assert_allclose(module.eval()(x).detach().numpy(), expected, rtol=1e-4, atol=1e-6)


def test_an_mlp_without_hidden_layers_is_linear() -> None:
    assert names_and_shapes(build((6,), name="mlp", hidden=[])).keys() == {
        "output.weight", "output.bias",
    }  # fmt: skip


def test_a_cnn_has_blocks_and_then_dense_layers() -> None:
    module = build((3, 12, 8), name="cnn", channels=[4, 6], hidden=[9], norm="batch", kernel_size=5)
    assert names_and_shapes(module) == {
        "blocks.0.conv.weight": (4, 3, 5, 5),
        "blocks.0.norm.weight": (4,), "blocks.0.norm.bias": (4,),
        "blocks.1.conv.weight": (6, 4, 5, 5),
        "blocks.1.norm.weight": (6,), "blocks.1.norm.bias": (6,),
        "hidden.0.linear.weight": (9, 6 * 3 * 2), "hidden.0.linear.bias": (9,),
        "output.weight": (3, 9), "output.bias": (3,),
    }  # fmt: skip
    assert module(torch.randn(2, 3, 12, 8)).shape == (2, 3)


NORMED: dict[str, dict[str, Any]] = {
    "mlp": {"name": "mlp", "hidden": [6, 5]},
    "residual mlp": {"name": "mlp", "hidden": [6, 6], "residual": True},
    "drop-connect": {"name": "mlp", "hidden": [6, 5], "drop_connect": 0.5},
    "cnn": {"name": "cnn", "channels": [4, 3], "hidden": [5]},
}


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
@pytest.mark.parametrize("case", NORMED)
def test_layers_have_a_bias_except_directly_before_batch_norm(case: str, norm: str) -> None:
    layers = list(build(**NORMED[case], norm=norm).modules())
    affine = [layer for layer in layers if isinstance(layer, nn.Linear | nn.Conv2d)]
    for layer in affine:
        follower = layers[layers.index(layer) + 1 :][:1]
        normed = any(isinstance(each, nn.BatchNorm1d | nn.BatchNorm2d) for each in follower)
        assert (layer.bias is None) == normed
    assert sum(layer.bias is None for layer in affine) == (2 if norm == "batch" else 0)


@pytest.mark.parametrize(
    ("pool", "kind", "features"),
    [("max", "MaxPool2d", 4), ("avg", "AvgPool2d", 4), ("none", "", 16)],
)
def test_a_cnn_has_the_pooling_of_its_config(pool: str, kind: str, features: int) -> None:
    module = build((1, 4, 4), name="cnn", channels=[1], hidden=[], pool=pool)
    assert names_and_shapes(module)["output.weight"] == (3, features)
    pools = {name for name in kinds(module) if "Pool" in name}
    assert pools == ({kind} if kind else set())


def test_too_many_pools_for_the_picture_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.channels: 4 blocks: block 4 is left with 1×1"):
        build((1, 8, 8), name="cnn", channels=[2, 2, 2, 2])
    build((1, 8, 8), name="cnn", channels=[2, 2, 2, 2], pool="none")


@pytest.mark.parametrize("name", ["cnn", "resnet18"])
def test_a_network_for_pictures_refuses_a_table(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"model\.name: {name} needs images .* shape \[10\]"):
        build((10,), name=name)


def test_every_activation_of_the_schema_is_torchs_own() -> None:
    x = torch.linspace(-3, 3, 13)
    for name in get_args(Activation):
        functional = getattr(torch.nn.functional, name)
        torch.testing.assert_close(ACTIVATIONS[name]()(x), functional(x), rtol=0, atol=0)


def test_a_seed_draws_the_same_weights_and_leaves_torchs_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second, other = (build((10,), seed=seed, name="mlp") for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name])
        assert not torch.equal(tensor, other.state_dict()[name])


@pytest.mark.parametrize("name", ["linear", "mlp", "cnn", "resnet18", "regnet_x_400mf", "swin_t"])
def test_without_a_seed_there_are_parameters_but_no_memory(name: str) -> None:
    module = build((3, 32, 32), seed=None, name=name)
    assert all(p.is_meta for p in module.parameters())
    real = build((3, 32, 32), seed=0, name=name)
    assert names_and_shapes(module) == names_and_shapes(real)


def test_default_initial_weights_are_torchs() -> None:
    module = build((10,), seed=3, name="linear")
    torch.manual_seed(3)
    reference = nn.Linear(10, 3)
    assert torch.equal(module.state_dict()["output.weight"], reference.weight)
    assert torch.equal(module.state_dict()["output.bias"], reference.bias)


STANDARD_DEVIATIONS = {
    "normal": 0.01,
    "zeros": 0.0,
    "xavier": np.sqrt(2 / (300 + 200)),
    "kaiming": np.sqrt(2 / 300),
}


@pytest.mark.parametrize("init", STANDARD_DEVIATIONS)
def test_initial_weights_have_their_spread_and_biases_are_zero(init: str) -> None:
    module = build((300,), seed=1, name="mlp", hidden=[200], init=init, init_std=0.01)
    weight = module.state_dict()["hidden.0.linear.weight"].double()
    expected = STANDARD_DEVIATIONS[init]
    # Of n normal or uniform draws the standard deviation is off by more than 4/sqrt(2n) of
    # itself in fewer than 1 of 10,000 cases.
    assert weight.std().item() == pytest.approx(expected, rel=4 / np.sqrt(2 * weight.numel()))
    assert abs(weight.mean().item()) <= 4 * expected / np.sqrt(weight.numel())
    assert not module.state_dict()["hidden.0.linear.bias"].any()


def test_initialisation_reaches_convolutions_and_leaves_norms() -> None:
    module = build((1, 8, 8), name="cnn", channels=[2], norm="batch", init="zeros")
    state = module.state_dict()
    assert not state["blocks.0.conv.weight"].any()
    assert state["blocks.0.norm.weight"].eq(1).all()
