"""L2-SP: against a loop in torch, with weight decay around the initial weights, and resumed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from regrun.config.load import config_from_mapping
from regrun.config.schema import Config
from regrun.execution.describe import describe
from regrun.kinds.penalties import L2SP
from regrun.stack.penalties import StackedPenalties
from regrun.training.engine import Engine
from regrun.training.events import Evaluation, MemberEnd
from tests.support.engines import CPU, collect, dataset_of, train


def tree(**changes: Any) -> dict[str, Any]:
    return {
        "dataset": {"name": "digits", "num_train": 40, "num_test": 10},
        "model": {"name": "mlp", "hidden": [6]},
        "penalty": {"type": "l2_sp", "strength": 0.3},
        "optimizer": {"name": "sgd", "lr": 0.2},
        "training": {"epochs": 12, "batch_size": "full", "precision": "float64"},
        **changes,
    }


def config(**changes: Any) -> Config:
    return config_from_mapping(tree(**changes)).config


def start_of(one: Config) -> dict[str, Tensor]:
    """The weights of an engine that has not taken a step."""
    tensors, _ = Engine([one], dataset_of(one), CPU).state_dict()
    prefix = "stack/"
    return {n.removeprefix(prefix): t[0] for n, t in tensors.items() if n.startswith(prefix)}


def test_the_value_and_the_gradient_are_those_of_the_distance() -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(2, 3, 4, dtype=torch.float64, generator=generator)
    weight = (start + torch.randn(2, 3, 4, dtype=torch.float64, generator=generator)).detach()
    weight.requires_grad_()
    sections = [[L2SP(type="l2_sp", strength=0.3)], []]
    stacked = StackedPenalties(sections, {"w": "weight"}, initial={"w": start})
    (value,) = stacked.values({"w": weight}).values()
    moved = (weight - start).detach()
    torch.testing.assert_close(value[0], 0.15 * moved[0].square().sum())
    assert value[1] == 0
    total = stacked.differentiable({"w": weight})
    assert total is not None
    (gradient,) = torch.autograd.grad(total.sum(), weight)
    torch.testing.assert_close(gradient[0], 0.3 * moved[0], rtol=1e-13, atol=0)
    assert not gradient[1].any()


@pytest.mark.parametrize("apply_to", ["weight", "all"])
def test_training_is_a_loop_in_torch(apply_to: str) -> None:
    one = config(penalty={"type": "l2_sp", "strength": 0.3, "apply_to": apply_to})
    dataset, start = dataset_of(one), start_of(one)
    module = nn.Sequential(nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 10)).double()
    names = ["hidden.0.linear.weight", "hidden.0.linear.bias", "output.weight", "output.bias"]
    with torch.no_grad():
        for parameter, name in zip(module.parameters(), names, strict=True):
            parameter.copy_(start[name])
    inputs = dataset.features(dataset.train.inputs, torch.float64).flatten(1)
    pulled = [name for name in names if apply_to == "all" or name.endswith("weight")]
    optimizer = torch.optim.SGD(module.parameters(), lr=0.2)

    def distance() -> Tensor:
        pairs = zip(module.parameters(), names, strict=True)
        return torch.stack(
            [(p - start[name]).square().sum() for p, name in pairs if name in pulled]
        ).sum()

    for _ in range(12):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(module(inputs), dataset.train.targets)
        torch.autograd.backward(loss + 0.15 * distance())
        optimizer.step()
    rows, ends = train([one])
    assert ends[0].weights is not None
    for parameter, name in zip(module.parameters(), names, strict=True):
        torch.testing.assert_close(ends[0].weights[name], parameter.data, rtol=1e-10, atol=1e-12)
    last = rows[0][-1]
    assert last["penalty/l2_sp"] == pytest.approx(0.15 * distance().item(), rel=1e-10)
    assert last["objective"] == pytest.approx(last["train/loss"] + last["penalty/l2_sp"])


def test_a_strong_pull_keeps_the_weights_where_they_began() -> None:
    strong, none = config(penalty={"type": "l2_sp", "strength": 4.0}), config(penalty="none")
    start = start_of(strong)["hidden.0.linear.weight"]
    _, ends = train([strong, none])
    moved = []
    for member in (0, 1):
        weights = ends[member].weights
        assert weights is not None
        moved.append((weights["hidden.0.linear.weight"] - start).norm().item())
    assert moved[0] < 0.5 * moved[1]


def test_it_is_l2_where_the_weights_begin_at_zero() -> None:
    zeros = {"model": {"name": "linear", "init": "zeros"}}
    pulled, shrunk = config(**zeros), config(**zeros, penalty={"type": "l2", "strength": 0.3})
    _, ends = train([pulled])
    _, others = train([shrunk])
    mine, other = ends[0].weights, others[0].weights
    assert mine is not None and other is not None
    for name, weight in other.items():
        torch.testing.assert_close(mine[name], weight, rtol=1e-11, atol=1e-14)


def test_a_resumed_run_is_pulled_to_the_start_of_the_run_not_of_the_resumption() -> None:
    one = config()
    dataset = dataset_of(one)
    _, whole = collect(Engine([one], dataset, CPU))
    first = Engine([one], dataset, CPU)
    events = first.run()
    while first.step < 5:
        next(events)
    tensors, numbers = first.state_dict()
    assert torch.equal(tensors["initial/output.weight"][0], start_of(one)["output.weight"])
    second = Engine([one], dataset, CPU)
    second.load_state_dict(tensors, numbers)
    _, rest = collect(second)
    mine, other = rest[0].weights, whole[0].weights
    assert mine is not None and other is not None
    assert all(torch.equal(mine[name], weight) for name, weight in other.items())


def test_members_that_leave_take_their_start_along() -> None:
    configs = [config(seed=seed) for seed in range(3)]
    engine = Engine(configs, dataset_of(configs[0]), CPU)
    ends: dict[int, MemberEnd] = {}
    for event in engine.run():
        if isinstance(event, Evaluation) and event.epoch == 4:
            engine.prune([0])
        if isinstance(event, MemberEnd):
            ends[event.member] = event
    for member in (1, 2):
        _, alone = train([configs[member]])
        mine, own = ends[member].weights, alone[0].weights
        assert mine is not None and own is not None
        for name, weight in own.items():
            torch.testing.assert_close(mine[name], weight, rtol=1e-9, atol=1e-11)


def test_nothing_is_kept_without_it() -> None:
    one = config(penalty={"type": "l2", "strength": 0.3})
    tensors, _ = Engine([one], dataset_of(one), CPU).state_dict()
    assert not [name for name in tensors if name.startswith("initial/")]


def test_inspect_shows_the_distance() -> None:
    found = describe(config_from_mapping(tree()))
    line = "P = 0.15 Σ(w − w₀)²,  w₀ the initial w   (l2_sp on [weight], gradient 0.3 (w − w₀))"
    assert line in found.update_rule
