"""A trained network as a file for other programs, with its preprocessing inside."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

import torch
from torch import Tensor, nn

from regrun.data.preprocessing import ArrayInputs, Preprocessing
from regrun.errors import UsageError
from regrun.execution.predict import load_preprocessing, network_inputs
from regrun.execution.restore import restore_model
from regrun.memory import is_shortage
from regrun.nn.class_scores import class_scores
from regrun.results import json_line

EXAMPLES = 2
"""Examples that the network is traced with; 1 would be taken for a constant."""

METADATA = "preprocessing.json"
"""The name under which an exported file holds the stored preprocessing."""


class ExportedNetwork(nn.Module):
    """Standardizes raw inputs, applies the network, and undoes the scale of the targets.

    Takes uint8 images (N, C, H, W), or float32 inputs (N, …): of a table the features in the order
    of `preprocessing.json`, with categories one-hot encoded. Gives class scores and probabilities,
    (N, C) each, or predictions (N, T) on the original scale.
    """

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network = network
        self.preprocessing = preprocessing
        self.dtype = next(network.parameters()).dtype

    def forward(self, inputs: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        stored = self.preprocessing.inputs
        raw = inputs
        if inputs.dtype != torch.uint8:
            raw = inputs.double()
            if isinstance(stored, ArrayInputs) and stored.value_range is not None:
                black, white = stored.value_range
                raw = (raw - black) / (white - black)
        outputs = self.network(network_inputs(raw, self.preprocessing, self.dtype))
        if self.preprocessing.classes:
            scores = class_scores(outputs)
            return scores, scores.softmax(-1)
        scale = self.preprocessing.target_scale
        return outputs if scale is None else scale.invert(outputs.double()).to(outputs.dtype)


def export_network(directory: Path, suffix: str, average: str | None = None) -> bytes:
    """The content of a file for other programs.

    suffix: ``.onnx`` or ``.pt2`` (`torch.export`). average: `ema` or `swa` for those weights.
    Raises UsageError for other formats, for missing packages, and for networks that the format
    cannot express.
    """
    module = restore_model(directory, average)  # first: it says where there is no run
    preprocessing = load_preprocessing(directory)
    shape = _input_shape(directory, module)
    module.preprocessing = None  # type: ignore[assignment]  # no part of the graph
    network = ExportedNetwork(module, preprocessing).eval()
    stored = preprocessing.inputs
    is_byte = stored.kind == "pictures" or (isinstance(stored, ArrayInputs) and stored.is_byte)
    example = torch.zeros(EXAMPLES, *shape, dtype=torch.uint8 if is_byte else torch.float32)
    try:
        with _quietly():
            return _EXPORTERS[suffix](network, example)
    except (RuntimeError, TypeError, ValueError, torch.onnx.OnnxExporterError) as error:
        if is_shortage(error):
            raise
        cause: BaseException = error
        while cause.__cause__ is not None:  # the exporter of ONNX wraps what went wrong
            cause = cause.__cause__
        reason = str(cause).strip().splitlines()[0]
        raise UsageError(f"{directory}: this network cannot be exported: {reason}") from error


def _input_shape(directory: Path, module: nn.Module) -> list[int]:
    from regrun.store.reading import load_stored_run

    model = load_stored_run(directory).result.model
    assert model is not None, "restore_model has checked it"
    return model.input_shape


def _as_pt2(network: ExportedNetwork, example: Tensor) -> bytes:
    from torch.export import Dim, export, save

    program = export(network, (example,), dynamic_shapes=({0: Dim("examples")},))
    buffer = io.BytesIO()
    save(program, buffer, extra_files={METADATA: json_line(network.preprocessing).decode()})
    return buffer.getvalue()


def _as_onnx(network: ExportedNetwork, example: Tensor) -> bytes:
    try:
        import onnx
        import onnxscript  # noqa: F401 - what torch.onnx needs
    except ImportError as error:
        raise UsageError(f"{error}; install what ONNX needs: pip install 'regrun[onnx]'") from error
    from torch.export import Dim

    names = ["scores", "probabilities"] if network.preprocessing.classes else ["predictions"]
    program = torch.onnx.export(
        network,
        (example,),
        input_names=["inputs"],
        output_names=names,
        dynamic_shapes=({0: Dim("examples")},),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    document = json.loads(json_line(network.preprocessing))
    onnx.helper.set_model_props(model, {METADATA: json.dumps(document)})
    return bytes(model.SerializeToString())


_EXPORTERS = {".pt2": _as_pt2, ".onnx": _as_onnx}

FORMATS = tuple(_EXPORTERS)
"""Extensions of the files that a network can become."""


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep the exporters' remarks and listings of graphs from the terminal."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
