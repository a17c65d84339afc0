"""Regularization paths that nobody solved."""

from __future__ import annotations

import numpy as np

from regrun.results import BestStrength, PathResult


def a_path(features: int = 3, outputs: int = 1, number: int = 5, ratio: float = 1e-2) -> PathResult:
    draw = np.random.default_rng(features)
    shape = (number, features) if outputs == 1 else (number, outputs, features)
    coefficients = draw.normal(size=shape)
    coefficients[0] = 0
    losses = draw.random(number)
    strengths = np.geomspace(3, 3 * ratio, number).tolist()
    return PathResult(
        path_dir="runs/some/path",
        strengths=strengths,
        coefficients=coefficients.tolist(),
        intercepts=[0.0] * number,
        nonzeros=np.count_nonzero(coefficients.reshape(number, -1), axis=1).tolist(),
        feature_names=[f"feature {index} of a long name" for index in range(features)],
        metrics={
            "train/loss": losses.tolist(),
            "test/loss": (losses + 1).tolist(),
            "cv/loss": (losses + 0.5).tolist(),
            "cv/standard_error": (0.1 * losses).tolist(),
        },
        best=BestStrength(strength=strengths[2], one_standard_error=strengths[1]),
        converged=True,
    )
