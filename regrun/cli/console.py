"""What goes to the terminal: results to stdout, everything else to stderr.

Control characters of names, values and messages are shown escaped (`regrun.escapes`).
"""

from __future__ import annotations

import codecs
import csv
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from regrun.errors import DivergedError, Interrupted
from regrun.escapes import escaped, escaped_json, escaped_name

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

    from regrun.results import Result

T = TypeVar("T")

_ASCII = str.maketrans(
    {
        "‖": "|", "₁": "_1", "₂": "_2", "²": "^2", "½": "1/2", "λ": "lambda", "ρ": "rho",
        "η": "lr", "Σ": "sum ", "σ": "sigma", "ε": "eps", "θ": "theta", "·": "*", "×": "x",
        "−": "-", "–": "-", "—": "-", "±": "+/-", "≤": "<=", "≥": ">=", "←": "<-", "→": "->",
        "ŵ": "w^", "Ŵ": "W^", "ĥ": "h^", "ŷ": "y^", "ᵀ": "^T", "ᵗ": "^t", "₀": "_0", "∂": "d",
        "π": "pi", "μ": "mu", "β": "beta", "α": "alpha", "≠": "!=", "∈": "in", "§": "section ",
        "γ": "gamma", "δ": "delta", "φ": "phi", "τ": "tau", "∇": "grad ", "′": "'", "⌊": "floor(",
        "⌋": ")",
        "…": "...", "√": "sqrt ", "✓": "yes", "ᵢ": "_i", "ⁱ": "^i", "∞": "inf", "•": "*",
        "●": "*", "○": "o",
        "█": "#", "▓": "+", "▒": "-", "░": ".",
        "│": "|", "┤": "|", "├": "|", "─": "-", "━": "-", "┬": "+", "┴": "+", "┼": "+",
        "┌": "+", "┐": "+", "└": "+", "┘": "+", "╭": "+", "╮": "+", "╰": "+", "╯": "+",
    }
)  # fmt: skip

_KEPT = re.compile(r"^ +\d* \| |\bregrun [a-z]+ ")
"""Excerpts of files, and commands."""

_SIGN = re.compile(r"([^\x00-\x7f])(?=(.?))", re.DOTALL)
"""A character beyond ASCII, and the one after it."""

_COMMAND = re.compile(r"\bregrun [a-z]+( DIR| --?[a-z-]+| \d+)+")
"""A command within prose, which stays on one line."""

_JOINT = "\x1f"

WIDE = 10_000
"""Columns of a file or a pipe: nothing is wrapped or cut."""


def prepare_streams() -> None:
    """Let stdout and stderr print anything in any encoding: λ becomes lambda, not an error.

    What a closed one is given goes nowhere. A width that is none counts as not set.
    """
    for name in ("COLUMNS", "LINES", "TERMINAL_WIDTH"):
        if not re.fullmatch("[1-9][0-9]{0,4}", os.environ.get(name, "1")):
            del os.environ[name]
    codecs.register_error("regrun.ascii", _spell_out)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - to the end
            setattr(sys, name, nowhere)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace" if _is_unicode(stream) else "regrun.ascii")


def output() -> Console:
    """A console on stdout. Not a terminal: no colour, and lines as long as they need."""
    return _console(stderr=False)


def plotted(plot: Callable[..., str | None], *data: object, **options: object) -> list[Text]:
    """What a function of `regrun.cli.plot` draws for stdout; nothing where it draws nothing."""
    from rich.text import Text

    console = output()
    colour = console.is_terminal and not console.no_color and not console.is_dumb_terminal
    drawn = plot(*data, console.width, colour=colour and _is_unicode(sys.stdout), **options)
    return [] if drawn is None else [Text.from_ansi(spelled(drawn), no_wrap=True)]


def spelled(text: str) -> str:
    """The text as stdout can print it: what is laid out keeps its place."""
    if text.isascii() or _is_unicode(sys.stdout):
        return text
    encoding = sys.stdout.encoding or "ascii"

    def ascii_of(found: re.Match[str]) -> str:
        sign, following = found.groups()
        if sign.encode(encoding, "ignore"):
            return sign
        word = sign.translate(_ASCII)
        return word.rstrip() if following in {" ", "("} else word  # "sum over", "sqrt(v)"

    return _SIGN.sub(ascii_of, text)


def notices() -> Console:
    """A console on stderr."""
    return _console(stderr=True)


def say(*renderables: RenderableType) -> None:
    """Print results to stdout, one below the other, without markup or highlighted numbers.

    Prose is broken between words; what must be copied whole is `verbatim`.
    """
    from rich.text import Text

    console = output()
    for each in renderables:
        if isinstance(each, str):
            each = Text(wrapped(spelled(escaped(each)), console.width))
        elif isinstance(each, Text) and not (each.no_wrap or each.spans):
            each = Text(wrapped(spelled(escaped(each.plain)), console.width), each.style)
        console.print(each, soft_wrap=True)


def verbatim(text: str) -> Text:
    """A line with a command or a path, which is not broken."""
    from rich.text import Text

    return Text(text, no_wrap=True)


def wrapped(text: str, width: int) -> str:
    """Lines broken between words, what follows indented: below the text after a label.

    >>> print(wrapped("runs       7 completed", 20))
    runs       7
               completed
    """
    import textwrap

    lines = []
    for line in text.split("\n"):
        if len(line) > width:
            label = re.match(r"\s*(?:\S+ {2,})?", line)
            indent = label.end() if label and label.end() else 2
            space = " " * min(indent, width // 3)
            line = textwrap.fill(
                _COMMAND.sub(lambda found: found[0].replace(" ", _JOINT), line),
                width,
                subsequent_indent=space,
                break_long_words=False,
                break_on_hyphens=False,
            )
        lines.append(line.replace(_JOINT, " "))
    return "\n".join(lines)


def notify(text: str) -> None:
    """A line on stderr. A reader who has gone, or a full disk, stops nothing: it is a message."""
    # Not by rich, which answers a broken pipe by closing stdout and ending the program.
    with suppress(OSError):
        sys.stderr.write(f"{escaped(text)}\n")
        sys.stderr.flush()


def _width_of_notices() -> int:
    """Only a terminal breaks lines: who reads a file or a pipe looks for whole ones."""
    console = notices()
    return console.width if console.is_terminal else WIDE


def note(text: str) -> None:
    """Prose on stderr, broken between words on a terminal."""
    notify(wrapped(text, _width_of_notices()))


def complain(error: str) -> None:
    """An error on stderr, its prose broken between words on a terminal.

    Excerpts of files keep their lines, and so do commands, which are there to be copied.
    """
    width = _width_of_notices()
    lines = error.split("\n")
    notify("\n".join(each if _KEPT.search(each) else wrapped(each, width) for each in lines))


def print_json(document: Any) -> None:
    """Print exactly one strict JSON document to stdout; NaN and infinities become null."""
    import json

    from regrun.results import json_document

    text = escaped_json(json_document(document).decode())
    if not _is_unicode(sys.stdout):
        text = json.dumps(json.loads(text), indent=2) + "\n"
    sys.stdout.write(text)


@contextmanager
def documenting(*, as_json: bool) -> Iterator[None]:
    """Print as JSON, where that is wanted, also what was interrupted."""
    try:
        yield
    except Interrupted as stop:
        if as_json:
            print_json(stop.result)
        raise


def print_csv(rows: Iterable[Sequence[object]]) -> None:
    """Print rows to stdout as CSV: as they are to a file or a pipe, escaped to a terminal."""
    if sys.stdout.isatty():
        rows = ([escaped_name(str(cell)) for cell in row] for row in rows)
    csv.writer(sys.stdout, lineterminator="\n").writerows(rows)


def show(
    document: T, report: Callable[[T], Iterable[RenderableType]], *, as_json: bool = False
) -> None:
    """Print a document to stdout: as JSON, or part by part as its report renders it."""
    if as_json:
        print_json(document)
    else:
        say(*report(document))


def check(result: Result) -> None:
    """Raise DivergedError when some runs of a result, which was shown, diverged or failed."""
    if result.shortfall is not None:
        raise DivergedError(result.shortfall)


def _console(*, stderr: bool) -> Console:
    from regrun.cli.escaping import EscapingConsole

    stream = sys.stderr if stderr else sys.stdout
    is_terminal = stream.isatty() or bool(os.environ.get("FORCE_COLOR"))
    width = None if stream.isatty() or os.environ.get("COLUMNS") else WIDE
    return EscapingConsole(stderr=stderr, force_terminal=is_terminal or None, width=width)


def _is_unicode(stream: Any) -> bool:
    return (getattr(stream, "encoding", None) or "ascii").lower().startswith("utf")


def _spell_out(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_ASCII)
    return text.encode("ascii", "replace").decode(), error.end
