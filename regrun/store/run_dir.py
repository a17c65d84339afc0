"""The layout of a run directory, and how a new one is claimed.

    <runs-dir>/<name>/<run-id>/              a run
    <runs-dir>/<name>/<sweep-id>/<run-id>/   a run of a sweep
        config.yaml  metrics.jsonl  summary.json  weights.safetensors  log.txt
        histograms.jsonl
        data.json  preprocessing.json
        weights_ema.safetensors  weights_swa.safetensors  test_examples.safetensors
        checkpoints/  train/  test/  val/

A run directory without ``summary.json`` is unfinished: running, or interrupted.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from regrun.errors import StorageError, UsageError
from regrun.store.atomic import make_directory, storage_errors
from regrun.store.place import Place, as_folder

CONFIG = "config.yaml"
EVENT_FOLDERS = ("train", "test", "val")
"""TensorBoard sub-runs: one per part of the data, so that their curves share a chart."""

_LONGEST_LABEL = 60
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")


class _Entry:
    """A place within a run directory. Made when it is asked for, since a sweep has thousands."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, run: RunDir, owner: type[RunDir]) -> Place:
        return run.place / self._name


class RunDir:
    """Where things lie in the directory of one run."""

    config = _Entry(CONFIG)
    """The resolved config; `regrun train` on it alone gives the same run."""
    metrics = _Entry("metrics.jsonl")
    """One JSON line per evaluation; event files can be rebuilt from it."""
    histograms = _Entry("histograms.jsonl")
    """One JSON line per time at which the parameters were counted."""
    summary = _Entry("summary.json")
    """Written last: it exists once the run has ended."""
    weights = _Entry("weights.safetensors")
    test_examples = _Entry("test_examples.safetensors")
    """What those weights give on each test example."""
    data = _Entry("data.json")
    """What the data were taken for."""
    preprocessing = _Entry("preprocessing.json")
    """What turns raw examples into the network's inputs, and its outputs into predictions."""
    checkpoints = _Entry("checkpoints")
    """The state that a resume needs; removed when the run ends."""
    log = _Entry("log.txt")

    def __init__(self, directory: Path | Place) -> None:
        self.place = as_folder(directory)

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.place.path

    def average(self, label: str) -> Place:
        """The averaged weights `ema` or `swa` of the same step."""
        return self.place / f"weights_{label}.safetensors"

    @property
    def finished(self) -> bool:
        """Whether the run has ended, successfully or not."""
        return self.summary.exists()


def is_average(name: str) -> bool:
    """Whether this is the name of a file of `RunDir.average`."""
    return name.startswith("weights_") and name.endswith(".safetensors")


def experiment_dir(runs_dir: Path, name: str) -> Path:
    """The folder of all runs named ``name``; it is not created.

    Raises `UsageError` for a name, or a symbolic link, that leads outside ``runs_dir``.
    """
    directory = runs_dir / name
    try:
        inside = directory.resolve().parent == runs_dir.resolve() and directory.name == name
    except (OSError, ValueError, RuntimeError):  # too long, a NUL character, a loop of links
        inside = False
    if not inside:
        raise UsageError(f"{name[:100]!r} is not a folder directly below {runs_dir}")
    return directory


def claim_run_dir(parent: Path, label: str = "seed0") -> Path:
    """Create a new directory ``<parent>/<label>-<6 random characters>`` and return it.

    ``mkdir`` is atomic, so exactly one of several processes gets each directory. Whatever ``label``
    holds, the directory is a direct child of ``parent``. Raises `StorageError`.
    """
    make_directory(parent)
    safe = safe_label(label)
    while True:
        directory = parent / f"{safe}-{_random_suffix()}"
        with storage_errors(directory, "created"):
            try:
                directory.mkdir()
            except FileExistsError:
                continue
            return directory


@contextmanager
def given_back_if_empty(directory: Path) -> Iterator[None]:
    """Remove a directory that was claimed when the block fails before anything is in it."""
    try:
        yield
    except BaseException:
        with suppress(StorageError):
            Place(directory).remove_folder()
        raise


def safe_label(label: str) -> str:
    """``label`` as a file name that is valid on every system: up to 60 of ``A-Za-z0-9._=,+-``."""
    safe = re.sub(r"[^A-Za-z0-9._=,+-]+", "-", label).lstrip("._=,+-")[:_LONGEST_LABEL]
    safe = safe.rstrip("._=,+-") or "run"
    return f"run-{safe}" if _RESERVED.fullmatch(safe) else safe


def _random_suffix() -> str:
    return base64.b32encode(os.urandom(5))[:6].decode().lower()
