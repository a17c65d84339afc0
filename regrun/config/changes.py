"""What sets a stored config apart from one with overrides, for runs and sweeps that go on."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from regrun.config.load import Loaded
from regrun.config.schema import Config
from regrun.config.yaml_nodes import Document
from regrun.errors import ConfigError, dotted
from regrun.kinds.datasets import DatasetSection
from regrun.settings import flatten

Reload = Callable[[Document], Loaded]
"""Loads a stored config, with what is to change in it."""

PLACES = frozenset(f"dataset.{key}" for key in DatasetSection.path_keys)
"""Keys that say where data lie, not which data they are."""


def changed_keys(before: Config, now: Config) -> list[str]:
    """The dotted keys whose values differ."""
    old, new = flatten(before.model_dump()), flatten(now.model_dump())
    nothing = object()
    return [key for key in old | new if old.get(key, nothing) != new.get(key, nothing)]


@contextmanager
def asking_for_data(loaded: Loaded, directory: Path) -> Iterator[None]:
    """Add to a ConfigError about data that are not there how to say where they are now."""
    try:
        yield
    except ConfigError as error:
        for key in sorted(PLACES.intersection(dotted(each.path) for each in error.problems)):
            path = getattr(loaded.config.dataset, key.partition(".")[2], None)
            if path is not None and not Path(path).exists():
                command = f"regrun resume {shlex.quote(str(directory))} {key}=NEW_PLACE"
                text = f"{error}\nif the data were moved: {command}"
                raise ConfigError(error.problems, error.diagnostics, text) from error
        raise
