"""The `regrun` program: its verbs, and how everything that can go wrong ends."""

from __future__ import annotations

import atexit
import errno
import gc
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from types import TracebackType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from regrun.cli.console import complain, notify, prepare_streams
from regrun.errors import PluginError, RegrunError, StorageError, UsageError
from regrun.escapes import escaped
from regrun.memory import SHORTAGES, TorchProbe, shortage_of

VERBS: Mapping[str, str] = {
    "init": "Write a commented first config for a data file, by looking at it.",
    "train": "Train one run.",
    "sweep": "Train many runs: KEY=V1,V2,V3 adds a grid axis to the config's own.",
    "resume": "Carry on what was interrupted, or give a finished run or sweep more of what it has.",
    "predict": "Predict new data by a run, or by the seeds of a sweep's best cell, and score them.",
    "export": "Write a run's network, with its preprocessing, or a sweep's table to a file.",
    "inspect": "Show the model, every parameter's group, the update rule, and the config.",
    "compare": (
        "Compare finished runs; those that differ only in the seed become mean ± 95% interval."
    ),
    "verify": "Check that stored runs and sweeps are as they were left; --repair mends some.",
    "path": 'Every strength from "all weights zero" down, with the best by cross-validation.',
    "ablate": "Train all ingredients, each left out, each alone and none; show each one's effect.",
    "reproduce": (
        "Train a published experiment again: published values, ours, and whether they agree."
    ),
    "plot": "Draw the pictures of a run, sweep, path or study.",
    "report": "Write one HTML page on runs, sweeps and studies: answer, pictures, tables, limits.",
    "view": "Start TensorBoard on the runs and print its address; Ctrl-C ends it.",
    "list": "List what there is: names and keys for a config, published results, or the runs.",
    "schema": "Print the JSON Schema of the config, for editors.",
    "guide": "Show a page of the guide, or the list of pages.",
}
"""Verb → the first line of its function's docstring, in the order of `regrun --help`.

The function has the verb's name, in the module ``regrun.cli.VERB``, which is imported on a call.
"""

TRACEBACK = "REGRUN_TRACEBACK"
"""The environment variable that shows the traceback of a plug-in's error."""

_ELSEWHERE = {"plot": "pictures"}
"""Verb → its module, where that has another name: `regrun.cli.plot` draws on the terminal."""

BROKEN_PIPE = 141
"""What a shell shows for a program whose reader went away: 128 + SIGPIPE."""

_STORAGE_FAULTS = (
    errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM,
    errno.EMFILE, errno.ENFILE,
)  # fmt: skip


_CLICK_ERRORS = import_module(typer.BadParameter.__module__)
"""Those of the copy of click that typer uses."""

NO_SUCH_OPTION: type[Any] = _CLICK_ERRORS.NoSuchOption
"""The error for an unknown option."""


def function_of(verb: str) -> Callable[..., None]:
    """Import the function behind a verb."""
    # `list` would hide the built-in of that name.
    name = "list_" if verb == "list" else verb
    function: Callable[..., None] = getattr(
        import_module(f"regrun.cli.{_ELSEWHERE.get(verb, verb)}"), name
    )
    return function


class Verb(TyperCommand):
    """One verb with its arguments and options."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write its help."""
        from regrun.cli.help import verb_help

        formatter.write(verb_help(self, ctx))


class Verbs(TyperGroup):
    """The verbs, loaded one by one; errors that regrun raises on purpose become exit codes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # For help and completion the names and summaries are enough.
        for name, summary in VERBS.items():
            self.add_command(TyperCommand(name, help=summary))

    def load(self, name: str) -> TyperCommand:
        """The command of a verb, with its arguments and options."""
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        alone.command(name, cls=Verb)(function_of(name))
        command = typer.main.get_command(alone)
        assert isinstance(command, TyperCommand)
        return command

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help of the program."""
        from regrun.cli.help import program_help

        formatter.write(program_help(self, ctx, VERBS))

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Parse the arguments that stand before the verb."""
        with _escaping_click():
            return super().make_context(*arguments, **options)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the verb that is called, and import it."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, self.load(name) if name and name in VERBS else command, rest

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        words = [*getattr(ctx, "_protected_args", ()), *ctx.args]
        try:
            _check_names(words)
            with _escaping_click():
                result = super().invoke(ctx)
            sys.stdout.flush()
        except RegrunError as error:
            complain(str(error))
            if isinstance(error, PluginError) and error.details:
                wanted = bool(os.environ.get(TRACEBACK))
                how = f"for the traceback set {TRACEBACK}=1 in the environment"
                notify(error.details if wanted else how)
            raise typer.Exit(error.exit_code) from error
        except SHORTAGES as error:
            shortage = shortage_of(error)
            if shortage is None:
                raise
            sys.stderr.write(f"{shortage}\n")
            raise typer.Exit(shortage.exit_code) from error
        except NO_SUCH_OPTION as error:
            from regrun.cli.foreign_options import advice

            hint = advice(str(error.option_name), words)
            if hint is None:
                raise
            notify(f"no such option: {error.option_name}; {hint}")
            raise typer.Exit(UsageError.exit_code) from error
        return result


def _check_names(words: Sequence[str]) -> None:
    """Raise UsageError where paths can be neither found nor stored."""
    try:
        here = os.getcwd()  # noqa: PTH109 - not as a path
    except OSError as error:
        message = "the working directory is gone; change into one that is there"
        raise UsageError(message) from error
    for text in (here, *words):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            is_utf_8 = sys.getfilesystemencoding().startswith("utf")
            advice = "rename it" if is_utf_8 else "rename it, or set PYTHONUTF8=1"
            message = f"{text}: this name is not UTF-8, and results could not hold it; {advice}"
            raise UsageError(message) from error


@contextmanager
def _escaping_click() -> Iterator[None]:
    """Escape control characters in click's errors, which quote arguments: typer prints them."""
    try:
        yield
    except _CLICK_ERRORS.ClickException as error:
        error.message = escaped(error.message)
        raise


app = typer.Typer(
    name="regrun",
    cls=Verbs,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


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


def program() -> TyperGroup:
    """The verbs and options, with the completion scripts of `regrun.cli.shells`."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    for parameter in group.params:
        if parameter.name in ("install_completion", "show_completion"):
            parameter.callback = _completion_in_shells
    return group


def _completion_in_shells(context: Any, parameter: Any, value: Any) -> None:
    """The callback of `--install-completion` and `--show-completion`."""
    if value and not context.resilient_parsing:
        from regrun.cli import shells

        (shells.install if parameter.name == "install_completion" else shells.show)()


def main() -> None:
    """The console script."""
    try:
        run()
    except SystemExit as end:
        _leave(end)


def _leave(end: SystemExit) -> NoReturn:
    """End at once: to take torch apart object by object takes a quarter of a second.

    Nor do native libraries then look for leaks, which torchvision's report to stderr. All files are
    closed by now, and no thread is left. What was registered for the end is done: multiprocessing
    removes its folder.
    """
    if isinstance(end.code, str):
        raise end
    atexit._run_exitfuncs()
    with suppress(OSError):
        sys.stderr.flush()
    os._exit(end.code or 0)


def run() -> None:
    """The program; raises SystemExit with the exit codes of `regrun.errors`."""
    sys.excepthook = _report_bug
    # A quarter of the time of `import torch`, and of the time that a table of thousands of runs
    # takes, would go into searches for garbage, of which there is little here.
    gc.set_threshold(50_000, 100)
    prepare_streams()
    TorchProbe.install()
    if "_REGRUN_COMPLETE" in os.environ:
        from regrun.cli.completion import prepare_completion

        prepare_completion()
    try:
        try:
            program()(prog_name="regrun")
        finally:
            sys.stdout.flush()
    except (BrokenPipeError, SystemExit) as end:
        # rich and typer turn a broken pipe into code 1, which would claim a bug.
        if not any(isinstance(each, BrokenPipeError) for each in (end, end.__context__)):
            raise
        _abandon_stdout()
        sys.exit(BROKEN_PIPE)
    except OSError as error:
        no_folder = isinstance(error, FileNotFoundError) and error.filename is None  # by tempfile
        if error.errno not in _STORAGE_FAULTS and not no_folder:
            raise
        _abandon_stdout()
        where = ""
        if error.filename is None:
            where = "the output, temporary files or shared memory cannot be written: "
        with suppress(OSError):
            notify(f"{where}{error.strerror if where else error}")
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
    from traceback import format_exception

    from regrun import __version__

    notify("".join(format_exception(kind, error, traceback)))
    notify(
        f"This is a bug in regrun {__version__} (Python {platform.python_version()}, "
        f"{platform.platform()}).\nPlease report it with the traceback above and the command:\n"
        f"regrun {shlex.join(sys.argv[1:])}"
    )
