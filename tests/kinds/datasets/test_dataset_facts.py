"""What the classes of datasets say without loading anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from regrun.kinds.datasets import DatasetSection
from tests.support.datasets import dataset_section, load
from tests.support.program import run_python


@pytest.mark.parametrize(
    "name", ["synthetic_linear", "digits", "diabetes", "breast_cancer", "wine"]
)
def test_the_estimate_is_the_size_of_what_is_loaded(name: str) -> None:
    data = load(name=name, standardize=False)
    held = sum(
        tensor.nbytes for part in (data.train, data.test) for tensor in (part.inputs, part.targets)
    )
    assert dataset_section(name=name).estimate_bytes() == held


def test_a_table_beyond_all_memory_is_estimated_without_being_drawn() -> None:
    most = 2**31 - 1
    huge = dataset_section(name="synthetic_linear", num_features=most, num_train=most)
    estimate = huge.estimate_bytes()
    assert estimate is not None
    assert estimate > 2**64


def test_the_users_own_files_have_no_estimate() -> None:
    assert dataset_section(name="npz", path="no-such.npz").estimate_bytes() is None


def test_synthetic_data_needs_no_heavy_library() -> None:
    program = (
        "import sys\n"
        "from regrun.kinds.datasets.synthetic import SyntheticLinear\n"
        "SyntheticLinear(name='synthetic_linear').load()\n"
        "heavy = ('sklearn', 'pandas', 'torchvision', 'scipy', 'PIL')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    assert run_python(program).stdout.strip() == "[]"


@pytest.mark.parametrize(
    "keys",
    [
        {"name": "synthetic_linear"},
        {"name": "digits"},
        {"name": "diabetes"},
        {"name": "breast_cancer"},
        {"name": "breast_cancer", "task": "regression"},
        {"name": "wine"},
    ],
    ids=str,
)
def test_the_task_that_is_known_before_loading_is_that_of_the_data(keys: dict[str, Any]) -> None:
    assert dataset_section(**keys).known_task == load(**keys).task


def test_the_task_of_the_users_own_files_is_known_where_they_say_it() -> None:
    assert dataset_section(name="npz", path="a.npz").known_task is None
    assert dataset_section(name="npz", path="a.npz", task="regression").known_task == "regression"


def test_only_arrays_may_come_with_a_validation_set(tmp_path: Path) -> None:
    x, y = np.ones((6, 2)), np.arange(6.0)
    parts: dict[str, Any] = {"x_train": x, "y_train": y, "x_test": x, "y_test": y}
    np.savez(tmp_path / "without.npz", **parts)
    np.savez(tmp_path / "with.npz", x_val=x, y_val=y, **parts)
    for file, has in (("without", False), ("with", True)):
        section = dataset_section(name="npz", path=str(tmp_path / f"{file}.npz"))
        assert section.may_have_validation
        assert section.has_own_validation() == has
    for keys in ({"name": "wine"}, {"name": "csv", "path": "no.csv", "target": "y"}):
        assert not dataset_section(**keys).may_have_validation
        assert not dataset_section(**keys).has_own_validation()


def test_the_paths_are_those_that_the_section_names() -> None:
    keys = {"name": "csv", "path": "/a.csv", "target": "y"}
    assert dataset_section(**keys).named_paths() == ["/a.csv"]
    assert dataset_section(**keys, test_path="/b.csv").named_paths() == ["/a.csv", "/b.csv"]
    assert dataset_section(name="wine").named_paths() == []


class Nothing(DatasetSection):
    """Gives nothing."""

    name: Literal["nothing"] = "nothing"


class Ready(Nothing):
    """Is a file that another program has decoded."""

    def load(self, progress: object = None) -> Any:
        return load(name="wine")


class Given(Nothing):
    """Gives arrays."""

    def arrays(self) -> dict[str, Any]:
        return {"x": np.arange(20.0), "y": np.arange(20.0)}


def test_a_dataset_has_to_define_its_arrays_or_how_it_loads() -> None:
    assert Nothing.undefined() == ["arrays"]
    assert Ready.undefined() == Given.undefined() == []
    assert len(Given().load().test) == 4
