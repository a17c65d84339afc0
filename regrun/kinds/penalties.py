"""The kinds of penalties: a class a type, with its formula.

Each adds to the objective. w runs over the entries of the parameters in `apply_to`, W over those
parameters, h over the hidden activations.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from regrun.kinds.base import PER_MEMBER, WEIGHT_ONLY, NonNegative, Section, Selector

Method = Literal["gradient", "proximal"]
"""gradient: added to the loss's gradient. proximal: exactly, by a step of its own after the
optimizer's (Parikh & Boyd 2014), which makes exact zeros."""


class Penalty(Section):
    """Keys that every penalty has."""

    formula: ClassVar[str]
    reference: ClassVar[str]
    methods: ClassVar[tuple[str, ...]] = ("gradient",)
    """What `method` may be; proximal needs an optimizer that says so too."""
    needs: ClassVar[str]
    """What it is computed from, and where that is to be had."""

    strength: NonNegative
    """λ; 0 is exactly no penalty."""
    method: Method = "gradient"

    def curvature(self) -> float | None:
        """Return the largest curvature that the penalty adds to the objective's smooth part.

        Proximal penalties are not in that part. None: it is not known.
        """
        return 0.0 if "proximal" in self.methods else None


class WeightPenalty(Penalty):
    """Keys of penalties on parameters."""

    needs: ClassVar[str] = "parameters of any shape"

    apply_to: Selector = WEIGHT_ONLY
    """Roles (`weight`, `bias`, `norm`), name patterns, or `all`."""


class L1(WeightPenalty):
    """Sum of absolute values (lasso)."""

    formula: ClassVar[str] = "λ Σ|w|"
    reference: ClassVar[str] = "Tibshirani 1996; proximal: Daubechies et al. 2004"
    methods: ClassVar[tuple[str, ...]] = get_args(Method)
    type: Literal["l1"]
    method: Method = "gradient"
    """gradient: λ sign(w), 0 at 0, never makes exact zeros. proximal: w is moved towards 0 by η λ
    after the step, and stops there; under sgd and fista."""


class L2(WeightPenalty):
    """Sum of squares (ridge, Tikhonov)."""

    formula: ClassVar[str] = "½ λ Σ w²  (half: false: λ Σ w²)"
    reference: ClassVar[str] = "Hoerl & Kennard 1970"
    type: Literal["l2"]
    half: bool = True
    """True: ½ λ Σ w², which under plain SGD is `weight_decay: λ`. False: λ Σ w², as Keras."""
    method: Literal["gradient"] = "gradient"

    def curvature(self) -> float:
        """λ, or 2 λ without the ½."""
        return self.strength if self.half else 2 * self.strength


class ElasticNet(WeightPenalty):
    """L1 and L2 mixed by `l1_ratio`."""

    formula: ClassVar[str] = "λ (ρ Σ|w| + (1−ρ) ½ Σ w²)  (half: false: without the ½)"
    reference: ClassVar[str] = "Zou & Hastie 2005; scikit-learn's convention"
    methods: ClassVar[tuple[str, ...]] = get_args(Method)
    type: Literal["elastic_net"]
    l1_ratio: Annotated[float, Field(ge=0, le=1), PER_MEMBER] = 0.5
    """ρ: 1 is all L1, 0 is all L2."""
    half: bool = True
    method: Method = "gradient"
    """proximal: w moves towards 0 by η λ ρ after the step, and is divided by 1 + η λ (1−ρ), without
    `half` by 1 + 2 η λ (1−ρ); under sgd and fista."""


class GroupLasso(WeightPenalty):
    """Norms of groups of weights: whole neurons or filters go to zero."""

    formula: ClassVar[str] = "λ Σ_g √|g| ‖w_g‖₂"
    reference: ClassVar[str] = "Yuan & Lin 2006; Scardapane et al. 2017"
    methods: ClassVar[tuple[str, ...]] = get_args(Method)
    needs: ClassVar[str] = "weights of dense layers and convolutions; filter: convolutions only"
    type: Literal["group_lasso"]
    groups: Literal["in", "out", "filter"] = "in"
    """in: the weights into a neuron, of a convolution its filter. out: the weights out of a neuron
    or channel of the layer before. filter: a filter, and only convolutions are chosen."""
    method: Method = "gradient"
    """gradient: λ √|g| w_g / ‖w_g‖, 0 at 0. proximal: w_g · max(0, 1 − η λ √|g| / ‖w_g‖) after the
    step; under sgd and fista."""


class Orthogonal(WeightPenalty):
    """Squared cosines between the weight vectors of every two neurons or filters of a layer."""

    formula: ClassVar[str] = "λ Σ_{i≠j} (ŵ_i · ŵ_j)² = λ ‖Ŵ Ŵᵀ − I‖²_F,  ŵ_i = w_i / ‖w_i‖₂"
    reference: ClassVar[str] = (
        "Brock et al. 2017; rows normalised as in Keras, which takes mean |cos|"
    )
    needs: ClassVar[str] = "weights of dense layers and convolutions"
    type: Literal["orthogonal"]
    method: Literal["gradient"] = "gradient"


class Spectral(WeightPenalty):
    """Squared spectral norm of each weight matrix; filters are its rows."""

    formula: ClassVar[str] = "½ λ Σ_W σ_max(W)²"
    reference: ClassVar[str] = "Yoshida & Miyato 2017"
    needs: ClassVar[str] = "weights of dense layers and convolutions"
    type: Literal["spectral"]
    method: Literal["gradient"] = "gradient"


class ActivityPenalty(Penalty):
    """What penalties on activations share."""

    needs: ClassVar[str] = "hidden activations: mlp and cnn"
    method: Literal["gradient"] = "gradient"


class ActivityL1(ActivityPenalty):
    """Absolute outputs of the hidden activation functions, summed over units (sparse activity)."""

    formula: ClassVar[str] = "λ mean_batch Σ_units |h|"
    reference: ClassVar[str] = "Glorot et al. 2011, §3; Keras, ActivityRegularization"
    type: Literal["activity_l1"]


class ActivityL2(ActivityPenalty):
    """Squared outputs of the hidden activation functions, summed over units."""

    formula: ClassVar[str] = "½ λ mean_batch Σ_units h²  (half: false: without the ½)"
    reference: ClassVar[str] = "Merity et al. 2017; Keras, ActivityRegularization"
    type: Literal["activity_l2"]
    half: bool = True
    """False: without the ½, as Keras."""
