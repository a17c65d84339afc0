"""Data drawn from a formula."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from regrun.kinds.base import Count
from regrun.kinds.datasets.base import DatasetSection, Progress, Task

if TYPE_CHECKING:
    from regrun.data.assemble import Scaling
    from regrun.data.dataset import Dataset, Split
    from regrun.results import Part


class SyntheticLinear(DatasetSection):
    """y = bias + Σ weight·xᵢ + ε with x ~ N(0, 1) and ε ~ N(0, noise²)."""

    origin: ClassVar[str] = "generated"
    fixed_task: ClassVar[Task | None] = "regression"
    name: Literal["synthetic_linear"]
    num_features: Count = 200
    """Inputs of each example."""
    num_train: Count = 20
    """Training examples; `validation` is held out of them."""
    num_test: Count = 100
    """Test examples."""
    noise: Annotated[float, Field(ge=0)] = 0.01
    """Standard deviation of ε."""
    weight: float = 0.01
    """Every true coefficient."""
    bias: float = 0.05
    """The true intercept."""

    def load(self, progress: Progress | None = None) -> Dataset:
        """Draw the training and test sets, each from its own random stream, in float64.

        So the size of one does not change the other. The defaults are the experiment of many
        inputs and few examples in "Dive into Deep Learning" (version 0, §4.5; version 1.0, §3.7).
        """
        from regrun.data.dataset import Examples

        train, test = self._draw("train", self.num_train), self._draw("test", self.num_test)
        names = [f"x{i}" for i in range(self.num_features)]
        dataset = self._split(Examples("regression", train, test, feature_names=names))
        held_out: tuple[Part, ...] = () if dataset.validation is None else ("validation",)
        return replace(dataset, drawn=("train", *held_out, "test"), generated=True)

    def estimate_bytes(self) -> int:
        return (self.num_train + self.num_test) * (self.num_features + 1) * 8

    def _standardizes(self, images: bool) -> bool:
        return bool(self.standardize)

    def _scaling(self, standardize: bool) -> Scaling:
        scaling = super()._scaling(standardize)
        return replace(scaling, targets=self.standardize_target is True)

    def _draw(self, part: str, count: int) -> Split:
        import torch

        from regrun.data.dataset import Split
        from regrun.seeding import derive

        generator = torch.Generator().manual_seed(derive(self.seed, f"{self.name}/{part}"))
        inputs = torch.randn(count, self.num_features, generator=generator, dtype=torch.float64)
        noise = torch.randn(count, 1, generator=generator, dtype=torch.float64)
        signal = inputs.sum(1, keepdim=True) * self.weight + self.bias
        return Split(inputs, signal + self.noise * noise)
