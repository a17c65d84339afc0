"""`regrun predict`: predictions of a trained network for new data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

from regrun.cli.columns import Column, side_by_side, width_of
from regrun.cli.console import note, print_csv, print_json, say
from regrun.cli.console import output as output_console
from regrun.cli.format import NOTHING, number
from regrun.cli.options import Csv, Device, Json, Plugins, RunDirectory
from regrun.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from regrun.results import Scores

SHOWN_ROWS, SHOWN_COLUMNS, LONGEST_CELL = 20, 12, 24


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
    for text in [*predictor.notes, *(str(each.message) for each in caught)]:
        note(f"note: {text}")
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
    """The first rows, without the columns in the middle where there is no room."""
    width = output_console().width
    columns = _columns(frame)
    if width_of(columns) > width:
        columns = _columns(frame, LONGEST_CELL)
    while len(columns) > SHOWN_COLUMNS or width_of(columns) > width:
        least = max(columns, key=lambda column: column.rank)
        if not least.rank:
            break
        columns.remove(least)
    parts: list[RenderableType] = [side_by_side(columns, width)]
    if len(frame) > SHOWN_ROWS or len(columns) < frame.shape[1]:
        parts.append(
            f"the first {min(SHOWN_ROWS, len(frame))} of {len(frame):,} rows, "
            f"{len(columns)} of {frame.shape[1]:,} columns"
        )
    if scores is not None:
        values = "   ".join(f"{name} {number(value)}" for name, value in scores.metrics.items())
        parts.append(f"scores     {values}   over {scores.examples:,} examples")
    if output is not None:
        parts.append(f"output     {output}")
    return parts


def _columns(frame: pd.DataFrame, longest: int | None = None) -> list[Column]:
    """The first rows. longest: characters of a cell; longer texts lose their middle."""
    first = frame.head(SHOWN_ROWS)
    return [
        Column(
            str(name),
            [_cell(value, longest) for value in first.iloc[:, at]],
            rank=rank,
            is_numeric=first.iloc[:, at].dtype.kind in "fiu",
        )
        for at, (name, rank) in enumerate(zip(frame.columns, _ranks(frame), strict=True))
    ]


def _ranks(frame: pd.DataFrame) -> list[int]:
    """Predictions stay; of other columns the last are left out first, inputs before classes."""
    names = [str(name) for name in frame.columns]
    stays = [name.startswith("prediction") or name == "spread" for name in names]
    start = stays.index(True)
    return [0 if stay else at + 1 + len(names) * (at < start) for at, stay in enumerate(stays)]


def _cell(value: Any, longest: int | None) -> str:
    import pandas as pd

    if pd.isna(value):
        return NOTHING
    text = number(value) if isinstance(value, float) else str(value)
    if longest is None or len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[: longest - half - 1]}…{text[-half:]}"
