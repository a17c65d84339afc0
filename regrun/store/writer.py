"""Everything one run writes: config, metrics, event files, weights, summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from regrun.errors import CorruptInputError, UsageError
from regrun.results import RunSummary, json_document
from regrun.store.atomic import remove_stale_temporaries, storage_errors, write_atomic
from regrun.store.curves import Curves
from regrun.store.metrics import MetricsWriter, truncate_after
from regrun.store.reading import read_config
from regrun.store.run_dir import RunDir
from regrun.store.tensorboard import EventFiles, Hparams, add_curves, flat_hparams, rebuild

if TYPE_CHECKING:
    from torch import Tensor


class RunWriter:
    """The only writer of a run directory (see `regrun.store.lock`)."""

    def __init__(self, run: RunDir, events: EventFiles) -> None:
        """Use `create` or `resume`."""
        self.run = run
        self.events = events
        self.metrics = MetricsWriter(run.metrics)

    @classmethod
    def create(cls, directory: Path, config_text: str, hparams: Hparams) -> RunWriter:
        """Start a run in its claimed directory. Raises `StorageError`.

        ``config_text``: the resolved config as YAML; a config that is there already is kept.
        ``hparams``: for the HParams tab, flat.
        """
        run = RunDir(directory)
        if not run.config.exists():  # a single run has stored it durably when it was claimed
            write_atomic(run.config, config_text, durable=False)
        return cls(run, EventFiles(directory, hparams))

    @classmethod
    def resume(
        cls, directory: Path, step: int, evaluations: int, hparams: Hparams | None = None
    ) -> RunWriter:
        """Continue after the evaluation at ``step``: later rows are dropped, events rewritten.

        ``evaluations``: the number of rows up to that step. ``hparams``: default: all settings of
        the stored config. Raises `UsageError` when the run has ended, `CorruptInputError` also when
        rows are missing, `StorageError`.
        """
        run = RunDir(directory)
        if run.finished:
            raise UsageError(f"{directory} has ended; there is nothing to resume")
        remove_stale_temporaries(directory)
        kept = len(truncate_after(run.metrics, step))
        if kept != evaluations:
            raise CorruptInputError(
                f"{run.metrics}: damaged: {kept:,} of the {evaluations:,} evaluations up to step "
                f"{step:,} are there; the run can only be started again"
            )
        if hparams is None:
            hparams = flat_hparams(read_config(run.config))
        return cls(run, rebuild(run, hparams))

    @staticmethod
    def reopen(directory: Path, config_text: str) -> None:
        """Make an ended run one that is to be resumed with this config, from its checkpoint.

        The summary goes first: after a kill the run is an unfinished one, which resumes to the same
        end. Raises `StorageError`.
        """
        run = RunDir(directory)
        averages = sorted(directory.glob(run.average("*").name))
        for path in (run.summary, run.weights, *averages, run.test_examples):
            with storage_errors(path, "removed"):
                path.unlink(missing_ok=True)
        write_atomic(run.config, config_text)

    def flush(self) -> None:
        """Append all added evaluations to the metrics and event files. Raises `StorageError`."""
        self.metrics.flush()
        self.events.flush()

    def finish(
        self,
        summary: RunSummary,
        weights: Mapping[str, Tensor] | None = None,
        averages: Mapping[str, Mapping[str, Tensor]] | None = None,
        test_examples: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Write the rest; the summary last, since its presence means that the run has ended.

        ``averages``: label → weights. ``test_examples``: see `load_test_examples`. Raises
        `StorageError`.
        """
        self.events.end("success" if summary.status == "completed" else "failure")
        self.flush()
        if weights is not None:
            from regrun.store.weights import save_weights

            save_weights(self.run.weights, weights)
            for label, tensors in (averages or {}).items():
                save_weights(self.run.average(label), tensors)
            if test_examples is not None:
                save_weights(self.run.test_examples, test_examples)
        write_atomic(self.run.summary, json_document(summary), durable=False)


def add_evaluations(writers: Sequence[RunWriter], curves: Curves) -> None:
    """Add the evaluations of several runs, in the order of the curves.

    Nothing is written before `RunWriter.flush`. One call for many runs is far faster than one each.
    """
    for number, writer in enumerate(writers):
        writer.metrics.add(*curves.rows(number))
    add_curves([writer.events for writer in writers], curves)
