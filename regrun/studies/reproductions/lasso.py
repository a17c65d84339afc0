"""Efron, Hastie, Johnstone & Tibshirani 2004: the lasso path on their diabetes data."""

from __future__ import annotations

from regrun.studies.reproductions.claims import Numbers, Ranking
from regrun.studies.reproductions.parts import LassoPath, Reproduction

_METHOD = "lasso path"
_FEATURES = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")

# scikit-learn 1.9.1: lasso_path(Z, y − mean(y), alphas=[share · λ_max], tol=1e-14, max_iter=10**6)
# with Z the columns of load_diabetes(scaled=False).data at mean 0 and standard deviation 1 (ddof 0)
# and λ_max = max |Zᵀ(y − mean(y))| / 442 = 45.160030020. Its duality gaps were below 4e-11.
_COEFFICIENTS = {
    0.1: (0, -3.032326797, 24.282236347, 10.833471599, 0, 0, -7.678131745, 0, 21.358039748, 0),
    0.01: (
        0, -10.382100533, 25.000771006, 14.726707954, -8.079296180, 0, -8.193749788, 3.657287330,
        25.005666220, 2.939373466,
    ),
    0.001: (
        -0.372708399, -11.313192533, 24.769111838, 15.331473368, -30.382963809, 17.063026740,
        1.324015836, 7.139848818, 33.103606643, 3.201300813,
    ),
}  # fmt: skip

LASSO_PATH_DIABETES = Reproduction(
    title="The lasso path on the diabetes data",
    source="Efron, Hastie, Johnstone & Tibshirani 2004, Least Angle Regression, §3.1, Fig. 1; "
    "scikit-learn 1.9.1, lasso_path",
    parts=(
        LassoPath(
            "reproduce/lasso_path_diabetes.yaml",
            _METHOD,
            number=301,
            ratio=1e-3,
            shares=tuple(_COEFFICIENTS),
        ),
    ),
    claims=(
        Ranking(
            "features in the order in which they enter",
            _METHOD,
            "place",
            ("bmi", "s5", "bp", "s3", "sex", "s6", "s1", "s4", "s2", "age"),
        ),
        *(
            Numbers(
                f"coefficients at {share:g} λ_max, as scikit-learn's",
                _METHOD,
                f"{share:g}",
                dict(zip(_FEATURES, numbers, strict=True)),
                tolerance=1e-6,
            )
            for share, numbers in _COEFFICIENTS.items()
        ),
    ),
    budget="301 strengths down to λ_max/1000 in one stack, all 442 patients, float64",
    published_budget="the exact piecewise linear path, of which ours has 301 points",
    takes="10 s",
    remark="Each feature is scaled to mean 0 and standard deviation 1; the paper scales to norm 1, "
    "which divides strengths and multiplies coefficients by √442.",
)
