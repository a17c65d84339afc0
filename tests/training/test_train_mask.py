"""Members that train on examples of their own: as if the others were not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import ElasticNet, Lasso

from regrun.config.schema import Config
from regrun.data.dataset import Dataset, Split
from regrun.training.batches import InputScales, check_train_mask
from regrun.training.engine import Engine
from regrun.training.events import Evaluation, Row
from regrun.training.lipschitz import largest_eigenvalue, with_learning_rates
from tests.support import engines
from tests.support.engines import CPU

COUNT = 40


def drawn(task: str = "regression") -> Dataset:
    generator = torch.Generator().manual_seed(3)

    def split(count: int) -> Split:
        inputs = torch.randn(count, 6, generator=generator, dtype=torch.float64)
        scores = inputs[:, :1] - 2 * inputs[:, 1:2] + 0.5
        noise = torch.randn(count, 1, generator=generator, dtype=torch.float64)
        if task == "regression":
            return Split(inputs, scores + noise)
        return Split(inputs, (scores + noise > 0).flatten().long())

    outputs = 1 if task == "regression" else 2
    return Dataset("drawn", task, split(COUNT), None, split(15), (6,), outputs)  # type: ignore[arg-type]


def config(**changes: Any) -> Config:
    base: dict[str, Any] = {
        "dataset": {"name": "diabetes"},
        "model": {"name": "linear", "init": "normal"},
        "loss": "half_mse",
        "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.5},
        "training": {"epochs": 8, "batch_size": "full", "precision": "float64"},
    }
    return Config.model_validate({**base, **changes})


def parts(seed: int = 0) -> torch.Tensor:
    """Everything, and three parts of different sizes."""
    kept = torch.rand(4, COUNT, generator=torch.Generator().manual_seed(seed)) < torch.tensor(
        [[2.0], [0.8], [0.5], [0.2]]
    )
    assert len(set(kept.sum(1).tolist())) == 4
    return kept


Trained = tuple[dict[int, list[Row]], dict[int, Mapping[str, torch.Tensor]]]


def collect(engine: Engine) -> Trained:
    rows, ends = engines.collect(engine)
    assert all(end.weights is not None for end in ends.values())
    return rows, {member: end.weights or {} for member, end in ends.items()}


def cut(dataset: Dataset, kept: torch.Tensor) -> Dataset:
    """The kept examples to train on, the others to test on."""
    train = dataset.train
    held = Split(train.inputs[~kept], train.targets[~kept])
    return Dataset(
        dataset.name,
        dataset.task,
        Split(train.inputs[kept], train.targets[kept]),
        None,
        held if len(held) else dataset.test,
        dataset.input_shape,
        dataset.num_outputs,
    )


STACKS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "momentum": ("regression", [{"seed": k} for k in (0, 1, 1, 0)]),
    "fista with its own rates": (
        "regression",
        [
            {
                "optimizer": {"name": "fista"},
                "penalty": {"type": "l1", "strength": 0.1, "method": "proximal"},
            }
        ]
        * 4,
    ),
    "classes, two layers, sam, clipping": (
        "classification",
        [
            {
                "loss": "cross_entropy",
                "dataset": {"name": "breast_cancer"},
                "model": {"name": "mlp", "hidden": [5]},
                "optimizer": {"name": "adam", "lr": 0.01, "sam": 0.1},
                "training": {
                    "epochs": 5,
                    "batch_size": "full",
                    "precision": "float64",
                    "clip_norm": 0.1,
                    "ema": 0.5,
                },
            }
        ]
        * 4,
    ),
}


@pytest.mark.parametrize("name", STACKS)
def test_a_member_trains_as_if_what_it_holds_out_were_not_there(name: str) -> None:
    task, members = STACKS[name]
    dataset, kept = drawn(task), parts()
    configs = [config(**member) for member in members]
    rows, weights = collect(Engine(configs, dataset, CPU, kept))
    for member in range(4):
        alone_rows, alone = collect(Engine([configs[member]], cut(dataset, kept[member]), CPU))
        for mine, other in zip(rows[member], alone_rows[0], strict=True):
            for tag, value in other.items():
                prefix, _, last = tag.rpartition("test/")
                held = f"{prefix}held_out/{last}" if last != tag else tag
                tag_here = held if member else tag
                if not member and last != tag:
                    assert held not in mine  # the first holds nothing out
                assert mine[tag_here] == pytest.approx(value, rel=1e-9, abs=1e-12), tag_here
        for key, tensor in alone[0].items():
            torch.testing.assert_close(weights[member][key], tensor, rtol=1e-9, atol=1e-12)


def test_a_member_standardizes_by_its_own_examples_as_if_it_were_alone() -> None:
    dataset, kept = drawn(), parts()
    fista = {"optimizer": {"name": "fista"}, "model": {"name": "linear", "init": "normal"}}
    configs = [config(seed=seed, **fista) for seed in (0, 2, 1, 0)]
    inputs = [dataset.train.inputs[each] for each in kept]
    means = torch.stack([each.mean(0) for each in inputs])
    stds = torch.stack([each.std(0, correction=0) for each in inputs])
    scales = InputScales(means, stds)
    rows, weights = collect(Engine(configs, dataset, CPU, kept, scales))
    for member in range(4):
        own = cut(dataset, kept[member])
        train, test = (
            Split((each.inputs - means[member]) / stds[member], each.targets)
            for each in (own.train, own.test)
        )
        scaled = replace(own, train=train, test=test)
        alone_rows, alone = collect(Engine([configs[member]], scaled, CPU))
        name = "held_out/loss" if member else "test/loss"
        for mine, other in zip(rows[member], alone_rows[0], strict=True):
            assert mine["train/loss"] == pytest.approx(other["train/loss"], rel=1e-9)
            assert mine[name] == pytest.approx(other["test/loss"], rel=1e-9)
        for key, tensor in alone[0].items():
            torch.testing.assert_close(weights[member][key], tensor, rtol=1e-9, atol=1e-12)


def test_all_examples_kept_is_the_same_as_none_named() -> None:
    configs = [config(seed=seed) for seed in (0, 1)]
    everything = torch.ones(2, COUNT, dtype=torch.bool)
    rows, weights = collect(Engine(configs, drawn(), CPU, everything))
    plain_rows, plain = collect(Engine(configs, drawn(), CPU))
    for member in range(2):
        assert rows[member][-1] == pytest.approx(plain_rows[member][-1], rel=1e-12)
        for key, tensor in plain[member].items():
            torch.testing.assert_close(weights[member][key], tensor, rtol=1e-12, atol=0)


def test_members_keep_their_examples_when_others_leave_and_after_resuming() -> None:
    configs, dataset, kept = [config(seed=k) for k in (3, 0, 2, 1)], drawn(), parts()
    whole, expected = collect(Engine(configs, dataset, CPU, kept))
    first = Engine(configs, dataset, CPU, kept)
    for event in first.run():
        if isinstance(event, Evaluation) and event.epoch == 3:
            break
    first.prune([0, 2])
    second = Engine(configs, dataset, CPU, kept)
    second.load_state_dict(*first.state_dict())
    rows, weights = collect(second)
    assert weights.keys() == {1, 3}
    for member in (1, 3):
        assert rows[member][-1] == pytest.approx(whole[member][-1], rel=1e-12)
        for key, tensor in expected[member].items():
            torch.testing.assert_close(weights[member][key], tensor, rtol=1e-12, atol=1e-14)


def test_the_solutions_are_scikit_learns_on_the_kept_examples() -> None:
    dataset, kept = drawn(), parts(1)
    nets: Sequence[dict[str, Any]] = [
        {"type": "l1", "strength": 0.2},
        {"type": "elastic_net", "strength": 0.3, "l1_ratio": 0.4},
    ]
    configs = [
        config(
            penalty={**net, "method": "proximal"},
            optimizer={"name": "fista"},
            training={
                "epochs": 2000,
                "evaluate_every": 2000,
                "batch_size": "full",
                "precision": "float64",
            },
        )
        for net in nets
        for _ in kept
    ]
    _, weights = collect(Engine(configs, dataset, CPU, kept.repeat(2, 1)))
    tight = {"tol": 1e-14, "max_iter": 10**6}
    models = [Lasso(0.2, **tight), ElasticNet(0.3, l1_ratio=0.4, **tight)]
    for index, model in enumerate(models):
        for part, mask in enumerate(kept.numpy()):
            inputs, targets = dataset.train.inputs.numpy()[mask], dataset.train.targets.numpy()
            model.fit(inputs, targets[mask, 0])
            mine = weights[index * len(kept) + part]
            found = mine["output.weight"][0].numpy()
            np.testing.assert_array_equal(found == 0, model.coef_ == 0)
            np.testing.assert_allclose(found, model.coef_, rtol=1e-6)
            np.testing.assert_allclose(mine["output.bias"].item(), model.intercept_, rtol=1e-6)


def test_the_rate_of_each_member_is_from_the_curvature_of_its_own_examples() -> None:
    dataset, kept = drawn(), parts()
    fista = config(optimizer={"name": "fista"})
    own = config(optimizer={"name": "fista", "lr": 0.3})
    found = with_learning_rates([fista, own, fista, fista], dataset, kept)
    for member in (0, 2, 3):
        x = np.c_[dataset.train.inputs.numpy(), np.ones(COUNT)][kept[member].numpy()]
        curvature = np.linalg.norm(x, 2) ** 2 / len(x)
        assert found[member].optimizer.lr == pytest.approx(1 / curvature, rel=1e-12)
    assert found[1].optimizer.lr == 0.3
    indices = kept[3].nonzero().flatten()
    assert largest_eigenvalue(dataset, indices) == pytest.approx(curvature, rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "kept", "words"),
    [
        ({}, torch.ones(1, COUNT - 1, dtype=torch.bool), "expected"),
        ({}, torch.ones(1, COUNT), "float32"),
        ({}, torch.zeros(1, COUNT, dtype=torch.bool), "no example"),
        ({"training": {"batch_size": 8}}, None, "not 8"),
        ({"augment": {"mixup": 0.2}}, None, "would influence"),
        ({"model": {"name": "mlp", "hidden": [4], "norm": "batch"}}, None, "would influence"),
        (
            {
                "model": {"name": "mlp", "hidden": [4]},
                "penalty": {"type": "activity_l1", "strength": 0.1},
            },
            None,
            "would influence",
        ),
    ],
)
def test_a_train_mask_is_refused_where_held_out_examples_would_have_an_influence(
    changes: dict[str, Any], kept: torch.Tensor | None, words: str
) -> None:
    kept = torch.ones(1, COUNT, dtype=torch.bool) if kept is None else kept
    with pytest.raises(ValueError, match=words):
        Engine([config(**changes)], drawn(), CPU, kept)


@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_a_train_mask_is_refused_where_the_scale_of_dropout_is_that_of_the_batch(
    rate: float,
) -> None:
    model = {"name": "cnn", "conv_dropout": [0.0, rate], "dropout_type": "drop_block"}
    one, kept = config(model=model), torch.ones(1, COUNT, dtype=torch.bool)
    if not rate:
        check_train_mask(kept, [one], COUNT, batch_norm=False)
        return
    with pytest.raises(ValueError, match="would influence"):
        check_train_mask(kept, [one], COUNT, batch_norm=False)
