"""The program: `regrun`, and `python -m regrun`."""

from __future__ import annotations

from regrun.signals import end_on_signals


def main() -> None:
    """The console script. Signals are answered before anything large is imported."""
    end_on_signals()
    from regrun.cli.app import main as run_program

    run_program()


if __name__ == "__main__":
    main()
