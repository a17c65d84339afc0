"""Dataset sections and datasets from the keys that a config would have."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from regrun.data.dataset import Dataset
from regrun.kinds.datasets import DatasetSection
from regrun.kinds.registry import AnyDataset

_ADAPTER: TypeAdapter[DatasetSection] = TypeAdapter(AnyDataset)


def dataset_section(**keys: Any) -> DatasetSection:
    """The `dataset` section with these keys, as the schema reads them."""
    return _ADAPTER.validate_python(keys)


def load(**keys: Any) -> Dataset:
    """The dataset that a config with these keys trains on."""
    return dataset_section(**keys).load()
