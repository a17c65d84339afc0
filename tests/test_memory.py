"""The lack of memory, as every library reports it, and how much of it there is."""

from __future__ import annotations

import errno
import pickle
import resource
import subprocess
import sys
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from regrun import memory
from regrun.errors import DataTooLargeError, OutOfMemoryError
from regrun.memory import (
    TorchProbe,
    advising,
    free_bytes,
    giving_back,
    holding_examples,
    is_shortage,
    shortage_of,
)
from tests.support.program import run_python

HUGE = 10**15

REAL: dict[str, Callable[[], object]] = {
    "Python": lambda: bytearray(HUGE),
    "NumPy": lambda: np.empty(HUGE, np.uint8),
    "torch": lambda: torch.empty(HUGE, dtype=torch.uint8),
}
"""What asks each library for a petabyte."""


@pytest.mark.parametrize("library", REAL)
def test_an_array_of_a_petabyte_is_a_lack_of_memory(library: str) -> None:
    with pytest.raises((MemoryError, RuntimeError)) as caught:
        REAL[library]()
    shortage = shortage_of(caught.value)
    assert shortage is not None
    assert shortage.exit_code == 4
    sizes = {"NumPy": "909 TiB", "Python": "memory was refused"}
    assert sizes.get(library, "1.0 PB were asked for") in str(shortage)
    assert "are free" in str(shortage)


SAID = {
    "CUDA": (
        RuntimeError(
            "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of "
            "79.11 GiB of which 12.50 GiB is free."
        ),
        "20.00 GiB were asked for at once; the GPU has 12.50 GiB free",
    ),
    "cuBLAS": (RuntimeError("CUDA error: out of memory"), "the GPU has less"),
    "cuBLAS itself": (
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        "the GPU has less",
    ),
    "a library": (
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        "failed to map segment",
    ),
    "a thread": (RuntimeError("can't start new thread"), "can't start new thread"),
    "a process": (OSError(errno.ENOMEM, "Cannot allocate memory"), "Cannot allocate memory"),
    "sizes beyond 64 bits": (
        RuntimeError("Storage size calculation overflowed with sizes=[2147483647, 2147483647]"),
        "sizes=[2147483647, 2147483647]",
    ),
    "nothing": (MemoryError(), "memory was refused;"),
}


@pytest.mark.parametrize("who", SAID)
def test_a_lack_of_memory_is_recognised_by_what_is_said_of_it(who: str) -> None:
    error, words = SAID[who]
    shortage = shortage_of(error)
    assert shortage is not None
    assert words in str(shortage)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)"),
        OSError(errno.ENOSPC, "No space left on device"),
        ImportError("No module named 'torch'"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "out.csv"),
    ],
    ids=lambda error: str(error)[:20],
)
def test_other_errors_are_no_lack_of_memory(error: Exception) -> None:
    assert shortage_of(error) is None


@pytest.mark.parametrize("kind", [OutOfMemoryError, DataTooLargeError])
def test_the_error_travels_between_processes(kind: type[OutOfMemoryError]) -> None:
    copied = pickle.loads(pickle.dumps(kind("8.0 GB")))
    assert (type(copied), str(copied)) == (kind, "8.0 GB")


def test_what_fails_while_a_lack_of_memory_is_handled_is_one() -> None:
    with pytest.raises(RuntimeError, match="capture") as caught:
        try:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        finally:
            raise RuntimeError("the capture failed")
    assert is_shortage(caught.value)
    assert "CUDA out of memory" in str(shortage_of(caught.value))
    caught.value.__suppress_context__ = True
    assert not is_shortage(caught.value)


def test_an_error_without_a_text_is_none() -> None:
    class UnprintableError(RuntimeError):
        def __str__(self) -> str:
            raise TypeError

    assert not is_shortage(UnprintableError())


def test_the_message_says_what_to_do_where_it_is_known() -> None:
    said = r"1\.0 PB were asked for at once; .*; use less$"
    with pytest.raises(OutOfMemoryError, match=said), advising("use less"):
        torch.empty(HUGE, dtype=torch.uint8)


def test_a_lack_of_memory_for_examples_is_an_error_of_its_own() -> None:
    said = r"^the examples do not fit: .*; use fewer$"
    with pytest.raises(DataTooLargeError, match=said), holding_examples("use fewer"):
        torch.empty(HUGE, dtype=torch.uint8)
    with pytest.raises(DataTooLargeError, match=r"^t\.csv: 9 GB$"), holding_examples("use fewer"):
        raise DataTooLargeError("t.csv: 9 GB")
    with pytest.raises(RuntimeError, match=r"^shapes$"), holding_examples("use fewer"):
        raise RuntimeError("shapes")


class Large:
    """Refers to itself, as networks and optimizers do to each other."""

    def __init__(self) -> None:
        self.itself = self


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory."), DataTooLargeError("x")]
)
def test_what_the_work_held_is_given_back_before_the_error_is_raised(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[weakref.ref[Large]] = []
    alive: list[bool] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: alive.append(held[0]() is not None))

    def work() -> None:
        large = Large()
        held.append(weakref.ref(large))
        raise type(error)(*error.args)

    with pytest.raises(OutOfMemoryError) as caught:
        giving_back(work)
    assert alive == [False]  # torch's cache is emptied after all that filled it is gone
    assert isinstance(caught.value, DataTooLargeError) == isinstance(error, DataTooLargeError)


def test_other_errors_and_results_of_the_work_pass() -> None:
    def fail() -> None:
        raise ValueError("other")

    with pytest.raises(ValueError, match="other"):
        giving_back(fail)
    assert giving_back(lambda: 3) == 3


def test_memory_that_is_free_is_counted() -> None:
    assert 10**7 < free_bytes() < 10**14


def test_free_memory_ends_at_the_limit_of_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {
        "memory.max": "1000000\n",
        "memory.current": "700000\n",
        "memory.stat": "anon 600000\ninactive_file 50000\n",
    }.items():
        (tmp_path / name).write_text(text)
    found = memory._free_in_group
    assert found(tmp_path) == 1_000_000 - 700_000 + 50_000
    monkeypatch.setattr(memory, "_free_in_group", lambda: found(tmp_path))
    assert free_bytes() == 350_000
    (tmp_path / "memory.max").write_text("max\n")
    assert found(tmp_path) is None


@pytest.mark.parametrize("space", [100, 1_000, 10_000])
def test_free_memory_ends_at_the_limit_of_addresses(space: int) -> None:
    ended = run_python(
        "import os, resource, sys, psutil\n"
        "from regrun.memory import free_bytes\n"
        "free_bytes()\n"
        "now = psutil.Process().memory_info().vms\n"
        f"limit = now + {space} * 10**6\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "print(free_bytes())\n"
    )
    assert ended.stderr == ""
    assert int(ended.stdout) <= space * 10**6


LIMITED = """
import resource, sys
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
sys.argv = ["regrun", *sys.argv[2:]]
from regrun.cli.app import main
main()
"""

LIMITS = [150_000_000, 300_000_000, 600_000_000]
MORE = [10**9, 15 * 10**8, 2 * 10**9, 25 * 10**8, *range(28 * 10**8, 36 * 10**8, 10**8)]


def under_a_limit(limit: int, folder: Path) -> None:
    config = folder / "config.yaml"
    config.write_text(
        "dataset: {name: synthetic_linear}\nmodel: {name: linear}\noptimizer: {lr: 0.001}\n"
        "training: {epochs: 1}\n"
    )
    words = ("train", config, "--runs-dir", folder / "runs", "--quiet")
    ended = run_python(LIMITED, limit, *words)
    assert "Traceback" not in ended.stderr
    if ended.returncode:
        assert ended.returncode == 4
        assert "of addresses (ulimit -v)" in ended.stderr
        assert not list(folder.glob("runs/*"))


@pytest.mark.parametrize("limit", LIMITS)
def test_a_small_address_space_is_named(limit: int, tmp_path: Path) -> None:
    under_a_limit(limit, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("limit", MORE)
def test_every_small_address_space_is_named_or_is_enough(limit: int, tmp_path: Path) -> None:
    under_a_limit(limit, tmp_path)


@pytest.mark.parametrize(
    ("stderr", "is_short"),
    [
        ("SystemError: error return without exception set", True),
        ("terminate called after throwing an instance of 'std::bad_alloc'", True),
        ("ModuleNotFoundError: No module named 'torch'", False),
    ],
)
def test_whatever_fails_under_a_limit_is_a_lack_of_memory(
    stderr: str, is_short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = subprocess.CompletedProcess([], 1, "", stderr)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: ended)
    monkeypatch.setattr(memory, "address_limit", lambda: 3 * 10**9)
    with pytest.raises(OutOfMemoryError, match=r"3\.0 GB") if is_short else nullcontext():
        memory.check_room()


def test_verbs_without_torch_need_no_room_for_it() -> None:
    ended = run_python(LIMITED, 300_000_000, "list", "optimizers")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "adamw" in ended.stdout


def test_without_a_limit_nothing_looks_out_for_torch() -> None:
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY
    before = list(sys.meta_path)
    TorchProbe.install()
    assert sys.meta_path == before
