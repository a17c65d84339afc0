"""Executed by the process that workers are forked from, and imported by nobody else.

What a worker needs is imported once, here. None of it is ever garbage, so that the collector need
not look through it: neither while it is imported, nor in the workers.
"""

from __future__ import annotations

import gc

gc.disable()

import regrun.sweeps.jobs  # noqa: E402, F401

gc.freeze()
gc.enable()
