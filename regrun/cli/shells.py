"""Completion in the user's shell: the scripts, and where they are installed."""

from __future__ import annotations

import os
import sys
from importlib import resources
from pathlib import Path
from typing import NoReturn

SHELLS = ("bash", "zsh", "fish")
"""Those with a script of regrun's own; others have typer's."""


def script(shell: str) -> str:
    """The script that makes a shell ask regrun for completions."""
    folder = resources.files("regrun.cli") / "templates"
    return (folder / f"completion.{shell}").read_text(encoding="utf-8")


def install() -> NoReturn:
    """Install completion for the shell that this program was started from, and end."""
    from typer.completion import install as install_of_typer  # type: ignore[attr-defined]

    from regrun.cli.console import say

    # It knows the shell, where its scripts are, and which line its start-up file needs.
    shell, path = install_of_typer()
    if shell in SHELLS:
        Path(path).write_text(script(shell), encoding="utf-8")
    say(f"{shell} completion is in {path}; it works in terminals that are opened from now on")
    sys.exit(0)


def show() -> NoReturn:
    """Print the script of that shell, and end."""
    from shellingham import ShellDetectionFailure, detect_shell

    try:
        shell = detect_shell()[0]
    except ShellDetectionFailure:
        shell = Path(os.environ.get("SHELL", "")).name
    sys.stdout.write(script(shell if shell in SHELLS else SHELLS[0]))
    sys.exit(0)
