"""What a stack will need, worked out before anything is allocated."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import NamedTuple

import torch
from rich.filesize import decimal

from regrun.config.schema import Config
from regrun.config.training import Training
from regrun.data.dataset import Dataset
from regrun.errors import ConfigError
from regrun.kinds.datasets import DatasetSection
from regrun.memory import free_bytes
from regrun.nn.layer_table import activations, widest
from regrun.nn.roles import roles_of
from regrun.stack.trial import Trial
from regrun.training.batches import steps_per_epoch
from regrun.training.compiled import is_worth
from regrun.training.data_checks import check_config_against_data
from regrun.training.evaluation import EVALUATION_ELEMENTS
from regrun.training.network import build_network, layers_of, trial_of

STEP_SECONDS, BYTE_SECONDS = 4e-4, 2.5e-10
"""What one step costs however small, and per byte of the members' tensors; measured, and rough."""

RUN_SECONDS, EVALUATION_SECONDS = 4e-3, 4e-5
"""What storing a run costs, and each of its evaluations."""

MOST_STEPS = 10**9
"""More optimizer steps than this is months on any machine."""

MOST_EVALUATIONS = 10**6
"""Each is a line of about 200 bytes in a run's metrics, which are read as a whole."""

HISTOGRAM_BYTES = 900
"""What a histogram takes in `histograms.jsonl` and in an event file."""

MOST_HISTOGRAM_BYTES = 10**9
"""Of a run; its histograms are read as a whole."""

MOST_LAYERS = 1_000
"""Each costs milliseconds to build and to plan, several times, however small it is."""

COPIES_COMPILED, COPIES_RECORDED = 3, 2
"""Copies of all that a step changes, which `CompiledStep` and `Replay` compare: before the step,
after it, and after a step from numbers with other last bits."""

DIFFERENCE_BYTES = 64
"""What the difference of two tensors takes, of each entry of the largest."""

MOST_COMPARED = 100_000
"""Members of a stack, more than there ever are."""

FILLS_A_GPU = 2_000_000_000
"""Multiplications of one layer, forward, that keep a GPU busy.

They take some 10 µs on an H200, several times as long as it takes to start a kernel. A convolution
of ResNet-18 has 4.8 billion for 128 images of 32×32, and a stack of four gained nothing over four
after another; those of a small CNN have 0.6 billion, and a stack of 16 took half of the time.
"""


@dataclass(frozen=True)
class Budget:
    """For one member. bytes: parameters, gradients, optimizer state, a batch and its activations.

    passes: forward and back through the network, in one step.
    """

    parameters: int
    steps: int
    evaluations: int
    member_bytes: int
    shared_bytes: int
    passes: int = 1
    test_examples_bytes: int = 0
    """What a run stores of its test examples."""
    trial: Trial = field(default_factory=Trial)
    """How the network can be computed."""
    histograms_bytes: int = 0
    """What a run stores of histograms, roughly."""
    multiplications: int = 0
    """Of the largest layer, forward, for one batch."""
    comparing_bytes: int = 0
    """What a member takes besides, while two ways to take a step are compared."""
    compared_from: int = 1
    """How many members a stack has at least whose steps are compared."""

    def total_bytes(self, members: int) -> int:
        """For a stack of this many members, with what they share."""
        compared = self.comparing_bytes if members >= self.compared_from else 0
        return self.shared_bytes + members * (self.member_bytes + compared)

    @property
    def fills_gpu(self) -> bool:
        """Whether a member alone keeps a GPU busy, so that others in its stack gain nothing."""
        return self.multiplications >= FILLS_A_GPU

    @property
    def notes(self) -> list[str]:
        """What a user should know about how a sweep computes the network."""
        why = self.trial.unstackable
        if not why:
            return []
        return [f"members of a stack are computed one after another: torch.vmap: {why}"]

    def seconds(self, members: int) -> float:
        """A rough guess for a CPU core, from operations launched and memory walked through."""
        one_pass = STEP_SECONDS + members * self.member_bytes * BYTE_SECONDS
        training = self.steps * self.passes * one_pass
        return training + members * (RUN_SECONDS + self.evaluations * EVALUATION_SECONDS)


class Comparing(NamedTuple):
    """What is kept while two ways to take a step are compared.

    copies: of all that a step changes. members: how many a stack has at least.
    """

    copies: int
    members: int = 1


def estimate(
    configs: Sequence[Config],
    dataset: Dataset,
    device: torch.device,
    *,
    allow_large: bool,
    most: int | None = None,
) -> Budget:
    """What one member needs.

    configs: of one stack, whose first is checked against the data. What one of them does, such as
    averaging its weights, is done for all. most: the memory that there is where it is trained, in
    bytes; None: what the device has free.

    Parameters are counted on the meta device, without memory, and checked first; then one example
    goes through a real network to see its activations. Raises ConfigError for what the device
    cannot hold, or nobody could wait for, unless allow_large; and for what does not go together.
    """
    config = configs[0]
    if not allow_large:
        _check_layers(config)
    template = build_network(config, dataset)
    count = sum(p.numel() for p in template.parameters())
    tensors = sum(1 for _ in template.parameters())
    training = config.training
    size = 8 if training.precision == "float64" else 4
    copies = tensor_copies(configs)
    passes = 1 + any(each.optimizer.sam for each in configs)
    steps = training.epochs * steps_per_epoch(len(dataset.train), training.batch_size)
    evaluations = training.epochs // training.evaluate_every
    stored = HISTOGRAM_BYTES * tensors * training.histogram_times
    largest = max((p.numel() for p in template.parameters()), default=0)
    compared = comparing(training, count, steps, device)
    kept = compared.copies * changing_copies(configs) * count
    least = Budget(
        count,
        steps,
        evaluations,
        size * copies * count,
        0,
        passes,
        histograms_bytes=stored,
        comparing_bytes=size * kept + (DIFFERENCE_BYTES * largest if kept else 0),
        compared_from=compared.members,
    )
    if not allow_large:
        check(least, device, most)
    module = build_network(config, dataset, seed=0)
    rows = layers_of(module, config, dataset)
    shapes = {name: tuple(p.shape) for name, p in module.named_parameters()}
    check_config_against_data(config, dataset, roles_of(module), shapes, rows)
    batch = len(dataset.train) if training.batch_size == "full" else training.batch_size
    batch = min(batch, len(dataset.train))
    scores = dataset.num_outputs if dataset.task == "classification" else 0
    # values, and their gradients
    numbers = prod(dataset.input_shape) + 2 * (activations(rows) + scores)
    shape = dataset.input_shape
    augmented = max(each.augment.working_bytes(shape, size) for each in configs)
    if training.r_drop is not None:  # the batch goes through the network twice
        numbers *= 2
    example = max(size * numbers, augmented)
    # Positions of all examples, for this epoch and the next; on a CPU the caches decide.
    orders = (
        2 * 8 * len(dataset.train) if device.type != "cpu" and batch < len(dataset.train) else 0
    )
    budget = replace(
        least,
        member_bytes=least.member_bytes + batch * example + orders,
        test_examples_bytes=_test_examples_bytes(config, dataset, size),
        trial=trial_of(module, config, dataset),
        multiplications=batch * max((row.multiplications for row in rows), default=0),
        shared_bytes=size * 2 * max(EVALUATION_ELEMENTS, widest(rows, dataset.input_shape)),
    )
    if not allow_large:
        check(budget, device, most)
    return budget


def _test_examples_bytes(config: Config, dataset: Dataset, size: int) -> int:
    """size: bytes of a number."""
    each = size + (dataset.task == "classification")
    return len(dataset.test) * each if config.training.test_examples else 0


def tensor_copies(configs: Sequence[Config]) -> int:
    """Tensors per parameter while training, at most. configs: of one stack."""
    sections = [config.training for config in configs]
    optimizers = [config.optimizer for config in configs]
    return (
        changing_copies(configs)
        + 1  # gradients
        + (1 + _averages(configs)) * any(each.early_stopping for each in sections)
        # the weights to return to, and the way uphill
        + 2 * any(optimizer.sam for optimizer in optimizers)
        + any(optimizer.lookahead for optimizer in optimizers)  # the way to the slow weights
        # the initial weights
        + any(penalty.from_start for config in configs for penalty in config.penalty)
        + any(each.r_drop for each in sections)  # the gradients of the second pass
        + any(each.clip_norm or each.clip_value for each in sections)  # the clipped gradients
    )


def changing_copies(configs: Sequence[Config]) -> int:
    """Tensors per parameter that a step changes. configs: of one stack."""
    optimizers = [config.optimizer for config in configs]
    slow_weights = any(optimizer.lookahead for optimizer in optimizers)
    return 1 + len(type(optimizers[0]).slots(optimizers)) + _averages(configs) + slow_weights


def _averages(configs: Sequence[Config]) -> int:
    sections = [config.training for config in configs]
    return any(each.ema for each in sections) + any(each.swa for each in sections)


def comparing(training: Training, entries: int, steps: int, device: torch.device) -> Comparing:
    """What is kept of the steps of a run like this. entries: of the parameters of one member."""

    def compiles(members: int) -> bool:
        return is_worth(training.compile, members * entries, steps, device)

    recorded = device.type == "cuda"
    if not compiles(MOST_COMPARED):
        return Comparing(COPIES_RECORDED if recorded else 0)
    first = 1 if recorded else bisect_left(range(1, MOST_COMPARED), True, key=compiles) + 1
    return Comparing(COPIES_COMPILED, first)


def check_data(section: DatasetSection, device: torch.device) -> None:
    """Raise ConfigError when the examples alone are more than the device can hold."""
    needed = section.estimate_bytes()
    # They are read into the memory of this machine before the device gets them.
    for place in dict.fromkeys([device, torch.device("cpu")]):
        free = available_bytes(place)
        if needed is not None and needed > free:
            raise ConfigError.at(
                "dataset",
                f"the examples take {decimal(needed)}, but {place} has {decimal(free)} free; "
                "use fewer (or --allow-large to try)",
            )


def available_bytes(device: torch.device) -> int:
    """Free memory of the device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return free_bytes()


def _check_layers(config: Config) -> None:
    """Raise ConfigError for too many layers, before one is built."""
    layers = len(config.model.hidden_layers)
    if layers > MOST_LAYERS:
        raise ConfigError.at(
            "model",
            f"{layers:,} layers, more than {MOST_LAYERS:,}; use fewer (or --allow-large to try)",
        )


def check(budget: Budget, device: torch.device, most: int | None = None) -> None:
    """Raise ConfigError when it does not fit, or nobody could wait for it. most: see `estimate`."""
    needed = budget.total_bytes(1)
    free = available_bytes(device) if most is None else most
    place = device if most is None else "the largest node of the cluster"
    if needed > free:
        raise ConfigError.at(
            "model",
            f"{budget.parameters:,} parameters need about {decimal(needed)} while training, but "
            f"{place} has {decimal(free)} free; use a smaller model or batch "
            "(or --allow-large to try)",
        )
    if budget.steps > MOST_STEPS:
        raise ConfigError.at(
            "training.epochs",
            f"{budget.steps:,} optimizer steps in all, more than {MOST_STEPS:,}; "
            "use fewer epochs or larger batches (or --allow-large to try)",
        )
    if budget.evaluations > MOST_EVALUATIONS:
        raise ConfigError.at(
            "training.evaluate_every",
            f"{budget.evaluations:,} evaluations in all, more than {MOST_EVALUATIONS:,}; use fewer "
            "epochs, or evaluate every so many of them (or --allow-large to try)",
        )
    if budget.histograms_bytes > MOST_HISTOGRAM_BYTES:
        raise ConfigError.at(
            "training.histograms_every",
            f"the histograms of a run take about {decimal(budget.histograms_bytes)}, more than "
            f"{decimal(MOST_HISTOGRAM_BYTES)}; count the weights at fewer epochs "
            "(or --allow-large to try)",
        )
