"""`regrun resume`: carry on an interrupted run or sweep."""

from __future__ import annotations

import os
from pathlib import Path

from regrun.cli.console import documenting
from regrun.cli.options import Json, Quiet, ResumeDevice, RunDirectory
from regrun.cli.progress import watching
from regrun.cli.sweep import show_sweep
from regrun.cli.train import show_run
from regrun.store.run_dir import RunDir
from regrun.store.sweep_dir import SweepDir


def resume(
    directory: RunDirectory,
    device: ResumeDevice = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Carry on an interrupted run or sweep from its directory alone."""
    if SweepDir(directory).config.is_file():
        with documenting(as_json=as_json), watching(quiet=quiet) as observer:
            from regrun.sweeps.run import Options, resume_sweep

            options = Options(device=device or "auto")
            sweep = resume_sweep(directory, options=options, observer=observer)
        show_sweep(sweep, as_json=as_json)
        return
    runs_dir = Path(os.path.relpath(directory.resolve().parent.parent))
    with documenting(as_json=as_json), watching(quiet=quiet) as observer:
        from regrun.execution.train import resume_run

        summary = resume_run(directory, device=device, observer=observer)
    show_run(summary, directory, RunDir(directory).config, runs_dir, as_json=as_json)
