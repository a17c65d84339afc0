"""Networks in bfloat16, by regrun and by a plain loop with torch's autocast."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F

from regrun.config.schema import Config
from regrun.seeding import derive
from regrun.training.engine import Engine
from regrun.training.network import build_network
from tests.support.engines import collect

NETWORKS: dict[str, tuple[dict[str, Any], float, int]] = {
    "mlp": ({"name": "mlp", "hidden": [16, 16]}, 0.01, 20),
    "mlp, batch norm": ({"name": "mlp", "hidden": [16, 16], "norm": "batch"}, 0.01, 20),
    "mlp, layer norm": ({"name": "mlp", "hidden": [16, 16], "norm": "layer"}, 0.01, 20),
    "cnn": ({"name": "cnn", "channels": [4], "hidden": [8]}, 0.03, 20),
    "cnn, batch norm": ({"name": "cnn", "channels": [4], "norm": "batch"}, 0.03, 20),
    "cnn, layer norm": ({"name": "cnn", "channels": [4], "norm": "layer"}, 0.03, 20),
    "resnet18": ({"name": "resnet18"}, 0.001, 8),
    "squeezenet1_1": ({"name": "squeezenet1_1", "dropout": 0.0}, 0.001, 20),
    "vit_b_16": ({"name": "vit_b_16", "dropout": 0.0}, 0.01, 20),
}
"""A network with batch norm, with other norms, or without; its learning rate and epochs."""


def config(network: str, precision: str, faster: float = 1.0) -> Config:
    """Adam on few digits, in full batches, so that their order does not matter."""
    model, lr, epochs = NETWORKS[network]
    tree = {
        "dataset": {"name": "digits", "num_train": 40, "num_test": 10},
        "model": model,
        "optimizer": {"name": "adam", "lr": lr * faster},
        "training": {"epochs": epochs, "batch_size": "full", "precision": precision},
    }
    return Config.model_validate(tree)


def by_regrun(network: str, members: int, device: torch.device) -> float:
    """The last training loss of the first member of a stack, in bfloat16."""
    configs = [config(network, "bfloat16", 1 - 0.5 * member) for member in range(members)]
    dataset = configs[0].dataset.load().to(device, torch.float32)
    rows, ends = collect(Engine(configs, dataset, device))
    for end in ends.values():
        assert end.status == "completed" and end.weights is not None
        assert torch.bfloat16 not in {tensor.dtype for tensor in end.weights.values()}
    return rows[0][-1]["train/loss"]


@cache
def by_torch(network: str, precision: str, device: torch.device, *, trained: bool = True) -> float:
    """The training loss of the same weights and batches in a plain loop, at its end or start."""
    one = config(network, precision)
    dataset = one.dataset.load().to(device, torch.float32)
    module = build_network(one, dataset, derive(one.seed, "init")).to(device)
    inputs = dataset.features(dataset.train.inputs, torch.float32)
    targets = dataset.train.targets
    lr = float(one.optimizer.lr or 0.0)
    optimizer = torch.optim.Adam(module.parameters(), lr=lr)

    def loss() -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            outputs = module(inputs)
        return F.cross_entropy(outputs.float(), targets)

    for _ in range(one.training.epochs * trained):
        optimizer.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    module.eval()
    with torch.no_grad():
        return loss().item()


def check_network(network: str, members: int, device: torch.device) -> None:
    """Assert that regrun is as near float32 as plain PyTorch is, or within 0.02."""
    expected, autocast = (by_torch(network, each, device) for each in ("float32", "bfloat16"))
    assert expected < by_torch(network, "float32", device, trained=False) - 0.1, "it trains"
    found = by_regrun(network, members, device)
    assert abs(found - expected) < 0.02 + 3 * abs(autocast - expected)
    if members == 1:  # nor was it float32; through vmap, convolutions are on a CPU
        assert abs(found - expected) > 1e-5
