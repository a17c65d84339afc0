"""`python -m regrun` is `regrun`."""

from __future__ import annotations

from regrun.cli.app import main

if __name__ == "__main__":
    main()
