"""The parts of a report as one HTML page that needs nothing but itself.

`templates/page.html` is the page, `style.css` how it looks, and `script.js` what it does. Nothing
else can run: the page allows only the script whose hash it names.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from regrun.cli.reports.comparison import comparison_of
from regrun.cli.reports.grids import data_grids
from regrun.cli.reports.parts import ReportPart
from regrun.escapes import escaped
from regrun.pictures.style import LOOKS


def page(parts: Sequence[ReportPart]) -> str:
    """The page. Text from data is escaped, and its control characters are written out."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from regrun import __version__
    from regrun.cli.data_report import data_facts

    environment = Environment(
        loader=PackageLoader("regrun.cli.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = environment.get_template("style.css").render(looks=LOOKS)
    script = (resources.files(__package__) / "templates" / "script.js").read_text("utf-8")
    return environment.get_template("page.html").render(
        parts=parts,
        comparison=comparison_of(parts),
        data_facts=data_facts,
        data_grids=data_grids,
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        version=__version__,
    )


def _hash(text: str) -> str:
    """The name under which a policy allows an inline element with just this text."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _visible(value: Any) -> Any:
    """Text that is not yet HTML, in visible characters."""
    text = str(value) if isinstance(value, Path) else value
    return escaped(text) if type(text) is str else value
