"""Standard JSON: NaN and infinities, which the standard lacks, become null."""

from __future__ import annotations

from typing import Any

import orjson


def line(value: Any) -> bytes:
    """One line, newline included."""
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


def document(value: Any) -> bytes:
    """An indented document, newline included."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
