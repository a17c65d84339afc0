"""`regrun inspect`: everything about a config, without training."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import RenderableType
from rich.filesize import decimal
from rich.text import Text

from regrun.cli.format import table
from regrun.cli.options import AllowLarge, ConfigPath, Device, Json, Overrides
from regrun.results import Inspection
from regrun.settings import format_value


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
        *(f"note: {note}" for note in found.notes),
        heading(f"{found.runs:,} run{plural}, about {decimal(found.memory_bytes)} of memory"),
    ]


def _shape(sizes: tuple[int, ...]) -> str:
    return "×".join(str(size) for size in sizes)


def _penalty(penalty: Mapping[str, str | float]) -> str:
    return f"{penalty['type']} {format_value(penalty['strength'])} ({penalty['method']})"
