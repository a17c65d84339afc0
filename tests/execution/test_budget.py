"""The budget against what training really allocates, and how often it goes through the network."""

from __future__ import annotations

import gc
import json
import re
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from regrun.config.load import config_from_mapping
from regrun.config.schema import Config
from regrun.config.training import Training
from regrun.data.dataset import Dataset, Split
from regrun.execution.budget import Budget, comparing, estimate
from regrun.stack import Stack
from regrun.sweeps.run import plan_sweep
from regrun.training import compiled
from regrun.training.batches import TrainMask
from regrun.training.compiled import Mode
from regrun.training.step import Step
from tests.support import program
from tests.support.runs import LINEAR

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """The optimizer's scratch grows with the threads, and belongs to no member."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Allocations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Bytes of all tensors that operations gave and that are still alive, and their peak."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = self._now = 0
        self._living: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(given):
            if isinstance(tensor, torch.Tensor) and not isinstance(tensor, FakeTensor):
                self._count(tensor.untyped_storage())
        return given

    def _count(self, storage: Any) -> None:
        key = storage._cdata
        if key not in self._living:
            self._living[key] = storage.nbytes()
            self._now += storage.nbytes()
            self.peak = max(self.peak, self._now)
            weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self._now -= self._living.pop(key)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Large ones, and few: what a batch of them takes is most of the memory."""
    path = tmp_path_factory.mktemp("pictures") / "pictures.npz"
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (40, 32, 32), dtype=np.uint8)
    np.savez(path, x=x, y=np.arange(40) % 2)
    return {"name": "npz", "path": str(path), "test": 8}


def peak_and_budget(*overrides: dict[str, Any], **sections: Any) -> tuple[int, Budget]:
    """Bytes a member at the peak of a step, and the budget; a member for each of the overrides."""
    tree = {"optimizer": {"name": "sgd", "lr": 0.01}, "training": {"batch_size": 16}, **sections}
    configs = [
        config_from_mapping({**tree, "seed": seed}, each).config
        for seed, each in enumerate(overrides)
    ]
    dataset = configs[0].dataset.load().to(CPU, torch.float32)
    budget = estimate(configs, dataset, CPU, allow_large=True)
    gc.collect()
    with Allocations() as allocations:
        step = step_of(configs, dataset)
        step.compiles = configs[0].training.compile == "always"
        for number in range(3):
            step(number)
        assert not step.not_compiled
    return allocations.peak // len(configs), budget


def step_of(configs: list[Config], dataset: Any) -> Step:
    from regrun.training.network import build_network

    modules = [build_network(config, dataset, config.seed) for config in configs]
    return Step(
        configs,
        Stack(modules, CPU, torch.float32),
        dataset,
        TrainMask(None),
        [False] * len(configs),
        CPU,
    )


AUGMENTED: dict[str, dict[str, Any]] = {
    "nothing": {},
    "flip": {"augment.flip": 0.5},
    "crop": {"augment.crop": 3},
    "cutout": {"augment.cutout": 5},
    "mixup": {"augment.mixup": 0.4},
    "cutmix": {"augment.cutmix": 1.0},
    "all": {"augment.flip": 0.5, "augment.crop": 3, "augment.cutout": 5, "augment.mixup": 0.4},
}


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("case", AUGMENTED)
def test_what_a_batch_takes_is_counted_whatever_is_done_to_it(
    case: str, members: int, pictures: dict[str, Any]
) -> None:
    peak, budget = peak_and_budget(
        *[AUGMENTED[case]] * members, dataset=pictures, model={"name": "linear"}
    )
    assert peak <= budget.member_bytes <= 4 * peak  # idle layers of noise are counted too


COMPARED: dict[str, dict[str, Any]] = {
    "sgd": {},
    "adam": {"optimizer.name": "adam"},
    "average": {"training.ema": 0.9},
    "lookahead": {"optimizer.lookahead": {"k": 2}},
}


@pytest.mark.parametrize("case", COMPARED)
def test_what_comparing_steps_takes_is_counted_where_they_are_compiled(
    case: str, pictures: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interpreted(graph: Any, _: Any) -> Any:
        return torch.no_grad()(lambda given: (graph(*given),))

    monkeypatch.setattr(compiled, "compiled", interpreted)
    model = {"name": "mlp", "hidden": [64, 64]}
    always = {"training.compile": "always", **COMPARED[case]}
    peak, budget = peak_and_budget(*[always] * 3, dataset=pictures, model=model)
    assert budget.total_bytes(3) - budget.shared_bytes == 3 * (
        budget.member_bytes + budget.comparing_bytes
    )
    assert budget.member_bytes < peak <= budget.member_bytes + budget.comparing_bytes
    never = {**always, "training.compile": "never"}
    peak, budget = peak_and_budget(*[never] * 3, dataset=pictures, model=model)
    assert peak <= budget.member_bytes
    assert budget.comparing_bytes == 0


@pytest.mark.parametrize(
    ("mode", "device", "steps", "copies", "members"),
    [
        ("never", "cpu", 10**6, 0, 1),
        ("always", "cpu", 1, 3, 1),
        ("auto", "cpu", 1, 0, 1),
        ("auto", "cpu", 20_000, 3, 68),
        ("auto", "cpu", 10**6, 3, 1),
        ("never", "cuda", 1, 2, 1),
        ("always", "cuda", 1, 3, 1),
        ("auto", "cuda", 10**6, 3, 1),
    ],
)
def test_steps_are_compared_where_they_are_compiled_or_recorded(
    mode: Mode, device: str, steps: int, copies: int, members: int
) -> None:
    training = Training(epochs=1, compile=mode)
    assert comparing(training, 10**5, steps, torch.device(device)) == (copies, members)


@pytest.mark.parametrize("key", ["optimizer.sam", "training.ema", "training.clip_norm"])
def test_what_one_member_of_a_stack_keeps_all_of_them_keep(
    key: str, pictures: dict[str, Any]
) -> None:
    model = {"name": "mlp", "hidden": [64]}
    sections: dict[str, Any] = {"dataset": pictures, "model": model}
    plain, least = peak_and_budget({}, {}, {}, **sections)
    peak, budget = peak_and_budget({}, {key: 0.5}, {}, **sections)
    weights = 4 * budget.parameters
    assert peak - plain > 0.9 * weights, "it keeps nothing"
    counted = budget.member_bytes - least.member_bytes
    assert peak - plain <= 1.001 * counted  # and a few numbers a member
    assert counted <= 2 * weights
    assert peak <= budget.member_bytes


@pytest.mark.parametrize(("radii", "passes"), [([0.0], 1), ([0.1], 2), ([0.0, 0.1], 2)])
def test_a_step_is_as_long_as_it_has_passes_forward_and_back(
    radii: list[float], passes: int, monkeypatch: Any
) -> None:
    counted: dict[str, int] = {"forward": 0, "back": 0}

    def counting(name: str, real: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            counted[name] += 1
            return real(*arguments, **options)

        return call

    configs = [config_from_mapping(LINEAR, {"optimizer.sam": radius}).config for radius in radii]
    dataset = configs[0].dataset.load().to(CPU, torch.float32)
    step = step_of(configs, dataset)
    monkeypatch.setattr(Stack, "__call__", counting("forward", Stack.__call__))
    monkeypatch.setattr(torch.autograd, "grad", counting("back", torch.autograd.grad))
    for number in range(4):
        step(number)
    assert counted == {"forward": 4 * passes, "back": 4 * passes}

    budget = estimate(configs, dataset, CPU, allow_large=True)
    assert budget.passes == passes
    storing = Budget(0, 0, budget.evaluations, 0, 0).seconds(3)
    one = Budget(0, budget.steps, 0, budget.member_bytes, 0)
    training = one.seconds(3) - Budget(0, 0, 0, 0, 0).seconds(3)
    assert budget.seconds(3) == pytest.approx(storing + passes * training)


def test_a_dry_run_expects_a_sweep_over_sam_to_take_longer() -> None:
    def seconds(*radii: float) -> float:
        sweep = {"grid": {"optimizer.sam": list(radii)}}
        plan = plan_sweep(config_from_mapping({**LINEAR, "sweep": sweep}))
        assert len(plan.stacks) == 1
        return plan.stacks[0].seconds

    assert seconds(0.0, 0.1) == pytest.approx(seconds(0.2, 0.1))
    assert seconds(0.1) > 1.3 * seconds(0.0)


def test_inspect_and_the_error_of_too_little_memory_agree_on_the_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "dataset: {name: digits, num_train: 300}\nmodel: {name: mlp}\noptimizer: {lr: 0.1}\n"
    )
    needed = json.loads(program.invoke("inspect", path, "--json").stdout)["memory_bytes"]
    text = program.invoke("inspect", path).stdout
    size = re.search(r"about (\d+\.\d [kM]B) of memory", text)
    assert size is not None
    monkeypatch.setattr("regrun.execution.budget.available_bytes", lambda _: needed - 1)
    refused = program.invoke("inspect", path)
    assert refused.exit_code == 2
    assert f"need about {size[1]} while training" in refused.stderr


@pytest.mark.parametrize(
    ("model", "examples", "fills"),
    [
        ({"name": "resnet18"}, 128, True),
        ({"name": "resnet18"}, 32, False),
        ({"name": "cnn", "channels": [32, 64], "hidden": [128]}, 128, False),
        ({"name": "mlp", "hidden": [256, 256]}, 128, False),
    ],
)
def test_a_network_fills_a_gpu_alone_by_its_largest_layer_for_a_batch(
    model: dict[str, Any], examples: int, fills: bool
) -> None:
    one = Config.model_validate(
        {
            "dataset": {"name": "cifar10"},
            "model": model,
            "optimizer": {"name": "sgd", "lr": 0.1},
            "training": {"batch_size": examples},
        }
    )
    images = torch.zeros(128, 3, 32, 32, dtype=torch.uint8)
    split = Split(images, torch.zeros(128, dtype=torch.int64))
    dataset = Dataset("black", "classification", split, None, split, (3, 32, 32), 10)
    assert estimate([one], dataset, CPU, allow_large=True).fills_gpu is fills


@pytest.mark.parametrize(("batch_size", "positions"), [(2, 2), ("full", 0)])
def test_on_a_gpu_the_orders_of_two_epochs_count(batch_size: object, positions: int) -> None:
    keys = {"training": {"epochs": 2, "batch_size": batch_size}}
    one = config_from_mapping({**LINEAR, **keys}).config
    data = one.dataset.load()
    on_gpu, on_cpu = (
        estimate([one], data, torch.device(device), allow_large=True).member_bytes
        for device in ("cuda", "cpu")
    )
    assert on_gpu - on_cpu == positions * len(data.train) * torch.int64.itemsize
