"""A rich console that shows the control characters of what it prints; its own colours stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.text import Text

from regrun.escapes import escaped


class EscapingConsole(Console):
    """Prints text as it is, without markup, but in visible characters."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)
        self.push_render_hook(_Hook())

    def render_str(self, text: str, **options: Any) -> Text:
        """Escape first, since rich drops some control characters, and breaks lines at others."""
        return super().render_str(escaped(text), **options)


class _Hook(RenderHook):
    """Wraps whatever is printed."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Escaped(each) for each in renderables]


@dataclass(frozen=True)
class _Escaped:
    """What prints as another renderable, with its text escaped."""

    content: ConsoleRenderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self.content, options):
            is_text = segment.control is None
            yield segment._replace(text=escaped(segment.text)) if is_text else segment
