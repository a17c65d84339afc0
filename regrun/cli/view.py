"""`regrun view`: the real TensorBoard over the runs."""

from __future__ import annotations

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
            "--port", min=1, max=65535, help="Default: 6006, or a free one.", show_default=False
        ),
    ] = None,
) -> None:
    """Start TensorBoard on the runs and print its address; Ctrl-C ends it."""
    from regrun.cli.console import notify, say
    from regrun.cli.tensorboard_server import serving

    with serving(runs, host, port) as server:
        say(server.url)
        notify("Ctrl-C ends it")
        server.wait()
