"""A stack against the plain modules it was made of."""

from __future__ import annotations

from math import prod
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from regrun.kinds.models import CNN, MLP, Linear, ModelSection, Torchvision, build_model
from regrun.nn.modules import StandardizedLinear, standardizing
from regrun.stack import Stack, StreamNoise

CPU = torch.device("cpu")
VECTOR, IMAGE = (12,), (2, 8, 8)


def section(kind: type[ModelSection], **keys: Any) -> ModelSection:
    return kind.model_validate(keys)


CASES = {
    "linear": (section(Linear, name="linear"), VECTOR),
    "mlp": (section(MLP, name="mlp", hidden=[7, 5], activation="tanh"), VECTOR),
    "mlp on images": (section(MLP, name="mlp", hidden=[9]), IMAGE),
    "mlp with layer norm": (section(MLP, name="mlp", hidden=[7, 5], norm="layer"), VECTOR),
    "mlp with batch norm": (section(MLP, name="mlp", hidden=[7, 5], norm="batch"), IMAGE),
    "residual mlp": (
        section(MLP, name="mlp", hidden=[6, 6, 6], residual=True, norm="layer", activation="selu"),
        VECTOR,
    ),
    "cnn with layer norm": (
        section(CNN, name="cnn", channels=[4, 3], norm="layer", hidden=[]),
        IMAGE,
    ),
    "cnn": (section(CNN, name="cnn", channels=[4, 6], hidden=[8]), IMAGE),
    "cnn with batch norm": (
        section(CNN, name="cnn", channels=[4], norm="batch", pool="avg", hidden=[]),
        IMAGE,
    ),
    "squeezenet": (section(Torchvision, name="squeezenet1_1", dropout=0.0), (3, 33, 33)),
}


def members(model: ModelSection, shape: tuple[int, ...], count: int = 3) -> list[nn.Module]:
    return [build_model(model, shape, 4, seed=seed).double() for seed in range(count)]


def batch(shape: tuple[int, ...], groups: int, examples: int = 5) -> Tensor:
    return torch.randn(groups, examples, *shape, dtype=torch.float64, generator=torch.Generator())


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("groups", [1, 3])
def test_outputs_and_gradients_are_those_of_each_module_alone(name: str, groups: int) -> None:
    modules = members(*CASES[name])
    stack = Stack(modules, CPU, torch.float64)
    x = batch(CASES[name][1], groups)
    outputs = stack(x, StreamNoise([0, 1, 2], CPU))
    gradients = torch.autograd.grad(outputs.square().sum(), list(stack.parameters.values()))
    for row, module in enumerate(modules):
        module.train()
        expected = module(x[row % groups])
        torch.testing.assert_close(outputs[row], expected, rtol=1e-10, atol=1e-12)
        alone = torch.autograd.grad(expected.square().sum(), list(module.parameters()))
        for stacked, single in zip(gradients, alone, strict=True):
            torch.testing.assert_close(stacked[row], single, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_evaluation_is_that_of_each_module_in_eval_mode(name: str) -> None:
    modules = members(*CASES[name])
    stack = Stack(modules, CPU, torch.float64)
    x = batch(CASES[name][1], 1)
    stack(x, StreamNoise([0, 1, 2], CPU))  # moves batch statistics, as the modules' own pass does
    outputs = stack(x)
    for row, module in enumerate(modules):
        module.train()
        module(x[0])
        module.eval()
        torch.testing.assert_close(outputs[row], module(x[0]), rtol=1e-10, atol=1e-12)


DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


class Normed(nn.Module):
    """Runs through vmap, as it is no chain of layers; on a CPU, too, its product is bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(12, 7, bias=False)
        self.norm = nn.BatchNorm1d(7)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.linear(x))
        return y


class SeenByBatchNorm(TorchFunctionMode):
    """Notes the dtypes that batch norm is called with."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: set[torch.dtype] = set()

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function is nn.functional.batch_norm:
            self.dtypes.add(args[0].dtype)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("device", DEVICES)
def test_batch_norm_through_vmap_is_float32_under_autocast(device: str) -> None:
    modules = [Normed().to(device) for _ in range(3)]
    stack = Stack(modules, torch.device(device), torch.float32)
    x = torch.randn(1, 40, 12, device=device)
    noise = StreamNoise([0, 1, 2], torch.device(device))
    with SeenByBatchNorm() as seen, torch.autocast(device, torch.bfloat16):
        outputs = stack(x, noise)
    assert outputs.dtype == torch.bfloat16 and seen.dtypes == {torch.float32}
    (gradient,) = torch.autograd.grad(
        outputs.float().square().sum(), stack.parameters["norm.weight"]
    )
    assert gradient.dtype == torch.float32 and gradient.isfinite().all()
    for row, module in enumerate(modules):
        with torch.autocast(device, torch.bfloat16):
            torch.testing.assert_close(outputs[row], module(x[0]), rtol=1e-2, atol=1e-2)
        for name, statistic in module.named_buffers():
            torch.testing.assert_close(stack.buffers[name][row], statistic)


def test_groups_of_members_share_their_examples() -> None:
    modules = members(*CASES["cnn"], count=6)
    stack = Stack(modules, CPU, torch.float64)
    x = batch(IMAGE, 2)
    torch.testing.assert_close(stack(x), stack(x.repeat_interleave(3, 0)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_a_member_does_not_feel_its_neighbours(name: str) -> None:
    modules = members(*CASES[name])
    x = batch(CASES[name][1], 3)
    clean = Stack(modules, CPU, torch.float64)
    broken = Stack(modules, CPU, torch.float64)
    with torch.no_grad():
        for parameter in broken.parameters.values():
            parameter[1] = torch.nan
    kept = clean(x, StreamNoise([0, 1, 2], CPU))[[0, 2]]
    assert torch.equal(broken(x, StreamNoise([0, 1, 2], CPU))[[0, 2]], kept)


def test_a_member_leaves_as_an_ordinary_state_dict() -> None:
    modules = members(*CASES["cnn with batch norm"])
    stack = Stack(modules, CPU, torch.float64)
    fresh = build_model(*CASES["cnn with batch norm"], 4, seed=9).double()
    fresh.load_state_dict({name: tensor[2] for name, tensor in stack.state_dict().items()})
    for name, tensor in modules[2].state_dict().items():
        assert torch.equal(fresh.state_dict()[name], tensor)


def test_keeping_members_keeps_their_numbers() -> None:
    model = section(MLP, name="mlp", hidden=[7], dropout=0.5)
    stack = Stack(members(model, VECTOR, 4), CPU, torch.float64)
    x = batch(VECTOR, 1)
    noise = StreamNoise([0, 1, 2, 3], CPU)
    stack(x, noise)
    expected_noise = StreamNoise([0, 1, 2, 3], CPU)
    expected_noise.load_state_dict(noise.state_dict())
    expected = stack(x, expected_noise)[[3, 1]]
    stack.shrink_to([3, 1])
    noise.shrink_to([3, 1])
    torch.testing.assert_close(stack(x, noise), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [VECTOR, IMAGE])
def test_members_with_scales_of_their_own_share_their_inputs(shape: tuple[int, ...]) -> None:
    width = prod(shape)
    draw = torch.Generator().manual_seed(0)
    modules = [
        standardizing(
            module,
            torch.randn(width, generator=draw, dtype=torch.float64),
            torch.rand(width, generator=draw, dtype=torch.float64) + 0.1,
        )
        for module in members(section(Linear, name="linear"), shape)
    ]
    stack = Stack(modules, CPU, torch.float64)
    x = batch(shape, 1)
    outputs = stack(x, StreamNoise([0, 1, 2], CPU))
    gradients = torch.autograd.grad(outputs.square().sum(), list(stack.parameters.values()))
    assert list(stack.roles.values()) == ["weight", "bias"]
    for row, module in enumerate(modules):
        layer = module.get_submodule("output")
        assert isinstance(layer, StandardizedLinear)
        scaled = (x[0].flatten(1) - layer.mean) / layer.std
        expected = scaled @ layer.weight.T + layer.bias
        torch.testing.assert_close(outputs[row], expected, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(module(x[0]), expected, rtol=1e-10, atol=1e-12)
        alone = torch.autograd.grad(expected.square().sum(), list(module.parameters()))
        for stacked, single in zip(gradients, alone, strict=True):
            torch.testing.assert_close(stacked[row], single, rtol=1e-9, atol=1e-9)
