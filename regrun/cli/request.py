"""What `regrun resume` was asked for, for the studies that it carries on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from regrun.errors import UsageError
from regrun.sweeps.executor import OnRay

if TYPE_CHECKING:
    from regrun.config.changes import Reload


@dataclass(frozen=True)
class Request:
    """The arguments of `regrun resume`. overrides: with those that stand for seeds and confirm."""

    overrides: Sequence[str]
    seeds: int | None
    confirm: int | None
    device: str | None
    as_json: bool
    quiet: bool
    allow_large: bool
    ray: OnRay | None = None
    threads: int | None = None

    def reload(self, *, axes: bool) -> Reload | None:
        """How the stored config is loaded with the overrides; None without any."""
        return with_overrides(self.overrides, axes=axes) if self.overrides else None

    def refuse_replicates(self, directory: Path, kind: str) -> None:
        """Raise UsageError for what only sweeps can be given."""
        for option, value in (("--seeds", self.seeds), ("--confirm", self.confirm)):
            if value is not None:
                raise UsageError(f"{option}: {directory} is {kind}, not a sweep")

    def refuse_ray(self, directory: Path, kind: str) -> None:
        """Raise UsageError where there are no stacks to spread over a cluster."""
        if self.ray is not None:
            raise UsageError(f"--executor ray: {directory} is {kind}, trained in one process")


def with_overrides(overrides: Sequence[str], *, axes: bool) -> Reload:
    """How a stored config is loaded with these overrides."""
    from regrun.config.load import load_config

    return partial(load_config, overrides=overrides, axes=axes)
