"""Reconciliation: trees, weights and estimators, against hierarchicalforecast and first principles."""

from __future__ import annotations

import numpy as np
import pytest

from stspark.errors import InputError
from stspark.hierarchy import paths, subtree, weights
from stspark.hierarchy import reconcile as r
from stspark.hierarchy.tree import build_tree

SHAPES = {
    "two parents": {"a": "x", "b": "x", "c": "y", "d": "y", "e": "y"},
    "one without a parent": {"a": "x", "b": "x", "c": None},
    "total only": {"a": None, "b": None, "c": None},
    "a parent of one": {"a": "x", "b": "y", "c": "y"},
}


def example(seed: int, shape: str = "two parents", days: int = 4, observations: int = 40):
    rng = np.random.default_rng(seed)
    tree = build_tree(SHAPES[shape])
    base = tree.summing @ rng.gamma(3.0, 20.0, (tree.n_regions, days)) + rng.normal(0, 9, (len(tree.nodes), days))
    mixing = rng.normal(0, 1, (len(tree.nodes), len(tree.nodes))) + 3 * np.eye(len(tree.nodes))
    errors = rng.normal(0, 1, (observations, len(tree.nodes))) @ mixing
    errors += 0.01 - errors.mean(axis=0)  # the oracle measures about the mean and refuses a mean of 0
    actual = rng.gamma(3.0, 20.0, (observations, tree.n_regions))
    return tree, np.maximum(base, 1.0), errors, actual


def run(method, tree, base, errors, actual, closed=None):
    shut = np.zeros((tree.n_regions, base.shape[1]), dtype=bool) if closed is None else closed
    return r.reconcile(method, tree, base, shut, (errors, actual))


def test_a_tree_lists_the_total_first_and_parents_before_regions():
    tree = build_tree({"b": "x", "a": "y", "c": None}, {"x": "coast"})
    assert tree.nodes == ("*", "coast", "y", "x", "a", "b", "c")
    assert tree.levels == ("total", "parent_2", "parent", "parent", "region", "region", "region")
    assert tree.summing.tolist() == [[1, 1, 1], [0, 1, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("parents", "groups", "said"),
    [
        pytest.param({"a": "x"}, {"x": "y", "y": "x"}, "circle", id="circle"),
        pytest.param({"a": "a"}, {}, "region too", id="a region as parent"),
        pytest.param({"a": "*"}, {}, "region too", id="the total's name"),
    ],
)
def test_a_tree_that_is_none_is_refused(parents, groups, said):
    with pytest.raises(InputError, match=said):
        build_tree(parents, groups)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("method", weights.WEIGHTS)
def test_minimum_trace_equals_hierarchicalforecast(method, seed, shape):
    from hierarchicalforecast.methods import MinTrace

    tree, base, errors, _ = example(seed, shape)
    fitted = {"y_insample": errors.T, "y_hat_insample": np.zeros_like(errors.T)}
    oracle = MinTrace(method).fit(S=tree.summing, y_hat=base, **fitted)
    wanted = oracle.P @ base
    covariance = weights.error_covariance(method, tree, errors)
    np.testing.assert_allclose(r.project(base, tree.summing, covariance), wanted, rtol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_top_down_by_forecast_shares_equals_hierarchicalforecast(seed):
    from hierarchicalforecast.methods import TopDown

    tree, base, errors, actual = example(seed)
    tags = {level: np.flatnonzero([have == level for have in tree.levels]) for level in ("total", "parent", "region")}
    oracle = TopDown("forecast_proportions").fit_predict(S=tree.summing, y_hat=base, tags=tags)["mean"]
    np.testing.assert_allclose(tree.summing @ run(r.FORECAST_SHARES, tree, base, errors, actual), oracle, rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_top_down_by_past_shares_equals_hierarchicalforecast(seed):
    from hierarchicalforecast.methods import TopDown

    tree, base, errors, actual = example(seed)
    tags = {level: np.flatnonzero([have == level for have in tree.levels]) for level in ("total", "parent", "region")}
    oracle = TopDown("proportion_averages").fit_predict(
        S=tree.summing, y_hat=base, tags=tags, y_insample=tree.summing @ actual.T
    )["mean"]
    np.testing.assert_allclose(tree.summing @ run(r.PAST_SHARES, tree, base, errors, actual), oracle, rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_non_negative_equals_hierarchicalforecast(seed):
    from hierarchicalforecast.methods import MinTrace

    tree, base, errors, actual = example(seed)
    base[tree.n_upper] = 0.5
    base[0], base[1] = base[0] * 0.6, 1.0  # far less than its regions' sum: the least-squares answer is negative
    assert (r.project(base, tree.summing, np.eye(len(tree.nodes))) < 0).any()
    oracle = MinTrace("ols", nonnegative=True).fit_predict(S=tree.summing, y_hat=base)["mean"]
    ours = tree.summing @ run("ols", tree, base, errors, actual)
    assert ours.min() >= 0
    np.testing.assert_allclose(ours, oracle, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("method", r.METHODS)
def test_base_forecasts_that_add_up_stay_as_they_are(method):
    tree, _, errors, actual = example(1)
    bottom = np.tile(actual.mean(axis=0)[:, None], 3)
    made = run(method, tree, tree.summing @ bottom, errors, actual)
    np.testing.assert_allclose(made, bottom, rtol=1e-9)


@pytest.mark.parametrize("method", r.METHODS)
def test_a_closed_region_stays_at_zero(method):
    tree, base, errors, actual = example(2)
    closed = np.zeros((tree.n_regions, base.shape[1]), dtype=bool)
    closed[0, 1] = True
    closed[:, 3] = True
    made = run(method, tree, base, errors, actual, closed)
    assert (made[closed] == 0).all()
    assert (made[~closed] > 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_subtree_by_subtree_equals_the_whole_where_subtrees_are_uncorrelated(seed):
    tree, base, errors, _ = example(seed)
    parts = [[1, 3, 4], [2, 5, 6, 7]]  # x with a, b; y with c, d, e
    blocks = [weights.shrunk_covariance(errors[:, part]) for part in parts]
    whole = np.zeros((len(tree.nodes), len(tree.nodes)))
    whole[0, 0] = 5.0
    for part, block in zip(parts, blocks, strict=True):
        whole[np.ix_(part, part)] = block
    wanted = r.project(base, tree.summing, whole)
    summing = [np.vstack([np.ones(len(part) - 1), np.eye(len(part) - 1)]) for part in parts]
    settled = [subtree.settle(base[p], s, b) for p, s, b in zip(parts, summing, blocks, strict=True)]
    variances = np.array([s.variance for s in settled])
    beyond = subtree.surprise(base[0], 5.0, np.array([s.sums for s in settled]), variances)
    made = np.vstack([subtree.told(s, beyond, floor=False) for s in settled])
    np.testing.assert_allclose(made, wanted, rtol=1e-9)


def test_shrinkage_takes_all_correlation_from_noise_and_little_from_a_clear_one():
    rng = np.random.default_rng(0)
    common = rng.normal(0, 1, (500, 1))
    clear = common + 0.3 * rng.normal(0, 1, (500, 4))
    assert weights.shrunk_correlation(clear / clear.std(axis=0))[0, 1] == pytest.approx(1 / 1.09, abs=0.05)
    noise = rng.normal(0, 1, (15, 30))
    kept = weights.shrunk_correlation(noise / noise.std(axis=0))
    assert np.abs(kept - np.eye(30)).max() < 0.2


LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)


def normal_quantiles(days: int, regions: int, sd: float = 10.0):
    from scipy.special import ndtri

    return np.tile(100 + sd * ndtri(np.array(LEVELS)), (days, regions, 1)), LEVELS


def test_paths_keep_the_marginals():
    joint = paths.Dependence(np.full((3, 3), 0.6) + 0.4 * np.eye(3), np.eye(2))
    drawn = paths.sample(joint, normal_quantiles(2, 3), 20_000, seed=1)
    np.testing.assert_allclose(np.quantile(drawn, LEVELS, axis=0)[:, 0, 0], normal_quantiles(1, 1)[0][0, 0], atol=0.4)


@pytest.mark.parametrize(
    ("regions", "days", "spread"),
    [
        pytest.param(0.0, 0.0, np.sqrt(12), id="independent: by the root"),
        pytest.param(1.0, 1.0, 12, id="all as one: by the number"),
        pytest.param(0.5, 0.0, np.sqrt(4 * (3 + 6 * 0.5)), id="half correlated regions"),
    ],
)
def test_a_sum_over_regions_and_days_spreads_as_its_parts_depend(regions, days, spread):
    joint = paths.Dependence(*(rho + (1 - rho) * np.eye(n) for rho, n in ((regions, 3), (days, 4))))
    total = paths.sample(joint, normal_quantiles(4, 3), 40_000, seed=3).sum(axis=(1, 2))
    assert total.std() == pytest.approx(10 * spread, rel=0.03)
    assert np.median(total) == pytest.approx(1200, abs=2)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_dependence_is_found_in_back_test_errors(share):
    rng = np.random.default_rng(5)
    level = rng.normal(0, 1, (200, 1, 1)) * np.sqrt(share)
    errors = level + rng.normal(0, 1, (200, 7, 6)) * np.sqrt(1 - share)
    joint = paths.dependence(errors * np.arange(1, 7))  # regions of different size
    off = ~np.eye(7, dtype=bool)
    of_sum = share / (share + (1 - share) / 6)  # of the sum over regions, which carries most of the error
    assert share - 0.1 < joint.days[off].mean() < of_sum + 0.1
    assert joint.regions[0, 1] == pytest.approx(share, abs=0.12)
    assert np.linalg.eigvalsh(joint.days).min() > -1e-9


@pytest.mark.parametrize("levels", [(0.5,), (0.1, 0.9), (0.1, 0.5, 0.9)])
def test_paths_take_any_quantiles(levels):
    values = np.tile(np.linspace(1.0, 2.0, len(levels)), (2, 2, 1))
    drawn = paths.sample(paths.Dependence(np.eye(2), np.eye(2)), (values, levels), 11, seed=0)
    assert drawn.shape == (11, 2, 2)
    assert np.isfinite(drawn).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("method", ["ols", "wls_struct", "wls_var"])
def test_subtree_by_subtree_equals_the_whole_for_diagonal_weights(method, shape):
    tree, base, errors, actual = example(3, shape)
    closed = np.zeros((tree.n_regions, base.shape[1]), dtype=bool)
    closed[0, 1], closed[:, 2] = True, True
    whole = run(method, tree, base, errors, actual, closed)
    np.testing.assert_allclose(subtree.by_subtrees(method, tree, base, closed, errors), whole, rtol=1e-8)


def test_a_large_hierarchy_is_reconciled_in_seconds():
    rng = np.random.default_rng(0)
    tree = build_tree({f"r{k}": f"p{k // 40}" for k in range(2000)})
    base = tree.summing @ rng.gamma(3.0, 20.0, (2000, 7)) * rng.normal(1, 0.02, (len(tree.nodes), 7))
    errors = rng.normal(0, 1, (28, len(tree.nodes)))
    made = subtree.by_subtrees("mint_shrink", tree, base, np.zeros((2000, 7), bool), errors)
    assert made.shape == (2000, 7)
    assert (made >= 0).all()
