"""Data on the device that was asked for, with the budget checked first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property

import torch

from regrun.config.consistency import idle_keys
from regrun.config.schema import Config
from regrun.data.dataset import Dataset
from regrun.devices import Devices
from regrun.errors import CorruptInputError
from regrun.execution.budget import Budget, check_data, estimate
from regrun.kinds.datasets import DatasetSection
from regrun.memory import holding_examples
from regrun.metrics import Metric
from regrun.nn.modules import has_noise
from regrun.results import DataCard, json_document
from regrun.store.checksums import sealed_document
from regrun.training.batches import steps_per_epoch
from regrun.training.evaluation import train_subset_size
from regrun.training.network import build_network
from regrun.training.precision import DTYPES


def resolve_device(name: str) -> torch.device:
    """The device of what is trained as one stack: of all GPUs the first.

    Raises UsageError for an unknown or absent device, and for a list of them.
    """
    Devices.named(name).check_single()
    return resolve_devices(name)[0]


def resolve_devices(name: str) -> list[torch.device]:
    """The devices of a sweep, in the order in which they are used.

    Raises UsageError for an unknown or absent device.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [torch.device(each) for each in Devices.named(name).among(gpus)]


@dataclass(frozen=True)
class Prepared:
    """A dataset ready for an engine. seconds: what loading took."""

    dataset: Dataset
    device: torch.device
    budget: Budget
    seconds: float
    config_notes: tuple[str, ...] = ()
    """On how the config was read."""

    @cached_property
    def fingerprint(self) -> str:
        """See `Dataset.fingerprint`; worked out once."""
        return self.dataset.fingerprint()

    def card(self, config: Config) -> DataCard:
        """The dataset's card with all notes."""
        return with_notes(self.dataset.card, self.notes(config))

    @cached_property
    def preprocessing(self) -> bytes:
        """The content of `preprocessing.json`; worked out once."""
        return sealed_document(json_document(self.dataset.preprocessing))

    def notes(self, config: Config) -> list[str]:
        """What a user should know about how this config is trained and measured."""
        return [*self.config_notes, *notes_on(config, self.dataset)]


def notes_on(config: Config, dataset: Dataset) -> list[str]:
    """The notes on the data, on how they are measured, and on how the model takes them."""
    notes = list(dataset.notes)
    size = train_subset_size(config.training.evaluate_train, len(dataset.train))
    if size < len(dataset.train):
        notes.append(
            f"train loss is measured on a fixed random {size:,} of the "
            f"{len(dataset.train):,} training examples (training.evaluate_train)"
        )
    stopping = config.training.early_stopping
    if stopping is not None and Metric.from_name(stopping.metric).split == "test":
        notes.append(
            f"early stopping chooses by {stopping.metric}, which flatters the test set; "
            "dataset.validation holds out examples to choose by"
        )
    return notes + config.model.notes(dataset.input_shape)


def idle_notes(config: Config, prepared: Prepared) -> list[str]:
    """What a single run has switched on and cannot make use of. A sweep may, in other cells."""
    dataset = prepared.dataset
    steps = steps_per_epoch(len(dataset.train), config.training.batch_size)
    notes = [str(problem) for problem in idle_keys(config, steps)]
    notes += config.dataset.notes_on_counts()
    noisy = prepared.budget.trial.draws or has_noise(build_network(config, dataset))
    if config.training.r_drop is None or noisy:
        return notes
    return [
        *notes,
        "training.r_drop only doubles the passes: both are equal, as the network has no noise such "
        "as model.dropout",
    ]


def with_notes(card: DataCard, notes: Sequence[str]) -> DataCard:
    """The card with these notes."""
    return card.model_copy(update={"notes": list(notes)})


def check_unchanged(section: DatasetSection, before: str, now: str) -> None:
    """Compare fingerprints. Raises CorruptInputError, naming the files, when they differ."""
    if before == now:
        return
    files = " or ".join(section.named_paths()) or f"dataset {section.name}"
    raise CorruptInputError(
        f"{files}: the examples are not those that "
        "training began with; put them back as they were, or start a new run on these"
    )


def load_data(
    config: Config,
    device: torch.device,
    *,
    allow_large: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Dataset:
    """The config's dataset, on the device, in its precision. Raises ConfigError when too large."""
    if not allow_large:
        check_data(config.dataset, device)
    with _holding_examples(config, device):
        dataset = config.dataset.with_targets_for(config.optimizer).load(progress)
        return dataset.to(device, DTYPES[config.training.precision])


def _holding_examples(config: Config, device: torch.device) -> AbstractContextManager[None]:
    """Raises DataTooLargeError for a lack of memory in the block, with the keys that help."""
    keys = [key for key in ("num_train", "num_test") if key in type(config.dataset).model_fields]
    fewer = " and ".join(f"dataset.{key}" for key in keys)
    ways = [f"fewer or smaller examples{f' ({fewer})' if keys else ''}"]
    return holding_examples(_use(ways, device, "fewer --workers of a sweep"))


def saving_memory(config: Config, device: torch.device, *others: str) -> str:
    """What to use instead where a run does not fit. others: what else there is."""
    lower = {"float64": "float32", "float32": "bfloat16"}.get(config.training.precision)
    less = [] if lower is None else [f"training.precision: {lower}"]
    return _use(["a smaller model", "a smaller training.batch_size", *less], device, *others)


def _use(ways: Sequence[str], device: torch.device, *others: str) -> str:
    elsewhere = [] if device.type == "cpu" else ["--device cpu"]
    *first, last = [*ways, *elsewhere, *others]
    return f"use {', '.join(first)} or {last}"


def load_draws(config: Config, seeds: Sequence[int], device: torch.device) -> Iterator[Dataset]:
    """The same with each of these in place of `dataset.seed`, one after the other."""
    section = config.dataset.with_targets_for(config.optimizer)
    draws = section.load_draws(seeds)
    while True:
        with _holding_examples(config, device):
            dataset = next(draws, None)
            if dataset is None:
                return
            dataset = dataset.to(device, DTYPES[config.training.precision])
        yield dataset


def prepare(
    config: Config,
    device: torch.device,
    *,
    allow_large: bool = False,
    progress: Callable[[str], None] | None = None,
    dataset: Dataset | None = None,
) -> Prepared:
    """Load the data and check the model. Raises ConfigError when either does not fit the device.

    dataset: the config's, if it has been loaded already.
    """
    started = time.monotonic()
    if dataset is None:
        dataset = load_data(config, device, allow_large=allow_large, progress=progress)
    else:
        with _holding_examples(config, device):
            dataset = dataset.to(device, DTYPES[config.training.precision])
    budget = estimate([config], dataset, device, allow_large=allow_large)
    return Prepared(dataset, device, budget, time.monotonic() - started)
