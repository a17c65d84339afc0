"""TensorBoard in this process: it ends with it, and answers nobody but its own page."""

from __future__ import annotations

import errno
import ipaddress
import shlex
import socket
import threading
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from regrun.errors import Interrupted, UsageError
from regrun.signals import ENDING, handling

if TYPE_CHECKING:
    from regrun.analysis.board import Board
    from regrun.analysis.overview import Latest, View

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

DEFAULT_PORT = 6006


@dataclass(frozen=True)
class Server:
    """A TensorBoard that answers at ``url``."""

    url: str
    notes: Sequence[str]
    """What it does not show at first, and what it leaves out."""
    runs: int
    is_public: bool
    """Whether other machines can reach it."""

    def wait(self) -> None:
        """Until a signal comes (Interrupted)."""
        threading.Event().wait()


@contextmanager
def serving(runs: Path, host: str, port: int | None) -> Iterator[Server]:
    """Serve TensorBoard on ``runs`` until the block ends.

    What is worth a first look is at the address, each single run is below it. SIGINT and SIGTERM
    raise Interrupted inside the block. Raises UsageError when there is nothing to show or no way
    to listen, CorruptInputError, StorageError.
    """
    with handling(ENDING, _raise_interrupted), _listening(host, port) as listeners:
        from werkzeug.middleware.dispatcher import DispatcherMiddleware
        from werkzeug.serving import make_server

        from regrun.analysis.overview import Latest, every_run, overview
        from regrun.cli.tensorboard_cards import answer
        from regrun.cli.tensorboard_data import EVERYTHING

        board = _board(runs)
        first = Latest(board, partial(overview, board, answer))
        every = Latest(board, partial(every_run, board))
        pages = DispatcherMiddleware(
            _tensorboard(first, runs), {f"/{EVERYTHING}": _tensorboard(every, runs)}
        )
        app = OnlyFrom(pages, host, [each.getsockname()[0] for each in listeners])
        port = listeners[0].getsockname()[1]
        servers = [
            make_server(
                each.getsockname()[0],
                port,
                app,
                threaded=True,
                request_handler=_quiet_handler(),
                fd=each.fileno(),
            )
            for each in listeners
        ]
        for server in servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        bound = ipaddress.ip_address(listeners[0].getsockname()[0])
        name = "localhost" if bound.is_unspecified else host
        url = f"http://{f'[{name}]' if ':' in name else name}:{port}/"
        try:
            notes = list(_notes(board, first(), f"{url}{EVERYTHING}/"))
            yield Server(url, notes, len(board.runs()), is_public=app.is_public)
        finally:
            for server in servers:
                server.shutdown()


class OnlyFrom:
    """Refuses requests that another web page may have made.

    A page whose own name was made to lead to this machine (DNS rebinding) could read the runs; but
    the browser still sends that name as `Host`, and as `Origin`.
    """

    def __init__(self, app: Wsgi, host: str, addresses: Sequence[str]) -> None:
        """host: the name that was asked for. addresses: what the server listens on."""
        self._app = app
        self.is_public = not all(ipaddress.ip_address(each).is_loopback for each in addresses)
        """Whether other machines can reach it."""
        self._names = {"localhost", host.lower()}
        if self.is_public:
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer a request as WSGI has it."""
        host, origin = environ.get("HTTP_HOST", ""), environ.get("HTTP_ORIGIN")
        for given in [f"//{host}"] if origin is None else [f"//{host}", origin]:
            if not self._is_ours(given):
                start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
                return [b"This address is for another name. To serve it: regrun view --host NAME\n"]
        return self._app(environ, start_response)

    def _is_ours(self, url: str) -> bool:
        """Whether the host of a URL is one that only this server can have."""
        try:
            parts = urlsplit(url)
            name, _ = parts.hostname or "", parts.port  # which it checks
        except ValueError:
            return False
        if parts.username is not None or parts.netloc != url.partition("//")[2]:
            return False
        try:
            # A name can be made to lead anywhere, a number cannot.
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        return self.is_public or address.is_loopback


def _board(runs: Path) -> Board:
    from regrun.analysis.board import Board
    from regrun.store.study import refuse_path

    if not runs.is_dir():
        raise UsageError(f"{runs} is not a directory; runs appear there with: regrun train CONFIG")
    board = Board(runs)
    if not board.runs() and not board.damaged:
        refuse_path(runs)
        raise UsageError(f"no runs in {runs}; to make some: regrun train CONFIG")
    return board


def _notes(board: Board, view: View, everything: str) -> Iterator[str]:
    if view.note:
        yield f"{view.note}; every run: {everything}"
    if board.damaged:
        first, reason = next(iter(board.damaged.items()))
        count = f" and {len(board.damaged) - 1:,} more" if len(board.damaged) > 1 else ""
        check = f"to check all files: regrun verify {shlex.quote(str(board.root))}"
        yield f"{first}{count} left out: {reason}; {check}"


def _tensorboard(view: Latest, runs: Path) -> Wsgi:
    """TensorBoard's application, with those of its tabs that read no files of their own."""
    from tensorboard import assets
    from tensorboard.backend import application
    from tensorboard.plugins.core.core_plugin import CorePluginLoader
    from tensorboard.plugins.custom_scalar.custom_scalars_plugin import CustomScalarsPlugin
    from tensorboard.plugins.distribution.distributions_plugin import DistributionsPlugin
    from tensorboard.plugins.histogram.histograms_plugin import HistogramsPlugin
    from tensorboard.plugins.hparams.hparams_plugin import HParamsPlugin
    from tensorboard.plugins.image.images_plugin import ImagesPlugin
    from tensorboard.plugins.metrics.metrics_plugin import MetricsPlugin
    from tensorboard.plugins.scalar.scalars_plugin import ScalarsPlugin
    from tensorboard.plugins.text.text_plugin import TextPlugin

    from regrun.cli.tensorboard_data import StoredRuns

    tabs = (
        MetricsPlugin, ScalarsPlugin, CustomScalarsPlugin, ImagesPlugin, DistributionsPlugin,
        HistogramsPlugin, TextPlugin, HParamsPlugin,
    )  # fmt: skip
    loaders = [CorePluginLoader(), *map(application.make_plugin_loader, tabs)]
    options = ArgumentParser()
    for each in loaders:
        each.define_flags(options)
    app: Wsgi = application.TensorBoardWSGIApp(
        options.parse_args([]),
        loaders,
        StoredRuns(view, str(runs)),
        assets.get_default_assets_zip_provider(),
    )
    return app


def _quiet_handler() -> Any:
    from werkzeug.serving import WSGIRequestHandler

    class Quiet(WSGIRequestHandler):
        """Reports no requests, only errors of the application."""

        def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - werkzeug's name
            pass

    return Quiet


@contextmanager
def _listening(host: str, port: int | None) -> Iterator[list[socket.socket]]:
    """Sockets that listen; without a port on the default one, or else on a free one."""
    for each in (DEFAULT_PORT, 0) if port is None else (port,):
        with ExitStack() as stack:
            try:
                listeners = _listen(host, each, stack)
            except OSError as error:
                problem = error.strerror or str(error)
                continue
            yield listeners
            return
    place = f"--host {host}" if port is None else f"--port {port} on {host}"
    raise UsageError(f"{place}: {problem}")


def _listen(host: str, port: int, stack: ExitStack) -> list[socket.socket]:
    """Listen on every address of ``host``, so that its name leads to no other server.

    Addresses that this machine does not have are left out, unless it has none. Raises OSError.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (UnicodeError, ValueError) as error:  # a label too long, a NUL character
        raise OSError(None, "not a host name") from error
    listeners: list[socket.socket] = []
    missing = None
    for family, _, _, _, address in found:
        place = str(address[0]), port or (listeners[0].getsockname()[1] if listeners else 0)
        try:
            listeners.append(stack.enter_context(socket.create_server(place, family=family)))
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise
            missing = error
    if missing is not None and not listeners:
        raise missing
    return listeners


def _raise_interrupted(number: int, frame: FrameType | None) -> None:
    raise Interrupted("TensorBoard ended", number)
