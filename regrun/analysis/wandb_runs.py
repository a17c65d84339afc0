"""Stored runs as offline runs of Weights & Biases, which `wandb sync` uploads."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from regrun.analysis.cells import metric_values
from regrun.analysis.exported_runs import ENDED_WELL, Entry, entries_of
from regrun.errors import StorageError, UsageError
from regrun.settings import format_value, numbered, short_keys
from regrun.signals import holding_signals
from regrun.store.atomic import probe_writable, storage_errors

LONGEST_NAME = 128
"""Characters of the name of a run or group that W&B takes."""


def write_offline_runs(directory: Path, output: Path) -> int:
    """Write the runs of a directory to a new folder, as W&B stores runs that are offline.

    The folder is there when all is written, or not at all. No network is used.

    Returns:
        How many runs were written.

    Raises:
        UsageError: W&B is not installed, there are no runs, or the folder is there already.
        CorruptInputError: A file is damaged.
        StorageError: The folder cannot be written.
    """
    if output.exists() or output.is_symlink():
        raise UsageError(f"{output}: is there already; name a new folder")
    entries = entries_of(directory)
    with (
        holding_signals() as asked_to_end,
        storage_errors(output),
        TemporaryDirectory(prefix=f".{output.name}.", dir=output.absolute().parent) as folder,
    ):
        with _offline(Path(folder) / "cache") as wandb:
            for entry in entries:
                if asked_to_end:
                    return 0
                _write(wandb, Path(folder), directory.absolute().name, entry)
                # It writes in a process of its own, which says nothing when the disk is full.
                probe_writable(output.absolute().parent)
        (Path(folder) / "wandb").rename(output)
    return len(entries)


@contextmanager
def _offline(cache: Path) -> Iterator[Any]:
    """The library, which writes nowhere else and sends nothing, whatever the user has set."""
    folders = ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "WANDB_ARTIFACT_DIR")
    with patch.dict(os.environ), patch.object(logging, "raiseExceptions", False):
        for name in [each for each in os.environ if each.startswith("WANDB_")]:
            del os.environ[name]
        os.environ |= dict.fromkeys(folders, str(cache))
        os.environ |= {"WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false"}
        try:
            with patch.object(tempfile, "tempdir", str(cache.parent)):  # where it keeps media
                import wandb
        except ModuleNotFoundError as error:
            raise UsageError(
                f"{error}; install what W&B needs: pip install 'regrun[wandb]'"
            ) from error
        try:
            yield wandb
        except wandb.Error as error:
            raise StorageError(f"W&B does not write its files: {error}") from error
        finally:
            wandb.teardown()


def _write(wandb: Any, folder: Path, sweep: str, entry: Entry) -> None:
    run, summary = entry.run, entry.run.result
    about = {
        "status": summary.status,
        "directory": str(run.path.absolute()),
        "version": dict(summary.versions),
    }
    logged = wandb.init(
        mode="offline",
        dir=folder,
        project=run.config["name"],
        name=run.path.name[:LONGEST_NAME],
        group=_group(sweep, entry),
        tags=[summary.status],
        config={**numbered(run.config), "regrun": about},
        # What it would note about the machine is true of this export, not of the training.
        settings=wandb.Settings(
            silent=True,
            console="off",
            symlink=False,
            disable_git=True,
            disable_code=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
        ),
    )
    for row in run.rows:
        values = {tag: value for tag, value in row.items() if value is not None}
        logged.log(values, step=values.pop("step"))
    kept = metric_values(summary) if run.summary is not None else {}
    logged.summary.update({f"kept/{tag}": value for tag, value in kept.items()})
    if summary.seconds is not None:
        logged.summary["seconds"] = summary.seconds.total
    logged.finish(exit_code=0 if summary.status in ENDED_WELL else 1)


def _group(sweep: str, entry: Entry) -> str | None:
    """The sweep and the cell. Its number keeps cells apart where the name is cut."""
    if entry.cell is None:
        return None
    short = short_keys(entry.settings)
    settings = ", ".join(f"{short[key]}={format_value(entry.settings[key])}" for key in short)
    return f"{sweep} {entry.cell:04d}: {settings}".removesuffix(": ")[:LONGEST_NAME]
