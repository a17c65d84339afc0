"""regrun: regularization experiments from YAML.

``import regrun`` is cheap: torch is imported with the first function used.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # as in `typing`, which takes longer to import than all else here

__version__ = "0.2.0"

if TYPE_CHECKING:
    from typing import Any

    from regrun.api import (
        Run,
        Sweep,
        ablate,
        compare,
        inspect,
        load_model,
        load_predictor,
        load_run,
        load_sweep,
        path,
        plot,
        reproduce,
        resume,
        sweep,
        train,
    )

__all__ = [
    "Run",
    "Sweep",
    "__version__",
    "ablate",
    "compare",
    "inspect",
    "load_model",
    "load_predictor",
    "load_run",
    "load_sweep",
    "path",
    "plot",
    "reproduce",
    "resume",
    "sweep",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("regrun.api"), name)
    raise AttributeError(f"module 'regrun' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
