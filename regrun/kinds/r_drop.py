"""R-Drop: outputs under two draws of the noise are to agree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from regrun.errors import ConfigError, Problem
from regrun.kinds.base import Described, NonNegative, Section

if TYPE_CHECKING:
    from torch import Tensor

    from regrun.config.schema import Config
    from regrun.data.dataset import Dataset


class RDrop(Section):
    """Each batch goes through the network twice, each time with other noise.

    Activity penalties are means over both passes; batch norm sees one after the other.
    """

    formula: ClassVar[str] = "L = ½ (L₁ + L₂) + α ½ (KL(p₁ ‖ p₂) + KL(p₂ ‖ p₁))"
    reference: ClassVar[str] = "Liang et al. 2021, published code; the paper has L₁ + L₂"

    alpha: NonNegative = 1.0
    """α, weight of the divergence between the two predictions."""

    @classmethod
    def described(cls) -> Described:
        """Return the mark of its key."""
        return Described(
            "training", formula=cls.formula, reference=cls.reference, needs="classification"
        )

    def symbols(self) -> str:
        """Return the loss in symbols, with this section's numbers."""
        return (
            f"L ← ½ (L₁ + L₂) + {self.alpha:g} · ½ mean(KL(p₁ ‖ p₂) + KL(p₂ ‖ p₁))   "
            "(R-Drop; 1, 2: two draws of the noise)"
        )

    def conflicts(self, config: Config) -> Iterator[Problem]:
        """Yield that there are no classes, whose probabilities are compared."""
        if config.dataset.known_task == "regression":
            yield Problem((), f"needs classes; {config.dataset.kind} is regression")

    @staticmethod
    def check(dataset: Dataset) -> None:
        """Raise ConfigError when there are no classes."""
        if dataset.task != "classification":
            raise ConfigError.at(
                "training.r_drop", f"needs classes, and {dataset.name} has numbers here; use null"
            )

    @staticmethod
    def divergence(scores: Tensor, others: Tensor) -> Tensor:
        """Return ½ (KL(p ‖ q) + KL(q ‖ p)) of each example, (…,), for class scores (…, C)."""
        log_p, log_q = scores.log_softmax(-1), others.log_softmax(-1)
        # Σ p (log p − log q) + Σ q (log q − log p)
        return 0.5 * ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(-1)
