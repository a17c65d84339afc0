"""The `regrun` program: its verbs, and how everything that can go wrong ends."""

from __future__ import annotations

import errno
import gc
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from regrun.cli.ablate import ablate
from regrun.cli.compare import compare
from regrun.cli.console import prepare_streams
from regrun.cli.guide import guide
from regrun.cli.inspect import inspect
from regrun.cli.list import list_
from regrun.cli.path import path
from regrun.cli.reproduce import reproduce
from regrun.cli.resume import resume
from regrun.cli.schema import schema
from regrun.cli.sweep import sweep
from regrun.cli.train import train
from regrun.cli.view import view
from regrun.errors import RegrunError, StorageError

VERBS: Mapping[str, Callable[..., None]] = {
    "train": train,
    "sweep": sweep,
    "resume": resume,
    "inspect": inspect,
    "compare": compare,
    "path": path,
    "ablate": ablate,
    "reproduce": reproduce,
    "view": view,
    "list": list_,
    "schema": schema,
    "guide": guide,
}
"""In the order of a day's work, which is the order of `regrun --help`."""

BROKEN_PIPE = 141
"""What a shell shows for a program whose reader went away: 128 + SIGPIPE."""

_STORAGE_FAULTS = (
    errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM,
    errno.EMFILE, errno.ENFILE,
)  # fmt: skip


class Verbs(TyperGroup):
    """Turns errors that regrun raises on purpose into a message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except RegrunError as error:
            sys.stderr.write(f"{error}\n")
            raise typer.Exit(error.exit_code) from error
        return result


app = typer.Typer(
    name="regrun",
    cls=Verbs,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
for _name, _verb in VERBS.items():
    app.command(_name)(_verb)


def _print_version(asked: bool) -> None:
    if asked:
        from regrun import __version__

        typer.echo(f"regrun {__version__}")
        raise typer.Exit


@app.callback()
def regrun(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Run regularization experiments from YAML: train, compare, see it in TensorBoard."""


def main() -> None:
    """The console script."""
    try:
        run()
    except SystemExit as end:
        _leave(end)


def _leave(end: SystemExit) -> NoReturn:
    """End at once: to take torch apart object by object takes a quarter of a second.

    Nor do native libraries then look for leaks, which torchvision's report to stderr. All files are
    closed by now, and no process or thread is left.
    """
    if isinstance(end.code, str):
        raise end
    with suppress(OSError):
        sys.stderr.flush()
    os._exit(end.code or 0)


def run() -> None:
    """The program; raises SystemExit with the exit codes of `regrun.errors`."""
    sys.excepthook = _report_bug
    # A quarter of the time of `import torch` would go into searches for garbage, of which there is
    # little here.
    gc.set_threshold(50_000)
    prepare_streams()
    try:
        try:
            typer.main.get_command(app)(prog_name="regrun")
        finally:
            sys.stdout.flush()
    except SystemExit as end:
        # rich and typer turn a broken pipe into code 1, which would claim a bug.
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        _abandon_stdout()
        sys.exit(BROKEN_PIPE)
    except BrokenPipeError:
        _abandon_stdout()
        sys.exit(BROKEN_PIPE)
    except OSError as error:
        if error.errno not in _STORAGE_FAULTS:
            raise
        _abandon_stdout()
        where = "" if error.filename else "the output cannot be written: "
        with suppress(OSError):
            sys.stderr.write(f"{where}{error.strerror if where else error}\n")
        sys.exit(StorageError.exit_code)


def _abandon_stdout() -> None:
    """Keep Python from writing what is left of the output into a broken pipe or a full disk."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report_bug(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """The hook for whatever nobody caught. Python then exits with 1 (130 after Ctrl-C)."""
    if issubclass(kind, KeyboardInterrupt):
        return
    import platform
    import shlex

    from regrun import __version__

    sys.__excepthook__(kind, error, traceback)
    sys.stderr.write(
        f"\nThis is a bug in regrun {__version__} (Python {platform.python_version()}, "
        f"{platform.platform()}).\nPlease report it with the traceback above and the command:\n"
        f"regrun {shlex.join(sys.argv[1:])}\n"
    )
