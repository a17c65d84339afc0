"""torchvision's classifiers: named, adapted, and trained as stacks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, get_args

import pytest
import torch
from torch import nn

from regrun.config.schema import Config
from regrun.data.dataset import Dataset, Split
from regrun.errors import ConfigError
from regrun.kinds.models import Torchvision, build_model
from regrun.kinds.models.torchvision import TorchvisionName
from regrun.stack import Stack, StreamNoise, whole
from regrun.training.engine import Engine
from regrun.training.events import Evaluation

CPU = torch.device("cpu")


def section(name: str, **keys: Any) -> Torchvision:
    return Torchvision.model_validate({"name": name, **keys})


def test_the_schema_names_all_of_torchvisions_classifiers() -> None:
    import torchvision.models

    known = torchvision.models.list_models(module=torchvision.models)
    assert sorted(get_args(TorchvisionName)) == sorted(known)


def test_a_resnet_on_small_pictures_is_adapted_and_says_so() -> None:
    module = build_model(section("resnet18"), (3, 32, 32), 10, seed=0)
    conv = module.conv1
    assert isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3) and conv.stride == (1, 1)
    assert isinstance(module.maxpool, nn.Identity)
    assert isinstance(module.fc, nn.Linear) and module.fc.out_features == 10
    (note,) = section("resnet18").notes((3, 32, 32))
    assert note.startswith("stem: 3×3 convolution of stride 1, no max-pooling")


def test_kept_or_large_enough_a_resnet_is_as_published() -> None:
    import torchvision.models

    published = torchvision.models.resnet18(num_classes=1000).state_dict()
    for keys, side in (({"small_images": "keep"}, 32), ({}, 64)):
        one = section("resnet18", **keys)
        module = build_model(one, (3, side, side), 1000, seed=0)
        shapes = {name: tensor.shape for name, tensor in module.state_dict().items()}
        assert shapes == {name: tensor.shape for name, tensor in published.items()}
        assert isinstance(module.maxpool, nn.MaxPool2d)
        assert one.notes((3, side, side)) == []


def test_grey_pictures_get_a_first_convolution_of_one_channel() -> None:
    one = section("mobilenet_v3_small")
    module = build_model(one, (1, 28, 28), 10, seed=0)
    first = next(layer for layer in module.modules() if isinstance(layer, nn.Conv2d))
    assert first.in_channels == 1
    assert one.notes((1, 28, 28)) == [
        "first convolution takes 1 channel(s) instead of 3",
        "images are enlarged from 28×28 to 32×32",
    ]


@pytest.mark.parametrize(
    ("name", "shape", "side"),
    [
        ("alexnet", (3, 32, 32), 64), ("inception_v3", (3, 32, 32), 75), ("vgg11", (1, 28, 28), 32),
        ("vit_b_32", (3, 40, 40), 64), ("vit_b_16", (3, 40, 40), 48), ("vit_h_14", (3, 40, 40), 42),
        ("maxvit_t", (3, 32, 32), 224), ("maxvit_t", (3, 300, 300), 448),
        ("swin_t", (3, 50, 80), 80),
    ],
)  # fmt: skip
def test_pictures_are_enlarged_to_what_the_network_takes(
    name: str, shape: tuple[int, int, int], side: int
) -> None:
    module = build_model(section(name), shape, 10)
    assert isinstance(module[0], nn.Upsample)  # type: ignore[index]
    assert module[0].size == (side, side)  # type: ignore[index]
    note = f"images are enlarged from {shape[1]}×{shape[2]} to {side}×{side}"
    assert note in section(name).notes(shape)


def test_dropout_sets_all_of_a_networks_rates_and_refuses_where_there_are_none() -> None:
    module = build_model(section("squeezenet1_1", dropout=0.3), (3, 32, 32), 10, seed=0)
    assert [layer.p for layer in module.modules() if isinstance(layer, nn.Dropout)] == [0.3]
    with pytest.raises(ConfigError, match=r"model\.dropout: resnet18 has no dropout layers"):
        build_model(section("resnet18", dropout=0.3), (3, 32, 32), 10, seed=0)


LIGHT = (
    "mobilenet_v3_small", "efficientnet_b0", "googlenet", "shufflenet_v2_x0_5", "mnasnet0_5",
    "regnet_y_400mf", "squeezenet1_0",
)  # fmt: skip
MIDDLING = ("resnet18", "swin_t")
HEAVY = (
    "densenet121", "convnext_tiny", "vgg11_bn", "alexnet", "vit_b_32", "inception_v3",
    "swin_v2_t", "resnext50_32x4d", "efficientnet_v2_s", "regnet_x_400mf", "mobilenet_v2",
)  # fmt: skip


def covering(*, in_ci: tuple[str, ...]) -> list[Any]:
    names = (*LIGHT, *MIDDLING, *HEAVY)
    return [n if n in in_ci else pytest.param(n, marks=pytest.mark.long) for n in names]


def without_noise(module: nn.Module) -> nn.Module:
    for layer in module.modules():
        if isinstance(getattr(layer, "p", None), float):
            layer.p = 0.0  # type: ignore[assignment]
    return module


@pytest.mark.parametrize("name", covering(in_ci=LIGHT))
def test_a_stack_computes_what_its_members_compute(name: str) -> None:
    """Outputs, gradients and running statistics in training mode; outputs in evaluation mode."""
    shape, generator = (3, 32, 32), torch.Generator().manual_seed(0)
    modules = [
        without_noise(build_model(section(name), shape, 10, seed)).double() for seed in (0, 1)
    ]
    stack = Stack(modules, CPU, torch.float64)
    x = torch.rand(1, 4, *shape, generator=generator, dtype=torch.float64)
    outputs = stack(x, StreamNoise([0, 1], CPU))
    # A random weighing of the outputs: their plain sum has no gradient behind a last norm.
    weighing = torch.randn(outputs.shape, generator=generator, dtype=torch.float64)
    parameters = list(stack.parameters.values())
    gradients = torch.autograd.grad((outputs * weighing).sum(), parameters)
    with torch.no_grad():
        evaluated = stack(x)
    for row, module in enumerate(modules):
        alone = module.train()(x[0])
        close(outputs[row], alone)
        alone.backward(weighing[row])
        close(flat(g[row] for g in gradients), flat(p.grad for p in module.parameters()))
        close(flat(b[row] for b in stack.buffers.values()), flat(module.buffers()))
        with torch.no_grad():
            close(evaluated[row], module.eval()(x[0]))


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", covering(in_ci=("mobilenet_v3_small", "googlenet")))
def test_a_stack_of_one_computes_what_its_module_computes(
    name: str, channels_last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the layout of images, and with gradients in that of the parameters."""
    monkeypatch.setattr(whole, "channels_last_pays", lambda _: channels_last)
    shape, generator = (3, 32, 32), torch.Generator().manual_seed(0)
    module = without_noise(build_model(section(name), shape, 10, 0)).double()
    stack = Stack([module], CPU, torch.float64, section(name))
    x = torch.rand(1, 4, *shape, generator=generator, dtype=torch.float64)
    outputs = stack(x, StreamNoise([0], CPU))
    weighing = torch.randn(outputs.shape, generator=generator, dtype=torch.float64)
    gradients = torch.autograd.grad((outputs * weighing).sum(), list(stack.parameters.values()))
    assert not channels_last or all(g.is_contiguous() for g in gradients)
    alone = module.train()(x[0])
    close(outputs[0], alone)
    alone.backward(weighing[0])
    close(flat(g[0] for g in gradients), flat(p.grad for p in module.parameters()))
    close(flat(b[0] for b in stack.buffers.values()), flat(module.buffers()))
    with torch.no_grad():
        close(stack(x)[0], module.eval()(x[0]))


def flat(tensors: Iterable[torch.Tensor | None]) -> torch.Tensor:
    return torch.cat([t.flatten().double() for t in tensors if t is not None] or [torch.zeros(1)])


def close(mine: torch.Tensor, expected: torch.Tensor) -> None:
    """To rounding, of numbers that batch norm's cancellations have made from others as large."""
    scale = expected.abs().max().item()
    torch.testing.assert_close(mine, expected, rtol=1e-6, atol=1e-8 * scale)


def pictures(count: int, generator: torch.Generator) -> Split:
    inputs = torch.randint(0, 256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    return Split(inputs, torch.randint(0, 10, (count,), generator=generator))


@pytest.mark.parametrize("name", covering(in_ci=(*LIGHT, *MIDDLING)))
def test_two_members_take_a_step_with_all_their_noise(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    train, test = pictures(4, generator), pictures(3, generator)
    dataset = Dataset("pictures", "classification", train, None, test, (3, 32, 32), 10)
    configs = [
        Config.model_validate(
            {
                "dataset": {"name": "cifar10"},
                "model": {"name": name},
                "optimizer": {"name": "sgd", "lr": 1e-4},
                "training": {"epochs": 1, "batch_size": 4},
                "seed": seed,
            }
        )
        for seed in (0, 1)
    ]
    engine = Engine(configs, dataset.to(CPU, torch.float32), CPU)
    (evaluation,) = [event for event in engine.run() if isinstance(event, Evaluation)]
    losses = [evaluation.rows[member]["train/loss"] for member in (0, 1)]
    assert all(map(math.isfinite, losses))
    assert losses[0] != losses[1]


def test_stochastic_depth_drops_whole_examples_at_each_members_own_rate() -> None:
    from torchvision.ops import StochasticDepth

    def member(rate: float) -> nn.Module:
        linear = nn.Linear(5, 5, bias=False)
        nn.init.eye_(linear.weight)
        return nn.Sequential(linear, StochasticDepth(rate, "row"))

    rates = (0.1, 0.6)
    stack = Stack([member(rate) for rate in rates], CPU, torch.float32)
    x = torch.rand(1, 4000, 5) + 0.5
    with torch.no_grad():
        outputs = stack(x, StreamNoise([3, 4], CPU))
        assert torch.equal(stack(x), x.expand(2, -1, -1))
    for row, rate in enumerate(rates):
        dropped = (outputs[row] == 0).all(1)
        torch.testing.assert_close(outputs[row][~dropped], x[0][~dropped] / (1 - rate))
        # 5 standard deviations: wrong in fewer than 1 of a million cases
        assert abs(dropped.double().mean() - rate) < 5 * math.sqrt(rate * (1 - rate) / 4000)
