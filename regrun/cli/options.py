"""Arguments and options that several verbs share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from regrun.cli.completion import (
    complete_config,
    complete_device,
    complete_devices,
    complete_executor,
    complete_override,
    complete_run_directory,
)
from regrun.devices import Devices
from regrun.sweeps.executor import OnRay, amount_of


def _devices(name: str | None) -> str | None:
    return name if name is None else str(Devices.named(name))


def _device(name: str) -> str:
    Devices.named(name).check_single()
    return name


def _registering(paths: list[Path] | None) -> list[Path]:
    """Name files in the environment, from which this process and its workers take their classes."""
    if not paths:
        return []
    from regrun.kinds.plugins import FILES, plugin_files

    for path in paths:
        if path.suffix != ".py" or not path.is_file():
            raise typer.BadParameter(f"{path} is no Python file")
    every = dict.fromkeys([*plugin_files(), *(path.resolve() for path in paths)])
    os.environ[FILES] = os.pathsep.join(map(str, every))
    return paths


ConfigPath = Annotated[
    Path,
    typer.Argument(metavar="CONFIG", help="The YAML file.", autocompletion=complete_config),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Changes to the config, such as optimizer.lr=0.1 or model.dropout=[0.2,0.5].",
        autocompletion=complete_override,
        show_default=False,
    ),
]
RunDirectory = Annotated[
    Path,
    typer.Argument(metavar="DIR", help="A run or a sweep.", autocompletion=complete_run_directory),
]
RunsDir = Annotated[Path, typer.Option("--runs-dir", metavar="PATH", help="Where runs are kept.")]
Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE.py",
        help="A Python file with classes of your own; see `regrun guide your-network`.",
        callback=_registering,
        is_eager=True,
        show_default=False,
    ),
]
"""Registered as it is read: before any verb imports the kinds."""
Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="NAME",
        help="auto, cpu, cuda or cuda:N.",
        callback=_device,
        autocompletion=complete_device,
    ),
]
SweepDevice = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="NAME",
        help="auto, cpu, cuda for all GPUs, cuda:N, or several as cuda:0,1.",
        callback=_devices,
        autocompletion=complete_devices,
    ),
]
ResumeDevice = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="auto, cpu, cuda, cuda:N or, for a sweep, cuda:0,1; default: as it was started.",
        autocompletion=complete_devices,
        callback=_devices,
        show_default=False,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        metavar="N",
        min=1,
        help="CPU threads to compute with, of each worker; default: as many as pay off.",
        show_default=False,
    ),
]
ResumeThreads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        metavar="N",
        min=1,
        help="CPU threads to compute with; default: as many as it was started with.",
        show_default=False,
    ),
]
Executor = Annotated[
    str,
    typer.Option(
        "--executor",
        metavar="NAME",
        help="local, or ray for a cluster; see `regrun guide many-machines`.",
        autocompletion=complete_executor,
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        metavar="ADDRESS",
        help="HOST:PORT of the cluster, or auto. Default: RAY_ADDRESS, else a Ray of its own.",
        show_default=False,
    ),
]
RayGpus = Annotated[
    float | None,
    typer.Option(
        "--ray-gpus",
        metavar="SHARE",
        help="How much of a GPU a stack has. Default: 1 on nodes with GPUs.",
        show_default=False,
    ),
]
RayResources = Annotated[
    list[str] | None,
    typer.Option(
        "--ray-resource",
        metavar="NAME=AMOUNT",
        help="What else a stack takes of its node; may be repeated.",
        show_default=False,
    ),
]
AllowLarge = Annotated[
    bool, typer.Option("--allow-large", help="Try even what seems too large for this machine.")
]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV to stdout.")]
Wide = Annotated[bool, typer.Option("--wide", help="Show all columns, whatever the width.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no messages.")]


def on_ray(
    executor: str, address: str | None, gpus: float | None, resources: list[str] | None
) -> OnRay | None:
    """What the options on Ray mean together; None: train on this machine."""
    return OnRay.asked_for(executor, address, gpus, dict(map(amount_of, resources or ())))


RUNS = Path("runs")
"""The default of `--runs-dir`."""
