"""K models of one architecture, trained and evaluated as one."""

from regrun.stack.noise import Noise
from regrun.stack.stacked import Stack

__all__ = ["Noise", "Stack"]
