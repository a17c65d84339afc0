"""Imports everything a worker needs, once, in the fork server that workers are forked from.

Imported modules are never garbage: collection is off during the imports, and the heap is frozen so
that workers do not scan it. The server was started with signals blocked, as it ignores SIGINT only
after these imports. Nothing else imports this module.
"""

from __future__ import annotations

import gc
import signal

gc.disable()

import regrun.sweeps.planned_stack  # noqa: E402, F401
from regrun.signals import ENDING  # noqa: E402

gc.freeze()
gc.enable()

signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)  # or nothing that it forks could be terminated
