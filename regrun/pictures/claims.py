"""Published claims against what our runs found."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from regrun.numbers import interval
from regrun.pictures.base import Picture
from regrun.pictures.scales import fix_ticks
from regrun.pictures.sheet import Sheet, wrapped
from regrun.pictures.style import SIZES, Look, plain, tick_text
from regrun.pictures.subject import Subject
from regrun.results import Estimate, Judgement, ReproductionResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW = 0.95
"""Inches of a claim."""


class Claims(Picture):
    """An axis per claim: the published range, and our mean with its interval."""

    name = "claims"
    summary = "the claims of a reproduction: published ranges and our intervals"

    def problem(self, subject: Subject) -> str | None:
        if subject.reproduction is None:
            return "it needs a reproduction"
        if not subject.reproduction.claims:
            return "the reproduction has no claims"
        return None

    def draw(self, subject: Subject, look: Look) -> Sheet:
        found = subject.reproduction
        assert found is not None
        notes = [
            "Shaded: what agrees with the publication. Points: our means with 95% intervals.",
            f"{found.source}. Ours: {found.budget}.",
        ]
        count = len(found.claims)
        sheet = Sheet(look, title_of(found), notes, height=0.2 + ROW * count)
        every = sheet.figure.subplots(count, 1, squeeze=False)[:, 0]
        for axes, claim in zip(every, found.claims, strict=True):
            _draw_claim(sheet, axes, claim, look)
        return sheet


def title_of(found: ReproductionResult) -> str:
    """``Dropout in an MLP: 3 of 4 claims agree, 1 differs``."""
    judged = [claim.verdict for claim in found.claims if claim.verdict is not None]
    agree, differ = judged.count("agrees"), judged.count("differs")
    parts = [f"{agree} of {len(judged)} claims agree{'s' if agree == 1 else ''}"]
    parts += [f"{differ} differ{'s' if differ == 1 else ''}"] if differ else []
    open_ = len(judged) - agree - differ
    parts += [f"{open_} not distinguishable at this budget"] if open_ else []
    return f"{found.title}: {', '.join(parts)}"


def _draw_claim(sheet: Sheet, axes: Axes, claim: Judgement, look: Look) -> None:
    colours = {"agrees": look.splits["val"], "differs": look.splits["test"]}
    colour = colours.get(claim.verdict or "", look.soft)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    fix_ticks(axes.yaxis, [], [])
    axes.set_ylim(-1, 1)
    words = wrapped(sheet, plain(claim.claim, 200), SIZES["text"], sheet.width - 3.4)
    axes.set_title("\n".join(words), loc="left", fontsize=SIZES["text"], pad=4)
    verdict = claim.verdict or "not judged"
    axes.set_title(verdict, loc="right", fontsize=SIZES["text"], color=colour, pad=4)
    if not isinstance(claim.ours, Estimate):
        text = claim.ours or "not measured"
        published = f"published: {claim.published}" if claim.published else ""
        axes.text(0, 0, plain(f"{text}   {published}", 120), transform=axes.get_yaxis_transform())
        axes.spines["bottom"].set_visible(False)
        fix_ticks(axes.xaxis, [], [])
        return
    _scale(axes, claim, claim.ours, look)
    ours = claim.ours
    low = ours.mean if ours.low is None else ours.low
    high = ours.mean if ours.high is None else ours.high
    axes.plot([low, high], [0, 0], color=colour, linewidth=2.2)
    axes.plot([ours.mean], [0], marker="o", markersize=7, color=colour, label=claim.claim)
    axes.text(
        1.02,
        0,
        interval(ours),
        transform=axes.get_yaxis_transform(),
        va="center",
        fontsize=SIZES["tick"],
    )


def _scale(axes: Axes, claim: Judgement, ours: Estimate, look: Look) -> None:
    """An axis that holds our interval and the ends of the published range, which is shaded."""
    from matplotlib.ticker import MaxNLocator

    ends = [end for end in claim.agreeing or () if end is not None]
    held = [
        n for n in (ours.low, ours.mean, ours.high, *ends) if n is not None and math.isfinite(n)
    ]
    low, high = min(held), max(held)
    room = 0.12 * (high - low) or 0.1 * abs(high) or 1.0
    axes.set_xlim(low - room, high + room)
    if claim.agreeing is not None:
        start, end = claim.agreeing
        left = low - room if start is None else start
        right = high + room if end is None else end
        axes.axvspan(left, right, color=look.shade, linewidth=0, zorder=0)
        for edge in ends:
            axes.axvline(edge, color=look.soft, linewidth=0.8, linestyle=":")
    found = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(low - room, high + room)
    ticks = [round(float(tick), 12) for tick in found if low - room <= tick <= high + room]
    fix_ticks(axes.xaxis, ticks, [tick_text(tick) for tick in ticks])
