"""What the classes of datasets say without loading anything."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.datasets import dataset_section, load


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
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
