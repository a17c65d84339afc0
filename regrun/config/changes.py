"""What sets a stored config apart from one with overrides, for runs and sweeps that go on."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from regrun.config.load import Loaded
from regrun.config.schema import Config
from regrun.errors import ConfigError
from regrun.kinds.datasets import DatasetSection
from regrun.settings import flatten

Reload = Callable[[Path], Loaded]
"""Loads a stored config file, with what is to change in it."""

PLACES = frozenset(f"dataset.{key}" for key in DatasetSection.path_keys)
"""Keys that say where data lie, not which data they are."""


def changed_keys(before: Config, now: Config) -> list[str]:
    """The dotted keys whose values differ."""
    old, new = flatten(before.model_dump()), flatten(now.model_dump())
    nothing = object()
    return [key for key in old | new if old.get(key, nothing) != new.get(key, nothing)]


def check_data_exist(loaded: Loaded, directory: Path) -> None:
    """Raise ConfigError, located, for a named file or folder that is not there.

    A missing `root` is no error: what it lacks is downloaded.
    """
    for key in DatasetSection.path_keys:
        path = getattr(loaded.config.dataset, key, None)
        if path is None or key == "root" or Path(path).exists():
            continue
        raise loaded.source.locate(
            ConfigError.at(
                f"dataset.{key}",
                f"{path}: no such file or folder; if the data were moved: "
                f"regrun resume {shlex.quote(str(directory))} dataset.{key}=NEW_PLACE",
            )
        )
