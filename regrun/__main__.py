"""The program: `regrun`, and `python -m regrun`."""

from __future__ import annotations

import sys
from typing import NoReturn

from regrun.outliving import Ended, outlived
from regrun.signals import end_on_signals


def main() -> None:
    """The console script. Signals are answered before anything large is imported."""
    end_on_signals()
    ended = outlived(sys.argv[1:])
    if ended is not None:
        _leave(ended)
    from regrun.cli.app import main as run_program

    run_program()


def _leave(ended: Ended) -> NoReturn:
    """End as the process did that had the work to do."""
    if ended.message:
        from regrun.cli.console import complain, prepare_streams

        prepare_streams()
        complain(ended.message)
    raise SystemExit(ended.exit_code)


if __name__ == "__main__":
    main()
