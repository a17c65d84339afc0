"""Linear models trained by FISTA reach scikit-learn's solutions: same coefficients, same zeros."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression, Ridge, lasso_path

from regrun.config.schema import Config
from regrun.data.dataset import Dataset, Split
from regrun.kinds.penalties import L1, L2
from regrun.kinds.penalties import ElasticNet as ElasticNetPenalty
from regrun.training.engine import Engine
from regrun.training.events import Evaluation, MemberEnd

CPU = torch.device("cpu")
LOSSES = {"regression": "half_mse", "classification": "auto"}
Solution = tuple[np.ndarray, np.ndarray]


def config(penalty: Any, loss: str, dataset: dict[str, Any], **training: Any) -> Config:
    return Config.model_validate(
        {
            "dataset": dataset,
            "model": {"name": "linear", "init": "zeros"},
            "loss": loss,
            "penalty": penalty,
            "optimizer": {"name": "fista"},
            "training": {
                "epochs": 20_000,
                "batch_size": "full",
                "evaluate_every": 100,
                "precision": "float64",
                **training,
            },
        }
    )


def solve(data: Dataset, penalties: Sequence[Any], loss: str | None = None) -> list[Solution]:
    """Coefficients and intercepts, all penalties in one stack, trained until nothing moves."""
    name = {"name": "diabetes" if data.task == "regression" else "breast_cancer"}
    configs = [config(penalty, loss or LOSSES[data.task], name) for penalty in penalties]
    engine = Engine(configs, data, CPU)
    before: dict[int, float] = {}
    ends: list[MemberEnd] = []
    for event in engine.run():
        if isinstance(event, MemberEnd):
            ends.append(event)
        if isinstance(event, Evaluation):
            now = {k: row["weights/l2"] for k, row in event.rows.items()}
            if before and all(now[k] == pytest.approx(before[k], rel=1e-14) for k in now):
                break
            before = now
    ends += engine.prune(engine.live)
    found = {end.member: end.weights for end in ends}
    assert None not in found.values()
    return [
        (found[k]["output.weight"].numpy(), found[k]["output.bias"].numpy())  # type: ignore[index]
        for k in range(len(penalties))
    ]


def assert_same(mine: np.ndarray, theirs: np.ndarray) -> None:
    np.testing.assert_array_equal(mine == 0, theirs == 0)
    np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-9 * np.abs(theirs).max())


def arrays(data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    return data.train.inputs.numpy(), data.train.targets.numpy()


def bundled(**keys: Any) -> Dataset:
    section = config([], "auto", keys).dataset
    return section.load().to(CPU, torch.float64)


def regressions(data: Dataset, strength: float) -> None:
    """Lasso, elastic net and ridge at one strength against scikit-learn's."""
    x, y = arrays(data)
    tight = {"tol": 1e-14, "max_iter": 10**6}
    lasso, net, whole, ridge = solve(
        data,
        [
            {"type": "l1", "strength": strength, "method": "proximal"},
            {"type": "elastic_net", "strength": strength, "l1_ratio": 0.3, "method": "proximal"},
            [
                {"type": "l1", "strength": 0.3 * strength, "method": "proximal"},
                {"type": "l2", "strength": 0.7 * strength},
            ],
            {"type": "l2", "strength": strength},
        ],
    )
    theirs = Lasso(alpha=strength, **tight).fit(x, y[:, 0])
    assert_same(lasso[0][0], theirs.coef_)
    assert lasso[1][0] == pytest.approx(theirs.intercept_, rel=1e-6, abs=1e-9)
    theirs = ElasticNet(alpha=strength, l1_ratio=0.3, **tight).fit(x, y[:, 0])
    for mine in (net, whole):
        assert_same(mine[0][0], theirs.coef_)
        assert mine[1][0] == pytest.approx(theirs.intercept_, rel=1e-6, abs=1e-9)
    theirs = Ridge(alpha=len(x) * strength, solver="svd").fit(x, y[:, 0])
    assert_same(ridge[0][0], theirs.coef_)
    exact = closed_form(x, y[:, 0], strength)
    np.testing.assert_allclose(ridge[0][0], exact, rtol=1e-10, atol=1e-12 * abs(exact).max())


def closed_form(x: np.ndarray, y: np.ndarray, strength: float) -> np.ndarray:
    """(XᵀX/n + λI)⁻¹ Xᵀy/n with centred X and y: the intercept is not penalised."""
    x, y = x - x.mean(0), y - y.mean()
    return np.asarray(
        np.linalg.solve(x.T @ x / len(x) + strength * np.eye(x.shape[1]), x.T @ y / len(x))
    )


@pytest.mark.parametrize("strength", [0.3, 3.0])
def test_diabetes(strength: float) -> None:
    regressions(bundled(name="diabetes"), strength)


def test_the_label_of_breast_cancer_as_a_number() -> None:
    data = bundled(name="breast_cancer")
    as_number = Split(data.train.inputs, data.train.targets.double()[:, None])
    regressions(
        Dataset("label", "regression", as_number, None, as_number, data.input_shape, 1), 0.02
    )


def random_design(seed: int) -> Dataset:
    """20 to 60 examples of 5 to 80 features, often more features than examples; correlated."""
    rng = np.random.default_rng(seed)
    count, features = int(rng.integers(20, 60)), int(rng.integers(5, 80))
    shared = rng.normal(size=(count, 3)) @ rng.normal(size=(3, features))
    x = (
        rng.normal(size=(count, features))
        + rng.uniform(0, 1.5) * shared
        + rng.normal(size=features)
    )
    truth = np.where(rng.random(features) < 0.3, rng.normal(size=features), 0.0)
    y = x @ truth + 0.5 * rng.normal(size=count) + 3.0
    split = Split(torch.tensor(x), torch.tensor(y)[:, None])
    return Dataset("random", "regression", split, None, split, (features,), 1)


@pytest.mark.parametrize("seed", range(20))
def test_random_designs(seed: int) -> None:
    data = random_design(seed)
    x, y = arrays(data)
    largest = np.abs((x - x.mean(0)).T @ (y - y.mean())).max() / len(x)
    regressions(data, 0.1 * largest)


def test_random_designs_have_more_features_than_examples_too() -> None:
    shapes = [random_design(seed).train.inputs.shape for seed in range(20)]
    assert 5 <= sum(count < features for count, features in shapes) <= 15


def test_a_whole_lasso_path_in_one_stack() -> None:
    data = bundled(name="diabetes")
    x, y = arrays(data)
    x, y = x - x.mean(0), y[:, 0] - y.mean()
    strengths = np.geomspace(0.99, 0.01, 30) * np.abs(x.T @ y).max() / len(x)
    _, coefficients, _ = lasso_path(x, y, alphas=strengths, tol=1e-14, max_iter=10**6)
    mine = solve(data, [{"type": "l1", "strength": a, "method": "proximal"} for a in strengths])
    for (weight, _), theirs in zip(mine, coefficients.T, strict=True):
        assert_same(weight[0], theirs)


def logistic(data: Dataset, strength: float, ratio: float) -> LogisticRegression:
    """scikit-learn's at strength λ and l1_ratio ρ: its C is 1 / (n λ)."""
    x, y = arrays(data)
    exact = (
        {"solver": "newton-cholesky", "max_iter": 1000, "tol": 1e-14}
        if ratio == 0
        else {"l1_ratio": ratio, "solver": "saga", "max_iter": 10**5, "tol": 1e-12}
    )
    return LogisticRegression(C=1 / (len(x) * strength), **exact).fit(x, y)


def net(strength: float, ratio: float) -> dict[str, Any]:
    proximal = {"method": "proximal", "l1_ratio": ratio}
    return {"type": "elastic_net", "strength": strength, **proximal}


STRENGTHS = (0.02, 0.1)


def test_one_logit_with_l1_l2_and_elastic_net_is_logistic_regression() -> None:
    """By default two classes have one output, and λ and ρ mean what they mean in scikit-learn."""
    data = bundled(name="breast_cancer")
    kinds = {
        1.0: [{"type": "l1", "strength": s, "method": "proximal"} for s in STRENGTHS],
        0.0: [{"type": "l2", "strength": s} for s in STRENGTHS],
        0.5: [net(s, 0.5) for s in STRENGTHS],
        0.2: [net(s, 0.2) for s in STRENGTHS],
    }
    found = iter(solve(data, [penalty for penalties in kinds.values() for penalty in penalties]))
    for ratio in kinds:
        for strength in STRENGTHS:
            weight, bias = next(found)
            reference = logistic(data, strength, ratio)
            assert_same(weight, reference.coef_)
            np.testing.assert_allclose(bias, reference.intercept_, rtol=1e-6)


def test_two_outputs_are_logistic_regression_with_other_strengths() -> None:
    """With two outputs the weights of the one logit are w = w₁ − w₀.

    At the minimum w₁ = −w₀, so Σ|w₀| + Σ|w₁| = Σ|w| and ½(‖w₀‖² + ‖w₁‖²) = ¼‖w‖².
    """
    data = bundled(name="breast_cancer")
    penalties = [
        L1(type="l1", strength=0.02, method="proximal"),
        L2(type="l2", strength=0.1),
        ElasticNetPenalty(type="elastic_net", strength=0.1, l1_ratio=0.5, method="proximal"),
    ]
    found = solve(data, [each.model_dump(mode="json") for each in penalties], "cross_entropy")
    references = [logistic(data, 0.02, 1), logistic(data, 0.05, 0), logistic(data, 0.075, 2 / 3)]
    for (weight, bias), reference, penalty in zip(found, references, penalties, strict=True):
        assert weight.shape == (2, data.input_shape[0])
        assert_same(np.diff(weight, axis=0), reference.coef_)
        np.testing.assert_allclose(np.diff(bias), reference.intercept_, rtol=1e-6)
        alike = penalty.on_one_logit()
        assert alike is not None
        ((one, _),) = solve(data, [alike.model_dump(mode="json")])
        np.testing.assert_allclose(one, reference.coef_, rtol=1e-6, atol=1e-9)
