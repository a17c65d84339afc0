"""How far another test set would move a result: sampling errors over test examples.

Runs that differ in their seed are R replicates, each measured on the same N test examples. Their
losses are crossed random effects (Owen & Eckles 2012, "Bootstrapping data arrays of arbitrary
order"):

    ℓᵢⱼ = μ + sᵢ + eⱼ + γᵢⱼ        replicate i, example j

The mean of all has the variance σₛ²/R + σₑ²/N + σᵧ²/(RN). Replicates on a fixed test set show
σₛ²/R + σᵧ²/(RN) of it, and examples under fixed replicates σₑ²/N + σᵧ²/(RN). So the variances add
up, and their sum counts σᵧ²/(RN) twice: an interval from it is too wide rather than too narrow.

What this neglects: the training examples are the same throughout, so nothing is said about other
ones; and test examples count as independent draws, which those of one patient are not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regrun.analysis.statistics import CONFIDENCE, AddErrors
from regrun.store.reading import TestExamples

Losses = NDArray[Any]
"""(R, N): of R replicates, on the same N examples in one order. Correctness is 0 or 1."""

_Z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)


class CombinedError(NamedTuple):
    """A standard error and the degrees of freedom of its 95% interval."""

    error: float
    df: float


class McNemar(NamedTuple):
    """The comparison of two classifiers on the same examples.

    only_a, only_b: examples that this one alone gets right. p: exact, two-sided.
    """

    only_a: int
    only_b: int
    p: float


def on_one_test_set(
    results: Iterable[TestExamples | None], quantity: Literal["loss", "accuracy"]
) -> Losses | None:
    """The results of replicates as (R, N); None unless all have some, surely on the same examples.

    A dataset of a plugin that does not say which test examples it has is never surely the same.
    """
    kept, sets = [], set()
    for each in results:
        values = None if each is None else each.loss if quantity == "loss" else each.correct
        if each is None or values is None or not each.test_set:
            return None
        kept.append(values)
        sets.add((each.test_set, len(values)))
    return np.stack(kept) if len(sets) == 1 else None


def sampling_error(losses: Losses, *, relative: bool = False) -> float:
    """The standard error, over test examples, of the mean over examples and replicates.

    It has N − 1 degrees of freedom. relative: that of the logarithm of the geometric mean over
    replicates, by the delta method: for one replicate that of log(mean). Raises ValueError for
    fewer than two examples and, with `relative`, for a replicate whose mean is not positive.
    """
    return _standard_error(_contributions(losses, relative))


def paired_sampling_error(a: Losses, b: Losses, *, relative: bool = False) -> float:
    """The same of the mean of `a` minus that of `b`, paired over examples.

    What makes an example hard for both cancels out. relative: of log(mean a / mean b), the means
    being geometric over replicates. a, b: on the same N examples; they may differ in R. Raises
    ValueError also for different N.
    """
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(f"{a.shape[-1]} and {b.shape[-1]} examples cannot be paired")
    return contrast_sampling_error([a], [b], relative=relative)


def contrast_sampling_error(
    plus: Sequence[Losses], minus: Sequence[Losses], *, relative: bool = False
) -> float:
    """The same of the sum of some means minus the sum of others, all on the same N examples.

    relative: of the logarithm of a product of ratios.
    """
    signed = [(1, each) for each in plus] + [(-1, each) for each in minus]
    total: NDArray[np.float64] = sum(
        (sign * _contributions(each, relative) for sign, each in signed),
        np.zeros(signed[0][1].shape[-1]),
    )
    return _standard_error(total)


def combine(
    seed_error: float, seed_df: float, example_error: float, example_df: float
) -> CombinedError:
    """The standard error for new seeds and a new test set, from those for either alone.

    Variances add up, as the module says. The degrees of freedom are those at which Student's 97.5%
    quantile is Cochran's (1964): the mean of the two quantiles, weighted by the variances. The 95%
    interval then covers 94 to 98% from two replicates on; Satterthwaite's degrees of freedom, which
    are larger, give 88% with two and 92% with three. Smaller p-values need the lower of both
    degrees of freedom. Raises ValueError unless these are positive; they may be infinite.
    """
    from scipy.special import stdtridf, stdtrit

    if min(seed_df, example_df) <= 0:
        raise ValueError("an error without degrees of freedom is not known")
    error = math.hypot(seed_error, example_error)
    if error == 0:
        return CombinedError(0.0, min(seed_df, example_df))
    share, level = (seed_error / error) ** 2, 0.5 + CONFIDENCE / 2
    quantile = share * stdtrit(seed_df, level) + (1 - share) * stdtrit(example_df, level)
    return CombinedError(error, float(stdtridf(level, quantile)))


def with_sampling_error(error: float, examples: int) -> AddErrors:
    """What adds the sampling error of so many test examples to the error over replicates."""

    def add(seed_error: float, seed_df: float) -> tuple[float, float]:
        return combine(seed_error, seed_df, error, examples - 1)

    return add


def binomial_error(accuracy: float, examples: int) -> float:
    """The standard error of an accuracy over test examples, when only their number is known.

    Agresti & Coull's (1998): z²/2 examples are added to the right ones and to the wrong ones. So it
    is not 0 at an accuracy of 0 or 1, and close to √(p (1 − p) / N) for many examples. For a mean
    over replicates it is on the large side, since not all err on the same examples.
    """
    count = examples + _Z**2
    share = (accuracy * examples + _Z**2 / 2) / count
    return math.sqrt(share * (1 - share) / count)


def mcnemar(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> McNemar:
    """McNemar's exact test (1947): whether two runs are right equally often on the same examples.

    Only the examples that one of them alone gets right count; when both are equally good, each is
    either's with probability ½. It compares two runs and not two methods: seeds do not enter. a, b:
    (N,), whether each example is right.
    """
    from scipy.stats import binomtest

    if a.shape != b.shape:
        raise ValueError(f"{len(a)} and {len(b)} examples cannot be paired")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    discordant = only_a + only_b
    p = float(binomtest(only_a, discordant).pvalue) if discordant else 1.0
    return McNemar(only_a, only_b, p)


def _contributions(losses: Losses, relative: bool) -> NDArray[np.float64]:
    """(N,): how each example acts on the mean, or to first order on its logarithm."""
    values = np.asarray(losses, np.float64)
    if values.ndim != 2 or len(values) < 1 or values.shape[1] < 2:
        raise ValueError(f"{values.shape}: not (replicates, examples) of at least two examples")
    if relative:
        means = values.mean(1, keepdims=True)
        if not (means > 0).all():
            raise ValueError("a mean that is not positive has no logarithm")
        values = values / means
    found: NDArray[np.float64] = values.mean(0)
    return found


def _standard_error(values: NDArray[np.float64]) -> float:
    deviations = np.abs(values - values.mean())
    largest = float(deviations.max())  # whose square may exceed the largest float
    if largest == 0:
        return 0.0
    count = len(values)
    return largest * math.sqrt(float(((deviations / largest) ** 2).sum()) / (count - 1) / count)
