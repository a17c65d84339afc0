"""Loading by config keys, as the YAML would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from pydantic import TypeAdapter

from regrun.data.dataset import Dataset
from regrun.data.load import load_dataset
from regrun.kinds.registry import AnyDataset as Section

# No test asserts seconds, and the first example of some pays for an import.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

Load = Callable[..., Dataset]


@pytest.fixture(scope="session")
def section() -> Callable[..., Any]:
    """The `dataset` section with these keys, as the schema reads them."""
    return TypeAdapter(Section).validate_python


@pytest.fixture(scope="session")
def load(section: Callable[..., Any]) -> Load:
    return lambda **keys: load_dataset(section(keys))
