"""Predictions of trained networks for new data of the kind that they were trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regrun.data.dataset import scaled_pixels
from regrun.data.preprocessing import Preprocessing
from regrun.errors import CorruptInputError, OutOfMemoryError, UsageError
from regrun.execution.computing import predicting
from regrun.execution.prepare import resolve_device
from regrun.execution.raw_examples import RawExamples, read_examples
from regrun.execution.restore import preprocessing_of, restore_model
from regrun.memory import giving_back
from regrun.nn.class_scores import class_scores
from regrun.results import Scores
from regrun.store.reading import load_stored_run
from regrun.store.run_dir import RunDir

if TYPE_CHECKING:
    import pandas as pd

BATCH = 1024
"""Examples that go through a network at once."""


@dataclass(frozen=True)
class Predictions:
    """What networks make of examples.

    outputs: (M, N, C) float64 outputs of the M networks: class scores before the softmax, or
    numbers on the original scale. examples: what they were made of.
    """

    outputs: NDArray[np.float64]
    examples: RawExamples


class Predictor:
    """A trained network, or one of each seed, that takes raw data as training did.

    Made by `regrun.load_predictor`.

    Example:
        >>> import tempfile, numpy as np, regrun
        >>> x = np.linspace(-1, 1, 40)[:, None]
        >>> folder = tempfile.mkdtemp()
        >>> np.savez(f"{folder}/line.npz", x=x, y=3 * x[:, 0] + 0.5)
        >>> config = {"dataset": {"name": "npz", "path": f"{folder}/line.npz"},
        ...           "model": {"name": "linear"}, "optimizer": {"name": "sgd", "lr": 0.1},
        ...           "training": {"epochs": 60}}
        >>> run = regrun.train(config, runs_dir=folder)
        >>> predictor = regrun.load_predictor(run.directory)
        >>> predictor.predict(np.array([[2.0]])).round(2).iloc[0, 0].item()
        6.5
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        preprocessing: Sequence[Preprocessing],
        device: str = "cpu",
        notes: Sequence[str] = (),
    ) -> None:
        """Use `regrun.load_predictor`.

        preprocessing: of each network. notes: what a user should know of the choice of networks.
        """
        self._device = resolve_device(device)
        self.networks = [network.to(self._device).eval() for network in networks]
        """One, or one of each seed."""
        self.preprocessing = preprocessing[0]
        """What turns raw data into inputs, and outputs into predictions; of the first network."""
        self._each = preprocessing
        self.notes = list(notes)
        """What a user should know of the choice of networks."""

    def predict(self, data: Any) -> pd.DataFrame:
        """Predict raw examples.

        Args:
            data: What training was given, with or without targets: a path or a list of paths (a
                table, an archive of arrays, pictures or folders of them), a DataFrame, or an array
                or tensor (N, …) of raw inputs.

        Returns:
            A row per example. The columns of a table, or the names of files, come first; then
            `prediction`, the name of the class or the number on the original scale (with several
            targets `prediction(NAME)` each); for classes the probability `p(CLASS)` of each; for
            several networks, whose mean this is, `spread`: the standard deviation over them of the
            prediction, or of the probability of the predicted class.

        Raises:
            CorruptInputError: The data cannot be read, or are of another shape or type.
            ConfigError: A key of the run's dataset does not suit the data.
        """
        return self.table(self.run(data))

    def score(self, data: Any) -> Scores:
        """Compare predictions with the targets that come with the data.

        Args:
            data: As `predict` takes it, with targets; an array has none.

        Returns:
            `loss` (cross-entropy) and `accuracy`, or `mse`, `mae` and `r2` on the original scale.

        Raises:
            UsageError: The data have no targets.
            CorruptInputError: A target is missing, or a class that training did not have.
        """
        return self.scores(self.run(data))

    def outputs(self, data: Any) -> Tensor:
        """Return the outputs of the network, (N, C) float64, the mean over several networks.

        Args:
            data: As `predict` takes it.

        Returns:
            Class scores before the softmax (of a single logit z for two classes: 0 and z), or
            numbers on the original scale.
        """
        return torch.from_numpy(self.run(data).outputs.mean(0))

    def run(self, data: Any) -> Predictions:
        """Read the data and put them through every network."""
        examples, inputs = read_examples(data, self.preprocessing), self.preprocessing.inputs
        raw = examples.inputs
        outputs = []
        for network, own in zip(self.networks, self._each, strict=True):
            if own.inputs != inputs:
                raw, inputs = read_examples(data, own).inputs, own.inputs
            outputs.append(self._outputs_in_batches(network, own, raw))
        return Predictions(np.stack(outputs), examples)

    def _outputs_in_batches(
        self, network: nn.Module, preprocessing: Preprocessing, raw: Tensor
    ) -> NDArray[np.float64]:
        """In batches that fit into memory. Raises OutOfMemoryError where not one example does."""
        batch = max(1, min(BATCH, len(raw)))
        while True:
            try:
                return giving_back(partial(self._outputs_of, network, preprocessing, raw, batch))
            except OutOfMemoryError:
                if batch == 1:
                    raise
            batch = (batch + 1) // 2

    @torch.no_grad()
    def _outputs_of(
        self, network: nn.Module, preprocessing: Preprocessing, raw: Tensor, batch: int
    ) -> NDArray[np.float64]:
        dtype = next(network.parameters()).dtype
        batches = (
            network_inputs(rows, preprocessing, dtype).to(self._device)
            for rows in torch.split(raw, batch)
        )
        first = next(batches)
        with predicting(network, first):
            found = [network(inputs).double().cpu() for inputs in chain([first], batches)]
        outputs = torch.cat(found)
        if preprocessing.classes:
            return class_scores(outputs).numpy()
        scale = preprocessing.target_scale
        return (outputs if scale is None else scale.invert(outputs)).numpy()

    def table(self, predictions: Predictions) -> pd.DataFrame:
        """Lay out predictions as `predict` returns them."""
        import pandas as pd

        frame, columns = predictions.examples.frame, self._columns(predictions.outputs)
        taken = set(frame.columns)
        renamed = {_free(name, taken): values for name, values in columns.items()}
        return pd.concat([frame, pd.DataFrame(renamed, index=frame.index)], axis=1)

    def _columns(self, outputs: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
        several = len(outputs) > 1
        classes, targets = self.preprocessing.classes, self.preprocessing.targets
        if classes:
            each = probabilities(outputs)
            mean = each.mean(0)
            best = mean.argmax(1)
            columns: dict[str, NDArray[Any]] = {"prediction": np.asarray(classes)[best]}
            columns |= {f"p({name})": mean[:, i] for i, name in enumerate(classes)}
            if several:
                chosen = each[:, np.arange(len(best)), best]
                columns["spread"] = chosen.std(0, ddof=1)
            return columns
        mean = outputs.mean(0)
        suffixes = [f"({name})" for name in targets] if len(targets) > 1 else [""]
        columns = {f"prediction{suffix}": mean[:, i] for i, suffix in enumerate(suffixes)}
        if several:
            spread = outputs.std(0, ddof=1)
            columns |= {f"spread{suffix}": spread[:, i] for i, suffix in enumerate(suffixes)}
        return columns

    def scores(self, predictions: Predictions) -> Scores:
        """Compare predictions with the targets of their examples; see `score`."""
        from sklearn import metrics

        targets = predictions.examples.targets
        if targets is None:
            raise UsageError("these data have no targets to compare predictions with")
        if self.preprocessing.classes:
            mean = probabilities(predictions.outputs).mean(0)
            chosen = mean[np.arange(len(targets)), targets]
            found = {
                "loss": float(-np.log(np.maximum(chosen, np.finfo(float).tiny)).mean()),
                "accuracy": float((mean.argmax(1) == targets).mean()),
            }
        else:
            mean = predictions.outputs.mean(0)
            found = {
                "mse": float(metrics.mean_squared_error(targets, mean)),
                "mae": float(metrics.mean_absolute_error(targets, mean)),
            }
            if len(targets) > 1:
                found["r2"] = float(metrics.r2_score(targets, mean))
        return Scores(examples=len(targets), metrics=found)


def network_inputs(raw: Tensor, preprocessing: Preprocessing, dtype: torch.dtype) -> Tensor:
    """Standardize raw inputs as training did: float64 features, or uint8 images."""
    scale = preprocessing.input_scale
    if raw.dtype == torch.uint8:
        mean, std = (None, None) if scale is None else scale.tensors()
        return scaled_pixels(raw, dtype, mean, std)
    return (raw if scale is None else scale.apply(raw)).to(dtype)


def probabilities(outputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """The softmax over the last axis."""
    from scipy.special import softmax

    return np.asarray(softmax(outputs, axis=-1))


def load_preprocessing(directory: Path) -> Preprocessing:
    """Read a run's `preprocessing.json`. Raises UsageError for runs of versions without it."""
    stored = load_stored_run(directory)
    found = preprocessing_of(stored)
    if found is None:
        raise UsageError(
            f"{directory}: no {stored.files.preprocessing.name} here, since an earlier version of "
            "regrun trained this run; train it again, or use regrun.load_model with inputs as the "
            "network saw them"
        )
    return found


def load_run_predictor(
    directories: Sequence[Path], average: str | None, device: str, notes: Sequence[str] = ()
) -> Predictor:
    """The networks of one or several runs on the same data, or on different draws of them.

    average: `ema` or `swa` for those weights. Raises UsageError, CorruptInputError.
    """
    networks = [restore_model(directory, average) for directory in directories]
    found = [load_preprocessing(directory) for directory in directories]
    for directory, each in zip(directories, found, strict=True):
        if (each.classes, each.targets) != (found[0].classes, found[0].targets):
            raise CorruptInputError(
                f"{RunDir(directory).preprocessing}: has other classes or targets than that of "
                f"{directories[0]}, though these runs belong to one cell"
            )
    return Predictor(networks, found, device, notes)


def _free(name: str, taken: set[Any]) -> str:
    """The name, with underscores until no other column has it."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name
