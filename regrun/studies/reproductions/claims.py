"""Published claims as data, and what runs of ours say about them.

A verdict never claims more than the runs allow: an interval over seeds decides, and one seed has
none. What was not measured well enough is `not distinguishable at this budget`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from regrun.analysis.statistics import holm, mean_interval, paired_difference
from regrun.results import Estimate, Judgement, Verdict

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
        """Seed → value; empty when there is none."""
        return measured.get(self.method, {}).get(self.metric, {})


@dataclass(frozen=True)
class Value:
    """A number: our mean must be within the tolerance, and our interval no wider than it."""

    text: str
    of: Of
    published: float
    tolerance: float

    def judge(self, measured: Measured) -> Judgement:
        """The verdict on our values."""
        low, high = self.published - self.tolerance, self.published + self.tolerance
        ours = _interval(self.of.values(measured))
        verdict = UNDECIDED
        if ours is not None and ours.low is not None and ours.high is not None:
            if ours.high < low or ours.low > high:
                verdict = DIFFERS
            elif low <= ours.mean <= high and ours.high - ours.mean <= self.tolerance:
                verdict = AGREES
        published = f"{self.published:g}, within {self.tolerance:g}"
        return _judgement(self.text, published, ours, verdict)


@dataclass(frozen=True)
class Bound:
    """A number above or below which all of our interval must lie."""

    text: str
    of: Of
    below: float = math.inf
    above: float = -math.inf

    def judge(self, measured: Measured) -> Judgement:
        """The verdict on our values."""
        ours = _interval(self.of.values(measured))
        verdict = _inside(ours, self.above, self.below)
        return _judgement(self.text, _range(self.above, self.below), ours, verdict)


@dataclass(frozen=True)
class Ratio:
    """a over b on shared seeds: the geometric mean, whose whole interval must lie in the range."""

    text: str
    a: Of
    b: Of
    above: float = 0.0
    below: float = math.inf

    def judge(self, measured: Measured) -> Judgement:
        """The verdict on our values. Seeds on which a value is not above 0 do not count."""
        a, b = self.a.values(measured), self.b.values(measured)
        logs = {
            seed: math.log(a[seed]) - math.log(b[seed])
            for seed in sorted(a.keys() & b.keys())
            if a[seed] > 0 and b[seed] > 0
        }
        found = _interval(logs)
        ours = None
        if found is not None:
            low = None if found.low is None else _exp(found.low)
            high = None if found.high is None else _exp(found.high)
            ours = Estimate(mean=_exp(found.mean), low=low, high=high, n=found.n)
        return _judgement(
            self.text, _range(self.above, self.below), ours, _inside(ours, self.above, self.below)
        )


@dataclass(frozen=True)
class Order:
    """One method's metric is lower than another's: a paired t-test over seeds, two-sided.

    Of all orders of a reproduction the p-values are corrected together (Holm 1979). ours: the mean
    of lower minus higher, so negative where it agrees.
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
        """The verdict on our places; equal places decide nothing."""
        places = _named(measured, self.method, self.prefix, self.published)
        published = ", ".join(self.published)
        if len(places) < len(self.published):
            return _judgement(self.text, published, None, UNDECIDED)
        ours = sorted(places, key=places.__getitem__)
        verdict = AGREES if ours == list(self.published) else DIFFERS
        if len(set(places.values())) < len(places):
            verdict = UNDECIDED
        return _judgement(self.text, published, ", ".join(ours), verdict)


@dataclass(frozen=True)
class Numbers:
    """Numbers by name, all reproduced within a tolerance. No seeds: exact."""

    text: str
    method: str
    prefix: str
    published: Mapping[str, float]
    tolerance: float

    def judge(self, measured: Measured) -> Judgement:
        """The verdict on the largest deviation."""
        ours = _named(measured, self.method, self.prefix, self.published)
        published = f"{len(self.published)} numbers, each within {self.tolerance:g}"
        if len(ours) < len(self.published):
            return _judgement(self.text, published, None, UNDECIDED)
        largest = max(abs(ours[name] - value) for name, value in self.published.items())
        verdict = AGREES if largest <= self.tolerance else DIFFERS
        return _judgement(self.text, published, f"largest deviation {largest:.2g}", verdict)


@dataclass(frozen=True)
class Reported:
    """A number that is shown and not judged; published: None where nothing comparable was."""

    text: str
    of: Of
    published: float | None = None

    def judge(self, measured: Measured) -> Judgement:
        """Ours, without a verdict."""
        published = "" if self.published is None else f"{self.published:g}"
        return _judgement(self.text, published, _interval(self.of.values(measured)), None)


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
        ours = None
        if each.n:
            ours = Estimate(mean=each.mean, low=each.low, high=each.high, n=each.n)
        judgements.append(_judgement(order.text, order.published, ours, verdict))
    return judgements


def _judgement(
    claim: str, published: str, ours: Estimate | str | None, verdict: Verdict | None
) -> Judgement:
    return Judgement(claim=claim, published=published, ours=ours, verdict=verdict)


def _inside(ours: Estimate | None, low: float, high: float) -> Verdict:
    if ours is None or ours.low is None or ours.high is None:
        return UNDECIDED
    if low < ours.low and ours.high < high:
        return AGREES
    return DIFFERS if ours.high <= low or ours.low >= high else UNDECIDED


def _exp(x: float) -> float:
    """The largest power of e below infinity stands for all above it."""
    return math.exp(min(x, 709.0))


def _interval(values: Mapping[int, float]) -> Estimate | None:
    if not values:
        return None
    return Estimate(**asdict(mean_interval([values[seed] for seed in sorted(values)])))


def _named(
    measured: Measured, method: str, prefix: str, names: Sequence[str] | Mapping[str, float]
) -> dict[str, float]:
    found = {name: Of(method, f"{prefix}/{name}").values(measured) for name in names}
    return {name: next(iter(values.values())) for name, values in found.items() if values}


def _range(above: float, below: float) -> str:
    parts = [f"> {above:.7g}"] if above not in (0, -math.inf) else []
    return " and ".join([*parts, *([f"< {below:.7g}"] if below != math.inf else [])])
