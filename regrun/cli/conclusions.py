"""Sentences under a table of cells: what its intervals cover, and which cell is best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from regrun.analysis.best import Contenders
from regrun.analysis.cells import ON_TEST_EXAMPLES, Cell
from regrun.analysis.sweeps import comparable, contenders, losses_apart, settling
from regrun.metrics import Metric, scale_of
from regrun.settings import format_value, short_keys

_MOST_NAMED = 5


def caption(cells: Sequence[Cell], shown: Sequence[str]) -> list[str]:
    """What is averaged over what, and what the intervals do not cover.

    shown: the metrics of the table. Empty where every cell has one run.
    """
    card = next((cell.card for cell in cells if cell.card is not None), None)
    fullest = max(cells, key=lambda cell: cell.seeds, default=None)
    if fullest is None or fullest.seeds < 2:
        return []
    logarithmic = any(scale_of(name) == "log" for name in shown)
    averages = "means"
    if logarithmic and all(cell.scale_choice == "auto" for cell in cells):
        averages = "geometric means of losses and norms, else means"
    lines = [f"{averages}; 95% intervals over {repeats(cells)}"]
    if any(cell.overlap(name) for cell in cells for name in shown):
        lines.append(
            "the intervals are wider because the splits share examples (Nadeau & Bengio 2003)"
        )
    lines += _about_test_examples(cells, shown)
    if card is None or not card.drawn:
        return lines
    if not _varies(fullest)[1] and not card.generated:
        lines.append("all on one split of the data: another split may give another order")
    elif not _varies(fullest)[1]:
        lines.append("all on one draw of the data: another draw may give another order")
    return lines


def _about_test_examples(cells: Sequence[Cell], shown: Sequence[str]) -> list[str]:
    """Whether the intervals of results on the test set cover another test set."""
    on_test = [name for name in ON_TEST_EXAMPLES if name in shown]
    cell = next((cell for cell in cells if cell.card is not None), None)
    if not on_test or cell is None or cell.card is None or "test" not in cell.card.sizes:
        return []
    examples = cell.card.sizes["test"]
    if all(each.test_examples(on_test[0]) is not None for each in cells):
        return [f"intervals on the test set cover another one of {examples:,} examples, too"]
    if "test" in cell.card.drawn:
        return []
    accuracy = cell.interval("test/accuracy")
    change = "losses"
    if accuracy is not None:
        from regrun.analysis.test_sets import binomial_error

        change = f"accuracies by about ±{2 * binomial_error(accuracy.mean, examples):.1g}"
    return [
        f"all runs share the {examples:,} test examples; others would change {change} "
        "(training.test_examples: true lets the intervals cover that)"
    ]


def repeats(cells: Sequence[Cell]) -> str:
    """What the values of a cell repeat: ``5 seeds, each with a split of its own``."""
    fullest = max(cells, key=lambda cell: cell.seeds)
    if all(_varies(fullest)):
        generated = fullest.card is not None and fullest.card.generated
        return (
            f"{_count(fullest)}, each with its own {'draw of the data' if generated else 'split'}"
        )
    return _count(fullest)


@dataclass(frozen=True)
class Standing:
    """The cells that are compared with the best of them, and how that ended."""

    compared: Sequence[Cell]
    apart: Sequence[str]
    """The keys in which they differ so that their losses are of different things."""
    found: Contenders | None
    """None where nothing is compared."""

    @property
    def alike(self) -> list[Cell]:
        """The best cell, then those that a test cannot distinguish from it."""
        if self.found is None:
            return []
        alike = [self.compared[index] for index in self.found.alike]
        return alike if any(p is not None for p in self.found.p) else alike[:1]


def standing_of(cells: Sequence[Cell], metric: Metric) -> Standing:
    """Compare the cells with the best of them, where they can be compared."""
    compared = comparable(cells, metric)
    apart = losses_apart(compared, metric)
    nothing = len(compared) < 2 or bool(apart)
    return Standing(compared, apart, None if nothing else contenders(compared, metric))


def conclusions(
    cells: Sequence[Cell],
    metric: Metric,
    *,
    confirmed: bool = False,
    standing: Standing | None = None,
) -> list[str]:
    """What may be said about which cell is best, and no more.

    confirmed: on fresh replicates. standing: of these cells, where it is known.
    """
    name = metric.name
    standing = standing or standing_of(cells, metric)
    compared = standing.compared
    left_out = _left_out([cell for cell in cells if cell.lost and cell not in compared])
    if len(compared) < 2:
        return left_out
    word = "lowest" if metric.direction == "minimize" else "highest"
    found = standing.found
    if found is None:
        apart = " and ".join(standing.apart)
        return [f"{name} means something else for each {apart}: none is the {word}"]
    alike = [compared[index] for index in found.alike]
    best, others = alike[0], alike[1:]
    flatters = " (chosen by the test set, which flatters it)" if metric.split == "test" else ""
    sentences = [f"{word} {name}: {name_of(best)}{flatters}"]
    if len(best.values(name)) < 2:
        sentences.append("one seed cannot distinguish a difference from chance")
        sentences += _two_networks(compared)
    elif all(p is None for p in found.p):
        sentences.append(
            f"nothing varies between the {_count(best)}, so they cannot say whether the "
            "difference is chance"
        )
    elif others:
        sentences.append(f"not distinguishable from it with {_count(best)}: {_listed(others)}")
        sentences += _what_would_settle(best, others, metric)
    else:
        among = "" if len(compared) == len(cells) else f" with a {name}"
        if any(cell.is_out for cell in cells):
            among = " that was left"
        sentences.append(
            f"better than every other row{among} (rotation test, 5% for all statements together)"
        )
    out = sum(cell.is_out for cell in cells)
    if len(compared) + out > 2 and not confirmed and any(p is not None for p in found.p):
        sentences.append(
            f"its value is flattered by the choice among {len(compared) + out:,}: "
            "regrun resume DIR --confirm 5 trains it again with fresh seeds"
        )
    if out:
        sentences.append(f"the race gave {out:,} of {len(cells):,} cells no more seeds: worse (5%)")
    sentences += left_out
    lost = best.seeds - len(best.values(name))
    if lost:
        sentences.append(f"{lost} of its {best.seeds} runs ended without a {name}")
    return sentences


def stopped_by_test(cells: Sequence[Cell]) -> list[str]:
    """That early stopping chose epochs by the test set, where it did."""
    summaries = [run.summary for cell in cells for run in cell.runs if run.summary is not None]
    metrics = Counter(each.early_stopping for each in summaries if each.early_stopping is not None)
    return [
        f"early stopping chose the epochs of {count:,} of {len(summaries):,} runs by {name}, which "
        "flatters the test set; dataset.validation holds out examples to choose by"
        for name, count in metrics.items()
        if Metric.from_name(name).split == "test"
    ]


def name_of(cell: Cell, names: Mapping[str, str] | None = None) -> str:
    """A cell by its settings; the only one by its directory. names: shorter ones of its keys."""
    settings = [
        f"{(names or {}).get(key, key)}={format_value(setting)}"
        for key, setting in cell.params.items()
    ]
    return " ".join(settings) or cell.runs[0].path.name


def _count(cell: Cell) -> str:
    """``5 seeds``, or what else its runs differ in."""
    seeds, data = _varies(cell)
    if seeds or not data:
        return f"{cell.seeds} seeds"
    generated = cell.card is not None and cell.card.generated
    return f"{cell.seeds} {'draws of the data' if generated else 'splits'}"


def _varies(cell: Cell) -> tuple[bool, bool]:
    """Whether the seed varies between the runs, and whether the data do."""
    seeds, data = zip(*cell.replicates, strict=True)
    return len(set(seeds)) > 1, len(set(data)) > 1


def _what_would_settle(best: Cell, others: Sequence[Cell], metric: Metric) -> list[str]:
    """With how many seeds the open comparisons would probably be settled."""
    needed = sorted(n for n in settling(best, others, metric) if n is not None)
    if not needed:
        return []
    steps = [needed[0], needed[len(needed) // 2], needed[-1]]
    counts = [(n, sum(each <= n for each in needed)) for n in dict.fromkeys(steps)]

    def settled(count: int) -> str:
        if count < len(others):
            return f"{count:,} of these {len(others):,}"
        return "all of them" if count > 1 else "it"

    said = ", ".join(f"{n} would settle {settled(count)}" for n, count in counts)
    return [
        f"at the differences seen, {said} (80% power): regrun resume DIR --seeds {counts[0][0]}"
    ]


def _two_networks(cells: Sequence[Cell]) -> list[str]:
    """How two single networks differ on their test examples, where these were stored."""
    if len(cells) != 2 or any(len(cell.values("test/accuracy")) != 1 for cell in cells):
        return []
    first, second = (cell.test_examples("test/accuracy") for cell in cells)
    if first is None or second is None or first.shape != second.shape:
        return []
    from regrun.analysis.test_sets import mcnemar

    found = mcnemar(first[0].astype(bool), second[0].astype(bool))
    return [
        f"of {first.shape[1]:,} test examples {name_of(cells[0])} alone is right on "
        f"{found.only_a:,}, {name_of(cells[1])} alone on {found.only_b:,} (McNemar's exact test: "
        f"p = {found.p:.2g}): that is about these two networks, not about the methods"
    ]


def _left_out(cells: Sequence[Cell]) -> list[str]:
    """That these cells are not compared, and why."""
    if not cells:
        return []
    runs = sum(cell.lost for cell in cells)
    return [f"not compared, since {runs:,} of their runs diverged or failed: {_listed(cells)}"]


def _listed(cells: Sequence[Cell]) -> str:
    more = f" and {len(cells) - _MOST_NAMED:,} more" if len(cells) > _MOST_NAMED else ""
    names = short_keys(key for cell in cells for key in cell.params)
    return ", ".join(name_of(cell, names) for cell in cells[:_MOST_NAMED]) + more
