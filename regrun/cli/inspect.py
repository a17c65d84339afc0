"""`regrun inspect`: everything about a config, without training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.filesize import decimal
from rich.text import Text

from regrun.cli.data_report import data_report, picture_grid, preview_report
from regrun.cli.format import table
from regrun.cli.options import AllowLarge, ConfigPath, Device, Json, Overrides, Plugins
from regrun.errors import UsageError
from regrun.results import Inspection
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
    as_json: Json = False,
    allow_large: AllowLarge = False,
) -> None:
    """Show the resolved config, the model, every parameter's group, and the update rule."""
    from regrun.cli.console import show
    from regrun.config.load import load_config

    loaded = load_config(config, overrides or [])
    if data or pictures is not None:
        _show_data(loaded, pictures, as_json=as_json, allow_large=allow_large)
        return
    from regrun.execution.describe import describe

    show(describe(loaded, device, allow_large=allow_large), _parts, as_json=as_json)


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


def _parts(found: Inspection) -> list[RenderableType]:
    import yaml

    def heading(text: str) -> Text:
        return Text(f"\n{text}", "bold")

    layers = [
        (layer.name, layer.kind, _shape(layer.output_shape), f"{layer.parameters:,}")
        for layer in found.model.layers
    ]
    parameters = [
        (
            parameter.name,
            _shape(parameter.shape),
            parameter.role,
            format_value(parameter.decay) if parameter.decay else "none",
            ", ".join(_penalty(penalty) for penalty in parameter.penalties) or "none",
            parameter.reason,
        )
        for parameter in found.parameters
    ]
    plural = "s" if found.runs != 1 else ""
    return [
        Text("config", "bold"),
        yaml.safe_dump(found.config, sort_keys=False, allow_unicode=True).rstrip(),
        heading("model"),
        table(("layer", "kind", "output", "parameters"), layers, right=("parameters",)),
        f"{found.model.parameters:,} parameters",
        heading("parameters"),
        table(("name", "shape", "role", "weight decay", "penalties", "why"), parameters),
        heading("update rule"),
        found.update_rule,
        heading("data"),
        *data_report(found.data),
        *(f"note: {note}" for note in found.notes),
        heading(f"{found.runs:,} run{plural}, about {decimal(found.memory_bytes)} of memory"),
    ]


def _shape(sizes: tuple[int, ...]) -> str:
    return "×".join(str(size) for size in sizes)


def _penalty(penalty: Mapping[str, str | float]) -> str:
    return f"{penalty['type']} {format_value(penalty['strength'])} ({penalty['method']})"
