"""FISTA's step: the largest eigenvalue of the objective's Hessian, for linear models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.autograd import functional

from regrun.config.schema import Config
from regrun.data.dataset import Dataset, Split
from regrun.kinds.datasets import Task
from regrun.kinds.models import build_model
from regrun.kinds.optimizers.fista import Fista
from regrun.kinds.penalties import L2
from regrun.training import lipschitz
from regrun.training.lipschitz import largest_eigenvalue, with_learning_rates
from regrun.training.losses import losses_of, resolve_loss


def dataset(count: int, features: int, outputs: int = 1, classes: int = 0) -> Dataset:
    generator = torch.Generator().manual_seed(count)
    inputs = torch.randn(count, features, generator=generator).double() + 0.7
    if classes:
        targets = torch.randint(classes, (count,), generator=generator)
    else:
        targets = torch.randn(count, outputs, generator=generator).double()
    split = Split(inputs, targets)
    task: Task = "classification" if classes else "regression"
    return Dataset("drawn", task, split, None, split, (features,), classes or outputs)


def config(loss: str = "half_mse", **keys: Any) -> Config:
    name = "breast_cancer" if loss == "cross_entropy" else "diabetes"
    whole = {
        "dataset": {"name": name},
        "model": {"name": "linear", "init": "normal", "init_std": 3.0},
        "loss": loss,
        "optimizer": {"name": "fista"},
        "training": {"batch_size": "full"},
        **keys,
    }
    return Config.model_validate(whole)


def rate(one: Config, data: Dataset) -> float:
    optimizer = with_learning_rates([one], data)[0].optimizer
    assert optimizer.lr is not None
    return optimizer.lr


@pytest.mark.parametrize(("count", "features"), [(30, 5), (5, 30), (7, 6), (6, 7)])
def test_the_largest_eigenvalue_is_that_of_the_inputs_with_ones(
    count: int, features: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = dataset(count, features)
    x = np.c_[data.train.inputs.numpy(), np.ones(count)]
    expected = np.linalg.norm(x, 2) ** 2 / count
    assert largest_eigenvalue(data) == pytest.approx(expected, rel=1e-12)
    monkeypatch.setattr(lipschitz, "CHUNK", 20)
    assert largest_eigenvalue(data) == pytest.approx(expected, rel=1e-12)


def test_pixels_are_seen_as_the_network_sees_them() -> None:
    pixels = torch.randint(256, (20, 1, 3, 3), dtype=torch.uint8)
    split = Split(pixels, torch.zeros(20, dtype=torch.int64))
    mean, std = torch.tensor([[0.3], [0.2]], dtype=torch.float64)
    data = Dataset("pixels", "classification", split, None, split, (1, 3, 3), 2, mean, std)
    x = np.c_[((pixels.numpy() / 255 - 0.3) / 0.2).reshape(20, 9), np.ones(20)]
    assert largest_eigenvalue(data) == pytest.approx(np.linalg.norm(x, 2) ** 2 / 20, rel=1e-12)


def hessian(one: Config, data: Dataset, seed: int) -> torch.Tensor:
    """The Hessian of the objective's smooth part at random weights."""
    module = build_model(one.model, data.input_shape, data.num_outputs, seed).double()
    shapes = {name: p.shape for name, p in module.named_parameters()}
    l2 = sum(p.strength for p in one.penalty if isinstance(p, L2)) + one.optimizer.weight_decay

    def objective(flat: torch.Tensor) -> torch.Tensor:
        weight, bias = flat.split([s.numel() for s in shapes.values()])  # type: ignore[no-untyped-call]
        outputs = data.train.inputs @ weight.view(shapes["output.weight"]).T + bias
        loss = resolve_loss(one, data)
        losses = losses_of(loss, outputs[None], data.train.targets[None]).mean()
        decay: torch.Tensor = 0.5 * l2 * weight.square().sum()
        return losses + decay

    flat = torch.cat([p.detach().flatten() for p in module.parameters()]) * 0.1 * seed
    found = functional.hessian(objective, flat)  # type: ignore[no-untyped-call]
    assert isinstance(found, torch.Tensor)
    return found


@pytest.mark.parametrize(
    ("loss", "data"),
    [
        ("mse", dataset(30, 5)),
        ("mse", dataset(8, 12, outputs=3)),
        ("half_mse", dataset(30, 5)),
        ("half_mse", dataset(30, 5, outputs=4)),
        ("cross_entropy", dataset(30, 5, classes=2)),
        ("cross_entropy", dataset(9, 12, classes=4)),
    ],
)
@pytest.mark.parametrize("extra", [{}, {"penalty": {"type": "l2", "strength": 0.8}}])
def test_no_curvature_of_the_objective_is_larger(
    loss: str, data: Dataset, extra: dict[str, Any]
) -> None:
    one = config(loss, **extra)
    found = [torch.linalg.eigvalsh(hessian(one, data, seed))[-1].item() for seed in range(4)]
    bound = 1 / rate(one, data)
    assert max(found) <= bound * (1 + 1e-12)
    if loss != "cross_entropy" and not extra:
        assert max(found) == pytest.approx(bound, rel=1e-10)
    if loss == "cross_entropy" and data.num_outputs == 2 and not extra:
        assert found[0] == pytest.approx(bound, rel=1e-10)  # at zero weights it is reached


def test_weight_decay_and_every_l2_count_and_a_given_rate_stays() -> None:
    data = dataset(30, 5)
    plain = 1 / rate(config(), data)
    decayed = config(optimizer={"name": "fista", "weight_decay": 0.5})
    assert 1 / rate(decayed, data) == pytest.approx(plain + 0.5)
    penalties = [{"type": "l2", "strength": 0.3}, {"type": "l2", "strength": 0.2, "half": False}]
    assert 1 / rate(config(penalty=penalties), data) == pytest.approx(plain + 0.3 + 0.4)
    given = config(optimizer={"name": "fista", "lr": 0.25})
    sgd = config(optimizer={"name": "sgd", "lr": 0.125})
    assert rate(given, data) == 0.25
    assert with_learning_rates([sgd, given], data) == [sgd, given]
    assert isinstance(with_learning_rates([config()], data)[0].optimizer, Fista)
