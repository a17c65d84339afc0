"""`sweep`, from axes to answers, and `resume` of one."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import torch

from regrun.analysis.statistics import Direction
from regrun.analysis.sweeps import sweep_cells, sweep_document
from regrun.config.dump import dump_config
from regrun.config.load import Loaded, load_config
from regrun.errors import ConfigError, Interrupted, UsageError
from regrun.execution.device import resolve_device
from regrun.execution.interrupt import Interrupt, catching_signals
from regrun.execution.observer import Observer, Silent
from regrun.store.atomic import write_atomic
from regrun.store.lock import exclusive
from regrun.store.reading import load_summary
from regrun.store.run_dir import claim_run_dir, experiment_dir
from regrun.store.strict_json import dumps
from regrun.store.sweep_dir import Round, SweepDir
from regrun.sweeps.jobs import Job
from regrun.sweeps.local import run_jobs
from regrun.sweeps.planning import WORTH_WORKERS, Planner
from regrun.sweeps.proposing import Proposer
from regrun.sweeps.selection import check_selection, metric_of
from regrun.sweeps.space import corner_cells, validate_cells


@dataclass(frozen=True)
class Options:
    """How to run a sweep; none of these changes its results.

    workers: processes; 0 trains in this one, None lets the size of the work decide.
    """

    device: str = "auto"
    workers: int | None = None
    fail_fast: bool = False
    allow_large: bool = False


def run_sweep(
    loaded: Loaded,
    *,
    runs_dir: Path,
    options: Options = Options(),
    observer: Observer | None = None,
) -> dict[str, Any]:
    """Train a sweep in a directory of its own; returns its document.

    Raises ConfigError (located, before anything is written), StorageError, CorruptInputError,
    Interrupted.
    """
    sweep = _Sweep(loaded, options, observer or Silent())
    first = sweep.planner.round(sweep.proposer.propose())  # all errors before anything is written
    files = SweepDir(claim_run_dir(experiment_dir(runs_dir, loaded.config.name), "sweep"))
    with exclusive(files.path):
        write_atomic(files.config, dump_config(loaded.config))
        files.write_rounds([first])
        return sweep.run(files)


def resume_sweep(
    directory: Path, *, options: Options = Options(), observer: Observer | None = None
) -> dict[str, Any]:
    """Carry on an interrupted sweep; finished runs are not trained again.

    Raises UsageError when there is none or another process is at it, and what `run_sweep` raises.
    """
    files = SweepDir(directory)
    if not files.config.is_file():
        raise UsageError(f"{directory}: no sweep here (it has no {files.config.name})")
    watcher = observer or Silent()
    with exclusive(directory):
        done = load_summary(directory)
        if done is not None:
            watcher.on_message(f"{directory} had finished before; nothing to do")
            return done
        return _Sweep(load_config(files.config), options, watcher).run(files)


def plan_sweep(loaded: Loaded, options: Options = Options()) -> dict[str, Any]:
    """What `--dry-run` prints: runs, packs, memory and time; trains nothing.

    Of a search the packs are those of its first round, and the time is scaled up to all trials.
    """
    sweep = _Sweep(loaded, options, Silent())
    first = sweep.planner.round(sweep.proposer.propose())
    packs = []
    for members in first.packs:
        budget = sweep.planner.budget_of(first.runs[members[0]])
        packs.append(
            {
                "members": len(members),
                "steps": budget.steps,
                "memory_bytes": budget.total_bytes(len(members)),
                "seconds": budget.seconds(len(members)),
            }
        )
    runs = sweep.proposer.total_cells * len(first.runs) // len({run.cell for run in first.runs})
    seconds = sum(pack["seconds"] for pack in packs)
    return {
        "runs": runs,
        "cells": sweep.proposer.total_cells,
        "packs": packs,
        "seconds": seconds * runs / len(first.runs),
    }


class _Sweep:
    """The rounds of one sweep: propose, plan, run, until there is nothing left to try."""

    def __init__(self, loaded: Loaded, options: Options, observer: Observer) -> None:
        try:
            check_selection(loaded.config)
        except ConfigError as error:
            raise loaded.source.locate(error) from error
        if loaded.config.sweep is not None:
            validate_cells(loaded, corner_cells(loaded.config.sweep.space))
        self._options, self._observer = options, observer
        self._device = resolve_device(options.device)
        self.proposer = Proposer(loaded.config)
        self.planner = Planner(loaded, self._device, allow_large=options.allow_large)
        self._metric, direction = metric_of(loaded.config)
        self._direction: Direction = "min" if direction == "minimize" else "max"

    def run(self, files: SweepDir) -> dict[str, Any]:
        """Everything that is left of the sweep; returns its document."""
        started = time.monotonic()
        rounds = files.read_rounds()
        with catching_signals() as interrupt:
            position = 0
            while True:
                if position == len(rounds):
                    self.proposer.take(sweep_cells(files), self._metric)
                    cells = self.proposer.propose()
                    if not cells:
                        break
                    rounds.append(self.planner.round(cells))
                    files.write_rounds(rounds)
                going = self._run_round(files, rounds, position, interrupt)
                if interrupt.signal_number is not None:
                    raise Interrupted(
                        f"saved; carry on with: regrun resume {files.path}",
                        interrupt.signal_number,
                    )
                if not going:
                    break
                position += 1
        seconds = {"total": time.monotonic() - started}
        document = sweep_document(files, self._metric, self._direction, seconds)
        write_atomic(files.summary, dumps(document, indent=2) + "\n")
        return document

    def _run_round(
        self, files: SweepDir, rounds: Sequence[Round], position: int, interrupt: Interrupt
    ) -> bool:
        """Run what is unfinished of a round; False when it ended before its end."""
        before = sum(len(each.packs) for each in rounds[:position])
        this = rounds[position]
        jobs = [
            Job(files.path, before + number, tuple(this.runs[i] for i in members), device)
            for number, (members, device) in enumerate(
                zip(this.packs, cycle(self._devices()), strict=False)
            )
        ]
        jobs = [job for job in jobs if job.unfinished()]
        if not jobs:
            return True
        budgets = [self.planner.budget_of(job.runs[0]) for job in jobs]
        steps = sum(b.steps * len(job.runs) for b, job in zip(budgets, jobs, strict=True))
        seconds = sum(b.seconds(len(job.runs)) for b, job in zip(budgets, jobs, strict=True))
        workers = self._workers(len(jobs), seconds)
        self._observer.on_start(
            {
                "run_dir": str(files.path),
                "device": str(self._device),
                "total_steps": steps,
                "members": sum(len(job.runs) for job in jobs),
                "packs": len(jobs),
                "workers": workers,
                "notes": [],
            }
        )
        return run_jobs(
            jobs,
            workers=workers,
            should_stop=lambda: interrupt.signal_number is not None,
            observer=self._observer,
            total_steps=steps,
            fail_fast=self._options.fail_fast,
        )

    def _devices(self) -> list[str]:
        """One device a worker: all GPUs when the user left the choice to us."""
        if self._options.device == "auto" and self._device.type == "cuda":
            return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
        return [str(self._device)]

    def _workers(self, jobs: int, seconds: float) -> int:
        if self._options.workers is not None:
            return self._options.workers if jobs > 1 else 0
        places = (os.cpu_count() or 1) if self._device.type == "cpu" else len(self._devices())
        return min(jobs, places) if jobs > 1 and places > 1 and seconds > WORTH_WORKERS else 0
