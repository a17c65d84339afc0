"""K models of one architecture, trained and evaluated as one."""

from regrun.stack.noise import Noise, StreamNoise, make_noise
from regrun.stack.stacked import Stack

__all__ = ["Noise", "Stack", "StreamNoise", "make_noise"]
