"""Weight standardization: against F.conv2d written out, as timm has it, and stored as a module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import regrun
from regrun.config.load import config_from_mapping
from regrun.config.schema import Config
from regrun.errors import ConfigError
from regrun.execution.describe import describe
from regrun.kinds.ingredients import ingredients_of, overrides_without
from regrun.kinds.models import build_model
from regrun.stack import Stack
from regrun.training.engine import Engine
from tests.support.engines import CPU, collect, dataset_of, train

MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"name": "mlp", "hidden": [7, 5]},
    "residual mlp": {"name": "mlp", "hidden": [6, 6], "residual": True, "norm": "layer"},
    "cnn": {"name": "cnn", "channels": [3, 4], "hidden": [5]},
    "cnn with batch norm": {"name": "cnn", "channels": [3, 4], "hidden": [], "norm": "batch"},
}


def tree(model: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "dataset": {"name": "digits", "num_train": 40, "num_test": 20},
        "model": {**model, "weight_standardization": True},
        "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01},
        "training": {"epochs": 3, "batch_size": 16, "precision": "float64"},
        **changes,
    }


def config(model: dict[str, Any], **changes: Any) -> Config:
    return config_from_mapping(tree(model, **changes)).config


def as_timm(weight: Tensor) -> Tensor:
    """The weight of timm's StdConv2d: batch norm over the weights of a filter, each a channel."""
    flat = weight.reshape(1, len(weight), -1)
    return F.batch_norm(flat, None, None, training=True, momentum=0.0, eps=1e-6).view_as(weight)


def module_of(model: dict[str, Any], seed: int = 0) -> nn.Module:
    return build_model(config(model).model, (1, 8, 8), 10, seed).double()


def test_a_cnn_is_conv2d_and_linear_of_standardized_weights() -> None:
    module, x = module_of(MODELS["cnn"]), torch.randn(6, 1, 8, 8, dtype=torch.float64)
    named = dict(module.named_parameters())
    y = x
    for block in range(2):
        weight = as_timm(named[f"blocks.{block}.conv.weight"])
        y = F.conv2d(y, weight, named[f"blocks.{block}.conv.bias"], padding=1)
        y = F.max_pool2d(F.relu(y), 2)
    y = F.linear(
        y.flatten(1), as_timm(named["hidden.0.linear.weight"]), named["hidden.0.linear.bias"]
    )
    expected = F.linear(F.relu(y), named["output.weight"], named["output.bias"])
    torch.testing.assert_close(module(x), expected, rtol=1e-11, atol=1e-12)
    gradients = torch.autograd.grad(module(x).square().sum(), list(named.values()))
    others = torch.autograd.grad(expected.square().sum(), list(named.values()))
    for mine, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("model", MODELS)
def test_a_stack_gives_what_each_module_gives(model: str) -> None:
    modules = [module_of(MODELS[model], seed) for seed in range(3)]
    stack = Stack(modules, CPU, torch.float64)
    x = torch.randn(1, 6, 1, 8, 8, dtype=torch.float64)
    outputs = stack(x)
    for module, output in zip(modules, outputs, strict=True):
        torch.testing.assert_close(output, module.eval()(x[0]), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_together_is_alone_and_resumed_is_the_whole(model: str) -> None:
    configs = [config(MODELS[model], seed=seed) for seed in range(3)]
    dataset = dataset_of(configs[0])
    _, together = train(configs, dataset)
    for member, one in enumerate(configs):
        _, alone = train([one], dataset)
        mine, own = together[member].weights, alone[0].weights
        assert mine is not None and own is not None
        for name, weight in own.items():
            torch.testing.assert_close(mine[name], weight, rtol=1e-9, atol=1e-11)
    first = Engine(configs, dataset, CPU)
    events = first.run()
    while first.step < 4:
        next(events)
    second = Engine(configs, dataset, CPU)
    second.load_state_dict(*first.state_dict())
    _, rest = collect(second)
    for member in range(3):
        mine, own = rest[member].weights, together[member].weights
        assert mine is not None and own is not None
        assert all(torch.equal(mine[name], weight) for name, weight in own.items())


def test_the_length_of_a_weight_vector_has_no_effect() -> None:
    module, x = module_of(MODELS["mlp"]), torch.randn(6, 1, 8, 8, dtype=torch.float64)
    before = module(x)
    with torch.no_grad():
        module.get_parameter("hidden.0.linear.weight").mul_(1000)
    torch.testing.assert_close(module(x), before, rtol=1e-3, atol=1e-3)
    with torch.no_grad():
        module.get_parameter("output.weight").mul_(2)
    assert not torch.allclose(module(x), before, rtol=1e-3, atol=1e-3), "the output layer has one"


def test_a_stored_run_loads_as_a_module_that_predicts_the_same(tmp_path: Path) -> None:
    run = regrun.train(tree(MODELS["cnn"]), runs_dir=tmp_path)
    module = regrun.load_model(run.directory).double()
    one = config(MODELS["cnn"])
    dataset = dataset_of(one)
    inputs = dataset.features(dataset.test.inputs, torch.float64)
    loss = F.cross_entropy(module(inputs), dataset.test.targets).item()
    assert loss == pytest.approx(run.metrics["test/loss"].iloc[-1], rel=1e-6)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"name": "mlp", "drop_connect": 0.2}, "drop_connect: 0.2 with weight_standardization"),
        ({"name": "linear"}, "model.weight_standardization: linear has no such key"),
    ],
)
def test_models_that_it_has_no_meaning_for_are_refused(model: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(model)


def test_neurons_of_one_weight_are_refused() -> None:
    section = config({"name": "mlp", "hidden": [4, 1, 3]}).model
    with pytest.raises(ConfigError, match="neurons or filters of a single weight"):
        build_model(section, (1, 8, 8), 10, seed=0)
    filters = config({"name": "cnn", "kernel_size": 1}).model
    with pytest.raises(ConfigError, match="neurons or filters of a single weight"):
        build_model(filters, (1, 8, 8), 10, seed=0)


def test_inspect_shows_it_and_ablate_can_leave_it_out() -> None:
    loaded = config_from_mapping(tree(MODELS["cnn"]))
    line = "ŵ = (w − mean) / √(var + 1e-6)   (weight standardization, of each neuron or filter"
    assert line in describe(loaded).update_rule
    found = [each for each in ingredients_of(loaded.config) if "standardization" in each.key]
    assert overrides_without(loaded.config, found) == {"model.weight_standardization": False}
