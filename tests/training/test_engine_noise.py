"""Noise of every kind under the engine's promises: alone = together, bitwise resume, 0 is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from regrun.api import load_model
from regrun.api import train as train_stored
from regrun.config.schema import Config
from regrun.data.dataset import Dataset, Split
from regrun.errors import ConfigError
from regrun.kinds.models import build_model
from regrun.sweeps.planning import structure
from regrun.training.engine import Engine
from regrun.training.events import Evaluation, MemberEnd, Row
from tests.support.engines import CPU, Life, collect, config_of, train

BASE: dict[str, Any] = {
    "dataset": {"name": "digits", "num_train": 60, "num_test": 40},
    "model": {"name": "mlp", "hidden": [8, 6]},
    "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.5},
    "training": {"epochs": 2, "batch_size": 16, "precision": "float64"},
}
MLP = {"name": "mlp", "hidden": [8, 8, 8]}
CNN = {"name": "cnn", "channels": [3, 4], "hidden": [5]}


def config(**changes: Any) -> Config:
    return config_of(BASE, changes, "training")


def small_images() -> Dataset:
    source = torch.Generator().manual_seed(0)

    def split(count: int) -> Split:
        pixels = torch.randint(256, (count, 2, 8, 8), generator=source).to(torch.uint8)
        return Split(pixels, torch.randint(4, (count,), generator=source))

    mean, std = torch.tensor([0.5, 0.4]).double(), torch.tensor([0.3, 0.2]).double()
    return Dataset(
        "images", "classification", split(40), None, split(20), (2, 8, 8), 4, mean, std
    )  # fmt: skip


def dataset_of(one: Config) -> Dataset:
    """Small images for networks that need them, and for what is done to images."""
    wants = (one.augment.flip, one.augment.crop, one.augment.cutout, one.augment.cutmix)
    if one.model.kind == "cnn" or any(wants) or one.name == "images":
        return small_images()
    return one.dataset.load().to(CPU, torch.float64)


def assert_close(mine: Life, member: int, alone: Life) -> None:
    for one, other in zip(mine[0][member], alone[0][0], strict=True):
        assert one == pytest.approx(other, rel=1e-9, abs=1e-11)
    weights, expected = mine[1][member].weights, alone[1][0].weights
    assert weights is not None and expected is not None
    for name, weight in expected.items():
        torch.testing.assert_close(weights[name], weight, rtol=1e-9, atol=1e-11)


def model(base: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"model": {**base, **keys}}


FIVE: dict[str, list[dict[str, Any]]] = {
    "gaussian dropout": [
        model(MLP, dropout=[0.2 * k, 0.0, 0.1], dropout_type="gaussian") for k in range(5)
    ],
    "alpha dropout": [
        model(MLP, dropout=0.25 * k, dropout_type="alpha", activation="selu") for k in range(5)
    ],
    "spatial dropout": [
        model(CNN, conv_dropout=[0.25 * k, 0.1], dropout=0.2 * k, dropout_type="spatial")
        for k in range(5)
    ],
    "drop-block": [
        model(CNN, conv_dropout=[0.1 * k, 0.2 * k], dropout_type="drop_block", block_size=2)
        for k in range(5)
    ],
    "dropout of convolutions": [
        model(CNN, conv_dropout=0.25 * k, norm="layer") for k in range(5)
    ],
    "drop-connect": [model(MLP, drop_connect=0.25 * k) for k in range(5)],
    "input noise": [model(MLP, input_noise=0.5 * k, input_dropout=0.1) for k in range(5)],
    "stochastic depth": [
        model(MLP, residual=True, stochastic_depth=0.25 * k, norm="layer") for k in range(5)
    ],
    "batch norm in an mlp": [model(MLP, norm="batch", dropout=0.2 * k) for k in range(5)],
    "label smoothing": [{"augment": {"label_smoothing": 0.2 * k}} for k in range(5)],
    "mixup": [{"augment": {"mixup": 0.3 * k}} for k in range(5)],
    "mixup of numbers": [
        {
            "dataset": {"name": "synthetic_linear", "num_features": 5, "num_train": 30},
            "model": {"name": "linear"},
            "augment": {"mixup": 0.3 * k},
        }
        for k in range(5)
    ],
    "flips and crops": [
        {"augment": {"flip": 0.25 * k, "crop": k}, "name": "images"} for k in range(5)
    ],
    "cutout": [{"augment": {"cutout": k}, "name": "images"} for k in range(5)],
    "cutmix": [{"augment": {"cutmix": 0.5 * k}, "name": "images"} for k in range(5)],
    "images, all at once, whole batches": [
        {
            **model(CNN, conv_dropout=0.1 * k, drop_connect=0.1 * k, input_noise=0.1 * k),
            "augment": {
                "flip": 0.5, "crop": k % 3, "cutout": 2 * (k % 2), "mixup": 0.2 * k,
                "cutmix": 0.2 * (k % 2), "label_smoothing": 0.05 * k,
            },
            "training": {"batch_size": "full"},
        }
        for k in range(5)
    ],
    "tables, all at once": [
        {
            **model(
                MLP, residual=True, stochastic_depth=0.2 * k, dropout=0.1 * k, norm="layer",
                drop_connect=0.1 * k, input_noise=0.2 * k, input_dropout=0.1,
            ),
            "augment": {"mixup": 0.2 * k, "label_smoothing": 0.05 * k},
            "optimizer": {"name": "adamw", "lr": 0.01, "weight_decay": 0.1 * k},
            "penalty": {"type": "l1", "strength": 1e-4 * k},
        }
        for k in range(5)
    ],
}  # fmt: skip


def five(case: str) -> list[Config]:
    """Seeds 0, 0, 1, 1, 2: two members share theirs, and its streams, with another."""
    return [config(**{"seed": k // 2, **changes}) for k, changes in enumerate(FIVE[case])]


@pytest.mark.parametrize("case", FIVE)
def test_five_together_are_five_alone(case: str) -> None:
    configs = five(case)
    dataset = dataset_of(configs[-1])
    together = train(configs, dataset)
    for member, one in enumerate(configs):
        assert_close(together, member, train([one], dataset))


@pytest.mark.parametrize("case", FIVE)
def test_members_that_differ_in_noise_share_a_stack(case: str) -> None:
    assert len({structure(one) for one in five(case)}) == 1


@pytest.mark.parametrize("stop_at", [1, 3])
@pytest.mark.parametrize("case", FIVE)
def test_a_resumed_engine_is_bitwise_the_undisturbed_one(case: str, stop_at: int) -> None:
    configs = [
        one.model_copy(update={"training": one.training.model_copy(update={"epochs": 4})})
        for one in five(case)
    ]
    dataset = dataset_of(configs[-1])
    whole, whole_ends = train(configs, dataset)
    first = Engine(configs, dataset, CPU)
    events = first.run()
    while first.step < stop_at:
        next(events)
    second = Engine(configs, dataset, CPU)
    second.load_state_dict(*first.state_dict())
    rest, rest_ends = collect(second)
    for member in range(5):
        assert rest[member] == whole[member][len(whole[member]) - len(rest[member]) :]
        weights, expected = rest_ends[member].weights, whole_ends[member].weights
        assert weights is not None and expected is not None
        assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("case", FIVE)
def test_pruned_members_leave_and_the_others_go_on_as_they_would_have(case: str) -> None:
    configs = five(case)
    dataset = dataset_of(configs[-1])
    alone = train([configs[3]], dataset)
    engine = Engine(configs, dataset, CPU)
    rows: dict[int, list[Row]] = {3: []}
    ends: dict[int, MemberEnd] = {}
    for event in engine.run():
        if isinstance(event, Evaluation):
            rows[3].append(event.rows[3])
            if event.epoch == 1:
                engine.prune([0, 2, 4])
        elif isinstance(event, MemberEnd):
            ends[event.member] = event
    assert_close((rows, ends), 3, alone)


OFF = (
    "dropout",
    "conv_dropout",
    "drop_connect",
    "input_noise",
    "input_dropout",
    "stochastic_depth",
)


OTHER_SHAPES = {"images, all at once, whole batches"}
"""Where members without noise share the whole batch, which noise in the inputs splits.

Products of other shapes are equal up to rounding only; all other cases are equal bit by bit.
"""


@pytest.mark.parametrize("case", sorted(set(FIVE) - {"mixup of numbers"}))
def test_a_level_of_zero_changes_nothing_even_among_noisy_members(case: str) -> None:
    changes = FIVE[case][4]
    silent = {
        **changes,
        "augment": {},
        "model": {
            key: 0.0 if key in OFF else value
            for key, value in changes.get("model", BASE["model"]).items()
        },
    }
    without = {
        **silent,
        "model": {key: value for key, value in silent["model"].items() if key not in OFF},
    }
    noisy = config(**changes, seed=1)
    dataset = dataset_of(noisy)
    among = train([config(**silent, seed=0), noisy], dataset)
    clean = train([config(**without, seed=0), config(**without, seed=1)], dataset)
    assert_close(among, 0, clean)
    if case not in OTHER_SHAPES:
        assert among[0][0] == clean[0][0]
        weights, expected = among[1][0].weights, clean[1][0].weights
        assert weights is not None and expected is not None
        assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items())
    if case != "batch norm in an mlp":
        assert among[0][1] != clean[0][1]


@pytest.mark.parametrize("case", FIVE)
def test_losses_are_measured_without_noise_by_the_plain_module(case: str) -> None:
    one = five(case)[4]
    dataset = dataset_of(one)
    rows, ends = train([one], dataset)
    module = build_model(one.model, dataset.input_shape, dataset.num_outputs, seed=9).double()
    weights = ends[0].weights
    assert weights is not None
    module.load_state_dict(weights)
    module.eval()
    with torch.no_grad():
        outputs = module(dataset.features(dataset.train.inputs, torch.float64))
    measure = F.cross_entropy if dataset.task == "classification" else F.mse_loss
    expected = measure(outputs, dataset.train.targets).item()
    assert rows[0][-1]["train/loss"] == pytest.approx(expected, rel=1e-9)


def test_members_of_one_seed_and_one_section_train_on_one_shared_batch() -> None:
    changes = FIVE["images, all at once, whole batches"][3]
    configs = [
        config(**{**changes, "optimizer": {"name": "sgd", "lr": 0.01 * (k + 1)}}) for k in range(3)
    ]
    together = train(configs, small_images())
    for member, one in enumerate(configs):
        assert_close(together, member, train([one], small_images()))


@pytest.mark.parametrize("key", ["flip", "crop", "cutout", "cutmix"])
def test_the_engine_refuses_for_tables_what_only_images_can_be_given(key: str) -> None:
    one = config(augment={key: 1}, dataset={"name": "wine"})
    with pytest.raises(ConfigError, match=f"augment.{key}: 1 needs images"):
        Engine([one], one.dataset.load().to(CPU, torch.float64), CPU)


def test_a_torchvision_network_takes_augmented_batches() -> None:
    configs = [
        config(
            model={"name": "squeezenet1_1", "dropout": 0.5},
            augment={"flip": 0.5, "mixup": 0.2 * k, "label_smoothing": 0.1},
            training={"epochs": 1, "batch_size": 4},
            seed=k,
        )
        for k in range(2)
    ]
    images = small_images()
    few = Split(images.train.inputs[:4], images.train.targets[:4])
    dataset = replace(images, train=few, test=few)
    together = train(configs, dataset)
    for member, one in enumerate(configs):
        assert_close(together, member, train([one], dataset))


def test_a_stored_network_with_noise_loads_as_an_ordinary_module(tmp_path: Path) -> None:
    run = train_stored(
        {
            "dataset": {"name": "digits", "num_train": 60, "num_test": 40},
            **{key: FIVE["tables, all at once"][3][key] for key in ("model", "augment")},
            "optimizer": {"name": "sgd", "lr": 0.1},
            "training": {"epochs": 1, "precision": "float64"},
        },
        runs_dir=tmp_path,
        device="cpu",
    )
    module = load_model(run.directory)
    assert not module.training
    assert {"hidden.0.linear.weight", "hidden.2.norm.weight", "output.bias"} <= set(
        module.state_dict()
    )
    data = config().dataset.load()
    loss = F.cross_entropy(module(data.test.inputs), data.test.targets).item()
    assert run.summary.metrics["test/loss"] == pytest.approx(loss, rel=1e-9)
