"""What is kept of a run that failed."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from regrun.errors import PluginError, RegrunError
from regrun.results import RunSummary
from regrun.store.atomic import write_atomic
from regrun.store.checksums import sealed_yaml, text_of
from regrun.store.run_dir import RunDir
from regrun.store.writer import store_summary


@dataclass(frozen=True)
class Failure:
    """Why a run failed. text: for its summary. log: with the traceback of an error of code."""

    text: str
    log: str

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """The failure that an error is."""
        if isinstance(error, RemoteFailure):
            return error.failure
        if isinstance(error, PluginError):
            return cls(str(error), f"{error}\n\n{error.details}")
        text = f"{type(error).__name__}: {error}"
        whole = "".join(traceback.format_exception(error))
        return cls(text, text if isinstance(error, RegrunError) else whole)

    def store(self, files: RunDir, seed: int, config: str) -> RunSummary:
        """Write config, log and summary of a run; returns the summary. Raises StorageError."""
        stored = {files.config: sealed_yaml(config), files.log: f"{self.log.rstrip()}\n".encode()}
        for place, data in stored.items():
            write_atomic(place, data, durable=False)
        summary = RunSummary(
            run_dir=str(files.path),
            status="failed",
            seed=seed,
            metrics={},
            error=self.text,
            files={place.name: text_of(data) for place, data in stored.items()},
        )
        return store_summary(files, summary)


class RemoteFailure(Exception):  # noqa: N818 - carries one from a worker process
    """What failed in another process."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure
