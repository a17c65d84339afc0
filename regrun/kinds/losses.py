"""The kinds of data losses: what one example costs. Penalties are kinds of their own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from regrun.errors import Problem
from regrun.kinds.base import Section
from regrun.results import Task

if TYPE_CHECKING:
    from torch import Tensor

    from regrun.config.schema import Config


class LossSetting(Section):
    """What the key `loss` may hold: a loss, or how it is chosen for the data."""

    @abstractmethod
    def chosen_for(self, task: Task, targets: int) -> Loss:
        """Return the loss for data of this task.

        Args:
            task: `classification` or `regression`.
            targets: The number of classes, or of numbers to predict.
        """

    @abstractmethod
    def symbols(self, *, weighted: bool = False) -> str:
        """Return the mean over a batch in symbols.

        Args:
            weighted: Whether each class has a weight.
        """


class Loss(LossSetting):
    """A loss of single examples, whose mean over the batch is minimized.

    A kind is a subclass with a key `type`, a docstring, `formula`, `reference`, `needs`, `task` and
    the method `per_example`.

    >>> import torch
    >>> from typing import ClassVar, Literal
    >>> class Absolute(Loss):
    ...     '''Absolute errors, which weigh outliers less than squares.'''
    ...     type: Literal["absolute"]
    ...     formula: ClassVar[str] = "mean(|ŷ − y|)"
    ...     reference: ClassVar[str] = "torch, L1Loss"
    ...     needs: ClassVar[str] = "numbers to predict"
    ...     task: ClassVar[str] = "regression"
    ...     def per_example(self, outputs, targets, unit=None):
    ...         return (outputs - targets).abs().mean(-1)
    >>> Absolute(type="absolute").per_example(torch.ones(1, 2, 1), torch.zeros(1, 2, 1))
    tensor([[1., 1.]])
    """

    needs: ClassVar[str]
    """What the data must have: ``classes``, ``numbers to predict``."""
    task: ClassVar[Task]
    """The task that it is for."""

    @abstractmethod
    def per_example(self, outputs: Tensor, targets: Tensor, unit: Tensor | None = None) -> Tensor:
        """Measure single examples of some members.

        Args:
            outputs: (K, B, C): a score for each class (of a single logit z: [0, z]), or C numbers.
            targets: (K, B) int64 class indices, or (K, B, C) numbers.
            unit: (C,), the standard deviations that outputs and targets were multiplied by, where
                the network is trained on standardized targets; None: it is trained on these.

        Returns:
            (K, B), differentiable.
        """

    def curvature(self, outputs: int) -> float | None:
        """Return the largest second derivative along an example's outputs; None where unknown.

        `fista` takes its learning rate from it.

        Args:
            outputs: How many outputs the network has.
        """
        return None

    def network_outputs(self, targets: int) -> int:
        """Return how many outputs the network has.

        Args:
            targets: The number of classes, or of numbers to predict.
        """
        return targets

    @classmethod
    def fits(cls, task: Task, targets: int) -> bool:
        """Return whether it is for data of this task; see `chosen_for`."""
        return task == cls.task

    def chosen_for(self, task: Task, targets: int) -> Loss:
        return self

    def symbols(self, *, weighted: bool = False) -> str:
        return self.formula

    def conflicts(self, config: Config) -> Iterator[Problem]:
        known = config.dataset.known_task
        if known not in (None, self.task):
            yield Problem((), f"{self.kind} needs {self.needs}; {config.dataset.kind} is {known}")


class MSE(Loss):
    """Squared errors, mean over the targets."""

    formula: ClassVar[str] = "mean((ŷ − y)²)"
    reference: ClassVar[str] = "torch, MSELoss"
    needs: ClassVar[str] = "numbers to predict"
    task: ClassVar[Task] = "regression"
    type: Literal["mse"]

    def per_example(self, outputs: Tensor, targets: Tensor, unit: Tensor | None = None) -> Tensor:
        from torch.nn import functional

        return mean_over_targets(functional.mse_loss(outputs, targets, reduction="none"))

    def curvature(self, outputs: int) -> float:
        return 2 / outputs


class HalfMSE(Loss):
    """Half the squared errors: the convention in which ridge is ½ λ Σ w²."""

    formula: ClassVar[str] = "½ mean((ŷ − y)²)"
    reference: ClassVar[str] = "Hastie, Tibshirani & Friedman 2009, §3.4; scikit-learn's Lasso"
    needs: ClassVar[str] = "numbers to predict"
    task: ClassVar[Task] = "regression"
    type: Literal["half_mse"]

    def per_example(self, outputs: Tensor, targets: Tensor, unit: Tensor | None = None) -> Tensor:
        return 0.5 * MSE(type="mse").per_example(outputs, targets)

    def curvature(self, outputs: int) -> float:
        return 1 / outputs


class Huber(Loss):
    """Half the squared error up to `delta`, and linear beyond, which limits what outliers do."""

    formula: ClassVar[str] = "mean(h(ŷ − y)),  h(r) = ½ r² for |r| ≤ δ, else δ (|r| − ½ δ)"
    reference: ClassVar[str] = "Huber 1964; torch, HuberLoss"
    needs: ClassVar[str] = "numbers to predict"
    task: ClassVar[Task] = "regression"
    type: Literal["huber"]
    delta: Annotated[float, Field(gt=0)] = 1.0
    """δ, where the square ends, in the unit of the targets that the network is trained on: where
    they are standardized, in standard deviations of the training targets."""

    def per_example(self, outputs: Tensor, targets: Tensor, unit: Tensor | None = None) -> Tensor:
        from torch.nn import functional

        if unit is not None:
            outputs, targets = outputs / unit, targets / unit
        losses = functional.huber_loss(outputs, targets, reduction="none", delta=self.delta)
        return mean_over_targets(losses if unit is None else losses * unit**2)

    def curvature(self, outputs: int) -> float:
        return 1 / outputs

    def symbols(self, *, weighted: bool = False) -> str:
        return f"{self.formula},  δ = {self.delta:g}"


class CrossEntropy(Loss):
    """The negative logarithm of the probability of the true class, by softmax."""

    formula: ClassVar[str] = "mean(−log p(y)),  p = softmax(ŷ)"
    reference: ClassVar[str] = "Bishop 2006, §4.3.4; torch, CrossEntropyLoss"
    needs: ClassVar[str] = "classes"
    task: ClassVar[Task] = "classification"
    type: Literal["cross_entropy"]

    def per_example(self, outputs: Tensor, targets: Tensor, unit: Tensor | None = None) -> Tensor:
        return negative_log_probability(outputs, targets)

    def curvature(self, outputs: int) -> float:
        """Return ½, the bound for any number of classes (Böhning 1992)."""
        return 0.5

    def symbols(self, *, weighted: bool = False) -> str:
        return expected_log_probability(weighted=weighted)


class BinaryCrossEntropy(Loss):
    """Cross-entropy of two classes with one output, the logit of the second class.

    A penalty on its weights is that of scikit-learn's `LogisticRegression`. With two outputs, of
    which only the difference counts, an L2 strength acts half as much.
    """

    formula: ClassVar[str] = "mean(−log p(y)),  p(1) = 1 − p(0) = σ(ŷ)"
    reference: ClassVar[str] = "Bishop 2006, §4.3.2; torch, BCEWithLogitsLoss"
    needs: ClassVar[str] = "two classes"
    task: ClassVar[Task] = "classification"
    type: Literal["binary_cross_entropy"]

    def per_example(self, outputs: Tensor, targets: Tensor, unit: Tensor | None = None) -> Tensor:
        return negative_log_probability(outputs, targets)

    def curvature(self, outputs: int) -> float:
        """Return ¼, the largest of σ(z) (1 − σ(z))."""
        return 0.25

    def network_outputs(self, targets: int) -> int:
        return 1

    @classmethod
    def fits(cls, task: Task, targets: int) -> bool:
        return task == cls.task and targets == 2

    def symbols(self, *, weighted: bool = False) -> str:
        expected, _, weight = expected_log_probability(weighted=weighted).partition(",")
        probabilities = self.formula.partition(",")[2]
        return f"{expected},{probabilities}" + (f",{weight}" if weight else "")


class Auto(LossSetting):
    """`binary_cross_entropy` for two classes, `cross_entropy` for more, `mse` for numbers."""

    type: Literal["auto"]

    def chosen_for(self, task: Task, targets: int) -> Loss:
        if task == "regression":
            return MSE(type="mse")
        if targets == 2:
            return BinaryCrossEntropy(type="binary_cross_entropy")
        return CrossEntropy(type="cross_entropy")

    def symbols(self, *, weighted: bool = False) -> str:
        classes = expected_log_probability(weighted=weighted)
        return classes if weighted else f"{classes} for classes, {MSE.formula} for numbers"


def mean_over_targets(losses: Tensor) -> Tensor:
    """(K, B, T) → (K, B)."""
    return losses.squeeze(-1) if losses.shape[-1] == 1 else losses.mean(-1)


def negative_log_probability(scores: Tensor, labels: Tensor) -> Tensor:
    """−log softmax(o)ₜ: scores (K, B, C) and class indices (K, B) → (K, B)."""
    from torch.nn import functional

    flat = functional.cross_entropy(scores.flatten(0, 1), labels.flatten(), reduction="none")
    return flat.view_as(labels)


def expected_log_probability(*, weighted: bool) -> str:
    """The mean of `negative_log_probability` in symbols."""
    return "mean(−c_y log p(y)),  c_y the weight of class y" if weighted else "mean(−log p(y))"
