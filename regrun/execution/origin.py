"""What a checkpoint of a stack holds, and whether it belongs to these configs and examples."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated, Any

from pydantic import Field, FiniteFloat, ValidationError, model_validator
from torch import Tensor

from regrun.config.schema import Config
from regrun.errors import ConfigError, CorruptInputError, UsageError
from regrun.execution.prepare import check_unchanged
from regrun.kinds.datasets import DatasetSection
from regrun.results import first_problem
from regrun.stack.state import naming
from regrun.store.checkpoint import Checkpoint, CheckpointStore
from regrun.store.place import Place
from regrun.training.state import Count, EngineState, State

CHECKPOINT_FORMAT = 6
"""Raised whenever a checkpoint changes in a way that an earlier or later version cannot read."""

Digest = Annotated[str, Field(pattern="^[0-9a-f]+$")]


class Origin(State):
    """What a checkpoint was written for: digests of configs and examples, and the epochs planned.

    epochs_begun: of how many a step had been taken.
    """

    configs: Digest
    data: Digest
    epochs: Count
    epochs_begun: Count

    @model_validator(mode="after")
    def _begins_what_is_planned(self) -> Origin:
        if not self.epochs_begun <= self.epochs > 0:
            raise ValueError(f"{self.epochs_begun:,} of {self.epochs:,} epochs begun")
        return self

    @classmethod
    def of(cls, configs: Sequence[Config], data: str, epochs_begun: int) -> Origin:
        """That of a stack with these configs. data: the fingerprint of its examples."""
        return cls(
            configs=_fingerprint(configs),
            data=data,
            epochs=configs[0].training.epochs,
            epochs_begun=epochs_begun,
        )


class StackState(State):
    """All that a checkpoint of a stack holds besides its tensors."""

    format: int
    origin: Origin
    engine: EngineState
    train_seconds: Annotated[FiniteFloat, Field(ge=0, le=1e10)]
    device: Annotated[str, Field(pattern="^(cpu|cuda(:[0-9]{1,3})?)$")]
    threads: Annotated[int, Field(ge=1)] | None = None
    """How many it was computed with, on which the last bits depend."""


@dataclass(frozen=True)
class SavedStack:
    """A checkpoint whose plain data have been parsed."""

    file: Place
    tensors: dict[str, Tensor]
    state: StackState
    warnings: tuple[str, ...]

    def naming(self) -> AbstractContextManager[None]:
        """Name the file in a CorruptInputError of the block."""
        return naming(f"{self.file}: damaged: ")


def load_stack(store: CheckpointStore) -> SavedStack | None:
    """The newest undamaged checkpoint; None when none was ever completed.

    Raises UsageError for that of another version, CorruptInputError, StorageError.
    """
    checkpoint = store.load()
    if checkpoint is None:
        return None
    check_format(checkpoint)
    try:
        state = StackState.model_validate(checkpoint.state)
    except ValidationError as error:
        message = f"{checkpoint.file}: damaged: {first_problem(error)}"
        raise CorruptInputError(message) from error
    return SavedStack(checkpoint.file, checkpoint.tensors, state, checkpoint.warnings)


def check_format(checkpoint: Checkpoint) -> None:
    """Raise UsageError for a checkpoint of another version."""
    data = checkpoint.state
    version = data.get("format", 0) if isinstance(data, dict) else CHECKPOINT_FORMAT
    if type(version) is int and version != CHECKPOINT_FORMAT:
        raise UsageError(
            "the checkpoint was written by another version of regrun; resume it with that "
            "version, or start a new run from its config.yaml with: regrun train"
        )


def check_checkpoint(origin: Origin, configs: Sequence[Config], data: str) -> None:
    """Check that training can go on from a checkpoint with these configs and examples.

    Raises UsageError, ConfigError at `training.epochs`, CorruptInputError for other examples.
    """
    if origin.configs != _fingerprint(configs):
        raise UsageError(
            "the config was changed after the checkpoint was written; "
            "change it back, or start a new run from it with: regrun train"
        )
    check_unchanged(configs[0].dataset, origin.data, data)
    epochs = configs[0].training.epochs
    if epochs < origin.epochs_begun:
        raise ConfigError.at(
            "training.epochs",
            f"{epochs:,}: the run has trained for {origin.epochs_begun:,}; "
            "start a new run from its config.yaml for fewer",
        )
    if epochs != origin.epochs:
        check_end_is_free(configs)


def check_end_is_free(configs: Sequence[Config]) -> None:
    """Raise ConfigError where the epochs trained so far depended on how many there would be."""
    for config in configs:
        for why in config.ties_to_end():
            raise ConfigError.at(
                "training.epochs",
                f"cannot change in a run that has begun: {why}; "
                "start a new run from its config.yaml",
            )


def _fingerprint(configs: Sequence[Config]) -> str:
    """Equal for configs that differ only in where their data lie and how long they train."""
    digest = blake2b(digest_size=16)
    places: Any = {"dataset": set(DatasetSection.path_keys)}
    for config in configs:
        training = config.training.model_copy(update={"epochs": 1, "keep_checkpoint": True})
        alike = config.model_copy(update={"training": training})
        digest.update(alike.model_dump_json(exclude_defaults=True, exclude=places).encode())
    return digest.hexdigest()
