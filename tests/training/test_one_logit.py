"""Training with one logit for two classes: a written-out loop, and the promises of a stack."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from regrun.config.schema import Config
from regrun.seeding import derive
from regrun.training.engine import Engine
from regrun.training.events import Evaluation
from regrun.training.network import build_network
from tests.support.engines import CPU, collect, config_of, dataset_of, train

BASE: dict[str, Any] = {
    "dataset": {"name": "breast_cancer", "num_train": 80},
    "model": {"name": "mlp", "hidden": [6], "activation": "tanh"},
    "optimizer": {"name": "sgd", "lr": 0.2},
    "training": {"epochs": 12, "batch_size": "full", "precision": "float64"},
}


@pytest.mark.parametrize(("smoothing", "weighted"), [(0.0, False), (0.2, False), (0.0, True)])
def test_the_steps_are_those_of_a_loop_with_torchs_loss_of_logits(
    smoothing: float, weighted: bool
) -> None:
    keys = {"class_weights": "balanced"} if weighted else {}
    config = config_of(
        BASE,
        {"dataset": {**BASE["dataset"], **keys}, "augment": {"label_smoothing": smoothing}},
    )
    data = dataset_of(config)
    model = build_network(config, data, derive(config.seed, "init")).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    y = data.train.targets
    weights = torch.ones(2).double() if data.class_weights is None else data.class_weights
    for _ in range(12):
        optimizer.zero_grad()
        z = model(data.train.inputs)[:, 0]
        soft = (1 - smoothing) * y.double() + smoothing / 2
        losses = F.binary_cross_entropy_with_logits(z, soft, weight=weights[y])
        losses.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    rows, ends = train([config], data)
    for name, tensor in model.state_dict().items():
        found = (ends[0].weights or {})[name]
        torch.testing.assert_close(found, tensor, rtol=1e-10, atol=1e-12)
    with torch.no_grad():
        z = model(data.test.inputs)[:, 0]
    expected = F.binary_cross_entropy_with_logits(z, data.test.targets.double())
    assert rows[0][-1]["test/loss"] == pytest.approx(expected.item(), rel=1e-10)


def members() -> list[Config]:
    changes: dict[str, Any] = {
        "model": {"name": "mlp", "hidden": [6], "dropout": 0.3},
        "dataset": {**BASE["dataset"], "class_weights": "balanced", "validation": 0.2},
        "optimizer": {"name": "adam", "lr": 0.02, "sam": 0.01},
        "training": {
            **BASE["training"], "batch_size": 16, "ema": 0.9, "clip_norm": 1.0,
            "early_stopping": {"patience": 3}, "r_drop": {"alpha": 0.5},
        },
    }  # fmt: skip
    return [
        config_of(
            BASE,
            {
                **changes,
                "seed": seed,
                "penalty": {"type": "l2", "strength": strength},
                "augment": {"label_smoothing": smoothing, "mixup": mixup},
            },
        )
        for seed, strength, smoothing, mixup in [
            (0, 0.01, 0.1, 0.0), (1, 0.0, 0.0, 0.3), (1, 0.1, 0.2, 0.3),
        ]
    ]  # fmt: skip


def test_members_of_a_stack_end_as_they_do_alone() -> None:
    rows, ends = train(members())
    for member, config in enumerate(members()):
        alone_rows, alone = train([config])
        for name, tensor in (alone[0].weights or {}).items():
            found = (ends[member].weights or {})[name]
            torch.testing.assert_close(found, tensor, rtol=1e-9, atol=1e-9)
        for here, there in zip(rows[member], alone_rows[0], strict=True):
            assert here == pytest.approx(there, rel=1e-9, abs=1e-9)


def test_a_resumed_stack_goes_on_bit_for_bit() -> None:
    data = dataset_of(members()[0])
    _, whole = collect(Engine(members(), data, CPU))
    first = Engine(members(), data, CPU)
    for event in first.run():
        if isinstance(event, Evaluation) and event.epoch == 2:
            break
    tensors, state = first.state_dict()
    second = Engine(members(), data, CPU)
    second.load_state_dict(tensors, state)
    _, resumed = collect(second)
    for member, end in resumed.items():
        for name, tensor in (whole[member].weights or {}).items():
            assert torch.equal((end.weights or {})[name], tensor)
    assert resumed.keys() == whole.keys()
