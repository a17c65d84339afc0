"""torchvision's networks in training: alone they run without vmap, in a stack through it."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from regrun.config.schema import Config
from regrun.data.dataset import Dataset, Split
from regrun.kinds.models import build_model
from regrun.stack import Stack, StreamNoise, whole
from regrun.training.engine import Engine
from regrun.training.events import Evaluation
from tests.support.engines import CPU, Life, collect, config_of
from tests.support.small_networks import use_small_networks

BASE: dict[str, Any] = {
    "dataset": {"name": "cifar10"},
    "model": {"name": "densenet121"},
    "optimizer": {"name": "sgd", "lr": 0.01},
    "training": {"epochs": 2, "batch_size": 5, "precision": "float64"},
}
CASES: dict[str, dict[str, Any]] = {
    "batch norm": {},
    "dropout, r-drop": {
        "model": {"name": "squeezenet1_1", "dropout": 0.3},
        "training": {**BASE["training"], "r_drop": {"alpha": 1.0}},
    },
    "batch norm, averages": {"training": {**BASE["training"], "ema": 0.9, "swa": {"start": 1}}},
    "batch norm, sam": {"optimizer": {"name": "sgd", "lr": 0.01, "sam": 0.05}},
    "stochastic depth, dropout": {"model": {"name": "efficientnet_b0"}},
    "attention, dropout, sam, averages": {
        "model": {"name": "vit_b_16"},
        "optimizer": {"name": "sgd", "lr": 0.01, "sam": 0.05},
        "training": {**BASE["training"], "ema": 0.9, "swa": {"start": 1}},
    },
}


@pytest.fixture(autouse=True)
def _small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    use_small_networks(monkeypatch)


def config(case: str, seed: int = 0, **optimizer: Any) -> Config:
    one = config_of(BASE, CASES[case])
    section = one.optimizer.model_copy(update=optimizer)
    return one.model_copy(update={"seed": seed, "optimizer": section})


def pictures(dtype: torch.dtype = torch.float64) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 256, (14, 3, 32, 32), generator=generator, dtype=torch.uint8)
    targets = torch.arange(14) % 10
    train, test = Split(inputs[:10], targets[:10]), Split(inputs[10:], targets[10:])
    pictures = Dataset("pictures", "classification", train, None, test, (3, 32, 32), 10)
    return pictures.to(CPU, dtype)


def train(*configs: Config) -> Life:
    return collect(Engine(configs, pictures(), CPU))


def tensors(life: Life, member: int = 0) -> dict[str, Tensor]:
    """A member's weights, averages and metrics."""
    rows, ends = life
    end = ends[member]
    assert end.weights is not None
    measured = {
        f"{number} {key}": torch.tensor(value, dtype=torch.float64)
        for number, row in enumerate(rows[member])
        for key, value in row.items()
    }
    averages = {f"{label}/{n}": t for label, own in end.averages.items() for n, t in own.items()}
    return {**measured, **end.weights, **averages}


def differences(found: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, float]:
    """The largest of each tensor, as a part of its largest number, or of 0.001.

    A bias that the next batch norm subtracts again is rounding noise and nothing else.
    """
    assert found.keys() == expected.keys()
    return {
        name: (
            (tensor - expected[name]).abs().max() / expected[name].abs().max().clamp(1e-3)
        ).item()
        for name, tensor in found.items()
    }


@pytest.mark.parametrize("case", CASES)
def test_a_member_ends_the_same_alone_and_in_a_stack(case: str) -> None:
    configs = [config(case), config(case, lr=0.002), config(case, seed=1)]
    together = train(*configs)
    for member, one in enumerate(configs):
        found = differences(tensors(together, member), tensors(train(one)))
        print(max(found.items(), key=lambda item: item[1]))
        assert max(found.values()) < 1e-9, found


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_goes_on_is_the_same_to_the_last_bit(case: str) -> None:
    whole_run = tensors(train(config(case)))
    first = Engine([config(case)], pictures(), CPU)
    next(event for event in first.run() if isinstance(event, Evaluation))
    second = Engine([config(case)], pictures(), CPU)
    second.load_state_dict(*first.state_dict())
    rows, ends = collect(second)
    for name, tensor in tensors((rows, ends)).items():
        epoch = name.replace("0 ", "1 ", 1) if name.startswith("0 ") else name
        assert torch.equal(tensor, whole_run[epoch]), name


@pytest.mark.parametrize("case", CASES)
def test_the_layout_of_images_changes_rounding_alone(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = tensors(train(config(case)))
    monkeypatch.setattr(whole, "channels_last_pays", lambda _: True)
    engine = Engine([config(case)], pictures(), CPU)
    seen = set()

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d) and output.shape[1] > 1 and output.shape[2] > 1:
            seen.add(output.is_contiguous(memory_format=torch.channels_last))

    handle = nn.modules.module.register_module_forward_hook(note)
    life = collect(engine)
    handle.remove()
    assert seen == {True}
    found = differences(tensors(life), expected)
    assert max(found.values()) < 1e-9, found
    (end,) = life[1].values()
    assert end.weights is not None
    assert all(tensor.is_contiguous() for tensor in end.weights.values())


def test_gradients_have_the_layout_of_the_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "channels_last_pays", lambda _: True)
    model = config("stochastic depth, dropout").model
    stack = Stack([build_model(model, (3, 32, 32), 10, 0)], CPU, torch.float32, model)
    outputs = stack(torch.rand(1, 4, 3, 32, 32), StreamNoise([0], CPU))
    gradients = torch.autograd.grad(outputs.square().sum(), list(stack.parameters.values()))
    assert all(gradient.is_contiguous() for gradient in gradients)


@pytest.mark.parametrize(
    ("device", "dtype", "expected"),
    [
        ("cpu", torch.float32, False),
        ("cuda", torch.float32, True),
        ("cuda", torch.float64, False),
    ],
)
def test_channels_last_pays_for_float32_on_a_gpu(
    device: str, dtype: torch.dtype, expected: bool
) -> None:
    class Pretended:
        def __init__(self) -> None:
            self.device, self.dtype = torch.device(device), dtype

    assert whole.channels_last_pays(cast("Tensor", Pretended())) is expected
