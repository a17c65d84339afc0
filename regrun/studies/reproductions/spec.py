"""What a reproduction is made of: runs, or a regularization path, and claims about them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from regrun.studies.reproductions.claims import Claim


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
