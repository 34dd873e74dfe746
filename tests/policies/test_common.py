"""The contract of every policy that the package exports; a new one is found by discovery."""

import inspect
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils._param_validation import StrOptions

import skdefer.policies
from skdefer.policies import BasePolicy


def variants():
    """Each policy with its defaults, and with each option of each parameter that has options."""
    for name in skdefer.policies.__all__:
        cls = getattr(skdefer.policies, name)
        if not inspect.isclass(cls) or not issubclass(cls, BasePolicy) or name.startswith("Base"):
            continue
        yield pytest.param(cls(), id=name)
        for parameter, allowed in cls._parameter_constraints.items():
            for constraint in allowed:
                if isinstance(constraint, StrOptions):
                    for option in sorted(constraint.options):
                        policy = cls(**{parameter: option})
                        yield pytest.param(policy, id=f"{name}-{parameter}={option}")


pytestmark = [
    pytest.mark.parametrize("policy", list(variants())),
    pytest.mark.filterwarnings("ignore:groups is None, so nothing is constrained"),  # FairPolicy()
]


def make_case(n_experts=2, n_rows=60, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(3, size=n_rows)
    answers = np.where(rng.random((n_rows, n_experts)) < 0.8, y[:, None], 0).astype(object)
    answers[rng.random((n_rows, n_experts)) < 0.1] = None
    return {
        "score": rng.normal(size=(n_rows, n_experts)),
        "y": y,
        "y_pred": np.where(rng.random(n_rows) < 0.6, y, 1),
        "expert_predictions": answers,
        "cost": np.full(n_experts, 0.1),
        "capacity": [None] * n_experts,
        "X": rng.normal(size=(n_rows, 2)),
        "sample_weight": rng.random(n_rows),
    }


def fitted(policy, case=None):
    return clone(policy).fit(**(case or make_case()))


def route_of(policy, case, rows=slice(None)):
    return policy.route(case["score"][rows], cost=case["cost"], X=case["X"][rows])


@pytest.mark.parametrize("n_experts", [1, 3])
def test_one_route_per_row(policy, n_experts):
    case = make_case(n_experts)
    policy = fitted(policy, case)
    assert isinstance(policy, BasePolicy)
    route = route_of(policy, case)
    assert route.shape == (60,)
    assert route.dtype.kind == "i"
    assert set(route) <= set(range(n_experts + 1))
    np.testing.assert_array_equal(route, policy.route(case["score"].tolist()))


@pytest.mark.parametrize("n_experts", [1, 3])
def test_the_panel_goes_with_the_route(policy, n_experts):
    case = make_case(n_experts)
    policy = fitted(policy, case)
    panel = policy.panel(case["score"], cost=case["cost"], X=case["X"])
    route = route_of(policy, case)
    assert panel.shape == (60, n_experts)
    assert panel.dtype == bool
    np.testing.assert_array_equal(panel.any(axis=1), route > 0)
    best = np.where(panel, case["score"], -np.inf).argmax(axis=1) + 1
    np.testing.assert_array_equal(route, np.where(panel.any(axis=1), best, 0))
    weight = policy.vote_weights(np.full((60, n_experts), 0.8), 3)
    assert weight is None or weight.shape == (60, n_experts)


def test_it_says_what_it_is(policy):
    for fact in ("learns", "batch_dependent", "holds_expert_state", "holds_capacity"):
        assert isinstance(getattr(policy, fact), bool), fact
    if policy.batch_dependent:
        assert "batch_dependent" in inspect.getdoc(type(policy))


def test_rows_are_routed_alone_unless_it_says_otherwise(policy):
    case = make_case(seed=1)
    policy = fitted(policy)
    if policy.batch_dependent:
        return
    whole = route_of(policy, case)
    assert whole.any(), "the case should call for some hand-overs"
    alone = [int(route_of(policy, case, [i])[0]) for i in range(60)]
    assert alone == whole.tolist()


def test_order_of_rows_does_not_matter(policy):
    case = make_case(seed=1)
    policy = fitted(policy)
    order = np.random.default_rng(0).permutation(60)
    np.testing.assert_array_equal(route_of(policy, case, order), route_of(policy, case)[order])


def test_what_gains_nothing_stays_with_the_model(policy):
    policy = fitted(policy)
    assert not policy.route(np.zeros((4, 2)), cost=np.zeros(2), X=np.zeros((4, 2))).any()
    assert not policy.route(-np.ones((4, 2)), cost=np.zeros(2), X=np.zeros((4, 2))).any()


def test_an_expert_who_is_away_gets_nothing(policy):
    case = make_case()
    case["score"][:, 0] = -np.inf
    route = route_of(fitted(policy, case), case)
    assert 1 not in route
    case["score"][:] = -np.inf
    assert not route_of(fitted(policy, case), case).any()


def test_weights_repeat_rows(policy):
    case = make_case()
    weight = np.random.default_rng(0).integers(0, 3, size=60)
    by_row = ("score", "y", "y_pred", "expert_predictions", "X")
    repeated = {k: np.repeat(v, weight, axis=0) if k in by_row else v for k, v in case.items()}
    one = fitted(policy, {**case, "sample_weight": weight})
    other = fitted(policy, {**repeated, "sample_weight": None})
    np.testing.assert_array_equal(route_of(one, case), route_of(other, case))


def test_clone_and_pickle(policy):
    case = make_case()
    policy = fitted(policy, case)
    assert clone(policy).get_params() == policy.get_params()
    copy = pickle.loads(pickle.dumps(policy))
    np.testing.assert_array_equal(route_of(copy, case), route_of(policy, case))
    again = fitted(policy, case)
    np.testing.assert_array_equal(route_of(again, case), route_of(policy, case))


def test_fit_returns_itself_and_leaves_parameters_and_inputs_alone(policy):
    case, untouched = make_case(), make_case()
    policy = clone(policy)
    before = policy.get_params()
    assert policy.fit(**case) is policy
    route_of(policy, case)
    assert policy.get_params() == before
    for name, value in untouched.items():
        np.testing.assert_array_equal(case[name], value, err_msg=name)


@pytest.mark.parametrize("score", [np.full((60, 2), np.nan), np.zeros(60), np.zeros((60, 0))])
def test_bad_scores_are_refused(policy, score):
    policy = fitted(policy)
    with pytest.raises(ValueError, match="score has .*; expected"):
        policy.route(score)
    with pytest.raises(ValueError, match="score has .*; expected"):
        clone(policy).fit(**{**make_case(), "score": score})
