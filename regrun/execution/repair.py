"""The summary of an ended run, rebuilt from its other files."""

from __future__ import annotations

import torch

from regrun.config.load import load_config
from regrun.config.schema import Config
from regrun.errors import CorruptInputError
from regrun.execution.restore import preprocessing_of
from regrun.execution.summary import History
from regrun.kinds.models import build_model
from regrun.nn.roles import roles_of
from regrun.results import DataCard, ModelShape, RunSummary, Seconds
from regrun.store.checksums import text_of
from regrun.store.curves import curves_of
from regrun.store.place import Place
from regrun.store.reading import StoredRun, read_card, read_listed
from regrun.store.run_dir import RunDir, is_average
from regrun.store.weights import parse_weights
from regrun.store.writer import store_summary
from regrun.training.events import MemberEnd


def rebuild_summary(run: RunDir) -> RunSummary:
    """Write the summary of a completed run again, from its config, metrics, data and weights.

    What only the summary knew is lost: how long it took, on which device and with which versions,
    whether early stopping ended it, and its confusion matrices. Raises CorruptInputError when
    another file is missing or damaged, or early stopping chose the weights, StorageError.
    """
    stored = StoredRun(run, None)
    config = load_config(stored.document).config
    if config.training.early_stopping is not None:
        raise CorruptInputError(
            f"{run.summary}: cannot be rebuilt: which evaluation early stopping chose is not known"
        )
    rows = stored.rows
    weights, _ = parse_weights(run.weights, read_listed(run.weights, {}))
    card = read_card(stored)
    shape = _shape(config, card, stored)
    last = rows[-1] if rows else {"epoch": 0, "step": 0}
    if last["epoch"] < config.training.epochs:
        raise CorruptInputError(f"{run.metrics}: ends before the last epoch")
    history = History.of(
        config, has_validation="validation" in card.sizes, has_test=bool(card.sizes.get("test"))
    )
    for curves in curves_of(rows, [0.0] * len(rows)):
        history.record(curves, 0)
    end = MemberEnd(0, "completed", last["epoch"], last["step"], weights)
    module = build_model(config.model, tuple(shape.input_shape), shape.num_outputs, seed=0)
    summary = history.summarize(
        run.path, end, roles_of(module), torch.device("cpu"), Seconds(total=0.0), shape, card
    )
    files = {place.name: text_of(read_listed(place, {})) for place in _files(run)}
    return store_summary(run, summary.model_copy(update={"files": files, "versions": {}}))


def _shape(config: Config, card: DataCard, stored: StoredRun) -> ModelShape:
    preprocessing = preprocessing_of(stored)
    if preprocessing is None:
        raise CorruptInputError(f"{stored.files.preprocessing}: missing")
    classes = len(card.classes)
    outputs = len(card.targets)
    if card.task == "classification":
        outputs = config.loss.chosen_for(card.task, classes).network_outputs(classes)
    return ModelShape(input_shape=card.input.shape, num_outputs=outputs)


def _files(run: RunDir) -> list[Place]:
    """What the summary lists."""
    named = (
        *(run.config, run.metrics, run.histograms, run.data, run.preprocessing, run.weights),
        run.test_examples,
    )
    averages = [run.place / name for name in run.place.entries() if is_average(name)]
    return [place for place in (*named, *averages) if place.exists()]
