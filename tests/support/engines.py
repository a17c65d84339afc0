"""Small engines and what they report, for the tests that compare them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from regrun.config.schema import Config
from regrun.data.dataset import Dataset
from regrun.training.engine import Engine
from regrun.training.events import Evaluation, MemberEnd, Row
from regrun.training.precision import DTYPES

CPU = torch.device("cpu")

Life = tuple[dict[int, list[Row]], dict[int, MemberEnd]]
"""Member → its evaluations, and how it ended."""


def config_of(base: Mapping[str, Any], changes: Mapping[str, Any], *merged: str) -> Config:
    """base with the sections of changes in place of its own; of the merged ones key by key."""
    kept = {key: {**base[key], **changes.get(key, {})} for key in merged}
    return Config.model_validate({**base, **changes, **kept})


def dataset_of(one: Config) -> Dataset:
    return one.dataset.load().to(CPU, DTYPES[one.training.precision])


def collect(engine: Engine) -> Life:
    rows: dict[int, list[Row]] = defaultdict(list)
    ends: dict[int, MemberEnd] = {}
    for event in engine.run():
        if isinstance(event, Evaluation):
            for member, row in event.rows.items():
                rows[member].append(row)
        elif isinstance(event, MemberEnd):
            ends[event.member] = event
    return rows, ends


def train(configs: Sequence[Config], dataset: Dataset | None = None) -> Life:
    """Together, on dataset; default: the configs' own."""
    return collect(Engine(configs, dataset or dataset_of(configs[0]), CPU))
