"""What the options of Ray mean together, and what is wrong with them; nothing here needs Ray."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import regrun
from regrun.cli.app import program
from regrun.errors import UsageError
from regrun.store.run_dir import RunDir
from regrun.store.study import PathStudy, write_study
from regrun.sweeps.executor import OnRay, amount_of, resume_command
from tests.support.program import run_python
from tests.support.runs import LINEAR

RAY = ("--executor", "ray")
CLUSTER = "10.0.0.1:6379"
WITH_STACKS = ("sweep", "ablate", "resume", "reproduce")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps(LINEAR))
    return path


def test_the_local_executor_is_no_ray() -> None:
    assert OnRay.asked_for("local") is None


@pytest.mark.parametrize(
    "address", [None, "auto", "local", CLUSTER, "head.cluster:6379", "node_1:1", "[fd00::1]:65535"]
)
def test_addresses_that_can_be(address: str | None) -> None:
    assert OnRay.asked_for("ray", address) == OnRay(address)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dask",), "executor dask: it is local or ray"),
        (("local", CLUSTER), "--ray-address: only with --executor ray"),
        (("local", None, 0.5), "--ray-gpus: only with"),
        (("local", None, None, {"a": 1.0}), "--ray-resource: only with"),
        (("ray", ""), "--ray-address : write HOST:PORT"),
        (("ray", "10.0.0.1"), "--ray-address 10.0.0.1: write HOST:PORT"),
        (("ray", "10.0.0.1:0"), "write HOST:PORT"),
        (("ray", "10.0.0.1:65536"), "write HOST:PORT"),
        (("ray", "10.0.0.1:six"), "write HOST:PORT"),
        (("ray", "http://10.0.0.1:8265"), "write HOST:PORT"),
        (("ray", "ray://10.0.0.1:10001"), "on a node of the cluster, with --ray-address auto"),
        (("ray", None, 0.0), "--ray-gpus 0: a stack has one GPU, or a part"),
        (("ray", None, 2.0), "--ray-gpus 2: a stack has one GPU"),
        (("ray", None, float("nan")), "--ray-gpus nan"),
        (("ray", None, None, {"a": 0.0}), "--ray-resource a=0: the amount is a whole number"),
        (("ray", None, None, {"a": -1.0}), "--ray-resource a=-1: the amount"),
        (("ray", None, None, {"a": 1.5}), "--ray-resource a=1.5: the amount"),
        (("ray", None, None, {"a": float("inf")}), "--ray-resource a=inf: the amount"),
        (("ray", None, None, {"CPU": 2.0}), "--ray-resource CPU=2: a stack has one core"),
        (("ray", None, None, {"GPU": 1.0}), "--ray-resource GPU=1: write --ray-gpus"),
        (("ray", None, None, {"memory": 1e9}), "--ray-resource memory=1e+09: regrun asks for"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_write(
    arguments: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(UsageError) as refused:
        OnRay.asked_for(*arguments)
    assert message in str(refused.value)


@pytest.mark.parametrize("text", ["big", "=1", "big=", "big=one", ""])
def test_a_resource_has_a_name_and_an_amount(text: str) -> None:
    with pytest.raises(UsageError, match="write NAME=AMOUNT, such as big_memory=1"):
        amount_of(text)


def test_names_of_resources_may_have_signs_in_them() -> None:
    assert amount_of("accelerator_type:A100=0.001") == ("accelerator_type:A100", 0.001)
    assert amount_of("a=b=2") == ("a=b", 2.0)


def test_a_stopped_sweep_names_the_cluster_in_the_command_that_carries_on() -> None:
    ray = OnRay(CLUSTER, 0.5, {"big memory": 1.0})
    command = resume_command(Path("runs/my sweep"), ray)
    assert shlex.split(command) == [
        "regrun", "resume", "runs/my sweep", "--executor", "ray", "--ray-address", CLUSTER,
        "--ray-gpus", "0.5", "--ray-resource", "big memory=1",
    ]  # fmt: skip
    assert resume_command(Path("runs/a"), OnRay()) == "regrun resume runs/a --executor ray"
    assert resume_command(Path("runs/a"), None) == "regrun resume runs/a"


def test_the_extra_is_named_where_ray_is_not_installed(
    invoke: Any, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    result = invoke("sweep", config, "--seeds", 2, *RAY, "--runs-dir", tmp_path / "runs")
    assert result.exit_code == 2
    assert "pip install 'regrun[ray]'" in result.stderr
    assert not (tmp_path / "runs").exists()


def test_a_folder_called_ray_is_not_taken_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "ray").mkdir()
    code = (
        "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]\n"
        "from regrun.errors import UsageError\n"
        "from regrun.sweeps.executor import OnRay\n"
        "try: OnRay.asked_for('ray')\n"
        "except UsageError as error: print(error)\n"
    )
    monkeypatch.chdir(tmp_path)
    assert "pip install 'regrun[ray]'" in run_python(code).stdout


@pytest.mark.parametrize("verb", WITH_STACKS)
def test_verbs_with_stacks_have_the_options(verb: str) -> None:
    names = {name for each in program().load(verb).params for name in each.opts}  # type: ignore[attr-defined]
    assert names >= {"--executor", "--ray-address", "--ray-gpus", "--ray-resource"}


@pytest.mark.parametrize("verb", ["train", "path"])
def test_verbs_without_stacks_say_which_have_them(invoke: Any, config: Path, verb: str) -> None:
    for words in (RAY, ("--ray-address", CLUSTER)):
        result = invoke(verb, config, *words)
        assert result.exit_code == 2
        assert "trained in one process; sweep, ablate and reproduce can use" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--ray-address", CLUSTER), "--ray-address: only with --executor ray"),
        ((*RAY, "--ray-address", "10.0.0.1"), "write HOST:PORT"),
        ((*RAY, "--ray-resource", "big"), "write NAME=AMOUNT"),
        ((*RAY, "--workers", "2"), "--workers 2: with --executor ray, its nodes have"),
    ],
)
def test_wrong_options_are_answered_before_anything_is_done(
    invoke: Any, config: Path, words: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    result = invoke("sweep", config, "--seeds", 2, *words, "--runs-dir", tmp_path / "runs")
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "runs").exists()


def test_a_run_and_a_path_are_not_resumed_on_a_cluster(invoke: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    RunDir(run).config.path.write_text(json.dumps(LINEAR))
    result = invoke("resume", run, *RAY)
    assert result.exit_code == 2
    assert "is a run, trained in one process" in result.stderr
    path = tmp_path / "path"
    path.mkdir()
    study = PathStudy(
        verb="path", number=3, ratio=0.1, folds=2, device="cpu", stack_size=1, data="0"
    )
    write_study(path, study)
    result = invoke("resume", path, *RAY)
    assert result.exit_code == 2
    assert "is a path, trained in one process" in result.stderr
    for place, kind in ((run, "run"), (path, "path")):
        with pytest.raises(UsageError, match=f"is a {kind}, trained in one process"):
            regrun.resume(place, executor="ray")


def test_python_has_the_same_words(tmp_path: Path) -> None:
    class Net(nn.Module):
        pass

    given: dict[str, Any] = {"runs_dir": tmp_path / "runs"}
    calls: list[Callable[..., object]] = [
        partial(regrun.sweep, LINEAR, seeds=2, **given),
        partial(regrun.ablate, LINEAR, **given),
        partial(regrun.reproduce, "weight_decay", **given),
        partial(regrun.resume, tmp_path),
    ]
    for call in calls:
        with pytest.raises(UsageError, match="only with --executor ray"):
            call(ray_address=CLUSTER)
        with pytest.raises(UsageError, match="write HOST:PORT"):
            call(executor="ray", ray_address="nowhere")
    with pytest.raises(UsageError, match="executor=ray: other processes do not have the class Net"):
        calls[0](executor="ray", model=Net)
    with pytest.raises(UsageError, match="workers=2: with executor=ray, its nodes have"):
        calls[0](executor="ray", workers=2)
    assert not (tmp_path / "runs").exists()


def test_what_ray_needs_is_only_imported_with_it() -> None:
    code = (
        "import sys, regrun.cli.app, regrun.execution.train, regrun.sweeps.run\n"
        "from regrun.sweeps.executor import OnRay\n"
        "OnRay.asked_for('ray', 'auto')\n"
        "print('ray' in sys.modules)\n"
    )
    assert run_python(code).stdout == "False\n"
