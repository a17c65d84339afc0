"""TensorBoard event records of histograms, for its tabs Histograms and Distributions."""

from __future__ import annotations

from regrun.histograms import Histogram, Histograms
from regrun.store.curve_events import record

TAG = "parameters/{}"


def histogram_record(histograms: Histograms, wall_time: float) -> bytes:
    """One record with the histogram of every parameter that has a finite entry, or none."""
    from tensorboardX.proto import event_pb2, summary_pb2

    values = [
        summary_pb2.Summary.Value(tag=TAG.format(name), histo=_message(each))
        for name, each in histograms.parameters.items()
        if each.low is not None
    ]
    summary = summary_pb2.Summary(value=values)
    return record(event_pb2.Event(wall_time=wall_time, step=histograms.step, summary=summary))


def _message(histogram: Histogram) -> object:
    """Readers take the first bin to begin at `min`, and each other one at the limit before it.

    A single value is a bin without a width, as `tf.summary.histogram` has it.
    """
    from tensorboardX.proto.summary_pb2 import HistogramProto

    edges, counts, count = histogram.edges.tolist(), histogram.counts, sum(histogram.counts)
    if histogram.low == histogram.high:
        edges, counts = [histogram.low, histogram.low], [count]
    mean, std = histogram.mean or 0.0, histogram.std or 0.0
    return HistogramProto(
        min=edges[0],
        max=edges[-1],
        num=count,
        sum=mean * count,
        sum_squares=(std**2 + mean**2) * count,
        bucket_limit=edges[1:],
        bucket=counts,
    )
