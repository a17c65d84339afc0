"""One stack: members trained as one stack, their files written as they go."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch

from regrun.config.dump import dump_config
from regrun.config.schema import Config
from regrun.errors import CorruptInputError
from regrun.execution.confusion import confusion_matrices
from regrun.execution.observer import Observer
from regrun.execution.origin import (
    CHECKPOINT_FORMAT,
    Origin,
    SavedStack,
    StackState,
    check_checkpoint,
)
from regrun.execution.prepare import Prepared
from regrun.execution.summary import History
from regrun.histograms import WeightHistograms
from regrun.metrics import CONFUSION
from regrun.results import ModelShape, RunSummary, Seconds, json_document
from regrun.store.atomic import remove_stale_temporaries
from regrun.store.checkpoint import CheckpointStore
from regrun.store.checksums import sealed_document
from regrun.store.curves import Curves
from regrun.store.metrics import Row, read_metrics
from regrun.store.run_dir import RunDir
from regrun.store.tensorboard import flat_hparams
from regrun.store.writer import RunWriter, add_evaluations, add_histograms
from regrun.training.engine import Engine
from regrun.training.events import Evaluation, MemberEnd
from regrun.training.network import network_outputs

FLUSH_SECONDS = 2.0
"""Curves reach the disk about this often; a costly flush waits for longer."""

PROGRESS_SECONDS = 0.1

StackPruner = Callable[[Evaluation], Sequence[int]]
"""Asked after every evaluation which members to end."""


@dataclass(frozen=True)
class Member:
    """A run of the stack and the directory it owns.

    config_text: the config as it is stored. path: of the directory; `files` may be a copy of it.
    """

    config: Config
    files: RunDir
    config_text: str
    path: Path

    @classmethod
    def of(cls, config: Config, files: RunDir, projects: Sequence[Path] = ()) -> Member:
        """A run in its own directory. projects: see `portable`."""
        return cls(config, files, dump_config(config, files.path, projects), files.path)


class StackRun:
    """Drives an engine, and keeps the members' files and the stack's checkpoints.

    The members' files are brought up to date before each checkpoint, so they never lag behind it;
    after a kill they are cut back to it.
    """

    def __init__(
        self,
        members: Sequence[Member],
        prepared: Prepared,
        checkpoints: CheckpointStore,
        checkpoint: SavedStack | None,
        observer: Observer,
        *,
        keep: bool = False,
    ) -> None:
        """keep: the last checkpoint, when all has ended, so that the runs can be made longer."""
        self._keep = keep
        self._members, self._device, self._observer = members, prepared.device, observer
        self._prepared = prepared
        self._checkpoints = checkpoints
        self._configs = [member.config for member in members]
        self._engine = Engine(self._configs, prepared.dataset, prepared.device)
        self._shape = ModelShape(
            input_shape=list(prepared.dataset.input_shape),
            num_outputs=network_outputs(members[0].config, prepared.dataset),
        )
        has_validation = prepared.dataset.validation is not None
        has_test = len(prepared.dataset.test) > 0
        self._histories = {
            index: History.of(member.config, has_validation=has_validation, has_test=has_test)
            for index, member in enumerate(members)
        }
        """Of the members that have not ended, as far as the writers have got the evaluations."""
        self._cards = [prepared.card(member.config) for member in members]
        self._measured: list[tuple[float, Evaluation]] = []
        """(seconds since 1970, evaluation) of those that the writers have not got yet."""
        self._counted: list[tuple[float, WeightHistograms]] = []
        """The same for histograms."""
        self._said: set[str] = set()
        """What was said of how steps are taken."""
        self._seconds = {"data": prepared.seconds, "train": 0.0}
        self.summaries: dict[int, RunSummary] = {}
        if checkpoint is not None:
            self._restore(checkpoint)
        self._writers = {
            index: self._open_writer(index, member)
            for index, member in enumerate(members)
            if not member.files.finished
        }

    def _open_writer(self, index: int, member: Member) -> RunWriter:
        with member.files.place.kept_open():
            return self._opened_writer(index, member)

    def _opened_writer(self, index: int, member: Member) -> RunWriter:
        history, files = self._histories[index], member.files
        settings = flat_hparams(member.config.model_dump(mode="json"))
        there = files.place.entries()
        counted = self._engine.counted()
        begun = {files.metrics.name, files.histograms.name}.intersection(there)
        if history.evaluations or counted or begun:
            last = int(history.last["step"]) if history.last else 0
            writer = RunWriter.resume(
                files.place, last, history.evaluations, member.config_text, settings, counted
            )
        else:
            if there:
                remove_stale_temporaries(files.place)
            writer = RunWriter.create(files.place, member.config_text, settings)
        writer.store(files.data, sealed_document(json_document(self._cards[index])))
        writer.store(files.preprocessing, self._prepared.preprocessing)
        return writer

    @property
    def total_steps(self) -> int:
        """Steps of one member."""
        return self._engine.total_steps

    def run(self, should_stop: Callable[[], bool], pruner: StackPruner | None = None) -> bool:
        """Train to the end; False when it was asked to stop, after saving."""
        engine, interval = self._engine, self._members[0].config.training.checkpoint_every
        started = self._saved = self._flushed = shown = time.monotonic()
        trained_before, flush_cost = self._seconds["train"], 0.0
        at_end = engine.step == engine.total_steps
        for event in engine.run():
            now = time.monotonic()
            self._seconds["train"] = trained_before + now - started
            if isinstance(event, WeightHistograms):
                self._counted.append((time.time(), event))
                continue  # the state is that of the event before
            if isinstance(event, Evaluation):
                self._take(event)
                if pruner is not None:
                    for end in engine.prune(pruner(event)):
                        self._finish(end)
            elif isinstance(event, MemberEnd):
                self._finish(event)
            if now - shown > PROGRESS_SECONDS:
                if len(self._members) == 1:
                    self._observer.on_batch(engine.batch_loss)
                self._observer.on_progress(engine.step, engine.total_steps)
                shown = now
            at_end, before = engine.step == engine.total_steps, at_end
            if at_end and before:
                continue  # the state at the end is saved before the members end, or not at all
            if self._writers and should_stop():
                self.save()
                return False
            # An interval of 0 means evaluations, not steps.
            due = now - self._saved >= interval and (interval or isinstance(event, Evaluation))
            if due or (at_end and self._keep):
                self.save()
            elif at_end:
                pass  # everything is about to be written, run by run
            elif now - self._flushed > max(FLUSH_SECONDS, 20 * flush_cost):
                self._flush()
                flush_cost = self._flushed - now
        self._observer.on_progress(engine.step, engine.total_steps)
        if self._keep and all(summary.can_go_on for summary in self.summaries.values()):
            self._checkpoints.keep_newest()
        else:
            self._checkpoints.clear()
        return True

    def _take(self, event: Evaluation) -> None:
        self._measured.append((time.time(), event))
        for why in (self._engine.not_replayed, self._engine.not_compiled):
            if why and why not in self._said:
                self._said.add(why)
                self._observer.on_message(why)
        self._observer.on_measured(event)
        if len(self._members) == 1 and event.rows:
            self._observer.on_evaluation(event.rows[0])

    def _hand_over(self) -> None:
        """Give the writers what was measured since the last time, all that is alike at once."""
        for layout, alike in groupby(self._measured, key=lambda measured: measured[1].layout):
            times, evaluations = zip(*alike, strict=True)
            epochs = [evaluation.epoch for evaluation in evaluations]
            steps = [evaluation.step for evaluation in evaluations]
            for number, (measured, tags) in enumerate(layout):
                rows = [row for row, member in enumerate(measured) if member in self._writers]
                if not rows:
                    continue
                values = np.stack([each.tables[number].values[rows] for each in evaluations], 1)
                members = [measured[row] for row in rows]
                curves = Curves(tags, epochs, steps, times, values)
                for run, member in enumerate(members):
                    self._histories[member].record(curves, run)
                add_evaluations([self._writers[member] for member in members], curves)
        self._measured.clear()
        for measured, counted in self._counted:
            add_histograms(self._writers, counted, measured)
        self._counted.clear()

    def _finish(self, end: MemberEnd) -> None:
        self._hand_over()
        writer = self._writers.pop(end.member, None)
        if writer is None:
            return
        if end.histograms is not None:
            add_histograms({end.member: writer}, end.histograms, time.time())
        summary = self._with_confusion(self._summary(end), end)
        summary = writer.finish(summary, end.weights, end.averages, end.test_examples)
        self.summaries[end.member] = summary
        del self._histories[end.member]
        self._observer.on_end(summary)

    def _with_confusion(self, summary: RunSummary, end: MemberEnd) -> RunSummary:
        config = self._members[end.member].config
        if CONFUSION not in config.metrics or end.weights is None:
            return summary
        dataset = self._prepared.dataset
        counts = confusion_matrices(config, self._shape, end.weights, dataset)
        return summary.model_copy(update={"confusion": counts})

    def interrupted(self, index: int) -> RunSummary:
        """Summary of an interrupted member; returned, never stored."""
        engine = self._engine
        end = MemberEnd(index, "completed", engine.epoch, engine.step, None)
        return self._summary(end).model_copy(update={"status": "interrupted"})

    def _summary(self, end: MemberEnd) -> RunSummary:
        return self._histories[end.member].summarize(
            self._members[end.member].path,
            end,
            self._engine.roles,
            self._device,
            Seconds(**self._seconds, total=sum(self._seconds.values())),
            self._shape,
            self._cards[end.member],
        )

    def _flush(self) -> None:
        self._hand_over()
        for writer in self._writers.values():
            writer.flush()
        self._flushed = time.monotonic()

    def save(self) -> None:
        """Store how the stack stands, and what it is trained with."""
        self._flush()
        tensors, numbers = self._engine.state_dict()
        state = StackState(
            format=CHECKPOINT_FORMAT,
            origin=Origin.of(self._configs, self._prepared.fingerprint, self._engine.epochs_begun),
            engine=numbers,
            train_seconds=self._seconds["train"],
            device=str(self._device),
            threads=torch.get_num_threads(),
        )
        self._checkpoints.save(tensors, state.model_dump())
        self._saved = time.monotonic()

    def _restore(self, saved: SavedStack) -> None:
        for warning in saved.warnings:
            self._observer.on_message(warning)
        state, engine = saved.state, self._engine
        check_checkpoint(state.origin, self._configs, self._prepared.fingerprint)
        with saved.naming():
            engine.load_state_dict(saved.tensors, state.engine)
            if state.origin.epochs_begun != engine.epochs_begun:
                raise CorruptInputError(f"origin.epochs_begun: {engine.epochs_begun:,} had begun")
            for index in state.engine.ended:
                files = self._members[index].files
                if not files.finished:
                    raise CorruptInputError(f"engine.ended: {files.path} has not")
        rows = {
            index: self._evaluations(index, saved)
            for index in self._histories
            if index not in state.engine.ended
        }
        with saved.naming():
            engine.check_evaluations(rows)
        for index, evaluations in rows.items():
            self._histories[index].replay(evaluations)
        self._seconds["train"] = state.train_seconds

    def _evaluations(self, index: int, saved: SavedStack) -> list[Row]:
        """What a member that has not ended had been measured by when its stack was saved."""
        file = self._members[index].files.metrics
        expected = self._engine.evaluated(index)
        rows = read_metrics(file)[: len(expected)]
        for number, (epoch, step) in enumerate(expected, 1):
            found = rows[number - 1] if number <= len(rows) else {}
            if (found.get("epoch"), found.get("step")) != (epoch, step):
                raise CorruptInputError(
                    f"{file}: damaged: line {number:,} is not the evaluation at epoch {epoch:,}, "
                    f"step {step:,}, which {saved.file} counts; the run can only be started again"
                )
        return rows
