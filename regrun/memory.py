"""How much memory there is, and what the lack of it looks like.

Every library has its own way to say that it got none. `shortage_of` knows them, so that all of them
end with one message. It is asked wherever errors are taken for something else.
"""

from __future__ import annotations

import errno
import gc
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import TypeVar

from regrun.errors import DataTooLargeError, OutOfMemoryError

T = TypeVar("T")

SHORTAGES = (MemoryError, RuntimeError, ImportError, OSError)
"""What `shortage_of` looks at."""

_SPARE = 400_000_000
"""Bytes that have to be left once all libraries are loaded."""

_PROBE = f"import regrun.sweeps.planned_stack, regrun.data.table_file; bytearray({_SPARE})"

_REFUSED = re.compile(
    r"out of memory|not enough memory|(CUBLAS|CUDNN)_STATUS_ALLOC_FAILED"
    r"|cannot allocate memory|can't allocate memory|bad_alloc"
    r"|failed to map segment|can't start new thread|Memory allocation still failed|MemoryError"
    r"|Storage size calculation overflowed|array is too big|maximum supported dimension",
    re.IGNORECASE,
)
_SIZE = re.compile(
    r"(?:[Uu]nable to allocate|tried to allocate|malloc of size|alloc of size)"
    r" ([\d.]+)(?: (bytes|[KMGTPE]i?B))?",
    re.IGNORECASE,
)


ADVICE = (
    "use fewer or smaller examples, a smaller model or batch, or, in a sweep, a smaller "
    "sweep.stack_size or fewer --workers"
)
"""What to do where nothing better is known."""


def shortage_of(error: BaseException, advice: str = ADVICE) -> OutOfMemoryError | None:
    """The lack of memory that an error of any library means, with the size asked for; or None.

    advice: what to do.
    """
    found = _first_shortage(error)
    if found is None or isinstance(found, OutOfMemoryError):
        return found
    text = str(found)
    return OutOfMemoryError(f"out of memory: {_asked(text)}; {_there(text)}; {advice}")


def is_shortage(error: BaseException) -> bool:
    """Whether an error means a lack of memory, or comes from one that was being handled."""
    return _first_shortage(error) is not None


def _first_shortage(error: BaseException | None) -> BaseException | None:
    """The error itself, or what led to it: what clears up after a shortage fails as well."""
    while error is not None:
        if isinstance(error, OutOfMemoryError):
            return error
        refused = isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM
        # Not by str(), which may fail where a plug-in defines it.
        text = BaseException.__str__(error) if isinstance(error, SHORTAGES) else ""
        if refused or _REFUSED.search(text):
            return error
        hidden = None if error.__suppress_context__ else error.__context__
        error = error.__cause__ or hidden
    return None


@contextmanager
def advising(advice: str) -> Iterator[None]:
    """Make an OutOfMemoryError of a lack of memory in the block. advice: what to do."""
    try:
        yield
    except SHORTAGES as error:
        shortage = shortage_of(error, advice)
        if shortage is None:
            raise
        raise shortage from error


@contextmanager
def holding_examples(advice: str) -> Iterator[None]:
    """The same for a block where examples are got, as a DataTooLargeError.

    All runs of a stack share them, so it is no use to halve it.
    """
    try:
        with advising(advice):
            yield
    except DataTooLargeError:
        raise
    except OutOfMemoryError as error:
        raise DataTooLargeError(f"the examples do not fit: {error}") from error


def giving_back(work: Callable[[], T]) -> T:
    """What some work gives. Where it runs out of memory, all that it held is given back first.

    Raises OutOfMemoryError.
    """
    try:
        return work()
    except OutOfMemoryError as error:
        shortage = type(error)(str(error))
    except SHORTAGES as error:
        found = shortage_of(error)
        if found is None:
            raise
        shortage = found
    # Only here, where the first error is gone with all that its frames held.
    give_back()
    raise shortage


def _asked(text: str) -> str:
    from rich.filesize import decimal

    size = _SIZE.search(text)
    if size is None:
        first = text.strip().splitlines()[-1:]
        return f"memory was refused ({first[0][:100]})" if first else "memory was refused"
    number, unit = size[1].rstrip("."), size[2] or "bytes"
    asked = decimal(int(number)) if unit == "bytes" and number.isdecimal() else f"{number} {unit}"
    return f"{asked} were asked for at once"


def _there(text: str) -> str:
    from rich.filesize import decimal

    if "CUDA" in text:
        free = re.search(r"of which ([\d.]+ \w+) is free", text)
        return f"the GPU has {free[1]} free" if free else "the GPU has less"
    limit = address_limit()
    if limit is not None:
        return f"this process may use {decimal(limit)} of addresses (ulimit -v)"
    return f"{decimal(free_bytes())} are free"


def free_bytes() -> int:
    """Memory that this process can still have: what is free, within the limits set for it."""
    import psutil

    free = int(psutil.virtual_memory().available)
    limit = address_limit()
    if limit is not None:
        free = min(free, limit - int(psutil.Process().memory_info().vms))
    in_group = _free_in_group()
    return max(0, free if in_group is None else min(free, in_group))


def give_back() -> None:
    """Let go of what nothing refers to any longer: PyTorch keeps memory of a GPU for later."""
    import torch

    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def address_limit() -> int | None:
    """The size of address space that `ulimit -v` leaves to a process; None without a limit."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _free_in_group(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What the control group of a container or a batch job leaves; None without a limit."""
    try:
        limit = int((root / "memory.max").read_text())
        used = int((root / "memory.current").read_text())
        stat = dict(line.split() for line in (root / "memory.stat").read_text().splitlines())
        # Files in the cache give way.
        return limit - used + int(stat["inactive_file"])
    except (OSError, ValueError, KeyError):
        return None


class TorchProbe(MetaPathFinder):
    """Lets a process of its own import torch first where the address space is limited.

    Native libraries end the whole process when they get no memory as they are loaded, which no
    handler can catch.
    """

    @classmethod
    def install(cls) -> None:
        """Look out for the first import of torch, if there is a limit."""
        if address_limit() is not None and "torch" not in sys.modules:
            sys.meta_path.insert(0, cls())

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Raise OutOfMemoryError when torch is about to be imported and does not fit."""
        if name == "torch":
            sys.meta_path.remove(self)
            check_room()


def check_room() -> None:
    """Raise OutOfMemoryError when torch cannot be loaded within the limit of address space."""
    from rich.filesize import decimal

    try:
        ended = subprocess.run(  # noqa: S603 - this interpreter
            [sys.executable, "-c", _PROBE], capture_output=True, text=True, check=False
        )
    except (OSError, MemoryError) as error:
        ended = subprocess.CompletedProcess([], -1, "", str(error))
    # Python itself fails in many ways without memory. What is not installed the import says better.
    if ended.returncode and "ModuleNotFoundError" not in ended.stderr:
        raise OutOfMemoryError(
            f"out of memory: this process may use {decimal(address_limit() or 0)} of addresses "
            "(ulimit -v), too little for torch and its libraries; raise the limit: ulimit -v "
            "unlimited, or the memory that the batch system is asked for"
        )
