"""torchvision's networks in training: alone they run without vmap, in a stack through it."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor, nn

from regrun.config.schema import Config
from regrun.kinds.models import build_model
from regrun.stack import Stack, StreamNoise, whole
from regrun.training.engine import Engine
from regrun.training.events import Evaluation
from tests.support.engines import CPU, Life, collect
from tests.support.small_networks import use_small_networks
from tests.support.torchvision_runs import CASES, config, differences, pictures, tensors


@pytest.fixture(autouse=True)
def _small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    use_small_networks(monkeypatch)


def train(*configs: Config) -> Life:
    return collect(Engine(configs, pictures(), CPU))


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
