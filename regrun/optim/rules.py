"""The table of update rules, and those of torch.optim, with numbers per member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from regrun.kinds.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from regrun.optim.fista import FistaRule
from regrun.optim.rule import Rule, root
from regrun.optim.tiles import Tile


class SGDRule(Rule[SGD]):
    """Sutskever et al. 2013 for momentum and Nesterov's, as torch has them."""

    def _prepare(self, sections: Sequence[SGD]) -> None:
        self.momentum = any(section.momentum > 0 for section in sections)
        self.nesterov = sections[0].nesterov
        if not self.momentum:
            return
        self.slots = ("momentum_buffer",)
        momentum = self.column([section.momentum for section in sections])
        # Without momentum there is no dampening: the buffer is then g itself.
        dampening = [section.dampening if section.momentum > 0 else 0.0 for section in sections]
        self.numbers = {"momentum": momentum, "gain": 1 - self.column(dampening)}
        self.follows_step = any(dampening)

    def at_step(self, rate: Tensor, step: Tensor) -> dict[str, Tensor]:
        """The rate, and 1 for an undampened first step."""
        numbers = {"rate": -rate}
        if self.follows_step:
            # The buffer starts as g, undampened.
            numbers["gain"] = torch.where(step == 1, 1.0, self.numbers["gain"])
        return numbers

    def update(self, tile: Tile, g: Tensor) -> None:
        """Change b, then w."""
        if self.momentum:
            buffer = tile.state["momentum_buffer"]
            buffer.mul_(tile.numbers["momentum"]).addcmul_(g, tile.numbers["gain"])
            if self.nesterov:
                g = torch.addcmul(g, buffer, tile.numbers["momentum"], out=tile.total)
            else:
                g = buffer
        tile.weight.addcmul_(g, tile.numbers["rate"])

    @staticmethod
    def symbols(section: SGD) -> list[str]:
        """Of b and w."""
        if section.momentum == 0:
            return ["w ← w − η_t g"]
        gain = f"{1 - section.dampening:g} g   (b ← g at t = 1)" if section.dampening else "g"
        step = f"(g + {section.momentum:g} b)" if section.nesterov else "b"
        return [f"b ← {section.momentum:g} b + {gain}", f"w ← w − η_t {step}"]


class AdamRule(Rule[Adam | AdamW]):
    """Kingma & Ba 2015; amsgrad: Reddi et al. 2018.

    The bias corrections are folded into two numbers per member:
    w ← w − (η_t √c₂ / c₁) m / (√v + ε √c₂), c_i = 1 − β_iᵗ.
    """

    follows_step = True

    def _prepare(self, sections: Sequence[Adam | AdamW]) -> None:
        self.amsgrad = sections[0].amsgrad
        self.slots = ("exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if self.amsgrad else []))
        self.beta1 = self.column([section.betas[0] for section in sections])
        self.beta2 = self.column([section.betas[1] for section in sections])
        self.eps = self.column([section.eps for section in sections])
        self.numbers = {"gain1": 1 - self.beta1, "gain2": 1 - self.beta2}
        self.sections = sections
        # torch's own kernel takes plain numbers, so it serves one member at a time; an accelerator
        # would have to be waited for to learn them. It reads every tensor once.
        self.apart = self.device.type == "cpu" and hasattr(torch, "_fused_adam_")

    def at_step(self, rate: Tensor, step: Tensor) -> dict[str, Tensor]:
        """The bias corrections, folded."""
        if self.apart:
            self.rates, self.steps = rate.tolist(), step.float().unbind()
        correction = (1 - self.beta2**step).sqrt_()
        return {
            "rate": rate * correction / (self.beta1**step - 1),
            "eps": self.eps * correction,
        }

    def update(self, tile: Tile, g: Tensor) -> None:
        """Change m and v, then w."""
        mean, square = tile.state["exp_avg"], tile.state["exp_avg_sq"]
        numbers, scratch = tile.numbers, tile.scratch
        if tile.member is not None:
            self._update_member(tile.member, tile, g)
            return
        mean.lerp_(g, numbers["gain1"])
        torch.mul(g, g, out=scratch)
        square.lerp_(scratch, numbers["gain2"])
        if self.amsgrad:
            largest = tile.state["max_exp_avg_sq"]
            square = torch.maximum(largest, square, out=largest)
        root(square, out=scratch)
        scratch.add_(numbers["eps"])
        torch.div(mean, scratch, out=scratch)
        tile.weight.addcmul_(scratch, numbers["rate"])

    def _update_member(self, member: int, tile: Tile, g: Tensor) -> None:
        section = self.sections[member]
        torch._fused_adam_(
            [tile.weight],
            [g.contiguous()],
            [tile.state["exp_avg"]],
            [tile.state["exp_avg_sq"]],
            [tile.state["max_exp_avg_sq"]] if self.amsgrad else [],
            [self.steps[member]],
            lr=self.rates[member],
            beta1=section.betas[0],
            beta2=section.betas[1],
            weight_decay=0.0,  # it has been done
            eps=section.eps,
            amsgrad=self.amsgrad,
            maximize=False,
        )

    @staticmethod
    def symbols(section: Adam | AdamW) -> list[str]:
        """Of m, v and w."""
        beta1, beta2 = section.betas
        largest = ["u ← max(u, v)"] if section.amsgrad else []
        second = "u" if section.amsgrad else "v"
        return [
            f"m ← {beta1:g} m + {1 - beta1:g} g",
            f"v ← {beta2:g} v + {1 - beta2:g} g²",
            *largest,
            f"w ← w − η_t · m / (1 − {beta1:g}ᵗ) / (√({second} / (1 − {beta2:g}ᵗ)) + "
            f"{section.eps:g})",
        ]


class RMSpropRule(Rule[RMSprop]):
    """Tieleman & Hinton 2012; centered: Graves 2013, eq. 38–45. ε stands outside the root."""

    def _prepare(self, sections: Sequence[RMSprop]) -> None:
        self.centered = sections[0].centered
        self.momentum = any(section.momentum > 0 for section in sections)
        self.slots = (
            "square_avg",
            *(["grad_avg"] if self.centered else []),
            *(["momentum_buffer"] if self.momentum else []),
        )
        self.numbers = {
            "gain": 1 - self.column([section.alpha for section in sections]),
            "eps": self.column([section.eps for section in sections]),
            "momentum": self.column([section.momentum for section in sections]),
        }

    def at_step(self, rate: Tensor, step: Tensor) -> dict[str, Tensor]:
        """The rate."""
        return {"rate": -rate}

    def update(self, tile: Tile, g: Tensor) -> None:
        """Change v, then a and b where there are, then w."""
        square, numbers, scratch = tile.state["square_avg"], tile.numbers, tile.scratch
        torch.mul(g, g, out=scratch)
        square.lerp_(scratch, numbers["gain"])
        if self.centered:
            mean = tile.state["grad_avg"].lerp_(g, numbers["gain"])
            # The variance of a gradient that no longer changes may round to just below 0.
            torch.addcmul(square, mean, mean, value=-1, out=scratch)
            root(scratch, out=scratch)
        else:
            root(square, out=scratch)
        scratch.add_(numbers["eps"])
        torch.div(g, scratch, out=scratch)
        if self.momentum:
            buffer = tile.state["momentum_buffer"]
            scratch = buffer.mul_(numbers["momentum"]).add_(scratch)
        tile.weight.addcmul_(scratch, numbers["rate"])

    @staticmethod
    def symbols(section: RMSprop) -> list[str]:
        """Of v, a, b and w."""
        alpha, gain = f"{section.alpha:g}", f"{1 - section.alpha:g}"
        mean = [f"a ← {alpha} a + {gain} g"] if section.centered else []
        root = "√(v − a²)" if section.centered else "√v"
        step = f"g / ({root} + {section.eps:g})"
        return [
            f"v ← {alpha} v + {gain} g²",
            *mean,
            *([f"b ← {section.momentum:g} b + {step}"] if section.momentum else []),
            f"w ← w − η_t {'b' if section.momentum else step}",
        ]


class AdagradRule(Rule[Adagrad]):
    """Duchi, Hazan & Singer 2011, diagonal."""

    def _prepare(self, sections: Sequence[Adagrad]) -> None:
        self.slots = ("sum",)
        self.lr_decay = self.column([section.lr_decay for section in sections])
        self.follows_step = bool(self.lr_decay.any())
        self.start = self.column([section.initial_accumulator_value for section in sections])
        self.numbers = {"eps": self.column([section.eps for section in sections])}

    def initial(self, slot: str) -> Tensor | None:
        """`initial_accumulator_value`."""
        return self.start

    def at_step(self, rate: Tensor, step: Tensor) -> dict[str, Tensor]:
        """The rate, lowered by lr_decay."""
        return {"rate": -rate / (1 + (step - 1) * self.lr_decay)}

    def update(self, tile: Tile, g: Tensor) -> None:
        """Change v, then w."""
        total, scratch = tile.state["sum"], tile.scratch
        total.addcmul_(g, g)
        root(total, out=scratch)
        scratch.add_(tile.numbers["eps"])
        torch.div(g, scratch, out=scratch)
        tile.weight.addcmul_(scratch, tile.numbers["rate"])

    @staticmethod
    def symbols(section: Adagrad) -> list[str]:
        """Of v and w."""
        start = section.initial_accumulator_value
        slower = f" / (1 + {section.lr_decay:g} (t − 1))" if section.lr_decay else ""
        return [
            "v ← v + g²" + (f"   (v = {start:g} before the first step)" if start else ""),
            f"w ← w − η_t{slower} · g / (√v + {section.eps:g})",
        ]


RULES: Mapping[str, type[Rule[Any]]] = {
    "sgd": SGDRule,
    "adam": AdamRule,
    "adamw": AdamRule,
    "rmsprop": RMSpropRule,
    "adagrad": AdagradRule,
    "fista": FistaRule,
}
"""The schema's optimizer `name` → its rule. AdamW is Adam: decay is nobody's own affair."""

SHARED: Sequence[str] = (
    "name", "resolved_decay", "decay_on", "nesterov", "amsgrad", "centered", "restart",
)  # fmt: skip
"""What all sections of one stack must agree on, where they have it."""


def rule_of(section: Optimizer) -> type[Rule[Any]]:
    """The rule of a section."""
    return RULES[str(section.name)]  # type: ignore[attr-defined]  # declared by each subclass
