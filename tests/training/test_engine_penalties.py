"""The engine's promises for proximal steps, FISTA, and penalties that autograd differentiates."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from regrun.config.schema import Config
from regrun.kinds.models import build_model
from regrun.training.engine import Engine
from regrun.training.events import Evaluation, MemberEnd, Row
from tests.support.engines import CPU, collect, config_of, dataset_of, train

BASE: dict[str, Any] = {
    "dataset": {"name": "digits", "num_train": 60, "num_test": 40},
    "model": {"name": "mlp", "hidden": [8, 6], "dropout": 0.2},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "training": {"epochs": 3, "batch_size": 16, "precision": "float64"},
}


def config(**changes: Any) -> Config:
    return config_of(BASE, changes, "dataset", "training")


def weights_of(end: MemberEnd) -> dict[str, Tensor]:
    assert end.weights is not None
    return end.weights


def penalty(kind: str, k: float, **keys: Any) -> dict[str, Any]:
    return {"type": kind, "strength": 0.004 * k, **keys}


SEVEN: dict[str, list[dict[str, Any]]] = {
    "proximal and gradient, momentum": [
        {
            "penalty": penalty("l1", k, method=["gradient", "proximal"][k % 2]),
            "optimizer": {"name": "sgd", "lr": 0.02 * (k + 1), "momentum": 0.15 * k},
            "schedule": {"type": "cosine", "warmup_epochs": 0.5},
            "seed": k,
        }
        for k in range(7)
    ],
    "elastic nets and groups by proximal steps": [
        {
            "penalty": [
                penalty("elastic_net", k, method="proximal", l1_ratio=k / 6, half=k % 2 == 0),
                penalty("group_lasso", 3, method="proximal", groups=["in", "out"][k // 4]),
                penalty("l2", 1),
            ][k % 3 :],
            "seed": k // 2,
        }
        for k in range(7)
    ],
    "concave penalties, by either method": [
        {
            "penalty": [
                penalty(["mcp", "scad"][k % 2], 3 * k, method=["proximal", "gradient"][k // 4]),
                penalty("l2", 1),
            ][: 1 + k % 2],
            "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.1 * k},
            "seed": k // 2,
        }
        for k in range(7)
    ],
    "groups of inputs and of neurons": [
        {
            "dataset": {"name": "breast_cancer"},
            "model": {"name": "mlp", "hidden": [6]},
            "penalty": [
                penalty("group_lasso", 3 * k, method=["proximal", "gradient"][k // 4],
                        groups=[[[0, 1, 2], [3, 4], [29]], "columns", "out"][k % 3]),
                penalty("l1", 1, method="proximal"),
            ][: 1 + k % 2],
            "seed": k,
        }
        for k in range(7)
    ],
    "a factor for each input": [
        {
            "dataset": {"name": "diabetes", "num_train": 60, "num_test": 40},
            "penalty": penalty(["l1", "elastic_net", "l2"][k % 3], 5 * k, factors=factors,
                               **({"method": "proximal"} if k < 2 else {})),
            "seed": k // 2,
        }
        for k, factors in enumerate(
            [{"bmi": 0.0, "s5": 3.0}, [0.5 * i for i in range(10)], {"age": 2.0}, None, {"s1": 0.0},
             [1.0] * 10, None]
        )
    ],
    "the distance from the start, with other penalties and without": [
        {
            "penalty": [
                penalty("l2_sp", 40 * k, apply_to=["weight", "all"][k // 4]),
                penalty("l1", k, method="proximal"),
            ][k % 2 :],
            "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.5},
            "seed": k // 2,
        }
        for k in range(7)
    ],
    "every penalty by gradient, each member its own": [
        {
            "penalty": [
                penalty("group_lasso", 1),
                penalty("group_lasso", 1, groups="out"),
                penalty("orthogonal", 2),
                penalty("spectral", 5),
                penalty("activity_l1", 1),
                penalty("activity_l2", 2, half=False),
                [penalty("activity_l1", 1), penalty("spectral", 1), penalty("spectral", 2)],
            ][k],
            "optimizer": {"name": "adam", "lr": 0.01},
        }
        for k in range(7)
    ],
    "a convolutional network, filters and activations": [
        {
            "model": {"name": "cnn", "channels": [3, 4], "hidden": [5], "norm": "batch"},
            "penalty": [
                penalty("group_lasso", k, groups="filter", apply_to="blocks.*.conv.weight",
                        method=["gradient", "proximal"][k % 2]),
                penalty("orthogonal", 1),
                penalty("spectral", 1),
                penalty("activity_l2", k),
            ],
            "seed": k,
        }
        for k in range(7)
    ],
    "fista on a linear model, its own step sizes": [
        {
            "dataset": {"name": "diabetes", "num_train": None, "num_test": None},
            "model": {"name": "linear", "init": "zeros"},
            "loss": "half_mse",
            "penalty": penalty(["l1", "elastic_net", "group_lasso"][k % 3], 100 * k,
                               method="proximal"),
            "optimizer": {"name": "fista"},
            "training": {"batch_size": "full", "epochs": 12, "evaluate_every": 4},
        }
        for k in range(7)
    ],
    "fista on a network": [
        {
            "model": {"name": "mlp", "hidden": [8]},
            "penalty": [penalty("l1", k, method="proximal"), penalty("l2", 1)],
            "optimizer": {"name": "fista", "lr": 0.05 * (k + 1), "restart": False},
            "training": {"batch_size": "full", "epochs": 12, "evaluate_every": 4},
            "seed": k,
        }
        for k in range(7)
    ],
}  # fmt: skip


@pytest.mark.parametrize("case", SEVEN)
def test_seven_together_are_seven_alone(case: str) -> None:
    configs = [config(**changes) for changes in SEVEN[case]]
    rows, ends = train(configs)
    for member, one in enumerate(configs):
        alone_rows, alone_ends = train([one])
        for row, alone in zip(rows[member], alone_rows[0], strict=True):
            assert row == pytest.approx(alone, rel=1e-9, abs=1e-11)
        for name, weight in weights_of(alone_ends[0]).items():
            mine = weights_of(ends[member])[name]
            torch.testing.assert_close(mine, weight, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("stop_at", [1, 5, 10])
@pytest.mark.parametrize("case", SEVEN)
def test_a_resumed_engine_is_bitwise_the_undisturbed_one(case: str, stop_at: int) -> None:
    configs = [config(**change) for change in SEVEN[case]]
    dataset = dataset_of(configs[0])
    whole, whole_ends = collect(Engine(configs, dataset, CPU))
    first = Engine(configs, dataset, CPU)
    events = first.run()
    while first.step < stop_at:
        next(events)
    tensors, numbers = first.state_dict()
    second = Engine(configs, dataset, CPU)
    second.load_state_dict(tensors, numbers)
    rest, rest_ends = collect(second)
    for member in range(7):
        assert rest[member] == whole[member][len(whole[member]) - len(rest[member]) :]
        for name, tensor in weights_of(whole_ends[member]).items():
            assert torch.equal(weights_of(rest_ends[member])[name], tensor)


@pytest.mark.parametrize("case", SEVEN)
def test_members_that_leave_change_nothing_for_those_that_stay(case: str) -> None:
    configs = [config(**change) for change in SEVEN[case]]
    rows, _ = train(configs)
    engine = Engine(configs, dataset_of(configs[0]), CPU)
    kept: list[Row] = []
    for event in engine.run():
        if isinstance(event, Evaluation):
            kept.append(event.rows[3])
            engine.prune([0, 2, 6])
    for mine, other in zip(kept, rows[3], strict=True):
        assert mine == pytest.approx(other, rel=1e-9, abs=1e-11)


EVERY = {
    "l1": {"type": "l1", "method": "proximal"},
    "elastic_net": {"type": "elastic_net", "method": "proximal"},
    "mcp": {"type": "mcp", "method": "proximal"},
    "mcp by gradient": {"type": "mcp"},
    "scad": {"type": "scad", "method": "proximal"},
    "scad by gradient": {"type": "scad"},
    "l2_sp": {"type": "l2_sp"},
    "group_lasso": {"type": "group_lasso", "method": "proximal"},
    "group_lasso by gradient": {"type": "group_lasso"},
    "orthogonal": {"type": "orthogonal"},
    "spectral": {"type": "spectral"},
    "activity_l1": {"type": "activity_l1"},
    "activity_l2": {"type": "activity_l2"},
}


@pytest.mark.parametrize("name", EVERY)
def test_strength_zero_is_no_penalty_to_the_last_bit_alone_and_in_company(name: str) -> None:
    keys = {"optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9}, "model": {"name": "mlp"}}
    none = config(**keys)
    zero = config(**keys, penalty={**EVERY[name], "strength": 0.0})
    some = config(**keys, penalty={**EVERY[name], "strength": 0.01})
    _, plain = train([none, none, none])
    _, together = train([none, zero, some])
    for parameter, weight in weights_of(plain[0]).items():
        assert torch.equal(weights_of(together[0])[parameter], weight)
        assert torch.equal(weights_of(together[1])[parameter], weight)
    changed = [
        n for n, w in weights_of(plain[0]).items() if not torch.equal(weights_of(together[2])[n], w)
    ]
    assert changed


@pytest.mark.parametrize(
    "name", [name for name in EVERY if not name.startswith(("activity", "l2_sp"))]
)
def test_a_penalty_never_touches_a_parameter_outside_apply_to(name: str) -> None:
    """One step: later steps would change other gradients."""
    keys = {
        "training": {"epochs": 1, "batch_size": "full"},
        "model": {"name": "mlp", "hidden": [5]},
    }
    only = {**EVERY[name], "strength": 0.1, "apply_to": "hidden.0.linear.weight"}
    _, ends = train([config(**keys), config(**keys, penalty=only)])
    for parameter, weight in weights_of(ends[0]).items():
        same = torch.equal(weights_of(ends[1])[parameter], weight)
        assert same == (parameter != "hidden.0.linear.weight")


class Activations:
    """What the activation functions of a plain module give."""

    def __init__(self, module: nn.Module) -> None:
        self.given: list[Tensor] = []
        for layer in module.modules():
            if isinstance(layer, nn.ReLU):
                layer.register_forward_hook(lambda _, __, out: self.given.append(out))

    def penalty(self, kind: str, half: bool) -> Tensor:
        batch = len(self.given[0])
        if kind == "activity_l1":
            return torch.stack([h.abs().sum() for h in self.given]).sum() / batch
        squares = torch.stack([h.square().sum() for h in self.given]).sum()
        return (0.5 if half else 1.0) * squares / batch


@pytest.mark.parametrize(
    ("kind", "half"), [("activity_l1", True), ("activity_l2", True), ("activity_l2", False)]
)
@pytest.mark.parametrize(
    "model",
    [
        {"name": "mlp", "hidden": [8, 6]},
        {"name": "mlp", "hidden": [6, 6, 6], "residual": True, "norm": "layer"},
        {"name": "cnn", "channels": [3, 2], "hidden": [5]},
    ],
    ids=["mlp", "residual mlp", "cnn"],
)
def test_activity_is_what_a_plain_module_shows(
    model: dict[str, Any], kind: str, half: bool
) -> None:
    section = {"type": kind, "strength": 0.3, **({} if half else {"half": False})}
    one = config(
        model=model,
        penalty=section,
        training={"epochs": 1, "batch_size": "full"},
    )
    dataset = dataset_of(one)
    engine = Engine([one], dataset, CPU)
    tensors, _ = engine.state_dict()
    module = build_model(one.model, dataset.input_shape, dataset.num_outputs, seed=0).double()
    state = {n.removeprefix("stack/"): t[0] for n, t in tensors.items() if n.startswith("stack/")}
    module.load_state_dict(state)
    activations = Activations(module)
    inputs = dataset.features(dataset.train.inputs, torch.float64)
    loss = nn.functional.cross_entropy(module(inputs), dataset.train.targets)
    torch.autograd.backward(loss + 0.3 * activations.penalty(kind, half))
    torch.optim.SGD(module.parameters(), lr=0.1).step()

    rows, ends = collect(engine)
    for name, expected in module.state_dict().items():
        torch.testing.assert_close(weights_of(ends[0])[name], expected, rtol=1e-10, atol=1e-13)
    activations.given.clear()
    after = nn.functional.cross_entropy(module(inputs), dataset.train.targets)
    expected = 0.3 * activations.penalty(kind, half).item()
    assert rows[0][0][f"penalty/{kind}"] == pytest.approx(expected, rel=1e-10)
    assert rows[0][0]["objective"] == pytest.approx(after.item() + expected, rel=1e-10)


def test_proximal_steps_make_exact_zeros_and_whole_neurons_vanish() -> None:
    lists = [
        {"type": "l1", "strength": 0.02},
        {"type": "l1", "strength": 0.02, "method": "proximal"},
        {"type": "group_lasso", "strength": 0.02, "method": "proximal"},
    ]
    model = {"name": "mlp", "hidden": [8, 6]}
    rows, ends = train(
        [config(penalty=each, model=model, training={"epochs": 20}) for each in lists]
    )
    assert rows[0][-1]["weights/sparsity"] == 0
    assert rows[1][-1]["weights/sparsity"] > 0.3
    dead = (weights_of(ends[2])["hidden.1.linear.weight"] == 0).all(1)
    assert dead.sum() > 0
    for row in (rows[1][-1], rows[2][-1]):
        (label,) = [tag for tag in row if tag.startswith("penalty/")]
        assert row["objective"] == pytest.approx(row["train/loss"] + row[label], rel=1e-12)
