"""`regrun inspect`: everything about a config, without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.filesize import decimal

from regrun.cli.options import AllowLarge, ConfigPath, Device, Json, Overrides
from regrun.settings import format_value

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


def inspect(
    config: ConfigPath,
    overrides: Overrides = None,
    device: Device = "auto",
    as_json: Json = False,
    allow_large: AllowLarge = False,
) -> None:
    """Show the resolved config, the model, every parameter's group, and the update rule."""
    from regrun.cli.console import show
    from regrun.config.load import load_config

    loaded = load_config(config, overrides or [])
    from regrun.execution.describe import describe

    document = describe(loaded, device, allow_large=allow_large)
    show(document, _parts, as_json=as_json)


def _parts(document: Mapping[str, Any]) -> list[RenderableType]:
    import yaml
    from rich.text import Text

    def heading(text: str) -> Text:
        return Text(f"\n{text}", "bold")

    config = yaml.safe_dump(document["config"], sort_keys=False, allow_unicode=True)
    parts: list[RenderableType] = [Text("config", "bold"), Text(config.rstrip())]
    model = document.get("model")
    if model:
        parts += [heading("model"), _model_table(model["layers"])]
        parts.append(Text(f"{model['parameters']:,} parameters"))
    parts += [heading("parameters"), _parameter_table(document["parameters"])]
    parts += [heading("update rule"), Text(document["update_rule"])]
    parts += [Text(f"note: {note}") for note in document.get("notes") or ()]
    parts.append(heading(_size(document["runs"], document["memory_bytes"])))
    return parts


def _model_table(layers: Sequence[Mapping[str, Any]]) -> Table:
    from rich.table import Table

    table = Table("layer", "kind", "output", box=None, pad_edge=False)
    table.add_column("parameters", justify="right")
    for layer in layers:
        shape = "×".join(str(size) for size in layer["output_shape"])
        table.add_row(layer["name"], layer["kind"], shape, f"{layer['parameters']:,}")
    return table


def _parameter_table(parameters: Sequence[Mapping[str, Any]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("name", "shape", "role", "weight decay", "penalties", "why", box=None)
    table.pad_edge = False
    for parameter in parameters:
        row = (
            parameter["name"],
            "×".join(str(size) for size in parameter["shape"]),
            parameter["role"],
            _decay(parameter["decay"]),
            ", ".join(_penalty(penalty) for penalty in parameter["penalties"]) or "none",
            parameter["reason"],
        )
        table.add_row(*(Text(cell) for cell in row))
    return table


def _decay(decay: Any) -> str:
    return "none" if decay in (None, False, 0, 0.0) else format_value(decay)


def _penalty(penalty: Mapping[str, Any]) -> str:
    return f"{penalty['type']} {format_value(penalty['strength'])} ({penalty['method']})"


def _size(runs: int, memory_bytes: int) -> str:
    plural = "s" if runs != 1 else ""
    return f"{runs:,} run{plural}, about {decimal(memory_bytes)} of memory"
