"""Claims and their verdicts, the reproductions that are shipped, and `regrun reproduce`."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regrun.analysis.cells import Cell
from regrun.analysis.sweeps import SweptRun
from regrun.config.load import config_from_mapping, load_config
from regrun.errors import UsageError
from regrun.results import (
    BestStrength,
    Estimate,
    Judgement,
    MethodSummary,
    PathResult,
    ReproductionResult,
    RunSummary,
    Verdict,
)
from regrun.store.run_dir import RunDir
from regrun.studies.reproductions.claims import (
    AGREES,
    DIFFERS,
    UNDECIDED,
    Bound,
    Claim,
    LassoPath,
    Method,
    Numbers,
    Of,
    OptimumSlope,
    Order,
    Ranking,
    Ratio,
    Reported,
    Reproduction,
    Trained,
    Value,
    judge,
    overall,
)
from regrun.studies.reproductions.registry import REPRODUCTIONS, find
from regrun.studies.reproductions.run import (
    best_on_validation,
    log_minimum,
    optimum_slopes,
    path_metrics,
    reproduce,
    shipped_config,
)
from regrun.sweeps.run import Options
from tests.support.program import Program, invoke

A, B = Of("a", "x"), Of("b", "x")
MSE_IS_FASTER = (
    "λ = 0: train loss with half_mse over that with mse, whose gradient is twice as large"
)
NEAR = [0.99, 1.0, 1.01]
"""Mean 1; the interval is 1 ± 0.0248."""


def measured(**methods: list[float]) -> dict[str, dict[str, dict[int, float]]]:
    return {name: {"x": dict(enumerate(values))} for name, values in methods.items()}


def verdict(claim: Any, **methods: list[float]) -> str | None:
    return judge([claim], measured(**methods))[0].verdict


class TestValue:
    def test_it_agrees_when_mean_and_interval_fit_the_tolerance(self) -> None:
        assert verdict(Value("", A, 1.02, 0.1), a=NEAR) == AGREES

    def test_it_differs_when_the_interval_misses_the_tolerance(self) -> None:
        assert verdict(Value("", A, 1.2, 0.1), a=NEAR) == DIFFERS
        assert verdict(Value("", A, 0.8, 0.1), a=NEAR) == DIFFERS

    def test_an_interval_wider_than_the_tolerance_proves_nothing(self) -> None:
        assert verdict(Value("", A, 1.0, 0.01), a=NEAR) == UNDECIDED

    def test_a_mean_outside_whose_interval_reaches_in_is_undecided(self) -> None:
        assert verdict(Value("", A, 1.11, 0.1), a=NEAR) == UNDECIDED

    def test_one_run_proves_nothing(self) -> None:
        assert verdict(Value("", A, 1.0, 0.1), a=[1.0]) == UNDECIDED
        assert verdict(Value("", A, 1.0, 0.1), a=[5.0]) == UNDECIDED


class TestBound:
    def test_all_of_the_interval_must_lie_inside(self) -> None:
        assert verdict(Bound("", A, below=1.1), a=NEAR) == AGREES
        assert verdict(Bound("", A, below=1.02), a=NEAR) == UNDECIDED
        assert verdict(Bound("", A, below=0.9), a=NEAR) == DIFFERS
        assert verdict(Bound("", A, above=0.9), a=NEAR) == AGREES
        assert verdict(Bound("", A, above=1.1), a=NEAR) == DIFFERS

    def test_one_run_proves_nothing(self) -> None:
        assert verdict(Bound("", A, below=2), a=[1.0]) == UNDECIDED


class TestRatio:
    def test_it_is_the_geometric_mean_over_shared_seeds(self) -> None:
        values = measured(a=[10.0, 40.0, 7.0], b=[1.0, 1.0])
        ours = Ratio("", A, B, above=2).judge(values).ours
        assert ours is not None
        assert not isinstance(ours, str)
        assert ours.mean == pytest.approx(20)
        assert ours.n == 2

    def test_it_agrees_when_its_interval_lies_in_the_range(self) -> None:
        values = {"a": [100.0, 110.0, 105.0], "b": [1.0, 1.0, 1.0]}
        assert verdict(Ratio("", A, B, above=50), **values) == AGREES
        assert verdict(Ratio("", A, B, above=200), **values) == DIFFERS
        assert verdict(Ratio("", A, B, above=104), **values) == UNDECIDED

    def test_equal_values_agree_with_a_ratio_of_one(self) -> None:
        claim = Ratio("", A, B, above=1 - 1e-5, below=1 + 1e-5)
        assert verdict(claim, a=NEAR, b=NEAR) == AGREES
        assert verdict(claim, a=NEAR, b=[x * 1.001 for x in NEAR]) == DIFFERS

    def test_values_that_are_not_above_0_do_not_count(self) -> None:
        assert verdict(Ratio("", A, B, above=1), a=[0.0, 2.0], b=[1.0, 1.0]) == UNDECIDED


class TestOrder:
    def test_it_is_paired_on_seeds(self) -> None:
        apart = {"a": [1.0, 5.0, 9.0, 13.0], "b": [1.11, 5.09, 9.1, 13.1]}
        assert verdict(Order("", A, B), **apart) == AGREES
        assert verdict(Order("", B, A), **apart) == DIFFERS

    def test_a_difference_within_chance_is_undecided(self) -> None:
        assert verdict(Order("", A, B), a=[1.0, 2.0, 3.0], b=[2.0, 1.5, 3.1]) == UNDECIDED

    @pytest.mark.parametrize("values", [{"a": [0.0], "b": [1.0]}, {"a": [0.0, 0.0]}, {}])
    def test_without_two_shared_seeds_nothing_is_decided(self, values: dict[str, Any]) -> None:
        assert verdict(Order("", A, B), **values) == UNDECIDED

    def test_many_orders_are_corrected_together(self) -> None:
        # Differences 1, 1, 2, 3: t = 3.656 with 3 degrees of freedom, p = 0.0354.
        values = {"a": [0.0] * 4, "b": [1.0, 1.0, 2.0, 3.0], "c": [0.1, -0.1, 0.2, -0.15]}
        alone = judge([Order("", A, B)], measured(**values))
        both = judge([Order("", A, B), Order("", A, Of("c", "x"))], measured(**values))
        assert alone[0].verdict == AGREES
        assert both[0].verdict == UNDECIDED

    def test_what_makes_no_difference_on_any_seed_differs_from_an_order(self) -> None:
        assert verdict(Order("", A, B), a=NEAR, b=NEAR) == DIFFERS
        assert verdict(Order("", A, B), a=[1.0, 1.0], b=[1.0, 1.0]) == UNDECIDED

    @given(st.lists(st.floats(-10, 10), min_size=2, max_size=8), st.data())
    def test_the_reverse_order_has_the_reverse_verdict(self, a: list[float], data: Any) -> None:
        b = data.draw(st.lists(st.floats(-10, 10), min_size=len(a), max_size=len(a)))
        reverse: dict[str | None, str] = {AGREES: DIFFERS, DIFFERS: AGREES, UNDECIDED: UNDECIDED}
        there, back = verdict(Order("", A, B), a=a, b=b), verdict(Order("", B, A), a=a, b=b)
        assert back == (there if a == b else reverse[there])


@given(st.floats(-100, 100), st.floats(-100, 100), st.floats(0.01, 50))
def test_one_seed_agrees_with_nothing_that_has_seeds(x: float, y: float, tolerance: float) -> None:
    values = (Value("", A, y, tolerance), Bound("", A, below=y))
    judged = judge([*values, Order("", A, B), Ratio("", A, B)], measured(a=[x], b=[y]))
    assert {each.verdict for each in judged} == {UNDECIDED}


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=6), st.floats(-5, 5), st.floats(0.1, 3))
def test_a_value_never_agrees_and_differs_at_wider_tolerance(
    values: list[float], published: float, tolerance: float
) -> None:
    narrow = verdict(Value("", A, published, tolerance), a=values)
    wide = verdict(Value("", A, published, 2 * tolerance), a=values)
    assert not (narrow == AGREES and wide != AGREES)
    assert not (wide == DIFFERS and narrow != DIFFERS)


def places(**where: float) -> Mapping[str, Mapping[str, Mapping[int, float]]]:
    return {"path": {f"place/{name}": {0: place} for name, place in where.items()}}


def test_a_ranking_agrees_only_in_exactly_that_order() -> None:
    claim = Ranking("", "path", "place", ("a", "b", "c"))
    assert claim.judge(places(a=1, b=2, c=3)).verdict == AGREES
    assert claim.judge(places(a=1, b=3, c=2)).verdict == DIFFERS
    assert claim.judge(places(a=1, b=2, c=2)).verdict == UNDECIDED
    assert claim.judge(places(a=1, b=2)).verdict == UNDECIDED


def test_numbers_agree_within_the_tolerance_of_every_one() -> None:
    claim = Numbers("", "path", "place", {"a": 1.0, "b": -2.0}, tolerance=0.01)
    assert claim.judge(places(a=1.009, b=-2.0)).verdict == AGREES
    assert claim.judge(places(a=1.0, b=-2.02)).verdict == DIFFERS
    assert claim.judge(places(a=1.0)).verdict == UNDECIDED


def judged(verdict: Verdict) -> Judgement:
    return Judgement(claim="", published="", ours=None, verdict=verdict)


def test_what_is_only_reported_is_not_judged() -> None:
    judgement = judge([Reported("", A, 1.62)], measured(a=[5.0, 6.0]))[0]
    assert judgement.verdict is None
    assert (
        overall([judgement, Judgement(claim="", published="", ours=None, verdict=AGREES)]) == AGREES
    )


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([AGREES, AGREES], AGREES),
        ([AGREES, UNDECIDED], UNDECIDED),
        ([AGREES, UNDECIDED, DIFFERS], DIFFERS),
        ([], UNDECIDED),
    ],
)
def test_the_overall_verdict_is_the_least_favourable(verdicts: list[Any], expected: str) -> None:
    assert (
        overall([Judgement(claim="", published="", ours=None, verdict=each) for each in verdicts])
        == expected
    )


def cell(params: Mapping[str, Any], *values: float | None, metric: str = "val/loss") -> Cell:
    return Cell(
        params,
        [
            SweptRun(
                RunDir(Path()),
                {**params, "seed": seed},
                RunSummary(
                    run_dir="",
                    status="completed",
                    metrics={} if value is None else {metric: value},
                ),
            )
            for seed, value in enumerate(values)
        ],
    )


def test_the_best_on_validation_is_of_lowest_mean_loss_and_highest_mean_accuracy() -> None:
    losses = [cell({"k": 1}, 1.0, 3.0), cell({"k": 2}, 1.5, 1.6)]
    assert best_on_validation(losses, "val/loss").params == {"k": 2}
    accuracies = [
        cell({"k": key}, *v, metric="val/accuracy") for key, v in ((1, (0.9, 0.8)), (2, (0.7, 0.9)))
    ]
    assert best_on_validation(accuracies, "val/accuracy").params == {"k": 1}


def test_a_setting_that_diverged_for_a_seed_is_not_chosen() -> None:
    cells = [cell({"k": 1}, 0.1, None), cell({"k": 2}, 9.0, 9.0)]
    assert best_on_validation(cells, "val/loss").params == {"k": 2}


@pytest.mark.parametrize(("power", "expected"), [(-1, 1.0), (0, 0.0), (0.5, 0.5)])
def test_the_slope_of_the_optimum_is_between_logarithms(power: float, expected: float) -> None:
    decays = [10.0 ** (k / 2) for k in range(-8, 9)]
    cells = [
        cell({"lr": lr, "decay": decay}, loss, loss + 1)
        for lr in (0.01, 0.1, 1.0, 10.0)
        for decay in decays
        for loss in [(math.log10(decay) - power * math.log10(lr)) ** 2]
    ]
    found = optimum_slopes(cells, OptimumSlope("s", "decay", "lr", "val/loss"))
    assert found == {0: pytest.approx(expected), 1: pytest.approx(expected)}


def test_where_settings_share_the_minimum_its_middle_counts() -> None:
    assert log_minimum({0.01: 2.0, 0.1: 1.0, 1.0: 1.0, 10.0: 3.0}) == pytest.approx(
        math.log(0.1**0.5)
    )


def test_a_path_gives_places_and_coefficients_at_shares_of_its_largest_strength() -> None:
    path = PathResult(
        path_dir="",
        strengths=[10.0, 5.0, 1.0],
        coefficients=[[0.0, 0.0, 0.0, 0.0], [0.0, 1.5, 0.5, 0.0], [2.0, 2.5, 0.0, 0.0]],
        intercepts=[0.0, 0.0, 0.0],
        nonzeros=[0, 2, 2],
        feature_names=["a", "b", "c", "d"],
        metrics={},
        best=BestStrength(strength=1.0, one_standard_error=5.0),
        converged=True,
    )
    assert path_metrics(path, (0.1, 0.3)) == {
        "place/b": 1,
        "place/c": 1,
        "place/a": 2,
        "0.1/a": 2.0,
        "0.1/b": 2.5,
        "0.1/c": 0,
        "0.1/d": 0,
    }


def test_candidates_are_the_product_of_what_is_tuned() -> None:
    method = Method("m", {"o": 1}, {"a": (1, 2), "b": (3, 4)})
    assert list(method.candidates()) == [
        {"o": 1, "a": 1, "b": 3},
        {"o": 1, "a": 1, "b": 4},
        {"o": 1, "a": 2, "b": 3},
        {"o": 1, "a": 2, "b": 4},
    ]
    assert list(Method("m").candidates()) == [{}]


@pytest.mark.parametrize("name", REPRODUCTIONS)
def test_every_config_of_the_table_loads_with_every_setting(name: str) -> None:
    for part in REPRODUCTIONS[name].parts:
        loaded = load_config(shipped_config(part.config))
        if isinstance(part, Trained):
            for method in part.methods:
                for settings in method.candidates():
                    loaded.member(settings)


def metrics_in(claim: Claim) -> list[Of]:
    match claim:
        case Order(lower=a, higher=b) | Ratio(a=a, b=b):
            return [a, b]
        case Value() | Bound() | Reported():
            return [claim.of]
        case _:
            return []


def methods_in(claim: Claim) -> list[str]:
    if isinstance(claim, Ranking | Numbers):
        return [claim.method]
    return [of.method for of in metrics_in(claim)]


@pytest.mark.parametrize("name", REPRODUCTIONS)
def test_every_claim_speaks_of_a_method_that_is_trained(name: str) -> None:
    reproduction = REPRODUCTIONS[name]
    methods = [
        method
        for part in reproduction.parts
        for method in (
            [part.method] if isinstance(part, LassoPath) else [each.name for each in part.methods]
        )
    ]
    assert len(set(methods)) == len(methods)
    spoken = {method for claim in reproduction.claims for method in methods_in(claim)}
    assert spoken <= set(methods)
    assert any(not isinstance(claim, Reported) for claim in reproduction.claims)


@pytest.mark.parametrize("name", REPRODUCTIONS)
def test_what_is_tuned_is_tuned_by_validation_with_as_many_settings_each(name: str) -> None:
    for part in REPRODUCTIONS[name].parts:
        if isinstance(part, Trained) and part.tuning_seeds:
            config = load_config(shipped_config(part.config)).config
            assert config.dataset.validation
            assert part.tuned_by.startswith("val/")
            assert len({len(list(method.candidates())) for method in part.methods}) == 1


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match='did you mean "weight_decay"'):
        find("weight_decai")
    with pytest.raises(UsageError, match="regrun list reproductions"):
        find("zzz")


def test_weight_decay_is_reproduced(tmp_path: Path) -> None:
    result = reproduce(
        "weight_decay",
        REPRODUCTIONS["weight_decay"],
        runs_dir=tmp_path,
        options=Options(device="cpu", workers=0),
    )
    assert result.verdict == AGREES
    assert [claim.verdict for claim in result.claims] == [AGREES] * 6
    assert (result.runs, result.completed) == (60, 60)
    assert Path(result.runs_in[0]).is_dir()


SABOTAGED: dict[str, tuple[str, dict[str, Any], dict[str, Any], set[str]]] = {
    "no decay": (
        "weight_decay",
        {"λ = 3": {"optimizer.weight_decay": 0}},
        {},
        {"λ = 3: ‖w‖₂", "test loss, λ = 0 over λ = 3"},
    ),
    "another strength": (
        "weight_decay",
        {"λ = 3": {"optimizer.weight_decay": 1.5}},
        {},
        {"λ = 3: ‖w‖₂", "test loss, λ = 0 over λ = 3"},
    ),
    "the other loss": ("weight_decay", {}, {"loss": "half_mse"}, {MSE_IS_FASTER}),
    "no penalty": (
        "weight_decay_from_scratch",
        {"λ = 3": {"penalty.strength": 0}},
        {},
        {
            "λ = 3: ‖w‖₂",
            "test loss, λ = 0 over λ = 3",
            "‖w‖₂, penalty over weight_decay: the same under SGD",
        },
    ),
    "the other loss, from scratch": (
        "weight_decay_from_scratch",
        {},
        {"loss": "mse"},
        {MSE_IS_FASTER},
    ),
}
"""Reproduction, overrides of its methods, overrides of its config, claims that then differ."""


@pytest.mark.parametrize("case", SABOTAGED)
def test_without_its_ingredient_weight_decay_is_not_reproduced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    name, overrides, keys, expected = SABOTAGED[case]
    (part,) = REPRODUCTIONS[name].parts
    assert isinstance(part, Trained)
    methods = tuple(
        replace(method, overrides={**method.overrides, **overrides.get(method.name, {})})
        for method in part.methods
    )
    sabotaged = replace(REPRODUCTIONS[name], parts=(replace(part, methods=methods),))
    config = config_from_mapping(shipped_config(part.config), keys)
    monkeypatch.setattr(
        "regrun.studies.reproductions.run.config_from_mapping",
        lambda given, *rest: config if isinstance(given, Path) else config_from_mapping(given),
    )
    options = Options(device="cpu", workers=0)
    result = reproduce(name, sabotaged, runs_dir=tmp_path, options=options, seeds=5)
    assert {claim.claim for claim in result.claims if claim.verdict == DIFFERS} == expected
    assert result.verdict == DIFFERS


TRAINED = [
    name
    for name, each in REPRODUCTIONS.items()
    if not any(isinstance(part, LassoPath) for part in each.parts)
]


@pytest.mark.parametrize("name", TRAINED)
def test_a_reproduction_differs_when_the_ingredient_that_it_is_about_does_nothing(
    name: str,
) -> None:
    """Every method measures what the others do, such as dropout of 0 and no dropout."""
    reproduction = REPRODUCTIONS[name]
    alike: dict[str, dict[str, dict[int, float]]] = defaultdict(dict)
    for claim in reproduction.claims:
        for of in metrics_in(claim):
            alike[of.method][of.metric] = {0: 1.0, 1: 1.1, 2: 1.3}
    judged = judge(reproduction.claims, alike)
    compared = [
        each.verdict
        for claim, each in zip(reproduction.claims, judged, strict=True)
        if isinstance(claim, Order) or (isinstance(claim, Ratio) and claim.above > 1)
    ]
    assert compared
    assert set(compared) == {DIFFERS}
    assert overall(judged) == DIFFERS


def test_another_path_is_not_the_reproduced_one() -> None:
    claims = REPRODUCTIONS["lasso_path_diabetes"].claims
    ranking, *numbers = claims
    assert isinstance(ranking, Ranking)
    measured: dict[str, dict[int, float]] = {
        f"place/{name}": {0: place} for place, name in enumerate(ranking.published)
    }
    for claim in numbers:
        assert isinstance(claim, Numbers)
        for name, value in claim.published.items():
            measured[f"{claim.prefix}/{name}"] = {0: value}
    assert overall(judge(claims, {ranking.method: measured})) == AGREES
    first, second = ranking.published[:2]
    swapped = measured | {
        f"place/{first}": measured[f"place/{second}"],
        f"place/{second}": measured[f"place/{first}"],
    }
    assert overall(judge(claims, {ranking.method: swapped})) == DIFFERS
    shrunk = measured | {"0.01/bmi": {0: measured["0.01/bmi"][0] * 0.999}}
    assert overall(judge(claims, {ranking.method: shrunk})) == DIFFERS


def test_the_strengths_in_the_names_of_methods_are_those_that_are_trained() -> None:
    for name in ("l1_mnist", "l2_mnist", "elastic_net_mnist"):
        for part in REPRODUCTIONS[name].parts:
            assert isinstance(part, Trained)
            for method in part.methods:
                *_, last = method.name.split()
                strength = 0.0 if last == "penalty" else float(last)
                assert method.overrides["penalty.strength"] == strength


def test_a_chosen_number_at_the_edge_of_what_was_tried_is_named() -> None:
    pairs = [
        [{"type": "l1", "strength": l1}, {"type": "l2", "strength": l2}]
        for l1 in (1, 2, 3)
        for l2 in (4, 5, 6)
    ]
    method = Method("m", {"seed": 7}, {"penalty": pairs})
    inside = [{"type": "l1", "strength": 2}, {"type": "l2", "strength": 5}]
    outside = [{"type": "l1", "strength": 2}, {"type": "l2", "strength": 6}]
    assert method.at_edge({"penalty": inside}) == []
    assert method.at_edge({"penalty": outside}) == ["penalty.1.strength"]
    two = Method("m", {}, {"optimizer.lr": (0.1, 0.2, 0.3), "model.dropout": (0, 0.5)})
    assert two.at_edge({"optimizer.lr": 0.1, "model.dropout": 0.5}) == [
        "optimizer.lr",
        "model.dropout",
    ]
    assert Method("m").at_edge({}) == []


def test_the_grids_of_table_9_reach_beyond_the_published_settings() -> None:
    (part,) = REPRODUCTIONS["srivastava_2014_table_9"].parts
    assert isinstance(part, Trained)
    limits = [
        {setting["constraints"][0]["limit"] for setting in method.candidates()}
        for method in part.methods
        if "max-norm" in method.name
    ]
    assert len(limits) == 2
    # The paper recommends limits between 3 and 4 (appendix A.3).
    assert all(min(each) < 3 and max(each) > 4 for each in limits)


TINY = Reproduction(
    title="tiny",
    reference="none",
    parts=(
        Trained(
            "reproduce/adamw_digits.yaml",
            (
                Method("a", {"model.hidden": [4]}, {"optimizer.lr": (1e-9, 0.03)}),
                Method("b", {"model.hidden": [5]}, {"optimizer.lr": (0.03, 1e-9)}),
            ),
            seeds=3,
            tuning_seeds=2,
            tuned_by="val/accuracy",
        ),
    ),
    claims=(Order("", Of("a", "test/error"), Of("b", "test/error")),),
    budget="",
    published_budget="",
    takes="",
)


def test_the_judged_runs_are_the_chosen_settings_with_fresh_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = config_from_mapping(
        shipped_config("reproduce/adamw_digits.yaml"), {"training.epochs": 1}
    )
    monkeypatch.setattr(
        "regrun.studies.reproductions.run.config_from_mapping",
        lambda given, *rest: small if isinstance(given, Path) else config_from_mapping(given),
    )
    result = reproduce("tiny", TINY, runs_dir=tmp_path, options=Options("cpu", workers=0))
    assert [method.tuned for method in result.methods] == [{"optimizer.lr": 0.03}] * 2
    tuning, judged = (
        {json.loads(path.read_text())["run_dir"][-1] for path in Path(place).glob("*/summary.json")}
        for place in result.runs_in
    )
    assert (tuning, judged) == ({"0", "1"}, {"2", "3", "4"})
    ours = result.claims[0].ours
    assert isinstance(ours, Estimate)
    assert ours.n == 3


def test_the_verb_prints_the_document_and_ends_with_0_whatever_the_verdict(
    program: Program, tmp_path: Path
) -> None:
    ended = program("reproduce", "weight_decay", "--seeds", 1, "--json", "--runs-dir", tmp_path)
    assert ended.returncode == 0
    document = json.loads(ended.stdout)
    assert document["verdict"] == UNDECIDED
    assert document["name"] == "weight_decay"
    assert "--seeds 1" in document["budget"]
    assert document["completed"] == 3


def ended_with(**changes: Any) -> ReproductionResult:
    judgements = judge(
        [Value("a value", A, 1.0, 0.1), Order("an order", A, B), Reported("a number", A, 7.0)],
        measured(a=NEAR, b=[1.5, 1.5, 1.6]),
    )
    method = MethodSummary(
        name="a",
        tuned={"optimizer.lr": 0.1},
        at_edge=["optimizer.lr"],
        params={},
        seeds=3,
        metrics={},
    )
    return ReproductionResult(
        name="weight_decay",
        title="A title",
        source="A source, §1",
        budget="little",
        published_budget="much",
        remark="",
        verdict=overall(judgements),
        claims=judgements,
        methods=[method],
        runs_in=["runs/somewhere"],
        seconds=1.0,
        runs=6,
        completed=6,
        diverged=0,
        failed=0,
    ).model_copy(update=changes)


@pytest.mark.parametrize(("changes", "code"), [({}, 0), ({"failed": 1}, 3), ({"diverged": 2}, 3)])
def test_the_verb_shows_every_claim_with_both_numbers_and_the_verdict(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changes: dict[str, int], code: int
) -> None:
    monkeypatch.setattr(
        "regrun.studies.reproductions.run.reproduce", lambda *_, **__: ended_with(**changes)
    )
    arguments = ["reproduce", "weight_decay", "--quiet", "--runs-dir", str(tmp_path)]
    result = invoke(*arguments)
    assert result.exit_code == code
    lines = {line.split("  ")[0]: line for line in result.stdout.splitlines()}
    assert "1, within 0.1" in lines["a value"]
    assert "1.000 ± 0.025 (3 seeds)" in lines["a value"]
    assert lines["a value"].rstrip().endswith("agrees")
    assert "-0.53 ± 0.12 (3 seeds)" in lines["an order"]
    assert lines["a number"].rstrip().endswith("not judged")
    chosen = "a: optimizer.lr=0.1; at the edge of what was tried: optimizer.lr"
    for text in ("A source, §1", "little", "much", chosen, "runs/somewhere"):
        assert text in result.stdout


def test_list_shows_the_reproductions_and_the_claims_of_one() -> None:
    everything = invoke("list", "reproductions")
    assert all(name in everything.stdout for name in REPRODUCTIONS)
    one = invoke("list", "reproductions", "srivastava_2014_table_9")
    assert "L2 + KL-sparsity (1.55) is not offered" in " ".join(one.stdout.split())
    assert "dropout + max-norm minus dropout + L2, test error in %  -0.20" in one.stdout
    listed = json.loads(invoke("list", "reproductions", "--json").stdout)
    assert [entry["name"] for entry in listed] == list(REPRODUCTIONS)
    assert invoke("list", "reproductions", "srivastava").exit_code == 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("weight_decay_from_scratch", AGREES),
        ("lasso_path_diabetes", AGREES),
    ],
)
@pytest.mark.long
def test_exact_results_are_reproduced(tmp_path: Path, name: str, expected: str) -> None:
    options = Options(device="cpu")
    result = reproduce(name, REPRODUCTIONS[name], runs_dir=tmp_path, options=options)
    assert result.verdict == expected


@pytest.mark.long
@pytest.mark.parametrize("name", ["l1_mnist", "l2_mnist", "elastic_net_mnist"])
def test_penalties_on_mnist_are_reproduced(tmp_path: Path, real_data: Path, name: str) -> None:
    result = reproduce(name, REPRODUCTIONS[name], runs_dir=tmp_path, options=Options())
    assert result.verdict == AGREES


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["dropout_fashion_mnist", "srivastava_2014_table_9", "adamw_digits"]
)
def test_comparisons_run_to_their_end(tmp_path: Path, real_data: Path, name: str) -> None:
    result = reproduce(name, REPRODUCTIONS[name], runs_dir=tmp_path, options=Options())
    assert result.diverged == result.failed == 0
    assert all(claim.ours is not None for claim in result.claims)
