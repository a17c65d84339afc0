"""The penalties' gradient where it is needed before the optimizer's update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from regrun.kinds.base import per_member
from regrun.regularizers.entrywise import EntrywiseTerm


class WholeGradient:
    """Adds sign·sign(w) + linear·w of every penalised parameter to its gradient.

    terms: over K members; parameters: name → (K, ...), of the device and dtype computed in.
    """

    def __init__(self, terms: Sequence[EntrywiseTerm], parameters: Mapping[str, Tensor]) -> None:
        self._terms = {
            term.parameter: [
                per_member(n.to(like.device), like) if n.any() else None
                for n in (term.sign, term.linear)
            ]
            for term in terms
            for like in (parameters[term.parameter],)
        }

    def __call__(
        self, parameters: Mapping[str, Tensor], gradients: Sequence[Tensor]
    ) -> list[Tensor]:
        """The whole gradients, in the parameters' order; those given are left as they are."""
        whole = list(gradients)
        for index, (name, parameter) in enumerate(parameters.items()):
            weight, (sign, linear) = parameter.detach(), self._terms.get(name, (None, None))
            if sign is not None:
                whole[index] = torch.addcmul(whole[index], weight.sign(), sign)
            if linear is not None:
                whole[index] = torch.addcmul(whole[index], weight, linear)
        return whole
