"""`regrun resume`: carry on an interrupted run or sweep."""

from __future__ import annotations

import os
from pathlib import Path

from regrun.cli.options import Json, Quiet, ResumeDevice, RunDirectory


def resume(
    directory: RunDirectory,
    device: ResumeDevice = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Carry on an interrupted run or sweep from its directory alone."""
    from regrun.cli.console import documenting
    from regrun.cli.progress import watching
    from regrun.store.run_dir import RunDir
    from regrun.store.sweep_dir import SweepDir

    if SweepDir(directory).config.is_file():
        from regrun.cli.sweep import show_sweep

        with documenting(as_json=as_json), watching(quiet=quiet) as observer:
            from regrun.sweeps.run import Options, resume_sweep

            options = Options(device=device or "auto")
            document = resume_sweep(directory, options=options, observer=observer)
        show_sweep(document, as_json=as_json)
        return
    from regrun.cli.train import show_run

    runs_dir = Path(os.path.relpath(directory.resolve().parent.parent))
    with documenting(as_json=as_json), watching(quiet=quiet) as observer:
        from regrun.execution.train import resume_run

        summary = resume_run(directory, device=device, observer=observer)
    show_run(summary, directory, RunDir(directory).config, runs_dir, as_json=as_json)
