"""Manifold mixup: the published forward pass on the same draws, and the engine's promises."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from regrun.config.schema import Config
from regrun.kinds.augmentation import ManifoldMixup, Mixing
from regrun.kinds.models import build_model
from regrun.seeding import derive
from regrun.stack import StreamNoise
from regrun.training.batches import BatchSampler
from regrun.training.engine import Engine
from tests.support.engines import CPU, collect, config_of, dataset_of, train

BASE: dict[str, Any] = {
    "dataset": {"name": "digits", "num_train": 60, "num_test": 40},
    "model": {"name": "mlp", "hidden": [8, 6]},
    "optimizer": {"name": "sgd", "lr": 0.2},
    "training": {"epochs": 5, "batch_size": 16, "precision": "float64"},
}
CNN = {"name": "cnn", "channels": [3, 4], "hidden": [5]}
MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"name": "mlp", "hidden": [8, 6]},
    "residual": {"name": "mlp", "hidden": [6, 6, 6], "residual": True},
    "cnn": {**CNN, "norm": "batch"},
}


def config(**changes: Any) -> Config:
    return config_of(BASE, changes, "training", "optimizer")


class PlainLoop:
    """One run as the authors' code has it: a layer is drawn, and its inputs are mixed.

    The draws are the member's own streams. Dropout is not used.
    """

    def __init__(self, one: Config) -> None:
        dataset, training = dataset_of(one), one.training
        noise = StreamNoise([one.seed], CPU)
        alpha = torch.tensor([one.augment.manifold_mixup], dtype=torch.float64)
        feed = BatchSampler(dataset, training.batch_size, torch.float64)
        feed.set_members([one.seed])
        model = build_model(one.model, dataset.input_shape, 10, derive(one.seed, "init"))
        self.model = model.double().train()
        parts = [name for name in one.model.hidden_layers if name.startswith("blocks")]
        self.dense = [name for name in one.model.hidden_layers if name.startswith("hidden")]
        self.stages = [*parts, "flatten", *self.dense]
        hidden = len(one.model.hidden_layers)
        optimizer = torch.optim.SGD(self.model.parameters(), lr=one.optimizer.lr or 0.0)
        self.mixed_at: list[int] = []
        for step in range(training.epochs * feed.steps_per_epoch):
            x, y = (tensor[0] for tensor in feed(step))
            index = noise.uniform("augment/order", (len(x),))[0].argsort(stable=True)
            lam = Mixing.beta(noise.uniform("augment/manifold_mixup", (2,)), alpha).item()
            u = noise.uniform("augment/manifold_mixup/layer", (1,)).item()
            layer_mix = int(u * (hidden + 1))
            out = self.forward(x, layer_mix, lam, index)
            loss = lam * F.cross_entropy(out, y) + (1 - lam) * F.cross_entropy(out, y[index])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            self.mixed_at.append(layer_mix)

    def forward(self, x: Tensor, layer_mix: int, lam: float, index: Tensor) -> Tensor:
        """`forward` of the authors' networks: `mixup_process` where the layer is reached."""
        out = x * lam + x[index] * (1 - lam) if layer_mix == 0 else x
        reached = 0
        for stage in self.stages:
            out = self.model.get_submodule(stage)(out)
            reached += stage != "flatten"
            if stage != "flatten" and layer_mix == reached:
                out = out * lam + out[index] * (1 - lam)
        last: Tensor = self.model.get_submodule("output")(out)
        return last


@pytest.mark.parametrize("name", MODELS)
def test_each_member_is_a_plain_loop_of_the_published_code(name: str) -> None:
    configs = [
        config(model=MODELS[name], seed=k, augment={"manifold_mixup": alpha})
        for k, alpha in enumerate((0.0, 0.3, 1.0, 2.0))
    ]
    _, ends = train(configs)
    for member, one in enumerate(configs):
        loop, weights = PlainLoop(one), ends[member].weights
        assert weights is not None
        assert set(loop.mixed_at) == set(range(len(one.model.hidden_layers) + 1))
        for parameter, tensor in loop.model.state_dict().items():
            torch.testing.assert_close(weights[parameter], tensor, rtol=1e-9, atol=1e-11)


def test_layers_are_drawn_equally_often() -> None:
    source = torch.Generator().manual_seed(0)

    def draws(purpose: str, shape: Any) -> Tensor:
        return torch.rand(30_000, *shape, generator=source)

    counts = ManifoldMixup.layer(draws, 3).bincount(minlength=4)
    assert len(counts) == 4
    assert (counts / 30_000 - 0.25).abs().max() < 6 * (0.25 * 0.75 / 30_000) ** 0.5


SEVEN: dict[str, list[dict[str, Any]]] = {
    "next to mixup, with dropout, sam and r-drop": [
        {
            "model": {"name": "mlp", "hidden": [8, 6], "dropout": 0.1 * k, "norm": "layer"},
            "augment": {"mixup": 0.3} if k == 3 else {"manifold_mixup": 0.4 * (k % 3)},
            "optimizer": {"sam": 0.02 * k},
            "training": {"r_drop": {"alpha": 0.2}},
            "seed": k // 2,
        }
        for k in range(7)
    ],
    "cnn, all that is done to images": [
        {
            "model": {**CNN, "conv_dropout": 0.1},
            "augment": {"flip": 0.5, "crop": 1, "label_smoothing": 0.02 * k,
                        **({"cutmix": 1.0} if k == 2 else {"manifold_mixup": 0.3 * k})},
            "penalty": {"type": "activity_l2", "strength": 1e-3},
            "seed": k // 2,
        }
        for k in range(7)
    ],
    "whole batches, one seed": [
        {
            "augment": {"manifold_mixup": 0.5 if k < 5 else 1.0},
            "optimizer": {"lr": 0.1 * (k + 1)},
            "training": {"batch_size": "full"},
        }
        for k in range(7)
    ],
}  # fmt: skip


@pytest.mark.parametrize("case", SEVEN)
def test_seven_together_are_seven_alone(case: str) -> None:
    configs = [config(**changes) for changes in SEVEN[case]]
    rows, ends = train(configs)
    for member, one in enumerate(configs):
        alone_rows, alone = train([one])
        for mine, expected in zip(rows[member], alone_rows[0], strict=True):
            assert mine == pytest.approx(expected, rel=1e-9, abs=1e-11)
        assert ends[member].weights is not None
        torch.testing.assert_close(ends[member].weights, alone[0].weights, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("case", SEVEN)
def test_a_resumed_engine_is_bitwise_the_undisturbed_one(case: str) -> None:
    configs = [config(**changes) for changes in SEVEN[case]]
    dataset = dataset_of(configs[0])
    whole = train(configs)[1]
    first = Engine(configs, dataset, CPU)
    events = first.run()
    while first.step < 3:
        next(events)
    second = Engine(configs, dataset, CPU)
    second.load_state_dict(*first.state_dict())
    for member, end in collect(second)[1].items():
        expected = whole[member].weights
        assert end.weights is not None and expected is not None
        assert all(torch.equal(end.weights[name], tensor) for name, tensor in expected.items())


def test_a_member_of_level_zero_feels_no_more_than_rounding_of_others_that_mix() -> None:
    """Gradients come back in another memory layout, so that products are summed otherwise."""
    mixed, _ = train([config(seed=k, augment={"manifold_mixup": 0.5 * k}) for k in range(2)])
    plain, _ = train([config(seed=k) for k in range(2)])
    for mine, expected in zip(mixed[0], plain[0], strict=True):
        assert mine == pytest.approx(expected, rel=1e-13)
    assert mixed[1][0]["test/loss"] != pytest.approx(plain[1][0]["test/loss"], rel=1e-6)
