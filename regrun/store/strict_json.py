"""JSON that every reader accepts: numbers that are not finite become null."""

from __future__ import annotations

import json
import math
from typing import Any

_ONE_LINE = json.JSONEncoder(allow_nan=False, ensure_ascii=False)


def dumps(value: Any, indent: int | None = None) -> str:
    """Text of ``value``; NaN and infinities are written as null, which the standard lacks."""
    encoder = _ONE_LINE
    if indent is not None:
        encoder = json.JSONEncoder(allow_nan=False, ensure_ascii=False, indent=indent)
    try:
        return encoder.encode(value)
    except ValueError:
        return encoder.encode(_finite(value))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
