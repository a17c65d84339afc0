"""TensorBoard as a child process that never outlives its parent's exit."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

from regrun.errors import Interrupted, UsageError
from regrun.execution.interrupt import handling

DEFAULT_PORT = 6006
SECONDS_TO_START = 60.0
SECONDS_TO_END = 5.0
SPARE_DESCRIPTORS = 128
"""Files that TensorBoard needs besides the event files."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # the last: the terminal was closed


@dataclass(frozen=True)
class Server:
    """A TensorBoard that answers at ``url``."""

    url: str
    process: subprocess.Popen[bytes]
    log: IO[bytes]

    def wait(self) -> None:
        """Until a signal comes (Interrupted), or TensorBoard ends by itself (UsageError)."""
        code = self.process.wait()
        raise UsageError(f"TensorBoard ended with code {code}\n{_tail(self.log)}")


@contextmanager
def serving(runs: Path, host: str, port: int | None) -> Iterator[Server]:
    """Start TensorBoard on ``runs`` and wait until it answers; end it when the block ends.

    SIGINT and SIGTERM raise Interrupted inside the block. Raises UsageError when there is
    nothing to show, the port is taken, or TensorBoard does not start.
    """
    event_files = _count_event_files(runs)
    port = _free_port(host) if port is None else _checked_port(host, port)
    options = ["--logdir", str(runs), "--host", host, "--port", str(port)]
    if _raise_file_limit() < event_files + SPARE_DESCRIPTORS:
        # TensorBoard's fast loader holds every file open, and silently shows only the runs that
        # fit below the limit of open files.
        options.append("--load_fast=false")
    with tempfile.TemporaryFile() as log, handling(_SIGNALS, _raise_interrupted):
        process = None
        try:
            # A signal in the middle of Popen would leave a child that nobody knows of.
            signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
            try:
                process = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
                    [sys.executable, "-m", "tensorboard.main", *options],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # the terminal's Ctrl-C reaches us; we end the child
                    preexec_fn=_release_signals,
                )
            finally:
                _release_signals()
            url = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
            server = Server(url, process, log)
            _wait_until_it_answers(server)
            yield server
        finally:
            if process is not None:
                _end(process)


def _release_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def _count_event_files(runs: Path) -> int:
    if not runs.is_dir():
        raise UsageError(f"{runs} is not a directory; runs appear there with: regrun train CONFIG")
    count = sum(
        name.startswith("events.out.tfevents")
        for _, _, names in os.walk(runs, followlinks=True)
        for name in names
    )
    if count == 0:
        raise UsageError(
            f"no runs in {runs}: no TensorBoard event files; to make some: regrun train CONFIG"
        )
    return count


def _free_port(host: str) -> int:
    for port in (DEFAULT_PORT, 0):
        try:
            return _bound_port(host, port)
        except OSError:
            continue
    raise UsageError(f"--host {host}: no port to listen on")


def _checked_port(host: str, port: int) -> int:
    try:
        return _bound_port(host, port)
    except OSError as error:
        raise UsageError(f"--port {port} on {host}: {error.strerror or error}") from error


def _bound_port(host: str, port: int) -> int:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        return int(probe.getsockname()[1])


def _raise_file_limit() -> int:
    """Lift the soft limit of open files to the hard one, for the child; returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else max(soft, 2**16)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError):
        return soft
    return wanted


def _wait_until_it_answers(server: Server) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        code = server.process.poll()
        if code is not None:
            raise UsageError(f"TensorBoard ended with code {code}\n{_tail(server.log)}")
        try:
            with urllib.request.urlopen(server.url, timeout=5):  # noqa: S310 - always http
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise UsageError(
        f"TensorBoard did not answer within {SECONDS_TO_START:g} s\n{_tail(server.log)}"
    )


def _tail(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read().decode(errors="replace")[-2000:].strip()


def _raise_interrupted(number: int, frame: FrameType | None) -> None:
    raise Interrupted("TensorBoard ended", number)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask, then insist; also what TensorBoard itself has started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            continue
        return
