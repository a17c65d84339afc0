"""JSON that every reader accepts: numbers that are not finite become null."""

from __future__ import annotations

from typing import Any

import orjson


def line(value: Any) -> bytes:
    """One line, with its end. NaN and infinities are null, which the standard lacks."""
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


def document(value: Any) -> bytes:
    """The same, indented for people."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
