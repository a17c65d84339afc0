"""One training step of K members: everything that acts in it, in the order in which it acts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from regrun.config.schema import Config
from regrun.data.dataset import Dataset
from regrun.errors import CorruptInputError
from regrun.nn.class_scores import class_scores
from regrun.nn.roles import select
from regrun.seeding import derive
from regrun.stack import Noise, Stack, make_noise
from regrun.stack.constraints import StackedConstraints
from regrun.stack.mixing import HiddenMixing
from regrun.stack.optimizer import StackedOptimizer
from regrun.stack.penalties import StackedPenalties
from regrun.stack.penalty_terms import add_penalty_gradient
from regrun.stack.schedule import StackedSchedule
from regrun.stack.state import check_tensors
from regrun.training.agreement import Agreement
from regrun.training.augment import Augmenter
from regrun.training.averaging import Averages, refresh_statistics
from regrun.training.batches import BatchSampler, TrainMask
from regrun.training.compiled import Compiler
from regrun.training.differences import agreement
from regrun.training.gradients import SAM, Clipping
from regrun.training.lookahead import Due, SlowWeights
from regrun.training.losses import Targets, training_loss
from regrun.training.objective import BatchLosses
from regrun.training.precision import DTYPES
from regrun.training.replay import Replay
from regrun.training.state import part, with_prefix
from regrun.training.survival import Survival


class Step:
    """Draws a batch, computes losses and gradients, updates the stack's parameters.

    configs: one per row of the stack; see `Engine` for what they share. train_mask: what each row
    trains on; the engine shrinks it. drawn: see `BatchLosses`. Raises ConfigError when loss or
    selectors do not fit.
    """

    def __init__(
        self,
        configs: Sequence[Config],
        stack: Stack,
        dataset: Dataset,
        train_mask: TrainMask,
        drawn: Sequence[bool],
        device: torch.device,
    ) -> None:
        self._stack, self._train_mask, self._device = stack, train_mask, device
        first = configs[0]
        self._epochs = first.training.epochs
        self._dtype = DTYPES[first.training.precision]
        self._autocast = first.training.precision == "bfloat16"
        self._per_example = training_loss(first, dataset)
        self._classifies = dataset.task == "classification"
        self._class_weights = dataset.class_weights
        for config in configs:
            config.augment.check(dataset)
            if config.training.r_drop is not None:
                config.training.r_drop.check(dataset)
        scaled = dataset.target_std is not None or dataset.class_weights is not None
        differs = scaled or any(config.augment.label_smoothing for config in configs)
        self.minimized = self._minimized if differs else None
        """The data loss that training minimizes, of each example; None where it is the reported."""
        self._batch_losses = BatchLosses(drawn, device)
        self.survival = Survival(len(configs), device)
        self._noise = make_noise([config.seed for config in configs], device)
        ahead = 0 if device.type == "cpu" else self._epochs  # whose cores train meanwhile
        self._batches = BatchSampler(dataset, first.training.batch_size, self._dtype, ahead)
        self.per_epoch = self._batches.steps_per_epoch
        self.schedule = StackedSchedule(configs, self.per_epoch, device)
        from_start = any(penalty.from_start for config in configs for penalty in config.penalty)
        kept = stack.parameters.items() if from_start else ()
        self._initial = {name: parameter.detach().clone() for name, parameter in kept}
        """The initial weights, (K, …), where a penalty asks for them."""
        self._replay = Replay(device, self._changing)
        self._compiler = Compiler(
            self._noise,
            self._computed,
            lambda: self._optimizer.uncut(),
            agreement(self._dtype, device, autocast=self._autocast),
        )
        self._build_terms(configs)
        optimizers = [config.optimizer for config in configs]
        self._slow_weights = SlowWeights(optimizers, stack.parameters)
        self.averages = Averages(configs, stack, self.per_epoch)
        # Clipping and SAM need the whole gradient. Otherwise the optimizer adds the penalties'
        # gradient while it walks over the parameters, which is faster. Decided once: a member
        # that leaves must not change how the others are computed.
        self._needs_whole = bool(self._clipping or self._sam)
        self._optimizer = StackedOptimizer(
            optimizers,
            stack.parameters,
            select(first.optimizer.decay_on, stack.roles, "optimizer.decay_on"),
            () if self._needs_whole else self.penalties.entrywise,
            proximal=self.penalties.proximal,
        )

    def _build_terms(self, configs: Sequence[Config]) -> None:
        """Build what is rebuilt when members leave the stack."""
        self._replay.forget()
        self._compiler.forget()
        self._seeds = [config.seed for config in configs]
        self._batches.set_members(self._seeds)
        self._augmenter = Augmenter(
            [config.augment for config in configs],
            self._seeds,
            self._dtype,
            self._device,
            configs[0].model.hidden_layers,
            self._class_weights,
        )
        self._agreement = Agreement([config.training.r_drop for config in configs], self._device)
        roles = self._stack.roles
        shapes = {name: p.shape[1:] for name, p in self._stack.parameters.items()}
        self.penalties = StackedPenalties(
            [config.penalty for config in configs], roles, shapes, self._device, self._initial
        )
        self._constraints = StackedConstraints(
            [config.constraints for config in configs], roles, self._device
        )
        parameters = self._stack.parameters
        self._penalty_columns = {
            term.parameter: term.columns(parameters[term.parameter])
            for term in self.penalties.entrywise
        }
        self._clipping = Clipping([config.training for config in configs], self._device)
        self._sam = SAM([config.optimizer.sam for config in configs], self._device)

    def __call__(self, step: int) -> Float[Tensor, " K"]:
        """Take step number `step`, counted from 0; returns the data losses, (K,)."""
        examples = self._batches.examples(step)
        multiplier = self.schedule(step)
        due = self._slow_weights.due(step + 1, self._stack.parameters)
        self._batches.turn_to(step)
        kind = examples, due
        work = self._compiler(kind, partial(self._take, examples, multiplier, due))
        losses = self._replay(kind, work)
        self.averages.take(step + 1, self._stack)
        self._batch_losses.count(examples)
        return losses

    def _take(
        self, examples: int, multiplier: Tensor | float, due: Due, noise: Noise
    ) -> Float[Tensor, " K"]:
        """The part of a step that is recorded: it waits for nothing, and reads no number back."""
        self._optimizer.look_ahead()
        inputs, targets, mixing = self._augmenter(*self._batches.gather(), noise)
        losses, gradients = self._sam(
            self._stack, noise, lambda: self._gradients(inputs, targets, mixing, noise)
        )
        gradients = self._clipping(gradients)
        self._optimizer.step(gradients, multiplier)
        self._slow_weights.update(due, self._stack.parameters)
        if self._constraints:
            self._constraints.project_(self._stack.parameters)
        self.averages.follow(self._optimizer.steps, self._stack)
        noise.next_step()
        self._batch_losses.add(losses, examples)
        self.survival.record(losses)
        return losses

    @property
    def not_replayed(self) -> str:
        """Why steps are not replayed where the device could; empty: they are."""
        return self._replay.refusal

    @property
    def compiles(self) -> bool:
        """Whether the coming steps are compiled."""
        return self._compiler.on

    @compiles.setter
    def compiles(self, on: bool) -> None:
        self._compiler.on = on
        self._compiler.forget()

    @property
    def not_compiled(self) -> str:
        """Why steps that were to be compiled are not; empty: they are, or were not to be."""
        return self._compiler.refusal

    def _changing(self) -> list[Tensor]:
        """All tensors that a step changes."""
        return [*self._computed(), *self._noise.state_dict().values()]

    def _computed(self) -> list[Tensor]:
        """Those that are not the noise's."""
        parts = (
            self._stack, self._optimizer, self._slow_weights, self.averages, self.survival
        )  # fmt: skip
        found = [tensor for each in parts for tensor in each.state_dict().values()]
        return [*found, self._batch_losses.sums]

    def _minimized(self, outputs: Tensor, targets: Tensor) -> Float[Tensor, "K B"]:
        return self._augmenter.smoothed(targets).losses(self._per_example, outputs)

    def objective(
        self, measured: Float[Tensor, " K"], penalties: Sequence[Float[Tensor, " K"]]
    ) -> Float[Tensor, " K"]:
        """What training minimizes: data loss, penalties, and the term behind coupled weight decay.

        measured: the data loss at these weights. Where they alone do not decide it, the mean of the
        batches since the last call stands in.
        """
        decay = self._optimizer.decay_term()
        terms = [*penalties, *([] if decay is None else [decay])]
        data_loss = self._batch_losses.instead_of(measured)
        return data_loss + sum(terms, torch.zeros_like(data_loss))

    def _gradients(
        self, inputs: Tensor, targets: Targets, mixing: HiddenMixing | None, noise: Noise
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Data losses, (K,), and the objective's gradients without what the optimizer adds."""
        hidden: list[Tensor] | None = [] if self.penalties.activity else None
        with self.precision():
            outputs = self._agreement.outputs(self._stack, inputs, noise, hidden, mixing)
        outputs = outputs.to(self._dtype)
        if self._classifies:
            outputs = class_scores(outputs)
        losses = self._train_mask.mean(self._agreement.losses(targets, self._per_example, outputs))
        objective = losses.sum()
        extra = self.penalties.differentiable(self._stack.parameters, hidden or ())
        if extra is not None:
            objective = objective + extra.sum()
        parameters = list(self._stack.parameters.values())
        # Of what the loss does not depend on, zeros.
        gradients: Sequence[Tensor] = torch.autograd.grad(
            objective, parameters, allow_unused=True, materialize_grads=True
        )
        if self._needs_whole:
            gradients = add_penalty_gradient(
                self._stack.parameters, gradients, self._penalty_columns
            )
        return losses.detach(), gradients

    def forget(self, row: int) -> None:
        """Drop what the optimizer remembers of a row's gradients."""
        self._optimizer.forget(row)

    def refresh_statistics(self) -> None:
        """Recompute batch norm's statistics for the current weights, in one pass over the data."""
        noise = make_noise([derive(seed, "statistics") for seed in self._seeds], self._device)
        batches = (self._batches(step)[0] for step in range(self.per_epoch))
        with self.precision():
            refresh_statistics(self._stack, batches, noise)

    def precision(self) -> AbstractContextManager[Any]:
        """The context in which a forward pass runs."""
        if self._autocast:
            return torch.autocast(self._device.type, torch.bfloat16)
        return nullcontext()

    def current_lr(self, step: int) -> Float64[Tensor, " K"]:
        """The learning rate of a step, (K,)."""
        return self._optimizer.current_lr(self.schedule(step))

    def shrink_to(self, rows: Sequence[int], configs: Sequence[Config]) -> None:
        """Keep these rows only; the stack has shrunk already. configs: one per remaining row."""
        index = torch.tensor(list(rows), device=self._device)
        self._noise.shrink_to(rows)
        self._optimizer.shrink_to(index, self._stack.parameters)
        self._slow_weights.shrink_to(index, [config.optimizer for config in configs])
        self.schedule.shrink_to(rows, configs)
        self._initial = {name: tensor[index] for name, tensor in self._initial.items()}
        self._build_terms(configs)
        self.averages.shrink_to(index, configs)
        self._batch_losses.shrink_to(index)
        self.survival.shrink_to(index)

    def state_dict(self) -> dict[str, Tensor]:
        """The state of all parts; the stack has its own."""
        return {
            **with_prefix("optimizer", self._optimizer.state_dict()),
            **with_prefix("lookahead", self._slow_weights.state_dict()),
            **with_prefix("initial", self._initial),
            **with_prefix("schedule", self.schedule.state_dict()),
            **with_prefix("noise", self._noise.state_dict()),
            **with_prefix("averages", self.averages.state_dict()),
            **with_prefix("batch_losses", self._batch_losses.state_dict()),
        }

    @torch.no_grad()
    def open_streams(self) -> None:
        """Draw the noise of a step, so that each stream that a step draws from is there."""
        inputs, _, mixing = self._augmenter(*self._batches(0), self._noise)
        with self.precision():
            self._agreement.outputs(self._stack, inputs, self._noise, None, mixing)

    def load_state_dict(self, state: Mapping[str, Tensor], steps: int, evaluated: int) -> None:
        """Continue from a `state_dict` after `steps` steps, of which `evaluated` had been measured.

        The streams have to be open. Raises CorruptInputError for what no such stack has then.
        """
        with part("optimizer", state) as own:
            self._optimizer.load_state_dict({n: t.to(self._device) for n, t in own.items()})
            if not (own["step"] == steps).all():
                raise CorruptInputError(f"step: not {steps:,} everywhere")
        with part("lookahead", state) as own:
            self._slow_weights.load_state_dict(own)
        with part("initial", state) as own:
            check_tensors(self._initial, own)
            for name, tensor in self._initial.items():
                tensor.copy_(own[name])
        with part("schedule", state) as own:
            self.schedule.load_state_dict(own)
        with part("noise", state) as own:
            self._noise.restore(own, steps)
        with part("averages", state) as own:
            self.averages.load_state_dict(own)
        with part("batch_losses", state) as own:
            added = sum(self._batches.examples(step) for step in range(evaluated, steps))
            self._batch_losses.load_state_dict(own, added)
