"""Imports everything a worker needs, once, in the fork server that workers are forked from.

Imported modules are never garbage: collection is off during the imports, and the heap is frozen so
that workers do not scan it. Nothing else imports this module.
"""

from __future__ import annotations

import gc

gc.disable()

import regrun.sweeps.planned_stack  # noqa: E402, F401

gc.freeze()
gc.enable()
