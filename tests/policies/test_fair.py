"""FairPolicy: about equal over groups, at the least price; held against brute force."""

import itertools
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from skdefer import DeferralClassifier
from skdefer.exceptions import FairnessWarning, StaleThresholdWarning
from skdefer.policies import CostPolicy, FairPolicy
from skdefer.policies._balance import balance, range_argmax
from tests.discovery import deferral_estimators, make


def make_case(n=240, n_groups=2, n_experts=1, seed=0, spread=0.3):
    """Groups whose scores differ, binary labels, experts who are right more often on one group."""
    rng = np.random.default_rng(seed)
    group = rng.integers(n_groups, size=n)
    y = rng.integers(2, size=n)
    gross = rng.normal(spread * (group - (n_groups - 1) / 2), 0.4, size=(n_experts, n)).T
    model = np.clip(0.7 - gross.max(axis=1) / 2, 0.05, 0.95)
    right = rng.random((n, n_experts)) < np.clip(model[:, None] + gross, 0.02, 0.98)
    return {
        "score": gross - 0.1,
        "y": y,
        "y_pred": np.where(rng.random(n) < model, y, 1 - y),
        "expert_predictions": np.where(right, y[:, None], 1 - y[:, None]).astype(object),
        "cost": np.full(n_experts, 0.1),
        "X": pd.DataFrame({"group": np.array(["a", "b", "c"])[group], "x": rng.normal(size=n)}),
    }


def outcome(case, route):
    """Rate of hand-overs and of errors by group, and the expected gain per row."""
    answers = np.column_stack([case["y_pred"], case["expert_predictions"]])
    wrong = answers[np.arange(len(route)), route] != case["y"]
    table = pd.DataFrame({"group": case["X"]["group"], "deferral_rate": route > 0})
    table["system_error"] = wrong
    best = case["score"].max(axis=1)
    return table.groupby("group").mean(), float(best[route > 0].sum() / len(route))


def every_cut(case, constraint):
    """By brute force: routes under every pair of cuts, one per group, of distinct best scores."""
    best, top = case["score"].argmax(axis=1), case["score"].max(axis=1)
    if constraint == "system_error":
        top = np.where(top + 0.1 > 0, top, -np.inf)
    groups = case["X"]["group"].to_numpy()
    names = np.unique(groups)
    cuts = [np.append(np.unique(top[(groups == g) & (top > -np.inf)]), -np.inf) for g in names]
    for pair in itertools.product(*cuts):
        threshold = np.array(pair)[np.searchsorted(names, groups)]
        yield np.where(top > threshold, best + 1, 0)


@pytest.mark.parametrize("constraint", ["deferral_rate", "system_error"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n_experts", [1, 2])
def test_it_is_the_best_there_is(constraint, seed, n_experts):
    case = make_case(36, seed=seed, n_experts=n_experts)
    if seed % 2:  # ties
        case["score"] = case["score"].round(1) + 0.03
    policy = FairPolicy(constraint, tolerance=0.1, groups="group", min_group_size=5).fit(**case)
    table, gain = outcome(case, policy.route(case["score"], cost=case["cost"], X=case["X"]))
    best = -np.inf
    for route in every_cut(case, constraint):
        other, other_gain = outcome(case, route)
        if np.ptp(other[constraint]) <= 0.1 + 1e-9:
            best = max(best, other_gain)
    assert np.ptp(table[constraint]) <= 0.1 + 1e-9
    assert gain == pytest.approx(best)
    assert policy.gap_ == pytest.approx(np.ptp(table[constraint]))
    for name in ("deferral_rate", "system_error"):
        np.testing.assert_allclose(policy.report_[name], table[name])


@pytest.mark.parametrize("seed", range(5))
def test_balance_of_three_groups_by_brute_force(seed):
    rng = np.random.default_rng(seed)
    levels = [rng.random(n).round(2) for n in (7, 9, 5)]
    gains = [rng.random(len(level)).round(1) for level in levels]
    chosen, reachable = balance(levels, gains, 0.1)
    every = list(itertools.product(*(range(len(level)) for level in levels)))
    spread = [np.ptp([lv[i] for lv, i in zip(levels, at)]) for at in every]
    worth = [sum(g[i] for g, i in zip(gains, at)) for at in every]
    assert reachable == pytest.approx(min(spread))
    limit = max(0.1, min(spread)) + 1e-9
    assert np.ptp([lv[i] for lv, i in zip(levels, chosen)]) <= limit
    best = max(w for w, s in zip(worth, spread) if s <= limit)
    assert sum(g[i] for g, i in zip(gains, chosen)) == pytest.approx(best)


def test_range_argmax_finds_the_greatest_of_every_slice():
    values = np.random.default_rng(0).random(37).round(1)
    left, right = np.array([(i, j) for i in range(38) for j in range(i, 38)]).T
    found = range_argmax(values, left, right)
    for i, j, at in zip(left, right, found):
        assert at == -1 if i == j else (i <= at < j and values[at] == values[i:j].max())


@pytest.mark.parametrize("constraint", ["deferral_rate", "system_error"])
def test_a_wide_tolerance_changes_nothing_and_costs_nothing(constraint):
    case = make_case(n_experts=2)
    policy = FairPolicy(constraint, tolerance=1.0, groups="group").fit(**case)
    np.testing.assert_array_equal(policy.thresholds_, [0.0, 0.0])
    np.testing.assert_array_equal(
        policy.route(case["score"], cost=case["cost"], X=case["X"]),
        CostPolicy().route(case["score"]),
    )
    assert policy.gap_ == policy.gap_before_ > 0
    assert policy.accuracy_price_ == policy.gain_price_ == 0


def test_the_price_is_what_it_says():
    case = make_case(n_groups=3, seed=3)
    policy = FairPolicy("system_error", tolerance=0.02, groups="group").fit(**case)
    fair = policy.route(case["score"], cost=case["cost"], X=case["X"])
    plain = CostPolicy().route(case["score"])
    answers = np.column_stack([case["y_pred"], case["expert_predictions"]])

    def right(route):
        return (answers[np.arange(len(route)), route] == case["y"]).mean()

    assert policy.accuracy_price_ == pytest.approx(right(plain) - right(fair))
    gain = outcome(case, plain)[1] - outcome(case, fair)[1]
    assert policy.gain_price_ == pytest.approx(gain)
    assert gain > 0


def test_rates_hold_on_new_rows():
    policy = FairPolicy(tolerance=0.01, groups="group").fit(**make_case(8000, seed=0))
    case = make_case(8000, seed=1)
    before = outcome(case, CostPolicy().route(case["score"]))[0]["deferral_rate"]
    after = outcome(case, policy.route(case["score"], X=case["X"]))[0]["deferral_rate"]
    assert np.ptp(before) > 0.2
    # Two sides, each with the sampling error of some 4,000 rows.
    assert np.ptp(after) < 0.01 + 4 * np.sqrt(2 * 2 * 0.25 / 4000)


def test_weights_repeat_rows():
    case = make_case()
    weight = np.random.default_rng(0).integers(0, 3, size=240)
    by_row = ("score", "y", "y_pred", "expert_predictions")
    repeated = {k: np.repeat(case[k], weight, axis=0) for k in by_row}
    frame = case["X"].loc[np.repeat(np.arange(240), weight)]
    for constraint in ("deferral_rate", "system_error"):
        policy = FairPolicy(constraint, groups="group")
        one = policy.fit(**case, sample_weight=weight).report_
        other = policy.fit(**repeated, cost=case["cost"], X=frame).report_
        pd.testing.assert_frame_equal(one, other)


def test_names_and_order_of_groups_do_not_matter():
    case = make_case(seed=2)
    route = FairPolicy(groups="group").fit(**case).route(case["score"], X=case["X"])
    renamed = case["X"].replace({"group": {"a": "z", "b": "c"}})
    policy = FairPolicy(groups=lambda X: X["group"] == "z").fit(**{**case, "X": renamed})
    np.testing.assert_array_equal(policy.route(case["score"], X=renamed), route)
    as_array = np.column_stack([(case["X"]["group"] == "b").astype(float), case["X"]["x"]])
    policy = FairPolicy(groups=0).fit(**{**case, "X": as_array})
    np.testing.assert_array_equal(policy.route(case["score"], X=as_array), route)


def test_small_unknown_and_missing_groups_follow_the_price_alone():
    case = make_case()
    case["X"].loc[0, "group"] = "single"
    case["X"].loc[1, "group"] = None
    with pytest.warns(FairnessWarning, match=r"1 of 3 groups have fewer than 30 .*'single'"):
        policy = FairPolicy(tolerance=0.05, groups="group").fit(**case)
    assert policy.groups_.tolist() == ["a", "b"]
    assert policy.report_["constrained"].tolist() == [True, True, False]
    assert policy.gap_ < policy.gap_before_
    new = pd.DataFrame({"group": ["single", None, "never seen", np.nan]})
    for score in (0.001, -0.001):
        assert policy.route(np.full((4, 1), score), X=new).tolist() == [int(score > 0)] * 4


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ("x", "240 of 240 groups have fewer than 30 rows.*; 0 are"),
        (None, "groups is None, so nothing is constrained"),
        ("site", r"'site', which gives 1 group on the rows of fit, \['here'\]; expected two"),
    ],
)
def test_groups_that_constrain_nothing_are_said(groups, message):
    case = make_case()
    case["X"]["site"] = "here"
    with pytest.warns(FairnessWarning, match=message) as caught:
        policy = FairPolicy(groups=groups).fit(**case)
    assert len(caught) == 1
    assert policy.gap_ == 0
    np.testing.assert_array_equal(
        policy.route(case["score"], X=case["X"]), CostPolicy().route(case["score"])
    )


@pytest.mark.parametrize(("price", "what"), [(-0.1, "every row"), (0.1, "no row")])
def test_equal_only_at_the_extremes_is_said(price, what):
    case = make_case()
    case["score"] = case["score"] + 0.1 - price
    with pytest.warns(FairnessWarning, match=f"With tolerance=0 {what} of the groups is handed"):
        policy = FairPolicy(tolerance=0.0, groups="group").fit(**case)
    assert set(policy.route(case["score"], X=case["X"])) == {int(what == "every row")}
    assert policy.gain_price_ > 0


def test_what_is_out_of_reach_is_said():
    case = make_case(seed=1)
    at_b = case["X"]["group"].to_numpy() == "b"
    case["y_pred"] = np.where(at_b, 1 - case["y"], case["y"])  # always wrong there, never here
    case["expert_predictions"] = np.where(at_b, case["y_pred"], case["y"])[:, None].astype(object)
    with pytest.warns(FairnessWarning, match="the closest leave 1, and are taken"):
        policy = FairPolicy("system_error", groups="group").fit(**case)
    assert policy.gap_ == 1


def test_rows_without_the_answer_they_would_get_do_not_count_as_errors():
    case = make_case()
    case["expert_predictions"][::2] = None
    policy = FairPolicy("system_error", groups="group").fit(**case)
    odd = {k: v[1::2] for k, v in case.items() if k != "cost"}
    seen = FairPolicy("system_error", groups="group").fit(**odd, cost=case["cost"])
    np.testing.assert_allclose(
        policy.report_["system_error_before"], seen.report_["system_error_before"]
    )
    case["expert_predictions"][case["X"]["group"] == "a"] = None
    with pytest.warns(FairnessWarning, match=r"or no answer on record.*'a'"):
        FairPolicy("system_error", groups="group").fit(**case)


def test_bad_groups_are_refused():
    case = make_case()
    with pytest.raises(ValueError, match="groups is 'site', but X has the columns"):
        FairPolicy(groups="site").fit(**case)
    with pytest.raises(ValueError, match="no rows came; expected X"):
        FairPolicy(groups="group").fit(**{**case, "X": None})
    with pytest.raises(ValueError, match=r"labels of shape \(3,\); expected \(240,\)"):
        FairPolicy(groups=lambda X: [1, 2, 3]).fit(**case)
    policy = FairPolicy(groups="group").fit(**case)
    with pytest.raises(ValueError, match="no rows came; expected X"):
        policy.route(case["score"])


def test_pickles():
    case = make_case()
    policy = FairPolicy(groups="group").fit(**case)
    again = pickle.loads(pickle.dumps(policy))
    np.testing.assert_array_equal(
        again.route(case["score"], X=case["X"]), policy.route(case["score"], X=case["X"])
    )


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::skdefer.exceptions.UncalibratedScoreWarning")
@pytest.mark.parametrize("cls", deferral_estimators(), ids=lambda c: c.__name__)
def test_in_every_estimator(cls):
    if "policy" not in cls().get_params():
        pytest.skip("takes no policy of its own")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    X[:, 2] = rng.integers(2, size=400)
    y = (X[:, 0] + np.where(X[:, 2] == 1, 2.0, 0.3) * rng.normal(size=400) > 0).astype(int)
    policy = FairPolicy(tolerance=0.05, groups=2, min_group_size=10)
    clf = make(cls, policy=policy, random_state=0).fit(X, y, expert_predictions=y)
    assert clf.policy_.gap_ <= max(0.05, clf.policy_.gap_before_)
    assert clf.policy_.groups_.tolist() == [0.0, 1.0]
    assert clf.predict_route(X).shape == (400,)


def test_other_prices_make_the_thresholds_stale():
    case = make_case()
    X = case["X"].assign(group=(case["X"]["group"] == "b").astype(int))
    clf = DeferralClassifier(LogisticRegression(), policy=FairPolicy(groups="group"), cost=0.1)
    clf.fit(X, case["y"], expert_predictions=case["expert_predictions"])
    clf.predict_route(X)
    with pytest.warns(StaleThresholdWarning):
        clf.set_params(cost=0.2).predict_route(X)
