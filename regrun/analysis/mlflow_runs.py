"""Stored runs as those of MLflow, in the database that its user interface shows."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from regrun.analysis.cells import metric_values
from regrun.analysis.exported_runs import ENDED_WELL, Entry, entries_of
from regrun.config.defaults import without_defaults
from regrun.errors import CorruptInputError, UsageError
from regrun.settings import flatten, format_value
from regrun.store.atomic import write_atomic

MOST_METRICS, MOST_PARAMS = 1_000, 100
"""What MLflow takes at a time."""

LONGEST_VALUE = 6_000
"""Characters of a parameter that MLflow takes."""

STATUSES = {"running": "RUNNING", **dict.fromkeys(ENDED_WELL, "FINISHED")}
"""Status of a run → that of MLflow; what is not here has FAILED there."""


def add_to_database(directory: Path, output: Path) -> int:
    """Add the runs of a directory to an MLflow database, a new one if there is none.

    A run that the database has is left as it is there. The file is replaced when all is written.

    Returns:
        How many runs were added.

    Raises:
        UsageError: MLflow is not installed, or there are no runs.
        CorruptInputError: A file is damaged, or the database is none of MLflow.
        StorageError: The file cannot be written.
    """
    name, entries = "/".join(directory.absolute().parts[-2:]), entries_of(directory)
    with TemporaryDirectory() as folder:
        database = Path(folder) / "mlflow.db"
        if output.exists():
            database.write_bytes(output.read_bytes())
            _check(database, output)
        with _client(f"sqlite:///{database}") as client:
            found = client.get_experiment_by_name(name)
            experiment = found.experiment_id if found else client.create_experiment(name)
            known = _names(client, experiment)
            new = [entry for entry in entries if entry.run.path.name not in known]
            for entry in new:
                _add(client, experiment, entry)
        write_atomic(output, database.read_bytes())
    return len(new)


def _check(database: Path, output: Path) -> None:
    """Raise CorruptInputError for a file that is no database of MLflow."""
    try:
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        try:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        raise CorruptInputError(f"{output}: no SQLite database: {error}") from error
    if not {"experiments", "runs"} <= tables:
        raise CorruptInputError(f"{output}: no database of MLflow: it has no experiments and runs")


@contextmanager
def _client(uri: str) -> Iterator[Any]:
    """A client of MLflow that writes to a database and to nothing else."""
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"}
    with patch.dict(os.environ, quiet):
        try:
            from mlflow import MlflowClient
        except ModuleNotFoundError as error:
            raise UsageError(
                f"{error}; install what MLflow needs: pip install 'regrun[mlflow]'"
            ) from error
        yield MlflowClient(tracking_uri=uri)


def _names(client: Any, experiment: str) -> set[str]:
    names, token = set[str](), None
    while True:
        page = client.search_runs([experiment], page_token=token)
        names.update(run.info.run_name for run in page)
        token = page.token
        if not token:
            return names


def _add(client: Any, experiment: str, entry: Entry) -> None:
    from mlflow.entities import Metric, Param

    run, summary = entry.run, entry.run.result
    ended = int(run.path.stat().st_mtime * 1000)
    taken = int(summary.seconds.total * 1000) if summary.seconds else 0
    tags = {"regrun.status": summary.status, "regrun.directory": str(run.path.absolute())}
    tags |= {f"regrun.version.{name}": text for name, text in summary.versions.items()}
    created = client.create_run(
        experiment, start_time=ended - taken, tags=tags, run_name=run.path.name
    )
    identity = created.info.run_id
    params = {**flatten(without_defaults(run.config)), **entry.settings}
    written = [Param(key, format_value(value)[:LONGEST_VALUE]) for key, value in params.items()]
    for start in range(0, len(written), MOST_PARAMS):
        client.log_batch(identity, params=written[start : start + MOST_PARAMS])
    metrics = [
        Metric(str(tag), float(value), ended, int(row["epoch"]))
        for row in run.metrics.to_dict("records")
        for tag, value in row.items()
        if tag not in ("epoch", "step") and value == value
    ]
    kept = metric_values(summary) if run.summary is not None else {}
    metrics += [Metric(f"kept/{tag}", value, ended, summary.epochs) for tag, value in kept.items()]
    for start in range(0, len(metrics), MOST_METRICS):
        client.log_batch(identity, metrics=metrics[start : start + MOST_METRICS])
    client.set_terminated(identity, STATUSES.get(summary.status, "FAILED"), end_time=ended)
