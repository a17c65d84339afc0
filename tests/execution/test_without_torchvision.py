"""A torchvision that is none of the installed torch's: what does not need it still runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lives import Life

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


def test_what_needs_no_torchvision_still_runs(broken: Path, configs: Path, tmp_path: Path) -> None:
    def train(name: str, *overrides: str) -> Life:
        place = ("--json", "--runs-dir", tmp_path / "runs", "--device", "cpu")
        config = configs / f"{name}.yaml"
        return Life(tmp_path / "output", "train", config, *overrides, *place, hiding=broken)

    for name in ("weight_decay", "digits"):
        life = train(name, "training.epochs=2")
        assert life.end() == 0, life.stderr
        assert json.loads(life.stdout)["status"] == "completed"
    for arguments in (("l1_mnist",), ("digits", "model={name: resnet18}")):
        life = train(*arguments)
        assert life.end() == 2, life.stderr
        assert life.stdout == ""
        assert "pip install --upgrade torch torchvision" in life.stderr
        assert "Traceback" not in life.stderr
    assert len(list((tmp_path / "runs").glob("*/*"))) == 2
