"""All that trains lies on the device: nothing of the CPU is mixed in, or waited for.

There is a device for this that computes like the CPU and is strict like a GPU. It is built from
C++ in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from regrun.training.compiled import has_compiler
from tests.support.engines import CPU
from tests.support.steps import CASES

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the device is built with GCC's options"),
    pytest.mark.skipif(not has_compiler(CPU), reason="no C++ compiler on this machine"),
]

BROUGHT = {"swa": 2, "lookahead": 2}
"""Copies to the device: Python decides which members take part in what is not done at each step."""


def test_training_on_a_device_is_that_of_the_cpu_and_only_evaluations_wait_for_it(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-m", "tests.support.another_device", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-4000:]
    found: dict[str, dict[str, Any]] = json.loads(ended.stdout)
    assert found.keys() == CASES.keys()
    for case, each in found.items():
        assert each["difference"] < 1e-9, case
        assert each["resumed"] < 1e-9, case
        brought = {"to the device": BROUGHT[case]} if case in BROUGHT else {}
        assert each["in_steps"] == brought, case
        assert each["reads"] == 1, case
