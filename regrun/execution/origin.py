"""Whether a checkpoint belongs to the configs and examples that training is to go on with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from regrun.config.schema import Config
from regrun.errors import ConfigError, UsageError
from regrun.execution.prepare import check_unchanged
from regrun.kinds.datasets import DatasetSection
from regrun.store.checkpoint import Checkpoint

CHECKPOINT_FORMAT = 4
"""Raised whenever a checkpoint changes in a way that an earlier or later version cannot read."""


@dataclass(frozen=True)
class Origin:
    """What a checkpoint was written for: digests of configs and examples, and the epochs planned.

    epochs_begun: of how many a step had been taken.
    """

    configs: str
    data: str
    epochs: int
    epochs_begun: int

    @classmethod
    def of(cls, configs: Sequence[Config], data: str, epochs_begun: int) -> Origin:
        """That of a stack with these configs. data: the fingerprint of its examples."""
        return cls(_fingerprint(configs), data, configs[0].training.epochs, epochs_begun)


def check_checkpoint(checkpoint: Checkpoint, configs: Sequence[Config], data: str) -> None:
    """Check that training can go on from the checkpoint with these configs and examples.

    Raises UsageError, ConfigError at `training.epochs`, CorruptInputError for other examples.
    """
    if checkpoint.state.get("format") != CHECKPOINT_FORMAT:
        raise UsageError(
            "the checkpoint was written by another version of regrun; resume it with that "
            "version, or start a new run from its config.yaml with: regrun train"
        )
    origin = Origin(**checkpoint.state["origin"])
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
