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


def test_files_that_are_missing_have_no_estimate() -> None:
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


def files(folder: Path) -> dict[str, str]:
    """A table, a second one, arrays with and without parts, and pictures with and without."""
    from PIL import Image

    rng = np.random.default_rng(0)
    rows = [f"{day},{rng.normal():.6f},{rng.normal():.6f}" for day in range(40)]
    for name in ("table", "other"):
        (folder / f"{name}.csv").write_text("\n".join(["day,x,y", *rows]))
    x, y = rng.normal(size=(40, 2)), rng.normal(size=40)
    np.savez(folder / "whole.npz", x=x, y=y)
    np.savez(folder / "parts.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    for parts in (["cut"], ["given/train", "given/test"]):
        for part in parts:
            for label in "ab":
                place = folder / part / label
                place.mkdir(parents=True)
                for number in range(10):
                    pixels = rng.integers(0, 255, size=(4, 4), dtype=np.uint8)
                    Image.fromarray(pixels).save(place / f"{number}.png")
    names = ("table.csv", "other.csv", "whole.npz", "parts.npz", "cut", "given")
    return {name: str(folder / name) for name in names}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"name": "synthetic_linear"}, True),
        ({"name": "wine"}, True),
        ({"name": "wine", "test": 0}, False),
        ({"name": "wine", "test": 0, "validation": 10}, True),
        ({"name": "wine", "test": 0, "num_train": 90}, True),
        ({"name": "csv", "path": "table.csv", "target": "y"}, True),
        ({"name": "csv", "path": "table.csv", "target": "y", "time": "day"}, False),
        ({"name": "csv", "path": "table.csv", "target": "y", "time": "day", "num_test": 3}, True),
        (
            {
                "name": "csv", "path": "table.csv", "target": "y", "time": "day",
                "validation": 0.2, "num_train": 10,
            },
            False,
        ),
        ({"name": "csv", "path": "table.csv", "target": "y", "test_path": "other.csv"}, False),
        (
            {
                "name": "csv", "path": "table.csv", "target": "y", "test_path": "other.csv",
                "validation": 5,
            },
            True,
        ),
        ({"name": "npz", "path": "whole.npz"}, True),
        ({"name": "npz", "path": "whole.npz", "test": 0}, False),
        ({"name": "npz", "path": "parts.npz"}, False),
        ({"name": "npz", "path": "parts.npz", "num_test": 8}, True),
        ({"name": "image_folder", "path": "cut", "size": 4}, True),
        ({"name": "image_folder", "path": "given", "size": 4}, False),
    ],
    ids=str,
)  # fmt: skip
def test_data_are_drawn_where_another_seed_gives_other_examples(
    keys: dict[str, Any], expected: bool, tmp_path: Path
) -> None:
    found = files(tmp_path)
    keys = {key: found.get(str(value), value) for key, value in keys.items()}
    first, second = (load(**keys, seed=seed).fingerprint() for seed in (0, 1))
    assert dataset_section(**keys).draws_data() == expected == (first != second)


@pytest.mark.parametrize(
    "keys",
    [
        {"name": "synthetic_linear"},
        {"name": "wine", "validation": 0.2},
        {"name": "csv", "path": "table.csv", "target": "y"},
        {"name": "npz", "path": "whole.npz"},
        {"name": "image_folder", "path": "cut", "size": 4},
    ],
    ids=str,
)
def test_draws_that_are_loaded_together_are_those_loaded_one_by_one(
    keys: dict[str, Any], tmp_path: Path
) -> None:
    found = files(tmp_path)
    keys = {key: found.get(str(value), value) for key, value in keys.items()}
    together = [data.fingerprint() for data in dataset_section(**keys).load_draws([3, 0, 8])]
    assert together == [load(**keys, seed=seed).fingerprint() for seed in (3, 0, 8)]
    assert len(set(together)) == 3


def test_pictures_are_decoded_once_for_all_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regrun.data import pictures

    reads: list[int] = []
    real = pictures.read_dataset

    def read(paths: Any, *arguments: Any, **options: Any) -> Any:
        reads.append(len(paths))
        return real(paths, *arguments, **options)

    section = dataset_section(name="image_folder", path=files(tmp_path)["cut"], size=4)
    monkeypatch.setattr(pictures, "read_dataset", read)
    assert len(list(section.load_draws(range(5)))) == 5
    assert reads == [20]


def test_arrays_of_a_plug_in_are_drawn_where_they_are_split_or_say_so() -> None:
    class Whole(DatasetSection):
        """All in one."""

        name: Literal["whole"] = "whole"

        def arrays(self) -> dict[str, Any]:
            return {"x": np.ones((20, 1)), "y": np.arange(20.0)}

    class Parts(Whole):
        """Divided already."""

        def arrays(self) -> dict[str, Any]:
            x, y = np.ones((20, 1)), np.arange(20.0)
            return {"x_train": x, "y_train": y, "x_test": x, "y_test": y}

    class Generated(Parts):
        """Drawn by its own code."""

        origin = "generated"

    assert Whole().draws_data()
    assert not Parts().draws_data()
    assert Parts(validation=5).draws_data()
    assert Generated().draws_data()


@pytest.mark.parametrize(
    ("keys", "notes"),
    [
        ({"validation": 20}, ["dataset.validation: 20 holds out 20 examples; 20% would be 0.2"]),
        ({"test": 5}, ["dataset.test: 5 holds out 5 examples; 5% would be 0.05"]),
        ({"validation": 0.2, "test": 0}, []),
        ({"validation": 51}, []),
    ],
)
def test_a_count_that_may_be_meant_as_a_percentage_is_noted(
    keys: dict[str, float], notes: list[str]
) -> None:
    assert dataset_section(name="diabetes", **keys).notes_on_counts() == notes
