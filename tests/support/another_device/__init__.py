"""A device that is not the CPU, for a process of its own; see `device.cpp`.

Importing this package changes nothing: `register` does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.utils import backend_registration, cpp_extension

NAME = "another"


class Device:
    """The device, and what has happened on it."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self.device = torch.device(NAME, 0)

    def events(self) -> dict[str, int]:
        """Copies to and from it, and numbers that Python waited for, so far."""
        return dict(self._library.events())


class _Module:
    """What PyTorch asks of a device's Python module."""

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def device_count() -> int:
        return 1

    @staticmethod
    def current_device() -> int:
        return 0

    @staticmethod
    def _is_in_bad_fork() -> bool:
        return False

    @staticmethod
    def manual_seed_all(_: int) -> None:
        pass


def register(folder: Path) -> Device:
    """Build the device in a folder, which takes half a minute, and let this process have it."""
    backend_registration.rename_privateuse1_backend(NAME)
    source = Path(__file__).with_name("device.cpp")
    library = cpp_extension.load(
        "another_device", [str(source)], extra_cflags=["-O0"], build_directory=str(folder)
    )
    torch._register_device_module(NAME, _Module)  # type: ignore[arg-type]
    backend_registration.generate_methods_for_privateuse1_backend()
    hook = backend_registration._DummyPrivateUse1Hook()
    torch._C._acc.register_python_privateuseone_hook(hook)
    return Device(library)
