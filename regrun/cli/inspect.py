"""`regrun inspect`: everything about a config, without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.filesize import decimal

from regrun.cli.options import AllowLarge, ConfigPath, Device, Json, Overrides
from regrun.settings import format_value

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from regrun.results import Inspection, LayerSummary, ParameterSummary


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

    show(describe(loaded, device, allow_large=allow_large), _parts, as_json=as_json)


def _parts(found: Inspection) -> list[RenderableType]:
    import yaml
    from rich.text import Text

    def heading(text: str) -> Text:
        return Text(f"\n{text}", "bold")

    config = yaml.safe_dump(found.config, sort_keys=False, allow_unicode=True)
    parts: list[RenderableType] = [Text("config", "bold"), Text(config.rstrip())]
    parts += [heading("model"), _model_table(found.model.layers)]
    parts.append(Text(f"{found.model.parameters:,} parameters"))
    parts += [heading("parameters"), _parameter_table(found.parameters)]
    parts += [heading("update rule"), Text(found.update_rule)]
    parts += [Text(f"note: {note}") for note in found.notes]
    parts.append(heading(_size(found.runs, found.memory_bytes)))
    return parts


def _model_table(layers: Sequence[LayerSummary]) -> Table:
    from rich.table import Table

    table = Table("layer", "kind", "output", box=None, pad_edge=False)
    table.add_column("parameters", justify="right")
    for layer in layers:
        shape = "×".join(str(size) for size in layer.output_shape)
        table.add_row(layer.name, layer.kind, shape, f"{layer.parameters:,}")
    return table


def _parameter_table(parameters: Sequence[ParameterSummary]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("name", "shape", "role", "weight decay", "penalties", "why", box=None)
    table.pad_edge = False
    for parameter in parameters:
        row = (
            parameter.name,
            "×".join(str(size) for size in parameter.shape),
            parameter.role,
            format_value(parameter.decay) if parameter.decay else "none",
            ", ".join(_penalty(penalty) for penalty in parameter.penalties) or "none",
            parameter.reason,
        )
        table.add_row(*(Text(cell) for cell in row))
    return table


def _penalty(penalty: Mapping[str, str | float]) -> str:
    return f"{penalty['type']} {format_value(penalty['strength'])} ({penalty['method']})"


def _size(runs: int, memory_bytes: int) -> str:
    plural = "s" if runs != 1 else ""
    return f"{runs:,} run{plural}, about {decimal(memory_bytes)} of memory"
