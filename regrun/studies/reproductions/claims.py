"""Reproductions as data: what is trained, what was published, and what the runs say about it.

A verdict never claims more than the runs allow: an interval over seeds decides, and one seed has
none. What was not measured well enough is `not distinguishable at this budget`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from regrun.analysis.statistics import holm, mean_interval, paired_difference
from regrun.metrics import scale_of
from regrun.results import Estimate, Judgement, Verdict
from regrun.settings import flatten

AGREES: Verdict = "agrees"
DIFFERS: Verdict = "differs"
UNDECIDED: Verdict = "not distinguishable at this budget"

Measured = Mapping[str, Mapping[str, Mapping[int, float]]]
"""Method → metric → seed → value."""

ALPHA = 0.05


@dataclass(frozen=True)
class Of:
    """A metric of a method."""

    method: str
    metric: str

    def values(self, measured: Measured) -> Mapping[int, float]:
        return measured.get(self.method, {}).get(self.metric, {})


@dataclass(frozen=True)
class Value:
    """A number: our mean must be within the tolerance, and our interval no wider than it."""

    text: str
    of: Of
    published: float
    tolerance: float

    def judge(self, measured: Measured) -> Judgement:
        low, high = self.published - self.tolerance, self.published + self.tolerance
        ours = _interval(self.of, measured)
        verdict = UNDECIDED
        if ours is not None and ours.low is not None and ours.high is not None:
            if ours.high < low or ours.low > high:
                verdict = DIFFERS
            elif low <= ours.mean <= high and ours.high - ours.mean <= self.tolerance:
                verdict = AGREES
        published = f"{self.published:g}, within {self.tolerance:g}"
        return Judgement(
            claim=self.text, published=published, ours=ours, verdict=verdict, agreeing=[low, high]
        )


@dataclass(frozen=True)
class Bound:
    """A number above or below which all of our interval must lie."""

    text: str
    of: Of
    below: float = math.inf
    above: float = -math.inf

    def judge(self, measured: Measured) -> Judgement:
        ours = _interval(self.of, measured)
        return _judge_range(self.text, self.above, self.below, ours)


@dataclass(frozen=True)
class Ratio:
    """a over b on shared seeds: the geometric mean, whose whole interval must lie in the range."""

    text: str
    a: Of
    b: Of
    above: float = 0.0
    below: float = math.inf

    def judge(self, measured: Measured) -> Judgement:
        """Seeds on which a value is not above 0 do not count."""
        a, b = (
            {seed: value for seed, value in side.values(measured).items() if value > 0}
            for side in (self.a, self.b)
        )
        ratio = paired_difference(a, b, "log")
        ours = Estimate(mean=ratio.mean, low=ratio.low, high=ratio.high, n=ratio.n)
        return _judge_range(self.text, self.above, self.below, ours if ratio.n else None)


@dataclass(frozen=True)
class Order:
    """One method's metric is lower than another's: a paired t-test over seeds, two-sided.

    Of all orders of a reproduction the p-values are corrected together (Holm 1979). Methods that
    give equal values on every seed differ from the claim: what sets them apart has no effect. ours:
    the mean of lower minus higher, so negative where it agrees.
    """

    text: str
    lower: Of
    higher: Of
    published: str = "lower"


@dataclass(frozen=True)
class Ranking:
    """Names in an order; the metric `<prefix>/<name>` is each one's place. No seeds: exact."""

    text: str
    method: str
    prefix: str
    published: Sequence[str]

    def judge(self, measured: Measured) -> Judgement:
        """Equal places decide nothing."""
        places = _named(measured, self.method, self.prefix, self.published)
        ours, verdict = None, UNDECIDED
        if len(places) == len(self.published):
            names = sorted(places, key=places.__getitem__)
            ours = ", ".join(names)
            if len(set(places.values())) == len(places):
                verdict = AGREES if names == list(self.published) else DIFFERS
        published = ", ".join(self.published)
        return Judgement(claim=self.text, published=published, ours=ours, verdict=verdict)


@dataclass(frozen=True)
class Numbers:
    """Numbers by name, all reproduced within a tolerance. No seeds: exact."""

    text: str
    method: str
    prefix: str
    published: Mapping[str, float]
    tolerance: float

    def judge(self, measured: Measured) -> Judgement:
        numbers = _named(measured, self.method, self.prefix, self.published)
        ours, verdict = None, UNDECIDED
        if len(numbers) == len(self.published):
            largest = max(abs(numbers[name] - value) for name, value in self.published.items())
            ours = f"largest deviation {largest:.2g}"
            verdict = AGREES if largest <= self.tolerance else DIFFERS
        published = f"{len(self.published)} numbers, each within {self.tolerance:g}"
        return Judgement(claim=self.text, published=published, ours=ours, verdict=verdict)


@dataclass(frozen=True)
class Reported:
    """A number that is shown and not judged; published: None where nothing comparable was."""

    text: str
    of: Of
    published: float | None = None

    def judge(self, measured: Measured) -> Judgement:
        published = "" if self.published is None else f"{self.published:g}"
        ours = _interval(self.of, measured)
        return Judgement(claim=self.text, published=published, ours=ours, verdict=None)


Claim = Value | Bound | Ratio | Order | Ranking | Numbers | Reported


def judge(claims: Sequence[Claim], measured: Measured) -> list[Judgement]:
    """A judgement per claim, in their order."""
    orders = [claim for claim in claims if isinstance(claim, Order)]
    judged = iter(_judge_orders(orders, measured))
    return [next(judged) if isinstance(claim, Order) else claim.judge(measured) for claim in claims]


def overall(judgements: Sequence[Judgement]) -> Verdict:
    """`differs` if any does, `agrees` if all that are judged do, else undecided."""
    verdicts = {each.verdict for each in judgements} - {None}
    if DIFFERS in verdicts:
        return DIFFERS
    return AGREES if verdicts == {AGREES} else UNDECIDED


def _judge_orders(orders: Sequence[Order], measured: Measured) -> list[Judgement]:
    found = [
        paired_difference(order.lower.values(measured), order.higher.values(measured))
        for order in orders
    ]
    adjusted = iter(holm([each.p for each in found if each.p is not None]))
    judgements = []
    for order, each in zip(orders, found, strict=True):
        p = None if each.p is None else next(adjusted)
        verdict = UNDECIDED
        if p is not None and p <= ALPHA:
            verdict = AGREES if each.mean < 0 else DIFFERS
        elif each.low == each.high == 0:
            verdict = DIFFERS
        ours = None
        if each.n:
            ours = Estimate(mean=each.mean, low=each.low, high=each.high, n=each.n)
        judgements.append(
            Judgement(
                claim=order.text,
                published=order.published,
                ours=ours,
                verdict=verdict,
                agreeing=[None, 0.0],
            )
        )
    return judgements


def _judge_range(text: str, above: float, below: float, ours: Estimate | None) -> Judgement:
    """Whether an interval lies wholly inside a range, or wholly outside it."""
    verdict = UNDECIDED
    if ours is not None and ours.low is not None and ours.high is not None:
        if above < ours.low and ours.high < below:
            verdict = AGREES
        elif ours.high <= above or ours.low >= below:
            verdict = DIFFERS
    parts = [f"> {above:.7g}"] if above not in (0, -math.inf) else []
    parts += [f"< {below:.7g}"] if below != math.inf else []
    ends = [end if math.isfinite(end) else None for end in (above, below)]
    return Judgement(
        claim=text, published=" and ".join(parts), ours=ours, verdict=verdict, agreeing=ends
    )


def _interval(of: Of, measured: Measured) -> Estimate | None:
    """The mean over seeds, as tables have it. Where no seed changes anything, it is exact."""
    values = of.values(measured)
    if not values:
        return None
    found = mean_interval([values[seed] for seed in sorted(values)], scale_of(of.metric))
    if found.n > 1 and found.low is None:
        exact = {"low": min(values.values()), "high": max(values.values())}
        return found.model_copy(update=exact)
    return found


def _named(
    measured: Measured, method: str, prefix: str, names: Sequence[str] | Mapping[str, float]
) -> dict[str, float]:
    found = {name: Of(method, f"{prefix}/{name}").values(measured) for name in names}
    return {name: next(iter(values.values())) for name, values in found.items() if values}


@dataclass(frozen=True)
class Method:
    """One of the things compared.

    overrides: dotted key → value. tune: dotted key → settings; every combination is trained with
    the tuning seeds, and the one of the best validation metric is what stands for the method.
    """

    name: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    tune: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def candidates(self) -> Iterator[dict[str, Any]]:
        """All settings, the first axis slowest; one without axes."""
        for values in itertools.product(*self.tune.values()):
            yield {**self.overrides, **dict(zip(self.tune, values, strict=True))}

    def at_edge(self, chosen: Mapping[str, object]) -> list[str]:
        """The numbers of a candidate that are the smallest or largest tried, as dotted keys.

        A better one may lie beyond.
        """
        tried: dict[str, set[float]] = {}
        for candidate in self.candidates():
            for key, value in flatten(candidate).items():
                if isinstance(value, int | float):
                    tried.setdefault(key, set()).add(value)
        return [
            key
            for key, value in flatten(chosen).items()
            if len(tried.get(key, ())) > 1 and value in (min(tried[key]), max(tried[key]))
        ]


@dataclass(frozen=True)
class OptimumSlope:
    """A metric `name`: how far a method's best setting moves when another one is changed.

    |slope| of log(best `response`) over log(`against`), both of them axes of `tune`; the best is
    the one of best `metric` among the tuning runs of a seed.
    """

    name: str
    response: str
    against: str
    metric: str


@dataclass(frozen=True)
class Trained:
    """Runs of one config. The judged seeds come after the tuning seeds and share none with them."""

    config: str
    """A shipped config, below `configs/`."""
    methods: tuple[Method, ...]
    seeds: int
    tuning_seeds: int = 0
    tuned_by: str = "val/loss"
    slopes: tuple[OptimumSlope, ...] = ()


@dataclass(frozen=True)
class LassoPath:
    """A regularization path (`regrun path`) of one config.

    Its metrics are `place/<feature>`, the place at which a feature enters, and
    `<strength as a share of the largest>/<feature>`, its coefficient there.
    """

    config: str
    method: str
    number: int
    ratio: float
    shares: tuple[float, ...]
    """Of the largest strength; each must be one of the path's strengths."""


Part = Trained | LassoPath


@dataclass(frozen=True)
class Reproduction:
    """A published result, trained again."""

    title: str
    reference: str
    """Paper or book, with section."""
    parts: tuple[Part, ...]
    claims: tuple[Claim, ...]
    budget: str
    """What we spend."""
    published_budget: str
    """What was spent there, as far as it differs."""
    takes: str
    """Time on two idle CPU cores, roughly."""
    remark: str = ""
    """What else a reader should know."""
