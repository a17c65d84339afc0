"""Networks of runs that earlier versions stored."""

from __future__ import annotations

import io
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

import regrun
from regrun.execution.export import export_network
from regrun.store.weights import load_weights, save_weights
from tests.execution.conftest import Train
from tests.support.runs import DIGITS
from tests.support.tampering import age

NORMED = {
    "mlp": {"name": "mlp", "hidden": [6], "norm": "batch"},
    "cnn": {"name": "cnn", "channels": [3], "hidden": [], "norm": "batch"},
}


def chain(**layers: nn.Module) -> nn.Module:
    return nn.Sequential(OrderedDict(layers))


def as_stored_by_0_2(name: str) -> nn.Module:
    """The same networks with a bias before batch norm."""
    if name == "mlp":
        first = chain(linear=nn.Linear(64, 6), norm=nn.BatchNorm1d(6), activation=nn.ReLU())
        return chain(flatten=nn.Flatten(), hidden=nn.Sequential(first), output=nn.Linear(6, 10))
    block = chain(
        conv=nn.Conv2d(1, 3, 3, padding="same"),
        norm=nn.BatchNorm2d(3),
        activation=nn.ReLU(),
        pool=nn.MaxPool2d(2),
    )
    output = nn.Linear(48, 10)
    return chain(blocks=nn.Sequential(block), flatten=nn.Flatten(), output=output)


@pytest.mark.parametrize("name", NORMED)
def test_a_bias_before_batch_norm_of_an_earlier_version_is_kept(name: str, train: Train) -> None:
    run = train({**DIGITS, "model": NORMED[name], "training": {"epochs": 1, "ema": 0.9}})
    torch.manual_seed(0)
    older = as_stored_by_0_2(name)
    images = torch.randn(40, 1, 8, 8)
    older(images)  # moves the running statistics, which count the bias in
    older.eval()
    for path in run.directory.glob("weights*.safetensors"):
        assert not any(key.endswith(("linear.bias", "conv.bias")) for key in load_weights(path)[0])
        save_weights(path, older.state_dict())
    age(run.directory)

    expected = older(images)
    for average in (None, "ema"):
        model = regrun.load_model(run.directory, average)
        assert torch.equal(model(images), expected)
        assert model.state_dict().keys() == older.state_dict().keys()

    raw = np.random.default_rng(0).integers(0, 17, (5, 1, 8, 8)).astype(np.float32)
    program = torch.export.load(io.BytesIO(export_network(run.directory, ".pt2"))).module()
    predicted = regrun.load_predictor(run.directory).outputs(raw)
    np.testing.assert_allclose(program(torch.from_numpy(raw))[0].detach(), predicted, rtol=1e-5)
