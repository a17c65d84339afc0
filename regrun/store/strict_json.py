"""JSON that every reader accepts: results as objects, numbers that are not finite as null."""

from __future__ import annotations

from typing import Any

import orjson

from regrun.results import Result


def line(value: Any) -> bytes:
    """One line, with its newline. NaN and infinities are null, since JSON has neither."""
    return orjson.dumps(value, _plain, orjson.OPT_APPEND_NEWLINE)


def document(value: Any) -> bytes:
    """The same, indented for people."""
    return orjson.dumps(value, _plain, orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _plain(value: object) -> dict[str, Any]:
    if isinstance(value, Result):
        return value.to_dict()
    raise TypeError(f"{type(value).__name__} is not JSON")
