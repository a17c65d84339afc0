"""A torchvision that is none of the installed torch's: what does not need it still runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.program import Process, Program

ERRORS = {
    "of another torch": 'raise RuntimeError("operator torchvision::nms does not exist")',
    "absent": "raise ModuleNotFoundError(\"No module named 'torchvision'\")",
}


@pytest.fixture(params=ERRORS)
def broken(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with a torchvision whose import raises."""
    package = tmp_path / "broken" / "torchvision"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(ERRORS[request.param] + "\n")
    return package.parent


def test_what_needs_no_torchvision_still_runs(
    program: Program, broken: Path, configs: Path, tmp_path: Path
) -> None:
    def train(name: str, *overrides: str) -> Process:
        place = ("--json", "--runs-dir", tmp_path / "runs", "--device", "cpu")
        config = configs / f"{name}.yaml"
        return program("train", config, *overrides, *place, site=broken)

    for name in ("weight_decay", "digits"):
        process = train(name, "training.epochs=2")
        assert process.returncode == 0, process.stderr
        assert json.loads(process.stdout)["status"] == "completed"
    for arguments in (("l1_mnist",), ("digits", "model={name: resnet18}")):
        process = train(*arguments)
        assert process.returncode == 2, process.stderr
        assert process.stdout == ""
        assert "pip install --upgrade torch torchvision" in process.stderr
        assert "Traceback" not in process.stderr
    assert len(list((tmp_path / "runs").glob("*/*"))) == 2
