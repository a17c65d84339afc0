"""The benchmarks work: every figure, at a tiny size, gives numbers. How large they are is not
tested: `python -m tests.benchmarks.run` prints them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks import claims
from tests.benchmarks.figures import FIGURES
from tests.benchmarks.measuring import BenchmarkError, IdleGPU, Settings, Way, alternate_shapes
from tests.benchmarks.run import named

DATA = Path(os.environ.get("REGRUN_DATA", "data"))
NEEDS = {
    "sweep-mnist": "MNIST",
    "sweep-mnist-command": "MNIST",
    "train-fashion-mnist": "FashionMNIST",
    "storing": "MNIST",
    "ray-overhead": "MNIST",
    "gpu-command": "MNIST",
}


@pytest.mark.benchmark
@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_can_be_measured(name: str) -> None:
    if name in NEEDS and not (DATA / NEEDS[name]).is_dir():
        pytest.skip(f"{NEEDS[name]} is not in {DATA}/")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.benchmarks.run",
            name,
            "--quick",
            "--json",
            "--device",
            "cpu",
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    print(done.stderr)
    measured = json.loads(done.stdout)
    assert measured[name]["rows"]
    for row in measured[name]["rows"]:
        assert all(value > 0 for value in [*row["values"], *row["ratios"]]), row


@pytest.mark.benchmark
def test_every_claim_can_be_simulated() -> None:
    found = list(claims.rows(draws=2))
    assert len({what for what, *_ in found}) >= 7
    assert all(0 <= share <= 1 for *_, share, _ in found)


def script(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def report(folder: Path, name: str, **milliseconds: float) -> Way:
    text = json.dumps({"device": "a card", "milliseconds": milliseconds})
    return Way(name, [script(folder, name, f"echo '{text}'")])


def test_each_way_is_measured_in_each_round_and_a_missing_peer_is_named(tmp_path: Path) -> None:
    settings = Settings(tmp_path, repeats=2)
    failing = [script(tmp_path, "peer", "echo no such backend >&2; exit 1")]
    ways = [report(tmp_path, "ours", a=1.0, b=2.0), report(tmp_path, "theirs", a=3.0)]
    found = alternate_shapes([*ways, Way("peer", failing, peer=True)], settings)
    assert found.milliseconds == {
        "a": {"ours": [1.0] * 2, "theirs": [3.0] * 2},
        "b": {"ours": [2.0] * 2},
    }
    assert found.note == "a card; peer is left out: no such backend"
    with pytest.raises(BenchmarkError, match="no such backend"):
        alternate_shapes([Way("ours", failing)], settings)


def test_the_idle_share_of_a_gpu_is_what_nvidia_smi_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(
        tmp_path,
        "nvidia-smi",
        f"echo 100; echo 50; echo '[N/A]'; touch {tmp_path}/ran; exec sleep 60",
    )
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with IdleGPU() as gpu:
        while not (tmp_path / "ran").exists():
            pass
    assert gpu.share == 0.25
    (tmp_path / "nvidia-smi").unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    with IdleGPU() as gpu:
        pass
    assert gpu.share is None


def test_figures_are_found_by_name_or_by_what_they_begin_with() -> None:
    assert named([]) == list(FIGURES)
    assert named(["help", "sweep-mnist"]) == ["help", "sweep-mnist"]
    assert named(["gpu"]) == [name for name in FIGURES if name.startswith("gpu")]
    with pytest.raises(SystemExit, match="no such figure: gp; there are sweep-weight-decay"):
        named(["gp"])
