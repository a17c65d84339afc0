"""The kinds of models: built-in families, and torchvision's classifiers by name."""

from regrun.kinds.models.base import ModelSection, build_model
from regrun.kinds.models.builtin import CNN, MLP, Linear
from regrun.kinds.models.torchvision import Torchvision

__all__ = ["CNN", "MLP", "Linear", "ModelSection", "Torchvision", "build_model"]
