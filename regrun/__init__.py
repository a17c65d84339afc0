"""Regularization experiments from YAML, here as Python functions.

Each function does what the command of its name does. A config is a YAML file, or the same content
as a mapping.

- `train`, `sweep`, `path`, `ablate` and `reproduce` train; `resume` carries on or adds to what
  there is; `inspect` trains nothing. They return a `Run`, `Sweep`, `Path`, `Ablation` or
  `Reproduction`.
- These show themselves in notebooks, and have tables as DataFrames, `.plot()` for their pictures
  and `.report()` for one HTML page on them.
- `load_run`, `load_sweep`, `load_path`, `load_ablation` and `load_reproduction` load them again.
- `load_model` gives a trained network, `load_predictor` its predictions for raw data.
- `compare`, `plot` and `report` take directories.

Errors are classes of `regrun.errors`; what summaries hold is described in `regrun.results`; classes
to derive from are in `regrun.plugins`. ``import regrun`` is cheap: torch is imported with the first
function used.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # as in `typing`, which takes longer to import than all else here

__version__ = "0.2.0"

if TYPE_CHECKING:
    from typing import Any

    from regrun.api import (
        ablate,
        compare,
        inspect,
        load_model,
        load_predictor,
        path,
        plot,
        report,
        reproduce,
        resume,
        sweep,
        train,
    )
    from regrun.stored import (
        Ablation,
        Path,
        Reproduction,
        Run,
        Sweep,
        load_ablation,
        load_path,
        load_reproduction,
        load_run,
        load_sweep,
    )

__all__ = [
    "Ablation",
    "Path",
    "Reproduction",
    "Run",
    "Sweep",
    "__version__",
    "ablate",
    "compare",
    "inspect",
    "load_ablation",
    "load_model",
    "load_path",
    "load_predictor",
    "load_reproduction",
    "load_run",
    "load_sweep",
    "path",
    "plot",
    "report",
    "reproduce",
    "resume",
    "sweep",
    "train",
]


_STORED = frozenset(
    (
        "Ablation", "Path", "Reproduction", "Run", "Sweep",
        "load_ablation", "load_path", "load_reproduction", "load_run", "load_sweep",
    )
)  # fmt: skip
"""What `regrun.stored` has; the rest is in `regrun.api`."""


_PUBLIC_MODULES = ("errors", "plugins", "results")


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("regrun.stored" if name in _STORED else "regrun.api"), name)
    raise AttributeError(f"module 'regrun' has no attribute {name!r}")


def __dir__() -> list[str]:
    own = (name for name in globals() if name.startswith("__") or name in _PUBLIC_MODULES)
    return sorted({*own, *__all__})
