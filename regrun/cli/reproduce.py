"""`regrun reproduce`: a published result, trained again and judged; and what `list` says of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from regrun.cli import options as opt
from regrun.cli.completion import complete_reproduction
from regrun.cli.console import check, documenting, say, show, verbatim
from regrun.cli.format import NOTHING, interval, name_table, table
from regrun.cli.left_pictures import leave_picture_of
from regrun.cli.progress import watching
from regrun.cli.request import Request
from regrun.errors import UsageError
from regrun.results import Estimate, ReproductionResult
from regrun.settings import format_value
from regrun.store.atomic import probe_writable
from regrun.store.study import ReproductionStudy, read_study
from regrun.studies.reproductions.claims import Reproduction, judge
from regrun.studies.reproductions.registry import REPRODUCTIONS, find


def reproduce(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="One of `regrun list reproductions`.",
            autocompletion=complete_reproduction,
        ),
    ],
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds",
            metavar="N",
            min=1,
            help="Judge by this many seeds; default: the reproduction's own.",
        ),
    ] = None,
    runs_dir: opt.RunsDir = opt.RUNS,
    device: opt.SweepDevice = "auto",
    threads: opt.Threads = None,
    executor: opt.Executor = "local",
    ray_address: opt.RayAddress = None,
    ray_gpus: opt.RayGpus = None,
    ray_resources: opt.RayResources = None,
    plugins: opt.Plugins = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
    allow_large: opt.AllowLarge = False,
) -> None:
    """Train a published experiment again: published values, ours, and whether they agree."""
    ray = opt.on_ray(executor, ray_address, ray_gpus, ray_resources)
    reproduction = find(name)
    probe_writable(runs_dir)
    with documenting(as_json=as_json), watching(quiet=quiet) as observer:
        from regrun.studies.reproductions.run import reproduce as run_reproduction
        from regrun.sweeps.run import Options

        result = run_reproduction(
            name,
            reproduction,
            runs_dir=runs_dir,
            seeds=seeds,
            options=Options(device, allow_large=allow_large, threads=threads, ray=ray),
            observer=observer,
        )
    _show(result, as_json=as_json)


def carry_on(directory: Path, study: ReproductionStudy, request: Request) -> None:
    """`regrun resume` of a reproduction: what the undisturbed one prints."""
    request.refuse_replicates(directory, "a reproduction")
    if request.overrides:
        raise UsageError(f"{directory} is a reproduction, whose settings are its own")
    reproduction = find(study.name)
    with documenting(as_json=request.as_json), watching(quiet=request.quiet) as observer:
        from regrun.studies.reproductions.run import resume_reproduction

        result = resume_reproduction(
            directory,
            study,
            reproduction,
            device=request.device,
            threads=request.threads,
            observer=observer,
            ray=request.ray,
        )
    _show(result, as_json=request.as_json)


def _show(result: ReproductionResult, *, as_json: bool) -> None:
    """Print the claims and draw them; exit code 3 when some runs diverged or failed."""
    show(result, _report, as_json=as_json)
    directory = Path(result.runs_in[-1]).parent if result.runs_in else None
    if directory is not None and isinstance(read_study(directory), ReproductionStudy):
        said = leave_picture_of(directory)
        if not as_json:
            say(*said)
    check(result)


_COLOURS = {"agrees": "green", "differs": "red"}


def _report(result: ReproductionResult) -> list[RenderableType]:
    claims = [
        (claim.claim, claim.published, ours_text(claim.ours), _verdict(claim.verdict))
        for claim in result.claims
    ]
    facts = {
        "source": result.source,
        "budget": result.budget,
        "published": result.published_budget,
        "note": result.remark,
    }
    return [
        Text(result.title, "bold"),
        table(("claim", "published", "ours", "verdict"), claims, right=("ours",)),
        Text.assemble("overall    ", _verdict(result.verdict)),
        *(f"{name:<10} {text}" for name, text in facts.items() if text),
        *(f"chosen     {line}" for line in chosen_lines(result)),
        *(verbatim(f"runs       {directory}") for directory in result.runs_in),
        *([verbatim(f"next       regrun compare {result.runs_in[-1]}")] if result.runs else []),
    ]


def ours_text(ours: Estimate | str | None) -> str:
    """``13.4 ± 0.3 (20 seeds)``."""
    if ours is None or isinstance(ours, str):
        return ours or NOTHING
    return f"{interval(ours)} ({ours.n} seed{'s' if ours.n > 1 else ''})"


def _verdict(verdict: str | None) -> Text:
    return Text(verdict or "not judged", _COLOURS.get(verdict or "", ""))


def chosen_lines(result: ReproductionResult) -> list[str]:
    """What validation chose for the methods that were tuned, and what of it is at an edge."""
    lines = []
    for method in result.methods:
        if method.tuned:
            chosen = (f"{key}={format_value(setting)}" for key, setting in method.tuned.items())
            edge = ", ".join(method.at_edge)
            noted = f"; at the edge of what was tried: {edge}" if edge else ""
            lines.append(f"{method.name}: {', '.join(chosen)}{noted}")
    return lines


def _entry(name: str, reproduction: Reproduction) -> dict[str, Any]:
    return {
        "name": name,
        "description": reproduction.title,
        "source": reproduction.reference,
        "takes": reproduction.takes,
    }


def listing() -> list[dict[str, Any]]:
    """All reproductions, for `list`."""
    return [_entry(name, each) for name, each in REPRODUCTIONS.items()]


def listing_table(listed: Sequence[dict[str, Any]]) -> Table:
    """The `listing`, for people."""
    named = name_table((tuple(each.values()) for each in listed), "reproductions")
    named.columns[0].no_wrap = True
    return named


def described(name: str) -> dict[str, Any]:
    """One reproduction with its claims. Raises UsageError for an unknown name."""
    found = find(name)
    claims = [
        {"claim": each.claim, "published": each.published, "judged": each.verdict is not None}
        for each in judge(found.claims, {})
    ]
    return {
        **_entry(name, found),
        "budget": found.budget,
        "published_budget": found.published_budget,
        "remark": found.remark,
        "claims": claims,
    }


def details(described: dict[str, Any]) -> list[RenderableType]:
    """The description of one, for people."""
    keys = ("source", "takes", "budget", "published_budget", "remark")
    claims = [
        (claim["claim"], claim["published"], "" if claim["judged"] else "not judged")
        for claim in described["claims"]
    ]
    return [
        Text(described["name"], "bold"),
        described["description"],
        *(f"{key.replace('_', ' ')}: {described[key]}" for key in keys if described[key]),
        "",
        table(("claim", "published", ""), claims),
        f"\nTo run it: regrun reproduce {described['name']}",
    ]
