"""`regrun view`: the real TensorBoard over the runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from regrun.cli.completion import complete_run_directory
from regrun.cli.options import RUNS


def view(
    runs: Annotated[
        Path,
        typer.Argument(
            metavar="RUNS",
            help="A runs directory, or a single run.",
            autocompletion=complete_run_directory,
        ),
    ] = RUNS,
    host: Annotated[
        str, typer.Option("--host", metavar="NAME", help="Address to listen on.")
    ] = "localhost",
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            metavar="N",
            min=1,
            max=65535,
            help="Default: 6006, or a free one.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON document to stdout as soon as it answers."),
    ] = False,
) -> None:
    """Start TensorBoard on the runs and print its address; Ctrl-C ends it."""
    from regrun.cli.console import notify, print_json, say
    from regrun.cli.tensorboard_server import serving

    with serving(runs, host, port) as server:
        if as_json:
            print_json({"url": server.url, "runs_dir": str(runs), "runs": server.runs})
            sys.stdout.flush()  # its reader is not to wait for the end
        else:
            say(server.url)
        for line in server.notes:
            notify(line)
        if server.is_public:
            notify(f"--host {host}: everybody who can reach this machine can read the runs")
        notify("Ctrl-C ends it")
        server.wait()
