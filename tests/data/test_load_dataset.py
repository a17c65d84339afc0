from __future__ import annotations

import subprocess
import sys
from typing import get_args

import pytest

from regrun.data.load import LOADERS, estimate_bytes
from regrun.kinds.registry import AnyDataset as Section

NAMES = [
    get_args(each.model_fields["name"].annotation)[0] for each in get_args(get_args(Section)[0])
]


def test_every_dataset_of_the_schema_has_a_loader_and_no_other_has():
    assert sorted(LOADERS) == sorted(NAMES)


@pytest.mark.parametrize(
    "name", ["synthetic_linear", "digits", "diabetes", "breast_cancer", "wine"]
)
def test_the_estimate_is_the_size_of_what_is_loaded(load, section, name):
    data = load(name=name, standardize=False)
    held = sum(
        tensor.nbytes for part in (data.train, data.test) for tensor in (part.inputs, part.targets)
    )
    assert estimate_bytes(section({"name": name})) == held


def test_a_table_beyond_all_memory_is_estimated_without_being_drawn(section):
    huge = section({"name": "synthetic_linear", "num_features": 2**31 - 1, "num_train": 2**31 - 1})
    assert estimate_bytes(huge) > 2**64


def test_the_users_own_files_have_no_estimate(section):
    assert estimate_bytes(section({"name": "npz", "path": "no-such.npz"})) is None


def test_synthetic_data_needs_no_heavy_library():
    program = (
        "import sys\n"
        "from regrun.kinds.datasets import SyntheticLinear\n"
        "from regrun.data.load import load_dataset\n"
        "load_dataset(SyntheticLinear(name='synthetic_linear'))\n"
        "heavy = ('sklearn', 'pandas', 'torchvision', 'scipy', 'PIL')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
