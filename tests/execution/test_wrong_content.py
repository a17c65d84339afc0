"""Checkpoints with a right checksum and wrong content, as anybody can make them."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from regrun.config.load import config_from_mapping
from regrun.errors import CorruptInputError, Interrupted, RegrunError, UsageError
from regrun.execution.train import resume_run, train_run
from regrun.training.engine import Engine

DIGITS = {"name": "digits", "num_train": 40, "num_test": 20, "validation": 20}
RUNS: dict[str, dict[str, Any]] = {
    "adam": {
        "dataset": DIGITS,
        "model": {"name": "mlp", "hidden": [6], "dropout": 0.2},
        "optimizer": {"name": "adam", "lr": 0.01, "lookahead": {"k": 3}},
        "schedule": {"type": "plateau", "patience": 0},
        "penalty": {"type": "l2_sp", "strength": 1e-3},
        "training": {
            "epochs": 6, "batch_size": 16, "ema": 0.9,
            "early_stopping": {"metric": "val/loss", "patience": 2},
        },
    },
    "cnn": {
        "dataset": DIGITS,
        "model": {"name": "cnn", "channels": [3], "norm": "batch", "hidden": [5]},
        "augment": {"mixup": 0.3},
        "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9, "sam": 0.05},
        "training": {"epochs": 6, "batch_size": 16, "swa": {"start": 2}},
    },
}  # fmt: skip
"""All that has a state."""

STEPS = 8

Change = Callable[[dict[str, Tensor], Any], None]


@dataclass(frozen=True)
class Saved:
    """A run stopped after `STEPS` steps, and what the undisturbed one leaves."""

    half: Path
    whole: dict[str, bytes]


def left_by(run: Path) -> dict[str, bytes]:
    names = ("metrics.jsonl", "weights.safetensors", "weights_ema.safetensors")
    return {name: (run / name).read_bytes() for name in names if (run / name).exists()}


def trained(name: str, runs: Path) -> Path:
    config = config_from_mapping({"name": name, **RUNS[name]})
    with suppress(Interrupted):
        train_run(config, runs_dir=runs, device="cpu")
    (run,) = (runs / name).iterdir()
    return run


@pytest.fixture(scope="module", params=RUNS)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    runs, take_step = tmp_path_factory.mktemp("runs"), Engine._take_step

    def step_or_stop(engine: Engine) -> None:
        take_step(engine)
        if engine.step == STEPS:
            os.kill(os.getpid(), signal.SIGINT)

    whole = left_by(trained(request.param, runs / "whole"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "_take_step", step_or_stop)
        half = trained(request.param, runs / "half")
    assert not (half / "summary.json").exists()
    return Saved(half, whole)


def checkpoint(run: Path) -> Path:
    (path,) = (run / "checkpoints").glob("*.safetensors")
    return path


def read(path: Path) -> tuple[dict[str, Tensor], Any]:
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return load(data), json.loads(header["__metadata__"]["state"])


def rewrite(path: Path, tensors: dict[str, Tensor], state: str) -> None:
    """With the name that makes its checksum right."""
    data = save({name: t.contiguous() for name, t in tensors.items()}, {"state": state})
    digest = blake2b(data, digest_size=16).hexdigest()
    path.unlink()
    path.with_name(f"{path.name[:8]}-{digest}.safetensors").write_bytes(data)


def outcome(saved: Saved, change: Change, directory: Path) -> str:
    """What a resume makes of the changed checkpoint: `equal`, or the class of the error."""
    run = directory / saved.half.name
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(saved.half, run)
    tensors, state = read(checkpoint(run))
    change(tensors, state)
    rewrite(checkpoint(run), tensors, json.dumps(state))
    try:
        resume_run(run)
    except RegrunError as error:
        named = checkpoint(run).name in str(error) or not isinstance(error, CorruptInputError)
        return type(error).__name__ if named else f"without the file: {error}"
    return "equal" if left_by(run) == saved.whole else "another result"


def of_tensors(tensors: dict[str, Tensor]) -> Iterator[tuple[str, Change]]:
    """One tensor missing, added, of another name, shape, type, or with impossible numbers."""

    def putting(name: str, tensor: Tensor) -> Change:
        return lambda found, _: found.update({name: tensor})

    def dropping(name: str) -> Change:
        return lambda found, _: found.__delitem__(name)

    def renaming(name: str) -> Change:
        return lambda found, _: found.update({f"{name}x": found.pop(name)})

    for name, tensor in tensors.items():
        yield f"{name} missing", dropping(name)
        yield f"{name} renamed", renaming(name)
        changed = {
            "of type int16": tensor.to(torch.int16),
            "of type float16": tensor.half(),
            "empty": torch.empty(0, dtype=tensor.dtype),
            "with an axis more": tensor.unsqueeze(-1),
            "huge": torch.empty((2**40, 0), dtype=tensor.dtype),
        }
        if tensor.is_floating_point():
            for number in (nan, inf, -inf):
                other = tensor.clone()
                other.view(-1)[0] = number
                changed[f"with {number}"] = other
            if any(part in name for part in ("exp_avg_sq", "running_var", "optimizer/step")):
                changed["negative"] = -tensor - 1
        elif tensor.dtype == torch.bool:
            changed["inverted"] = ~tensor
        else:
            changed["one more"] = tensor + 1
            changed["zero"] = torch.zeros_like(tensor)
        for how, other in changed.items():
            same = other.dtype == tensor.dtype and torch.equal(other, tensor)
            if not same and not (name.startswith("averages/") and "tracked" in name):
                yield f"{name} {how}", putting(name, other)
    for prefix in ("", "stack/", "optimizer/", "noise/", "best/", "averages/", "schedule/"):
        yield f"{prefix}other added", putting(f"{prefix}other", torch.zeros(1))


WRONG: tuple[Any, ...] = (None, "text", -1, 10**9, 0.5, True, [], {}, nan, "cuda:99999", "meta")


def of_state(state: dict[str, Any]) -> Iterator[tuple[str, Change]]:
    """One key missing, added, of another type, or out of range."""

    def at(state: Any, path: tuple[Any, ...]) -> Any:
        for key in path:
            state = state[key]
        return state

    def places(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        keys = range(len(value)) if isinstance(value, list) else value
        for key in keys if isinstance(value, dict | list) else ():
            yield (*path, key)
            yield from places(value[key], (*path, key))

    def put(path: tuple[Any, ...], value: Any) -> Change:
        return lambda _, state: at(state, path[:-1]).__setitem__(path[-1], value)

    def drop(path: tuple[Any, ...]) -> Change:
        return lambda _, state: at(state, path[:-1]).__delitem__(path[-1])

    for path in [path for path in places(state, ()) if "train_seconds" not in path]:
        name, old = ".".join(map(str, path)), at(state, path)
        yield f"{name} missing", drop(path)
        for value in WRONG:
            if json.dumps(value) != json.dumps(old):
                yield f"{name} = {value!r}", put(path, value)
        if isinstance(old, dict):
            yield f"{name}.other added", put((*path, "other"), 1)
        if isinstance(old, list):
            yield f"{name} with 7", put(path, [*old, 7])
            yield f"{name} with 0", put(path, [*old, 0])
    yield "other added", put(("other",), 1)


FEW = (
    "stack/", "optimizer/step", "noise/", "exp_avg_sq", "alive", "finite_steps", "examples",
    "engine.step", "engine.members", "engine.ended", "waited", "device", "not_finite",
)  # fmt: skip


def check(saved: Saved, tmp_path: Path, *, few: bool) -> None:
    tensors, state = read(checkpoint(saved.half))
    cases = [("nothing", lambda *_: None), *of_tensors(tensors), *of_state(state)]
    if few:  # a step of 7 is coprime to the number of changes of each kind
        chosen = [case for case in cases[1:] if any(part in case[0] for part in FEW)]
        cases = cases[:1] + chosen[::7]
    found = {name: outcome(saved, change, tmp_path / "work") for name, change in cases}
    assert found.pop("nothing") == "equal"
    other = {name: each for name, each in found.items() if each != CorruptInputError.__name__}
    # Another version, and another number of epochs, are what a user may mean.
    meant = {UsageError.__name__: "format", "equal": "origin.epochs ", "ConfigError": "origin."}
    assert {n: e for n, e in other.items() if not n.startswith(meant.get(e, "\n"))} == {}
    assert len(found) > (25 if few else 500)


def test_a_few_wrong_contents_are_refused_by_name(saved: Saved, tmp_path: Path) -> None:
    check(saved, tmp_path, few=True)


@pytest.mark.long
def test_every_wrong_content_is_refused_by_name(saved: Saved, tmp_path: Path) -> None:
    check(saved, tmp_path, few=False)
