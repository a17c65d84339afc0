"""Everything one run writes: config, metrics, event files, weights, summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regrun.errors import CorruptInputError, StorageError, UsageError
from regrun.histograms import WeightHistograms
from regrun.results import RunSummary, json_document
from regrun.store.atomic import read_bytes, remove_stale_temporaries, write_atomic
from regrun.store.checksums import as_text, sealed_document, sealed_yaml, text_of
from regrun.store.curves import Curves
from regrun.store.histogram_events import histogram_records
from regrun.store.histograms import keep_counted
from regrun.store.lines import LinesWriter
from regrun.store.metrics import truncate_after
from regrun.store.place import Place
from regrun.store.reading import load_result
from regrun.store.run_dir import RunDir, is_average
from regrun.store.tensorboard import OWN, EventFiles, Hparams, add_curves, rebuild

if TYPE_CHECKING:
    from torch import Tensor


class RunWriter:
    """The only writer of a run directory (see `regrun.store.lock`)."""

    def __init__(
        self,
        run: RunDir,
        config_text: str,
        events: EventFiles,
        metrics: bytes = b"",
        histograms: bytes = b"",
    ) -> None:
        """Use `create` or `resume`. metrics, histograms: what their files hold."""
        self.run = run
        self.events = events
        self.metrics = LinesWriter(run.metrics, metrics)
        self.histograms = LinesWriter(run.histograms, histograms)
        self._files: dict[str, str] = {}
        self._store_config(sealed_yaml(config_text))

    @classmethod
    def create(cls, directory: Path | Place, config_text: str, hparams: Hparams) -> RunWriter:
        """Start a run in its claimed directory. Raises `StorageError`.

        ``config_text``: the resolved config as YAML. ``hparams``: for the HParams tab, flat.
        """
        run = RunDir(directory)
        return cls(run, config_text, EventFiles(run.place, hparams))

    @classmethod
    def resume(
        cls,
        directory: Path | Place,
        step: int,
        evaluations: int,
        config_text: str,
        hparams: Hparams,
        counted: Sequence[tuple[int, int]] = (),
    ) -> RunWriter:
        """Continue after the evaluation at ``step``: later rows are dropped, events rewritten.

        ``evaluations``: the number of rows up to that step. ``counted``: epoch and step of the
        histograms so far. Raises `UsageError` when the run has
        ended, `CorruptInputError` also when rows are missing, `StorageError`.
        """
        run = RunDir(directory)
        if run.finished:
            raise UsageError(f"{run.path} has ended; there is nothing to resume")
        remove_stale_temporaries(run.place)
        rows, written = truncate_after(run.metrics, step)
        if len(rows) != evaluations:
            raise CorruptInputError(
                f"{run.metrics}: damaged: {len(rows):,} of the {evaluations:,} evaluations up to "
                f"step {step:,} are there; the run can only be started again"
            )
        histograms = keep_counted(run.histograms, counted)
        return cls(run, config_text, rebuild(run, hparams), written, histograms)

    @staticmethod
    def reopen(directory: Path | Place, config_text: str) -> None:
        """Make an ended run one that is to be resumed with this config, from its checkpoint.

        The summary goes first: after a kill the run is an unfinished one, which resumes to the same
        end. Raises `StorageError`.
        """
        run = RunDir(directory)
        averages = [run.place / name for name in run.place.entries() if is_average(name)]
        for place in (run.summary, run.weights, *averages, run.test_examples):
            place.unlink()
        write_atomic(run.config, sealed_yaml(config_text))

    def store(self, place: Place, data: bytes) -> None:
        """Write a file that the summary is to list. Raises `StorageError`."""
        write_atomic(place, data, durable=False)
        self._files[place.name] = text_of(data)

    def flush(self) -> None:
        """Append all that was added to the files of lines and events. Raises `StorageError`."""
        self.metrics.flush()
        self.histograms.flush()
        self.events.flush()

    def finish(
        self,
        summary: RunSummary,
        weights: Mapping[str, Tensor] | None = None,
        averages: Mapping[str, Mapping[str, Tensor]] | None = None,
        test_examples: Mapping[str, Tensor] | None = None,
    ) -> RunSummary:
        """Write the rest; the summary last, since its presence means that the run has ended.

        ``averages``: label → weights. ``test_examples``: see `StoredRun.test_examples`. Returns the
        summary with the files that it lists. Raises `StorageError`.
        """
        self.events.end("success" if summary.status == "completed" else "failure")
        with self.run.place.kept_open():
            return self._finish(summary, weights, averages or {}, test_examples)

    def _finish(
        self,
        summary: RunSummary,
        weights: Mapping[str, Tensor] | None,
        averages: Mapping[str, Mapping[str, Tensor]],
        test_examples: Mapping[str, Tensor] | None,
    ) -> RunSummary:
        self.flush()
        files = dict(self._files)
        for place, lines in (
            (self.run.metrics, self.metrics),
            (self.run.histograms, self.histograms),
        ):
            if lines.checksum:
                files[place.name] = as_text(lines.checksum)
        if weights is not None:
            from regrun.store.weights import save_weights

            named = [(self.run.average(label), each) for label, each in averages.items()]
            tensors = [(self.run.weights, weights), *named]
            if test_examples is not None:
                tensors.append((self.run.test_examples, test_examples))
            files |= {place.name: save_weights(place, each) for place, each in tensors}
        gone = files.keys() - self.run.place.entries()
        if gone:
            lost = self.run.place / min(gone)
            raise StorageError(f"{lost}: another program has removed it while the run went on")
        return store_summary(self.run, summary.model_copy(update={"files": files}))

    def _store_config(self, data: bytes) -> None:
        """Write the config, unless a single run stored it durably when it was claimed."""
        place = self.run.config
        try:
            there = read_bytes(place) == data
        except FileNotFoundError:
            there = False
        if there:
            self._files[place.name] = text_of(data)
        else:
            self.store(place, data)


def store_summary(run: RunDir, summary: RunSummary) -> RunSummary:
    """Write the summary of a run, by which it has ended. Raises `StorageError`."""
    write_atomic(run.summary, sealed_document(json_document(summary)), durable=False)
    return summary


def rewrite(run: RunDir, contents: Mapping[Place, bytes]) -> None:
    """Store files of a run again that have checksums of their own, such as its config.

    After a kill in between, the summary of a run that has ended lists none of them, and their own
    checksums alone are checked. Raises `CorruptInputError`, `StorageError`.
    """
    summary = load_result(run.summary, RunSummary)
    if summary is None or not summary.files:
        for place, data in contents.items():
            write_atomic(place, data)
        return
    names = {place.name: text_of(data) for place, data in contents.items()}
    others = {name: each for name, each in summary.files.items() if name not in names}
    store_summary(run, summary.model_copy(update={"files": others}))
    for place, data in contents.items():
        write_atomic(place, data)
    store_summary(run, summary.model_copy(update={"files": {**others, **names}}))


def add_histograms(
    writers: Mapping[int, RunWriter], counted: WeightHistograms, wall_time: float
) -> None:
    """Add the histograms of one time, in seconds since 1970, of the members that have a writer.

    Nothing is written before `RunWriter.flush`.
    """
    members = [member for member in counted.members if member in writers]
    if not members:
        return
    own = counted.of(members)
    steps, times = np.full(len(members), own.step), np.full(len(members), wall_time)
    records = histogram_records(own.parameters, steps, times)
    for member, line, each in zip(members, own.lines(), records, strict=True):
        writers[member].histograms.add(line)
        writers[member].events.add(OWN, each)


def add_evaluations(writers: Sequence[RunWriter], curves: Curves) -> None:
    """Add the evaluations of several runs, in the order of the curves.

    Nothing is written before `RunWriter.flush`. One call for many runs is far faster than one each.
    """
    for number, writer in enumerate(writers):
        writer.metrics.add(*curves.rows(number))
    add_curves([writer.events for writer in writers], curves)
