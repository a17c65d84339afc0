"""A regularization path as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pandas import DataFrame

    from regrun.results import PathResult


def path_csv(path: PathResult) -> str:
    """`path_frame` as text."""
    return path_frame(path).to_csv(index=False, lineterminator="\n")


def path_frame(path: PathResult) -> DataFrame:
    """A row per strength: strength, non-zeros, metrics, coefficients by name."""
    import pandas

    coefficients = [np.ravel(each) for each in path.coefficients]
    measured = {"strength": path.strengths, "nonzeros": path.nonzeros, **path.metrics}
    tables = [
        pandas.DataFrame(measured),
        pandas.DataFrame(coefficients, columns=coefficient_names(path)),
    ]
    return pandas.concat(tables, axis=1)


def coefficient_names(path: PathResult) -> list[str]:
    """Names of the coefficients; of several outputs, `name[output]`."""
    names = path.feature_names
    outputs = np.size(path.coefficients[0]) // len(names)
    if outputs == 1:
        return names
    return [f"{name}[{output}]" for output in range(outputs) for name in names]
