"""`regrun inspect`: everything about a config, without training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.filesize import decimal
from rich.text import Text

from regrun.cli.columns import rows_table
from regrun.cli.data_report import data_report, picture_grid, preview_report
from regrun.cli.format import table
from regrun.cli.options import AllowLarge, ConfigPath, Device, Json, Overrides, Plugins
from regrun.errors import UsageError
from regrun.results import Inspection, ParameterSummary
from regrun.settings import format_value

if TYPE_CHECKING:
    from regrun.config.load import Loaded


def inspect(
    config: ConfigPath,
    overrides: Overrides = None,
    device: Device = "auto",
    data: Annotated[
        bool, typer.Option("--data", help="Show what the data are taken for, and some examples.")
    ] = False,
    pictures: Annotated[
        Path | None,
        typer.Option("--pictures", metavar="FILE.png", help="With --data: write a picture grid."),
    ] = None,
    plugins: Plugins = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Show every key of the config and every parameter.")
    ] = False,
    as_json: Json = False,
    allow_large: AllowLarge = False,
) -> None:
    """Show the model, every parameter's group, the update rule, and the config."""
    from regrun.cli.console import show
    from regrun.config.load import load_config

    loaded = load_config(config, overrides or [])
    if data or pictures is not None:
        _show_data(loaded, pictures, as_json=as_json, allow_large=allow_large)
        return
    from regrun.execution.describe import describe

    found = describe(loaded, device, allow_large=allow_large)
    show(found, partial(_parts, everything=everything), as_json=as_json)


def _show_data(loaded: Loaded, pictures: Path | None, *, as_json: bool, allow_large: bool) -> None:
    from regrun.cli.console import print_json, say
    from regrun.execution.preview import preview
    from regrun.store.atomic import write_atomic

    found = preview(loaded, allow_large=allow_large)
    if pictures is not None:
        if not found.pictures:
            raise UsageError(f"--pictures {pictures}: these data are no pictures")
        write_atomic(pictures, picture_grid(found))
    if as_json:
        print_json(found.card)
    else:
        say(*preview_report(found))


def _parts(found: Inspection, *, everything: bool) -> list[RenderableType]:
    """The model, what acts on its parameters, and the update rule; then the config and the data.

    everything: each parameter for itself, and every key of the config.
    """
    from regrun.config.defaults import without_defaults
    from regrun.config.dump import dump_tree

    def heading(text: str) -> Text:
        return Text(f"\n{text}", "bold")

    layers = [
        (layer.name, layer.kind, _shape(layer.output_shape), f"{layer.parameters:,}")
        for layer in found.model.layers
    ]
    plural = "s" if found.runs != 1 else ""
    config = found.config if everything else without_defaults(found.config)
    return [
        Text("model", "bold"),
        rows_table(("layer", "kind", "output", "parameters"), layers, ("parameters",)),
        f"{found.model.parameters:,} parameters",
        heading("parameters"),
        *(_parameters(found) if everything else _groups(found)),
        heading("update rule"),
        found.update_rule,
        heading("config" if everything else "config, without defaults (--all shows every key)"),
        dump_tree(config).rstrip(),
        heading("data"),
        *data_report(found.data),
        *(f"note: {note}" for note in found.notes),
        heading(f"{found.runs:,} run{plural}, about {decimal(found.memory_bytes)} of memory"),
    ]


def _parameters(found: Inspection) -> list[RenderableType]:
    """A row for each parameter."""
    rows = [
        (
            parameter.name,
            _shape(parameter.shape),
            parameter.role,
            _decay(parameter),
            _penalties(parameter),
            parameter.reason,
        )
        for parameter in found.parameters
    ]
    return [table(("name", "shape", "role", "weight decay", "penalties", "why"), rows)]


_MOST_NAMED = 4
"""Parameters of a group that are named."""


def _groups(found: Inspection) -> list[RenderableType]:
    """The parameters on which the same acts, together."""
    groups: dict[tuple[str, ...], list[ParameterSummary]] = {}
    for each in found.parameters:
        same = (each.role, _decay(each), _penalties(each), each.reason)
        groups.setdefault(same, []).append(each)
    lines: list[RenderableType] = []
    for (role, decay, penalties, reason), members in groups.items():
        names = ", ".join(each.name for each in members[:_MOST_NAMED])
        more = len(members) - _MOST_NAMED
        numbers = sum(math.prod(each.shape) for each in members)
        lines += [
            f"{role:<7} {names}{f' and {more:,} more' if more > 0 else ''}: {numbers:,} numbers",
            f"        weight decay {decay}, penalties {penalties}",
            *(f"        {line}" for line in reason.split("; ")),
        ]
    return lines


def _decay(parameter: ParameterSummary) -> str:
    return format_value(parameter.decay) if parameter.decay else "none"


def _penalties(parameter: ParameterSummary) -> str:
    return ", ".join(map(_penalty, parameter.penalties)) or "none"


def _shape(sizes: tuple[int, ...]) -> str:
    return "×".join(str(size) for size in sizes)


def _penalty(penalty: Mapping[str, str | float]) -> str:
    return f"{penalty['type']} {format_value(penalty['strength'])} ({penalty['method']})"
