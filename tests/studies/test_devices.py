"""Studies on two GPUs, which are none: see `tests.support.fake_gpus`."""

from __future__ import annotations

from pathlib import Path

import pytest

import regrun
from regrun.errors import UsageError
from regrun.results import PathResult
from regrun.store.reading import load_result
from regrun.store.study import PathStudy, ReproductionStudy, read_study
from regrun.studies import path as paths
from regrun.studies.reproductions.claims import (
    LassoPath,
    Method,
    Of,
    Ratio,
    Reproduction,
    Trained,
)
from regrun.studies.reproductions.run import reproduce, resume_reproduction
from regrun.sweeps.executor import OnRay
from regrun.sweeps.run import Options
from tests.support.fake_gpus import fake_gpus, trainings
from tests.support.sweeps import DIGITS, with_keys

TINY = Reproduction(
    title="A sweep and a path",
    reference="nowhere",
    parts=(
        Trained(
            "weight_decay.yaml",
            tuple(
                Method(name, {"training.epochs": 2, "optimizer.weight_decay": decay})
                for name, decay in (("little", 0.1), ("much", 3.0))
            ),
            seeds=2,
            tuning_seeds=1,
            tuned_by="train/loss",
        ),
        LassoPath("reproduce/lasso_path_diabetes.yaml", "path", number=3, ratio=0.5, shares=()),
    ),
    claims=(Ratio("loss", Of("little", "train/loss"), Of("much", "train/loss"), above=0.1),),
    budget="none",
    published_budget="none",
    takes="no time",
)


@pytest.mark.parametrize(
    ("device", "gpus", "of_path"),
    [
        ("cuda:1,0", [1, 0], "cuda:1"),
        ("cuda", [0, 1], "cuda"),
        ("auto", [0, 1], "cuda"),
        ("cuda:1", [1], "cuda:1"),
        ("cpu", [None], "cpu"),
    ],
)
def test_a_reproduction_trains_its_sweeps_on_all_of_a_list_and_its_path_on_the_first(
    device: str,
    gpus: list[int | None],
    of_path: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_gpus(monkeypatch)
    monkeypatch.setattr("regrun.sweeps.run.cores", lambda: 1)
    result = reproduce("tiny", TINY, runs_dir=tmp_path, options=Options(device))
    sweep, path = map(Path, result.runs_in)
    log = sorted(trainings(sweep), key=lambda each: each.stack)
    assert [each.gpu for each in log] == gpus
    study = read_study(path)
    assert isinstance(study, PathStudy)
    assert study.device == of_path
    (sweep.parent / "summary.json").unlink()
    (path / "summary.json").unlink()
    begun = read_study(sweep.parent)
    assert isinstance(begun, ReproductionStudy)
    assert begun.device == device
    resume_reproduction(sweep.parent, begun, TINY)
    assert load_result(paths.PathDir(path).summary, PathResult) is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options("cuda:0,2"), "this machine has 2 CUDA"),
        (Options("cuda:0,1", workers=0), "gives fewer"),
        (Options("cuda:0", ray=OnRay()), "write --device cuda"),
        (Options("cuda:0,0"), "GPU 0 twice"),
    ],
)
def test_a_reproduction_on_what_is_not_there_writes_nothing(
    options: Options, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_gpus(monkeypatch)
    with pytest.raises(UsageError, match=message):
        reproduce("tiny", TINY, runs_dir=tmp_path, options=options)
    assert not list(tmp_path.iterdir())


def test_an_ablation_is_spread_over_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpus(monkeypatch)
    config = with_keys(DIGITS, model={"dropout": 0.2}, training={"epochs": 1})
    found = regrun.ablate(config, seeds=4, runs_dir=tmp_path, device="cuda:1,0")
    log = trainings(found.directory)
    assert {each.gpu for each in log} == {0, 1}
    assert len({each.stack for each in log}) == len(log)
