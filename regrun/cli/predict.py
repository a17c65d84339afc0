"""`regrun predict`: predictions of a trained network for new data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

from regrun.cli.console import notify, print_csv, print_json, say
from regrun.cli.format import NOTHING, number, table
from regrun.cli.options import Csv, Device, Json, Plugins, RunDirectory
from regrun.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from regrun.results import Scores

SHOWN_ROWS, SHOWN_COLUMNS = 20, 12


def predict(
    directory: RunDirectory,
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA...",
            help="Files like those of training: a table, arrays, pictures or a folder of them.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="FILE", help="Write all predictions: .csv, .parquet or .json."
        ),
    ] = None,
    average: Annotated[
        str | None,
        typer.Option("--average", metavar="ema|swa", help="Use these averaged weights."),
    ] = None,
    device: Device = "auto",
    plugins: Plugins = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Predict new data by a run, or by the seeds of a sweep's best cell, and score them."""
    if as_json and as_csv:
        raise UsageError("--json and --csv: give one of them")
    if average not in (None, "ema", "swa"):
        raise UsageError(f"--average {average}: neither ema nor swa")
    write = _writer(output) if output is not None else None
    import warnings

    from regrun.sweeps.ensemble import load_predictor

    predictor = load_predictor(directory, average, device)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = predictor.run(data[0] if len(data) == 1 else data)
    for note in [*predictor.notes, *(str(each.message) for each in caught)]:
        notify(f"note: {note}")
    frame = predictor.table(found)
    scores = None if found.examples.targets is None else predictor.scores(found)
    if output is not None and write is not None:
        from regrun.store.atomic import write_atomic

        write_atomic(output, write(frame))
    if as_json:
        print_json(_document(frame, scores, output))
    elif as_csv:
        print_csv([list(frame.columns), *frame.itertuples(index=False)])
    else:
        say(*_report(frame, scores, output))


def _writer(output: Path) -> Callable[[pd.DataFrame], bytes]:
    """What turns a table into the content of a file of this name."""
    writers: Mapping[str, Callable[[pd.DataFrame], Any]] = {
        ".csv": lambda frame: frame.to_csv(index=False).encode(),
        ".parquet": lambda frame: frame.to_parquet(index=False),
        ".json": lambda frame: frame.to_json(orient="records", force_ascii=False).encode(),
    }
    if output.suffix.lower() not in writers:
        raise UsageError(f"--output {output}: write .csv, .parquet or .json")
    return writers[output.suffix.lower()]


def _document(frame: pd.DataFrame, scores: Scores | None, output: Path | None) -> dict[str, Any]:
    document: dict[str, Any] = {
        "examples": len(frame),
        "metrics": {} if scores is None else scores.metrics,
    }
    if output is None:
        document["predictions"] = frame.to_dict(orient="records")
    else:
        document["output"] = str(output)
    return document


def _report(
    frame: pd.DataFrame, scores: Scores | None, output: Path | None
) -> list[RenderableType]:
    """The first rows, without the columns in the middle where there are too many."""
    columns = list(frame.columns)
    at = columns.index(next(each for each in columns if str(each).startswith("prediction")))
    shown = [*columns[: min(at, SHOWN_COLUMNS // 2)], *columns[at:]][:SHOWN_COLUMNS]
    rows = [[_cell(value) for value in row] for row in frame[shown].head(SHOWN_ROWS).values]
    numeric = [str(each) for each in shown if frame[each].dtype.kind in "fiu"]
    parts: list[RenderableType] = [table([str(each) for each in shown], rows, right=numeric)]
    if len(frame) > SHOWN_ROWS or len(shown) < len(columns):
        parts.append(
            f"the first {min(SHOWN_ROWS, len(frame))} of {len(frame):,} rows, "
            f"{len(shown)} of {len(columns):,} columns"
        )
    if scores is not None:
        values = "   ".join(f"{name} {number(value)}" for name, value in scores.metrics.items())
        parts.append(f"scores     {values}   over {scores.examples:,} examples")
    if output is not None:
        parts.append(f"output     {output}")
    return parts


def _cell(value: Any) -> str:
    import pandas as pd

    if pd.isna(value):
        return NOTHING
    return number(value) if isinstance(value, float) else str(value)
