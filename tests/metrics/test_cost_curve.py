"""cost_curve against system_cost: row by row of the ranking, and price by price."""

import numpy as np
import pytest

from skdefer.metrics import cost_curve, deferral_curve, system_cost


def make_case(seed, ties=False):
    rng = np.random.default_rng(seed)
    n = 12
    answers = rng.integers(0, 3, (n, 2)).astype(object)
    answers[rng.random((n, 2)) < 0.2] = None
    score = rng.normal(size=(n, 2))
    labels = rng.integers(0, 3, (2, n))
    return *labels, answers, score


ERRORS = [[0, 1, 4], [2, 0, 1], [3, 1, 0]]


@pytest.mark.parametrize("error_cost", [1.0, 3.0, ERRORS])
@pytest.mark.parametrize("seed", range(4))
def test_along_the_ranking(seed, error_cost):
    y_true, y_pred, answers, score = make_case(seed)
    rule = {"error_cost": error_cost, "labels": None if np.ndim(error_cost) == 0 else [0, 1, 2]}
    price = np.array([0.1, 0.3])
    rate, errors, asking = cost_curve(y_true, y_pred, answers, score, cost=price, **rule)
    order = np.argsort(-score.max(axis=1))
    for i in range(len(y_true) + 1):
        route = np.zeros(len(y_true), dtype=int)
        route[order[:i]] = 1 + score[order[:i]].argmax(axis=1)
        assert rate[i] == pytest.approx(i / len(y_true))
        total = system_cost(y_true, y_pred, answers, route, cost=price, **rule)
        assert errors[i] + asking[i] == pytest.approx(total)
        assert asking[i] == pytest.approx(
            total - system_cost(y_true, y_pred, answers, route, **rule)
        )


@pytest.mark.parametrize("seed", range(4))
def test_along_the_prices(seed):
    y_true, y_pred, answers, gain = make_case(seed)
    costs = [0.5, 0.0, 1.0, 0.5, 9.0]
    rate, errors, asking = cost_curve(y_true, y_pred, answers, gain, costs=costs)
    for i, price in enumerate(costs):
        route = np.where(gain.max(axis=1) > price, 1 + gain.argmax(axis=1), 0)
        assert rate[i] == pytest.approx((route > 0).mean())
        total = system_cost(y_true, y_pred, answers, route, cost=price)
        assert errors[i] + asking[i] == pytest.approx(total)
    assert rate[-1] == 0


def test_errors_are_what_accuracy_lacks():
    y_true, y_pred, answers, score = make_case(0)
    score = np.round(score)  # ties
    rate, system, _ = deferral_curve(y_true, y_pred, answers, score)
    found = cost_curve(y_true, y_pred, answers, score)
    np.testing.assert_allclose(found[0], rate)
    np.testing.assert_allclose(found[1], 1 - system)
    assert not found[2].any()


def test_negative_prices_are_refused():
    with pytest.raises(ValueError, match="costs has negative prices"):
        cost_curve(*make_case(0), costs=[-1.0])
