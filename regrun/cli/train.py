"""`regrun train`: one run."""

from __future__ import annotations

from pathlib import Path

from rich.console import RenderableType

from regrun.cli import options as opt
from regrun.cli.console import check, documenting, show, verbatim
from regrun.cli.progress import watching
from regrun.cli.run_report import after_training, run_report
from regrun.results import RunSummary
from regrun.store.atomic import probe_writable
from regrun.store.reading import load_stored_run


def train(
    config: opt.ConfigPath,
    overrides: opt.Overrides = None,
    runs_dir: opt.RunsDir = opt.RUNS,
    device: opt.Device = "auto",
    threads: opt.Threads = None,
    plugins: opt.Plugins = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
    allow_large: opt.AllowLarge = False,
) -> None:
    """Train one run."""
    from regrun.config.load import load_config

    loaded = load_config(config, overrides or [])
    probe_writable(runs_dir)
    with documenting(as_json=as_json), watching(quiet=quiet) as observer:
        # Imports torch, so only now: a wrong config or a full disk is reported without waiting.
        from regrun.execution.train import train_run

        summary = train_run(
            loaded,
            runs_dir=runs_dir,
            device=device,
            observer=observer,
            allow_large=allow_large,
            threads=threads,
            label=run_label(overrides or [], loaded.config.seed),
        )
    show_run(summary, Path(summary.run_dir), config, runs_dir, as_json=as_json)


def run_label(overrides: list[str], seed: int) -> str:
    """The start of a run's directory: `weight_decay=3,seed=0`."""
    assigned = [override.rpartition("=") for override in overrides]
    parts = [f"{key.rpartition('.')[2]}={value}" for key, _, value in assigned if key != "seed"]
    return ",".join([*parts, f"seed={seed}"])


def show_run(
    summary: RunSummary, directory: Path, config_path: Path, runs_dir: Path, *, as_json: bool
) -> None:
    """Print the result of a run; exit code 3 when it diverged or failed."""

    def report(summary: RunSummary) -> list[RenderableType]:
        from regrun.config.load import load_config

        run = load_stored_run(directory)
        config = load_config(run.document).config
        commands = after_training(summary, config, config_path, directory, runs_dir)
        return [
            *run_report(summary, run.config, run.rows),
            verbatim(f"run        {directory}"),
            *(
                verbatim(f"{'' if i else 'next':<11}{command}")
                for i, command in enumerate(commands)
            ),
        ]

    show(summary, report, as_json=as_json)
    check(summary)
