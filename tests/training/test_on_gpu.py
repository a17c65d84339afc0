"""What holds on a CPU, on a GPU: each case of a step, recorded as a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from regrun.config.load import config_from_mapping
from regrun.config.schema import Config
from regrun.results import SweepSummary
from regrun.stack import whole
from regrun.stack.philox import fused_fill, philox
from regrun.sweeps.run import Options, run_sweep
from regrun.training import step as step_module
from regrun.training.batches import Orders, epoch_order
from regrun.training.engine import Engine
from regrun.training.events import Evaluation, Tick
from regrun.training.precision import DTYPES
from regrun.training.replay import Replay
from tests.support import torchvision_runs
from tests.support.bfloat16 import NETWORKS, check_network
from tests.support.engines import CPU, Life, collect, config_of
from tests.support.small_networks import use_small_networks
from tests.support.steps import BASE, CASES
from tests.support.sweeps import stacks, with_keys

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here"),
]

GPU = torch.device("cuda", 0)

NOISE_FREE = [
    name
    for name, case in CASES.items()
    if not case.get("augment") and not case.get("model", {}).get("dropout")
] + ["smoothing"]


def config(case: str) -> Config:
    """In float64, long enough for steps of each kind to be recorded, checked and replayed."""
    one = config_of(BASE, CASES[case])
    training = one.training.model_copy(update={"precision": "float64", "epochs": 8})
    return one.model_copy(update={"training": training})


def members(case: str) -> list[Config]:
    one = config(case)
    found = []
    for seed, lr in ((0, 0.01), (0, 0.02), (1, 0.03)):
        optimizer = one.optimizer.model_copy(update={"lr": lr})
        found.append(one.model_copy(update={"seed": seed, "optimizer": optimizer}))
    return found


def engine(configs: Sequence[Config], device: torch.device = GPU) -> Engine:
    return Engine(configs, configs[0].dataset.load().to(device, torch.float64), device)


def assert_close(found: Life, expected: Life, member: int = 0, other: int = 0) -> None:
    """One member's evaluations and weights, to a relative 1e-9."""
    ours, theirs = found[0][member], expected[0][other]
    assert len(ours) == len(theirs) > 0
    for mine, its in zip(ours, theirs, strict=True):
        assert mine.keys() == its.keys()
        expected_values = [its[key] for key in mine]
        np.testing.assert_allclose([*mine.values()], expected_values, rtol=1e-9, atol=1e-12)
    weights = [life[1][each].weights for life, each in ((found, member), (expected, other))]
    assert weights[0] is not None and weights[1] is not None
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], rtol=1e-8, atol=1e-10)


@pytest.fixture
def unrecorded(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Lets engines made from then on take all steps as they are."""

    def switch() -> None:
        def make(device: torch.device, tensors: Callable[[], Sequence[Tensor]]) -> Replay:
            replay = Replay(device, tensors)
            replay.refusal = "not asked for"
            return replay

        monkeypatch.setattr(step_module, "Replay", make)

    return switch


@pytest.mark.parametrize("case", CASES)
def test_recorded_steps_give_what_steps_give_as_they_are(
    case: str, unrecorded: Callable[[], None]
) -> None:
    one = engine(members(case))
    recorded = collect(one)
    assert one.not_replayed == ""
    unrecorded()
    plain = collect(engine(members(case)))
    for member in range(3):
        assert_close(recorded, plain, member, member)


@pytest.mark.parametrize("case", CASES)
def test_a_member_ends_the_same_alone_and_in_a_stack(case: str) -> None:
    configs = members(case)
    together = collect(engine(configs))
    for member, one in enumerate(configs):
        assert_close(together, collect(engine([one])), member)


@pytest.mark.parametrize("case", NOISE_FREE)
def test_a_run_without_noise_ends_as_on_a_cpu(case: str) -> None:
    configs = members(case)
    on_gpu, on_cpu = collect(engine(configs)), collect(engine(configs, CPU))
    for member in range(3):
        assert_close(on_gpu, on_cpu, member, member)


@pytest.mark.parametrize("more", [0, 2], ids=["after an evaluation", "within an epoch"])
@pytest.mark.parametrize("case", CASES)
def test_a_resumed_run_is_the_same_run_to_the_last_bit(case: str, more: int) -> None:
    whole = collect(engine(members(case)))
    first = engine(members(case))
    stop = first.total_steps * 5 // 8 + more  # after five of eight epochs
    done = 0
    for event in first.run():
        done += isinstance(event, Evaluation)
        if first.step >= stop:
            break
    second = engine(members(case))
    second.load_state_dict(*first.state_dict())
    rest = collect(second)
    for member in range(3):
        assert rest[0][member] == whole[0][member][done:]
        ours, theirs = rest[1][member].weights, whole[1][member].weights
        assert ours is not None and theirs is not None
        for name, tensor in ours.items():
            assert torch.equal(tensor, theirs[name]), name


@pytest.mark.parametrize("case", ["adam", "sam, batch norm", "dropout", "images"])
def test_compiled_steps_give_what_steps_give_as_they_are(case: str) -> None:
    def compiling(mode: str) -> list[Config]:
        return [
            one.model_copy(update={"training": one.training.model_copy(update={"compile": mode})})
            for one in members(case)
        ]

    one = engine(compiling("always"))
    found, expected = collect(one), collect(engine(compiling("never")))
    assert one.not_compiled == ""
    for member in range(3):
        assert_close(found, expected, member, member)


def test_the_orders_that_are_made_ahead_are_those_of_a_cpu() -> None:
    seeds = (3, 1, 4)
    orders = Orders(5_000, GPU, ahead=6)
    orders.set_seeds(seeds)
    for epoch in (0, 1, 2, 4, 5):  # 4: not the one that was made
        found = orders.of(epoch)
        assert found.device == GPU
        assert torch.equal(found.cpu(), epoch_order(seeds, epoch, 5_000))


@pytest.fixture
def limit() -> Iterator[Callable[[int], None]]:
    """Lets this process have so many bytes of the GPU, until the test ends."""

    def to(most: int) -> None:
        total = torch.cuda.get_device_properties(GPU).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, most / total), GPU)

    yield to
    torch.cuda.set_per_process_memory_fraction(1.0, GPU)


def peak() -> int:
    """Bytes that were taken at most since this was last called, which are given back."""
    most = torch.cuda.max_memory_reserved(GPU)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(GPU)
    return most


def test_a_stack_that_does_not_fit_is_halved_and_ends_with_the_same_results(
    tmp_path: Path, limit: Callable[[int], None]
) -> None:
    def swept(name: str, size: int) -> SweepSummary:
        config = with_keys(
            BASE,
            model={"hidden": [2000]},
            training={"epochs": 2, "precision": "float64"},
            sweep={"grid": {"optimizer.lr": [0.01, 0.02, 0.03, 0.04]}, "stack_size": size},
        )
        options = Options("cuda:0", workers=0)
        return run_sweep(config_from_mapping(config), runs_dir=tmp_path / name, options=options)

    peak()
    halves = swept("halves", 2), peak()
    whole = swept("whole", 4), peak()
    limit((halves[1] + whole[1]) // 2)
    found = swept("short", 4)
    assert len(stacks(Path(found.sweep_dir))) > len(stacks(Path(whole[0].sweep_dir)))
    assert found.completed == 4
    for mine, other in zip(found.cells, whole[0].cells, strict=True):
        assert mine.params == other.params
        for metric, interval in other.metrics.items():
            assert mine.metrics[metric].values == pytest.approx(interval.values, rel=1e-9)


def test_a_member_that_diverges_takes_no_other_with_it() -> None:
    healthy = members("adam")
    wild = healthy[1].model_copy(
        update={"optimizer": healthy[1].optimizer.model_copy(update={"lr": 1e200})}
    )
    rows, ends = collect(engine([healthy[0], wild, healthy[2]]))
    assert ends[1].status == "diverged"
    for member in (0, 2):
        assert_close((rows, ends), collect(engine([healthy[member]])), member)


def test_steps_are_recorded_anew_when_members_leave() -> None:
    one = engine(members("dropout"))
    steps: Iterator[Any] = one.run()
    for event in steps:
        if isinstance(event, Evaluation) and event.epoch == 4:
            one.prune([1])
    assert one.not_replayed == ""
    assert all(not isinstance(event, Tick) for event in steps)


def test_the_kernel_gives_the_words_of_philox() -> None:
    fill = fused_fill()
    assert fill is not None
    keys, count = torch.tensor([3, 2**62 + 11], device=GPU), 10_001
    for time, call in ((0, 0), (5, 1), (2**33 + 7, 3)):
        found = fill(keys, torch.tensor(time, device=GPU), call, count)
        places = torch.arange(count)
        low, high = torch.tensor(time & 0xFFFFFFFF), torch.tensor(time >> 32)
        counters = [places // 4, torch.full_like(places, call), low, high]
        words = torch.stack(philox(keys.cpu().unsqueeze(1), counters), -1)
        expected = words[:, torch.arange(count), places % 4] >> 8
        assert torch.equal(found.cpu(), expected.float() * 2.0**-24)


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_in_bfloat16_ends_near_float32(
    network: str, members: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_small_networks(monkeypatch)
    check_network(network, members, GPU)


def torchvision_life(one: Sequence[Config], epochs: int = 4) -> Life:
    """Long enough for steps to be recorded, checked and replayed, which alone they have to be."""
    longer = [
        each.model_copy(update={"training": each.training.model_copy(update={"epochs": epochs})})
        for each in one
    ]
    dtype = DTYPES[longer[0].training.precision]
    found = Engine(longer, torchvision_runs.pictures(dtype).to(GPU, dtype), GPU)
    life = collect(found)
    assert len(longer) > 1 or found.not_replayed == ""
    return life


@pytest.mark.parametrize("case", torchvision_runs.CASES)
def test_a_network_of_torchvision_ends_the_same_alone_and_in_a_stack(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_small_networks(monkeypatch)
    configs = [torchvision_runs.config(case, seed) for seed in (0, 1)]
    together = torchvision_runs.tensors(torchvision_life(configs))
    alone = torchvision_runs.tensors(torchvision_life(configs[:1]))
    assert max(torchvision_runs.differences(together, alone).values()) < 1e-9


@pytest.mark.parametrize("case", ["batch norm", "attention, dropout, sam, averages"])
def test_images_with_their_channels_last_change_rounding_alone(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_small_networks(monkeypatch)
    one = torchvision_runs.config(case)
    section = one.training.model_copy(update={"precision": "float32"})
    one = one.model_copy(update={"training": section})
    last = torchvision_runs.tensors(torchvision_life([one]))
    monkeypatch.setattr(whole, "channels_last_pays", lambda _: False)
    first = torchvision_runs.tensors(torchvision_life([one]))
    losses = [name for name in last if name.endswith("train/loss")]
    for name in losses:
        torch.testing.assert_close(last[name], first[name], rtol=0.02, atol=0.0)
