"""The parts of a report as one HTML page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regrun.cli.report_parts import ReportPart
from regrun.escapes import escaped


def page(parts: Sequence[ReportPart]) -> str:
    """The page. Text from data is escaped, and its control characters are written out."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from regrun import __version__

    environment = Environment(
        loader=PackageLoader("regrun.cli"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(parts=parts, version=__version__)


def _visible(value: Any) -> Any:
    """Text that is not yet HTML, in visible characters."""
    text = str(value) if isinstance(value, Path) else value
    return escaped(text) if type(text) is str else value
