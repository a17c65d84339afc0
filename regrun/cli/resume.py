"""`regrun resume`: carry on a run, a sweep or a study."""

from __future__ import annotations

import os
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from regrun.cli import options as opt
from regrun.cli.completion import complete_override
from regrun.cli.console import documenting
from regrun.cli.progress import watching
from regrun.cli.request import Request, with_overrides
from regrun.cli.sweep import show_sweep
from regrun.cli.train import show_run
from regrun.cli.unfinished import advice, advice_on_studies
from regrun.errors import UsageError
from regrun.store.reading import find_runs, load_stored_run
from regrun.store.run_dir import RunDir
from regrun.store.study import read_study
from regrun.store.sweep_dir import SweepDir


def resume(
    directory: opt.RunDirectory,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="More epochs of a run, more values of an axis, or where the data are now.",
            autocompletion=complete_override,
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds",
            metavar="N",
            min=1,
            help="Add replicates to every cell of a sweep, up to this many in all.",
            show_default=False,
        ),
    ] = None,
    confirm: Annotated[
        int | None,
        typer.Option(
            "--confirm",
            metavar="N",
            min=1,
            help="Train the finalists of a sweep again with this many fresh replicates.",
            show_default=False,
        ),
    ] = None,
    device: opt.ResumeDevice = None,
    threads: opt.ResumeThreads = None,
    executor: opt.Executor = "local",
    ray_address: opt.RayAddress = None,
    ray_gpus: opt.RayGpus = None,
    ray_resources: opt.RayResources = None,
    plugins: opt.Plugins = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
    allow_large: opt.AllowLarge = False,
) -> None:
    """Carry on what was interrupted, or give a finished run or sweep more of what it has."""
    ray = opt.on_ray(executor, ray_address, ray_gpus, ray_resources)
    if seeds is not None:
        overrides = [*(overrides or []), f"sweep.seeds={seeds}"]
    if confirm is not None:
        overrides = [*(overrides or []), f"sweep.confirm={confirm}"]
    study = read_study(directory)
    if study is not None:
        request = Request(
            overrides or [], seeds, confirm, device, as_json, quiet, allow_large, ray, threads
        )
        import_module(f"regrun.cli.{study.verb}").carry_on(directory, study, request)
        return
    if SweepDir(directory).config.is_file():
        with documenting(as_json=as_json), watching(quiet=quiet) as observer:
            from regrun.sweeps.run import Options, resume_sweep

            go_on = partial(resume_sweep, directory, seeds=seeds, observer=observer)
            if overrides:
                go_on = partial(go_on, reload=with_overrides(overrides, axes=True))
            options = Options(device or "auto", allow_large=allow_large, ray=ray, threads=threads)
            sweep = go_on(options=options)
        show_sweep(sweep, as_json=as_json)
        return
    if seeds is not None:
        raise UsageError(f"--seeds: {directory} is no sweep; only sweeps have seeds")
    if confirm is not None:
        raise UsageError(f"--confirm: {directory} is no sweep; only sweeps have finalists")
    _check_is_run(directory)
    if ray is not None:
        raise UsageError(f"--executor ray: {directory} is a run, trained in one process")
    runs_dir = Path(os.path.relpath(directory.resolve().parent.parent))
    with documenting(as_json=as_json), watching(quiet=quiet) as observer:
        from regrun.execution.train import resume_run

        carry_on = partial(
            resume_run,
            directory,
            device=device,
            observer=observer,
            allow_large=allow_large,
            threads=threads,
        )
        if overrides:
            carry_on = partial(carry_on, reload=with_overrides(overrides, axes=False))
        summary = carry_on()
    show_run(summary, directory, RunDir(directory).config.path, runs_dir, as_json=as_json)


def _check_is_run(directory: Path) -> None:
    """Raise UsageError, with what there is to resume below, where there is no run."""
    if RunDir(directory).config.is_file() or not directory.is_dir():
        return
    below = [
        *advice(load_stored_run(files) for files in find_runs([directory])),
        *advice_on_studies(directory),
    ]
    found = "\n".join(below) or "and nothing unfinished below it"
    raise UsageError(f"{directory}: no run here (it has no config.yaml)\n{found}")
