"""The Python side of the commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regrun.config.load import config_from_mapping

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn


@dataclass(frozen=True)
class Run:
    """A stored run."""

    directory: Path
    config: dict[str, Any]
    summary: dict[str, Any]

    @property
    def metrics(self) -> pd.DataFrame:
        """`metrics.jsonl` as a table: a row per evaluation, a column per tag."""
        from regrun.store.reading import load_stored_run

        return load_stored_run(self.directory).metrics


def train(
    config: str | Path | Mapping[str, Any],
    overrides: Mapping[str, Any] | None = None,
    *,
    runs_dir: str | Path = "runs",
    device: str = "auto",
) -> Run:
    """Train one run, as `regrun train` does.

    config: a file, or the same content as a mapping. overrides: dotted key → value.
    Raises the errors of `regrun.errors`.
    """
    from regrun.execution.train import train_run

    loaded = config_from_mapping(config, overrides or {})
    summary = train_run(loaded, runs_dir=Path(runs_dir), device=device)
    return load_run(summary["run_dir"])


def load_run(directory: str | Path) -> Run:
    """A run from its directory. Raises UsageError when there is none, CorruptInputError."""
    from regrun.store.reading import load_stored_run

    stored = load_stored_run(Path(directory))
    return Run(Path(directory), stored.config, stored.summary or {})


def load_model(directory: str | Path) -> nn.Module:
    """The trained network of a run as an ordinary module, in evaluation mode, on the CPU.

    Inputs are as the network saw them in training: standardised, images as floats.
    Raises UsageError when the run stored no weights.
    """
    from regrun.execution.restore import restore_model

    return restore_model(Path(directory))
