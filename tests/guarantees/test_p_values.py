"""P-values, bounds and multiple tests against exact enumeration."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from skdefer.guarantees import (
    betting_p_value,
    binomial_p_value,
    conformal_risk_control,
    fixed_sequence,
    hoeffding_bentkus_p_value,
    holm,
    risk_curve,
    risk_upper_bound,
    rows_needed,
)

TESTS = [binomial_p_value, hoeffding_bentkus_p_value]


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("n", [1, 7, 60, 400])
@pytest.mark.parametrize("target", [0.01, 0.2, 0.7])
def test_a_false_claim_is_as_rare_as_promised(test, n, target):
    errors = np.arange(n + 1)
    chance = stats.binom.pmf(errors, n, target)
    p_value = test(errors / n, n, target)
    for level in (0.01, 0.1, 0.3, 0.9):
        assert chance[p_value <= level].sum() <= level + 1e-12


def test_the_binomial_p_value_is_the_tail():
    errors, n = np.arange(51), 50
    np.testing.assert_allclose(
        binomial_p_value(errors / n, n, 0.13), stats.binom.cdf(errors, n, 0.13), rtol=1e-10
    )
    # 0.29 * 100 is 28.999999999999996 in floating point
    assert binomial_p_value(0.29, 100, 0.3) == pytest.approx(stats.binom.cdf(29, 100, 0.3))


def test_hoeffding_and_bentkus_by_their_formulas():
    risk, n, target = 0.037, 150, 0.1
    h = risk * np.log(risk / target) + (1 - risk) * np.log((1 - risk) / (1 - target))
    bentkus = np.e * stats.binom.cdf(np.ceil(n * risk), n, target)
    assert hoeffding_bentkus_p_value(risk, n, target) == pytest.approx(min(np.exp(-n * h), bentkus))


@pytest.mark.parametrize("test", TESTS)
def test_p_values_fall_with_the_target_and_rise_with_the_risk(test):
    risk, target = np.linspace(0, 1, 41)[:, None], np.linspace(0.02, 0.98, 49)
    p_value = test(risk, 40, target)
    assert (np.diff(p_value, axis=0) >= -1e-12).all()
    assert (np.diff(p_value, axis=1) <= 1e-12).all()
    assert ((p_value > 0) & (p_value <= 1)).all()
    assert test(0.0, 0, 0.1) == 1


@pytest.mark.parametrize("binary", [True, False])
def test_the_upper_bound_is_where_the_p_value_crosses_delta(binary):
    test = binomial_p_value if binary else hoeffding_bentkus_p_value
    for n in (3, 50, 1000):
        risk = np.arange(n) / n
        upper = risk_upper_bound(risk, n, delta=0.1, binary=binary)
        assert (test(risk, n, np.minimum(upper + 1e-6, 1 - 1e-9)) <= 0.1 + 1e-9).all()
        assert (test(risk, n, np.maximum(upper - 1e-6, 1e-9)) >= 0.1 - 1e-9).all()
    assert risk_upper_bound(1.0, 5, binary=binary) == pytest.approx(1)
    assert risk_upper_bound(0.0, 0, binary=binary) == pytest.approx(1)


@pytest.mark.parametrize(("risk", "target"), [(0, 0.05), (0.02, 0.05), (0.5, 0.6)])
def test_rows_needed_are_enough(risk, target):
    n = rows_needed(risk, target)
    assert binomial_p_value(np.ceil(risk * n) / n, n, target) <= 0.1
    half = n // 2
    assert binomial_p_value(np.ceil(risk * half) / half, half, target) > 0.1
    assert rows_needed(target, target) == np.inf


def test_rows_needed_for_bets_are_about_enough():
    rng = np.random.default_rng(0)
    for a, b, target in ((2, 30, 0.1), (1, 3, 0.35), (30, 200, 0.2)):
        risk = a / (a + b)
        n = rows_needed(risk, target, variance=risk * (1 - risk) / (a + b + 1))
        power = [
            (betting_p_value(rng.beta(a, b, size=(int(k * n), 300)), target) <= 0.1).mean()
            for k in (0.4, 2.5)
        ]
        assert power[0] < 0.7 < 0.85 < power[1]


def naive_bets(loss, target, delta=0.1):
    """The product, bet by bet."""
    wealth, best, seen = 1.0, 1.0, []
    for i, value in enumerate(loss):
        past = np.array(seen)
        means = (0.5 + np.cumsum(past)) / (np.arange(i) + 2) if i else past
        variance = (0.25 + np.square(past - means).sum()) / (i + 1)
        stake = min(np.sqrt(2 * np.log(1 / delta) / (len(loss) * variance)), 0.75 / (1 - target))
        wealth *= 1 + stake * (target - value)
        best, seen = max(best, wealth), [*seen, value]
    return 1 / best


def test_bets_by_their_formula():
    loss = np.random.default_rng(0).beta(1, 6, size=(80, 3))
    order = np.random.default_rng(0).permutation(80)
    p_value = betting_p_value(loss, 0.2)
    for k in range(3):
        assert p_value[k] == pytest.approx(naive_bets(loss[order, k], 0.2))
        assert betting_p_value(loss[:, k], 0.2) == pytest.approx(p_value[k])
    counted = np.random.default_rng(1).random((80, 3)) < 0.7
    part = betting_p_value(np.where(counted, loss, np.nan), 0.2, counted=counted)
    for k in range(3):
        assert part[k] == pytest.approx(naive_bets(loss[order, k][counted[order, k]], 0.2))
    assert betting_p_value(loss, 0.2, counted=np.zeros((80, 3), bool)).tolist() == [1, 1, 1]
    by_target = [betting_p_value(loss[:, 0], t) for t in (0.1, 0.2, 0.4, 0.9)]
    assert (np.diff(by_target) <= 0).all()


@pytest.mark.parametrize("n", [5, 60, 300])
@pytest.mark.parametrize("shape", ["errors", "few values", "even"])
def test_false_claims_by_bets_are_rare(n, shape):
    rng = np.random.default_rng(0)
    loss = {
        "errors": lambda: (rng.random((n, 4000)) < 0.1).astype(float),
        "few values": lambda: rng.binomial(4, 0.1, size=(n, 4000)) / 4,
        "even": lambda: 0.2 * rng.random((n, 4000)),
    }[shape]()
    assert stats.binom.ppf(0.99, 4000, 0.1) >= (betting_p_value(loss, 0.1) <= 0.1).sum()


def test_bad_bets_are_refused():
    for loss in ([0.1, 1.5], [0.1, np.nan], [-0.1]):
        with pytest.raises(ValueError, match="losses in \\[0, 1\\] where they count"):
            betting_p_value(loss, 0.2)
    with pytest.raises(ValueError, match="target is 1; expected"):
        betting_p_value([0.1], 1)


@pytest.mark.parametrize(
    ("risk", "n", "target", "match"),
    [
        (1.2, 10, 0.1, "risk is .*; expected mean losses"),
        (np.nan, 10, 0.1, "risk is .*; expected mean losses"),
        (0.1, 10, 0.0, "No number of rows proves a risk of 0"),
        (0.1, 10, 1.0, "1 holds of anything"),
        (0.1, 2.5, 0.1, "n_rows is .*; expected whole"),
        (0.1, -1, 0.1, "n_rows is .*; expected whole"),
    ],
)
def test_bad_numbers_are_refused(risk, n, target, match):
    for test in TESTS:
        with pytest.raises(ValueError, match=match):
            test(risk, n, target)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.01, 0.99))
def test_holm_by_its_definition(p_values, delta):
    left, rejected = dict(enumerate(p_values)), set()
    while left:
        k = min(left, key=left.get)
        if left[k] > delta / len(left):
            break
        rejected.add(k)
        del left[k]
    valid = holm(p_values, delta)
    assert {p_values[k] for k in np.flatnonzero(valid)} == {p_values[k] for k in rejected}
    assert valid.sum() == len(rejected)
    first = next((k for k, p in enumerate(p_values) if p > delta), len(p_values))
    assert fixed_sequence(p_values, delta).tolist() == [k < first for k in range(len(p_values))]


@pytest.mark.parametrize("test", [fixed_sequence, holm])
def test_what_is_no_p_value_is_refused(test):
    with pytest.raises(ValueError, match="expected numbers in"):
        test([0.1, np.nan], 0.1)
    with pytest.raises(ValueError, match="delta is 1; expected"):
        test([0.1], 1)


def test_conformal_risk_control_by_its_formula():
    risk, n, bound, target = np.linspace(0, 0.5, 26), 37, 2.0, 0.2
    valid = conformal_risk_control(risk, n, target, bound=bound)
    np.testing.assert_array_equal(valid, n / (n + 1) * risk + bound / (n + 1) <= target)
    assert not conformal_risk_control(risk, 3, 0.1).any()
    with pytest.raises(ValueError, match="falls along the sequence"):
        conformal_risk_control([0.2, 0.1], 10, 0.1)
    with pytest.raises(ValueError, match="target is 1"):
        conformal_risk_control([0.1], 10, 1)


def test_the_curve_counts_what_counts():
    rng = np.random.default_rng(0)
    loss, counted = rng.random((40, 3)) < 0.3, rng.random((40, 3)) < 0.6
    counted[:, 2] = False
    curve = risk_curve(loss, target=0.4, counted=counted)
    assert curve.n_counted.tolist() == counted.sum(axis=0).tolist()
    for k in range(2):
        assert curve.risk[k] == loss[counted[:, k], k].mean()
    assert np.isnan(curve.risk[2])
    assert (curve.p_value[2], curve.upper[2]) == (1, 1)
    order = rng.permutation(40)
    again = risk_curve(loss[order], target=0.4, counted=counted[order])
    np.testing.assert_array_equal(again.p_value, curve.p_value)


def test_groups_count_once():
    rng = np.random.default_rng(0)
    loss, groups = rng.random((60, 2)), rng.integers(12, size=60)
    means = np.array([loss[groups == g].mean(axis=0) for g in range(12)])
    curve = risk_curve(loss, target=0.6, groups=groups.astype(str))
    np.testing.assert_allclose(curve.risk, means.mean(axis=0))
    assert curve.n_counted.tolist() == [12, 12]
    names = np.unique(np.arange(12).astype(str)).astype(int)  # "10" comes before "2"
    np.testing.assert_allclose(curve.p_value, betting_p_value(means[names], 0.6))
    np.testing.assert_allclose(curve.variance, means.var(axis=0))
    beyond = betting_p_value(means[names], curve.upper.max() + 1e-4)
    assert beyond[curve.upper.argmax()] <= 0.1
    wrong = loss < 0.5  # exact only if no group has two rows
    np.testing.assert_array_equal(
        risk_curve(wrong, target=0.6, groups=np.arange(60)).p_value,
        risk_curve(wrong, target=0.6).p_value,
    )
    assert (
        risk_curve(np.repeat(wrong, 2, axis=0), target=0.6, groups=np.arange(120) // 2).p_value
        >= risk_curve(wrong, target=0.6).p_value
    ).all()


def test_losses_in_another_unit():
    loss = np.random.default_rng(0).random((50, 3))
    one, ten = risk_curve(loss, target=0.6), risk_curve(10 * loss, target=6, bound=10)
    np.testing.assert_allclose(ten.p_value, one.p_value)
    np.testing.assert_allclose(ten.upper, 10 * one.upper)
    with pytest.raises(ValueError, match=r"expected numbers in \[0, 1\].*bound="):
        risk_curve(10 * loss, target=0.6)
    with pytest.raises(ValueError, match=r"loss has shape \(50,\)"):
        risk_curve(loss[:, 0], target=0.6)
    with pytest.raises(ValueError, match="counted has shape"):
        risk_curve(loss, target=0.6, counted=np.ones(49, bool))
    with pytest.raises(ValueError, match="groups has shape"):
        risk_curve(loss, target=0.6, groups=np.ones(49))
