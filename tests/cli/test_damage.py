"""Damage in any file of a run or sweep: every verb names it, or gives the same as without it."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import regrun

CONFIG: dict[str, Any] = {
    "name": "small",
    "dataset": {"name": "synthetic_linear", "num_train": 12, "num_features": 5},
    "model": {"name": "linear"},
    "optimizer": {"name": "sgd", "lr": 0.01},
    "training": {
        "epochs": 4,
        "checkpoint_every": 0,
        "test_examples": True,
        "histograms_every": 2,
        "ema": 0.9,
    },
}
GRID: dict[str, Any] = {**CONFIG, "sweep": {"grid": {"optimizer.lr": [0.01, 0.02]}, "seeds": 2}}
LEFT = (
    "summary.json",
    "weights.safetensors",
    "weights_ema.safetensors",
    "test_examples.safetensors",
)
"""What an unfinished run does not have."""

HEALED = ("data.json", "preprocessing.json", "metrics.jsonl", "histograms.jsonl", "events.*")
"""What the resume of an unfinished run writes again, if only in part; `verify` need not name it."""


def change_digit(data: bytes, chance: random.Random) -> bytes:
    places = [match.start() for match in re.finditer(rb"[0-9]", data)]
    at = chance.choice(places) if places else 0
    return data[:at] + str((data[at] - 48 + chance.randint(1, 9)) % 10).encode() + data[at + 1 :]


def flip_bit(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def lose_line(data: bytes, chance: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    del lines[chance.randrange(len(lines))]
    return b"".join(lines)


def double_line(data: bytes, chance: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    at = chance.randrange(len(lines))
    return b"".join([*lines[: at + 1], *lines[at:]])


def cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def empty(data: bytes, chance: random.Random) -> bytes:
    return b""


def fill(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + bytes(min(16, len(data) - at)) + data[at + 16 :]


DAMAGE: dict[str, Callable[[bytes, random.Random], bytes]] = {
    each.__name__: each
    for each in (change_digit, flip_bit, lose_line, double_line, cut, empty, fill)
}
FILES: dict[str, tuple[str, ...]] = {
    "run-finished": (
        "config.yaml", "metrics.jsonl", "histograms.jsonl", "summary.json", "data.json",
        "preprocessing.json", "weights.safetensors", "weights_ema.safetensors",
        "test_examples.safetensors", "checkpoints/*", "events.*", "train/events.*",
    ),
    "run-unfinished": (
        "config.yaml", "metrics.jsonl", "histograms.jsonl", "data.json", "preprocessing.json",
        "checkpoints/*", "events.*",
    ),
    "sweep-finished": (
        "sweep.yaml", "plan.jsonl", "summary.json", "0*/config.yaml", "0*/metrics.jsonl",
        "0*/summary.json", "0*/data.json", "0*/preprocessing.json", "0*/weights.safetensors",
        "0*/histograms.jsonl", "0*/test_examples.safetensors",
    ),
    "sweep-unfinished": (
        "sweep.yaml", "plan.jsonl", "0*/config.yaml", "0*/metrics.jsonl", "0*/data.json",
        "0*/preprocessing.json",
    ),
}  # fmt: skip
VERBS = ("resume", "compare", "predict", "verify")
CASES = [(state, file, verb) for state, files in FILES.items() for file in files for verb in VERBS]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original") / "runs" / "small"
    for name in ("finished", "unfinished"):
        run = regrun.train(CONFIG, runs_dir=folder.parent, device="cpu").directory
        sweep = regrun.sweep(GRID, runs_dir=folder.parent, device="cpu").directory
        run.rename(folder / f"run-{name}")
        sweep.rename(folder / f"sweep-{name}")
    sweep = folder / "sweep-unfinished"
    (sweep / "summary.json").unlink()
    for run in (folder / "run-unfinished", *sweep.glob("0*")):
        for name in LEFT:
            (run / name).unlink()
    return folder


def results(directory: Path) -> dict[str, bytes]:
    names = ("metrics.jsonl", "weights.safetensors", "weights_ema.safetensors")
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for name in names
        for path in directory.rglob(name)
    }


def outcome(
    invoke: Any, verb: str, directory: Path, scratch: Path
) -> tuple[int, str | dict[str, bytes], str]:
    """The exit code, what the verb gives, and all that it printed."""
    if verb == "predict":
        (scratch / "new.csv").write_text("x0,x1,x2,x3,x4\n1,2,3,4,5\n")
        ended = invoke("predict", directory, scratch / "new.csv", "--json")
    elif verb in ("compare", "verify"):
        ended = invoke(verb, directory, "--json")
    else:
        ended = invoke(verb, directory, "--quiet")
    if verb == "resume":
        return ended.exit_code, results(directory), ended.output
    given = re.sub(r'"(total|train|data)": [0-9.e-]+', "", ended.stdout)
    return ended.exit_code, given, ended.output


def tried(
    invoke: Any,
    original: Path,
    folder: Path,
    case: tuple[str, str, str],
    damages: list[str],
    times: int,
) -> int:
    """Try damages of one file with one verb; how many were tried."""
    state, pattern, verb = case
    place = folder / "runs" / "small" / "x"

    def fresh() -> None:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(original / state, place)

    fresh()
    code, expected, _ = outcome(invoke, verb, place, folder)
    count = 0
    for damage in damages:
        for number in range(times):
            fresh()
            file = sorted(place.glob(pattern))[-1]
            whole = file.read_bytes()
            damaged = DAMAGE[damage](whole, random.Random(f"{case}{damage}{number}"))
            if damaged == whole:
                continue
            file.write_bytes(damaged)
            found, given, printed = outcome(invoke, verb, place, folder)
            where = (*case, damage, number, printed)
            assert "Traceback" not in printed, where
            if state.endswith("-finished") and isinstance(given, dict):
                given |= {name: whole for name in given if place / name == file}  # left as it is
            if found == code and given == expected:
                healed = pattern.removeprefix("0*/") in HEALED and state.endswith("-unfinished")
                assert verb != "verify" or healed, where
            else:
                assert found == 5, where
                counted = "event records in" in printed  # those of a folder
                assert file.name in printed or "checkpoints" in str(file) or counted, where
            count += 1
    return count


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_damage_is_named_or_without_consequence(
    invoke: Any, original: Path, tmp_path: Path, case: tuple[str, str, str]
) -> None:
    chosen = random.Random(str(case)).sample(sorted(DAMAGE), 2)
    assert tried(invoke, original, tmp_path, case, chosen, 1)


@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_all_damage_is_named_or_without_consequence(
    invoke: Any, original: Path, tmp_path: Path, case: tuple[str, str, str]
) -> None:
    assert tried(invoke, original, tmp_path, case, sorted(DAMAGE), 6)
