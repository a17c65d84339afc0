"""`regrun train`: one run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from regrun.cli.options import (
    RUNS,
    AllowLarge,
    ConfigPath,
    Device,
    Json,
    Overrides,
    Quiet,
    RunsDir,
)


def train(
    config: ConfigPath,
    overrides: Overrides = None,
    runs_dir: RunsDir = RUNS,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    allow_large: AllowLarge = False,
) -> None:
    """Train one run."""
    from regrun.cli.console import documenting
    from regrun.cli.progress import watching
    from regrun.config.load import load_config
    from regrun.store.atomic import probe_writable

    loaded = load_config(config, overrides or [])
    probe_writable(runs_dir)
    with documenting(as_json=as_json), watching(quiet=quiet) as observer:
        # Only now: a wrong config or a full disk is told without waiting for torch.
        from regrun.execution.train import train_run

        summary = train_run(
            loaded,
            runs_dir=runs_dir,
            device=device,
            observer=observer,
            allow_large=allow_large,
            label=run_label(overrides or [], loaded.config.seed),
        )
    show_run(summary, Path(summary["run_dir"]), config, runs_dir, as_json=as_json)


def run_label(overrides: list[str], seed: int) -> str:
    """What tells a run from others of its name: `weight_decay=3,seed=0`."""
    said = [override.rpartition("=") for override in overrides]
    parts = [f"{key.rpartition('.')[2]}={value}" for key, _, value in said if key != "seed"]
    return ",".join([*parts, f"seed={seed}"])


def show_run(
    summary: dict[str, Any], directory: Path, config_path: Path, runs_dir: Path, *, as_json: bool
) -> None:
    """Print the result of a run; exit code 3 when it diverged or failed."""
    from rich.text import Text

    from regrun.cli.console import print_json, say
    from regrun.cli.next_steps import after_training
    from regrun.cli.render import run_report
    from regrun.store.reading import load_stored_run

    if as_json:
        print_json(summary)
    else:
        run = load_stored_run(directory)
        for part in run_report(summary, run.config, run.rows):
            say(part)
        say(f"run        {directory}")
        commands = after_training(summary, run.config, config_path, directory, runs_dir)
        for number, command in enumerate(commands):
            say(Text(f"{'' if number else 'next':<11}{command}"))
    if summary["status"] in ("diverged", "failed"):
        raise typer.Exit(3)
