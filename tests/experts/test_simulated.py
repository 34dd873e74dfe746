"""Simulated experts have the skill that was asked for, and say the same of the same row."""

import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.exceptions import NotFittedError

from skdefer.experts._base import as_expert
from skdefer.experts._simulated import (
    SimulatedExpert,
    draw_answers,
    error_probability,
    simulate_expert_predictions,
)

N = 40_000
TOLERANCE = 4 * np.sqrt(0.25 / (N / 4))  # four standard errors of one class of four
KINDS = ("oracle", "confusion", "features", "prototypes")
CONFUSION = np.array([[0.7, 0.1, 0.2, 0], [0, 1, 0, 0], [0.5, 0.5, 0, 0], [0.1, 0.2, 0.3, 0.4]])


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(N, 6)), rng.integers(4, size=N)


def skill_of(kind):
    return {"confusion": CONFUSION} if kind == "confusion" else {}


def accuracy_by_class(answers, y):
    return np.array([(answers[y == k] == k).mean(axis=0) for k in range(4)])


def test_oracle_accuracy_is_exact_inside_and_outside(rows):
    _, y = rows
    answers = simulate_expert_predictions(
        y, n_experts=2, oracle_classes=[[0], [1, 2]], p_in=0.9, p_out=[0.2, 0.6], random_state=0
    )
    outside = [0.2 + 0.8 / 4, 0.6 + 0.4 / 4]
    expected = np.array([outside, outside, outside, outside])
    expected[0, 0] = expected[1, 1] = expected[2, 1] = 0.9
    np.testing.assert_allclose(accuracy_by_class(answers, y), expected, atol=TOLERANCE)
    wrong = answers[:, 0][(answers[:, 0] != y) & (y == 1)]  # uniform over the other classes
    np.testing.assert_allclose([np.mean(wrong == k) for k in (0, 2, 3)], 1 / 3, atol=0.03)


def test_random_oracles_share_out_the_classes_before_any_comes_twice(rows):
    _, y = rows
    answers = simulate_expert_predictions(y, n_experts=4, p_out=0.0, random_state=1)
    knows = accuracy_by_class(answers, y) == 1
    assert knows.sum(axis=0).tolist() == knows.sum(axis=1).tolist() == [1] * 4


def test_confusion_matrix_is_reproduced(rows):
    _, y = rows
    answers = simulate_expert_predictions(y, kind="confusion", confusion=CONFUSION, random_state=0)
    found = np.array([[(answers[y == k] == a).mean() for a in range(4)] for k in range(4)])
    np.testing.assert_allclose(found, CONFUSION, atol=TOLERANCE)
    assert (found[CONFUSION == 0] == 0).all()


@pytest.mark.parametrize("kind", ["features", "prototypes"])
def test_error_rates_are_hit_per_expert(rows, kind):
    X, y = rows
    rates = [0.0, 0.05, 0.3, 1.0]
    answers = simulate_expert_predictions(
        y, X, kind=kind, n_experts=4, error_rate=rates, slope=3.0, random_state=0
    )
    errors = (answers != y[:, None]).mean(axis=0)
    np.testing.assert_allclose(errors, rates, atol=0.01)
    assert errors[0] == 0
    assert errors[3] == 1


def test_errors_follow_the_weights_by_the_stated_formula(rows):
    X, y = rows
    weights = np.array([0, 3.0, 0, 0, -4.0, 0])
    shifted = X * [1, 10, 1, 1, 0.1, 1] + 5  # standardised away
    answers = simulate_expert_predictions(
        y, shifted, kind="features", weights=weights, slope=2.0, error_rate=0.3, random_state=0
    )
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    expected = error_probability((Z @ weights / 5)[:, None], 0.3, 2.0)[:, 0]
    order = np.argsort(expected).reshape(10, -1)
    found = (answers != y)[order].mean(axis=1)
    np.testing.assert_allclose(found, expected[order].mean(axis=1), atol=0.035)
    assert expected.max() - expected.min() > 0.9


def test_random_weights_are_sparse(rows):
    X, y = rows
    answers = simulate_expert_predictions(
        y, X, kind="features", slope=5.0, error_rate=0.5, random_state=0
    )
    correlation = [abs(np.corrcoef(answers != y, column)[0, 1]) for column in X.T]
    assert np.sum(np.array(correlation) > 4 / np.sqrt(N)) == 2  # a third of six


def test_prototypes_make_experts_good_near_what_they_know():
    rng = np.random.default_rng(0)
    X = np.repeat([[0.0], [10.0]], 2000, axis=0) + rng.normal(size=(4000, 1))
    y = rng.integers(2, size=4000)
    answers = simulate_expert_predictions(
        y, X, kind="prototypes", n_prototypes=1, slope=4.0, random_state=0
    )
    near, far = sorted([(answers == y)[:2000].mean(), (answers == y)[2000:].mean()])[::-1]
    assert near > far + 0.2


@pytest.mark.parametrize("kind", KINDS)
def test_shared_difficulty_correlates_errors_and_leaves_accuracies(rows, kind):
    X, y = rows
    rates, correlations = [], []
    for shared in (0.0, 0.5, 1.0):
        answers = simulate_expert_predictions(
            y, X, kind=kind, n_experts=2, shared=shared, random_state=0, **skill_of(kind)
        )
        errors = answers != y[:, None]
        rates.append(errors.mean(axis=0))
        correlations.append(np.corrcoef(errors.T)[0, 1])
    np.testing.assert_allclose(rates[1:], [rates[0]] * 2, atol=TOLERANCE)
    assert correlations[0] < correlations[1] < correlations[2]
    np.testing.assert_allclose(correlations[1], (correlations[0] + correlations[2]) / 2, atol=0.04)


def test_with_all_luck_shared_the_skilled_are_right_whenever_the_unskilled_are(rows):
    X, y = rows
    answers = simulate_expert_predictions(
        y, X, kind="features", n_experts=2, weights=[1, 0, 0, 0, 0, 0], error_rate=[0.1, 0.4],
        shared=1.0, random_state=0,
    )  # fmt: skip
    right = answers == y[:, None]
    assert (right[:, 0] >= right[:, 1]).all()


def test_missing_and_one_expert_per_row(rows):
    _, y = rows
    some = simulate_expert_predictions(y, n_experts=3, missing_rate=0.3, random_state=0)
    assert some.dtype == object
    assert np.mean(some == None) == pytest.approx(0.3, abs=0.01)  # noqa: E711
    one = simulate_expert_predictions(y, n_experts=3, one_per_row=True, random_state=0)
    given_ = one != None  # noqa: E711
    assert (given_.sum(axis=1) == 1).all()
    np.testing.assert_allclose(given_.mean(axis=0), 1 / 3, atol=0.01)


def test_missing_answers_leave_the_others_as_they_were(rows):
    _, y = rows
    full = simulate_expert_predictions(y, n_experts=2, random_state=0)
    some = simulate_expert_predictions(y, n_experts=2, missing_rate=0.5, random_state=0)
    here = some != None  # noqa: E711
    np.testing.assert_array_equal(some[here].astype(int), full[here])


@settings(max_examples=40, deadline=None)
@given(
    labels=st.lists(st.sampled_from(["b", "a", "c"]), min_size=1, max_size=30),
    kind=st.sampled_from(["oracle", "features", "prototypes"]),
    n_experts=st.one_of(st.none(), st.integers(1, 3)),
    seed=st.integers(0, 2**32 - 1),
    shared=st.floats(0, 1),
    missing_rate=st.floats(0, 1),
    one_per_row=st.booleans(),
)
def test_answers_are_labels_or_missing_and_repeat_with_the_seed(labels, kind, n_experts, **options):
    seed = options.pop("seed")
    X = np.random.default_rng(seed).normal(size=(len(labels), 2))
    draws = [
        simulate_expert_predictions(
            labels, X, kind=kind, n_experts=n_experts, random_state=seed, **options
        )
        for _ in range(2)
    ]
    assert draws[0].shape == ((len(labels),) if n_experts is None else (len(labels), n_experts))
    assert set(draws[0].ravel().tolist()) <= {*labels, None}
    np.testing.assert_array_equal(*draws)


def test_labels_keep_their_dtype(rows):
    _, y = rows
    assert simulate_expert_predictions(y, random_state=0).dtype == y.dtype
    words = np.array(["no", "yes"])[y % 2]
    assert simulate_expert_predictions(words, random_state=0).dtype == words.dtype


def test_classes_may_exceed_those_of_y():
    answers = simulate_expert_predictions(
        np.zeros(3000, dtype=int), classes=[0, 1, 2], oracle_classes=[1], p_out=0.0, random_state=0
    )
    np.testing.assert_allclose(np.bincount(answers) / 3000, 1 / 3, atol=0.04)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"kind": "human"}, ValueError, "kind is 'human'; expected one of"),
        ({"error_rate": 0.1}, TypeError, r"kind 'oracle' has no \['error_rate'\]; expected some"),
        ({"p_in": 1.5}, ValueError, r"p_in is 1.5; expected a number in \[0, 1\]"),
        ({"p_out": "low"}, ValueError, "p_out is 'low'"),
        ({"shared": np.nan}, ValueError, "shared is nan"),
        ({"missing_rate": [0.1, 0.2]}, ValueError, "missing_rate is"),
        ({"n_experts": 0}, ValueError, "n_experts"),
        ({"oracle_classes": [9]}, ValueError, r"expected labels out of \[0, 1\]"),
        ({"oracle_classes": 1}, ValueError, "oracle_classes is 1; expected labels"),
        ({"oracle_classes": [0, 1], "n_experts": 2}, ValueError, "one sequence for each of 2"),
        ({"oracle_classes": [[0]], "n_experts": 2}, ValueError, "one sequence for each of 2"),
        ({"p_in": [1, 1, 1], "n_experts": 2}, ValueError, "p_in is"),
        ({"kind": "confusion"}, ValueError, r"expected P\(answer \| truth\)"),
        ({"kind": "confusion", "confusion": [[1, 1], [0, 1]]}, ValueError, "sums to 1"),
        ({"kind": "confusion", "confusion": [[2, -1], [0, 1]]}, ValueError, "no negative"),
        ({"kind": "confusion", "confusion": np.eye(3)}, ValueError, r"shape \(3, 3\)"),
        ({"kind": "features", "slope": np.inf}, ValueError, "slope is inf"),
        ({"kind": "features", "weights": [1, 2, 3]}, ValueError, r"shape \(3,\)"),
        ({"kind": "features", "X": None}, ValueError, "needs X"),
        (
            {"kind": "features", "X": ["a b", "c"] * 2},
            ValueError,
            r"TextStatistics\(\)\.fit_transform",
        ),
        ({"kind": "features", "X": [["a"], ["c"]] * 2}, ValueError, "X has texts"),
        ({"kind": "features", "X": [[np.nan], [1.0]] * 2}, ValueError, "contains NaN"),
        ({"kind": "prototypes", "n_prototypes": 0}, ValueError, "n_prototypes"),
        ({"X": np.zeros((3, 2))}, ValueError, "inconsistent numbers of samples"),
        ({"y": [0, None]}, ValueError, "1 have no label"),
        ({"y": []}, ValueError, "y has 0 rows"),
        ({"classes": [0, 5]}, ValueError, r"none of \[0, 5\]"),
    ],
    ids=str,
)
def test_bad_parameters_are_refused(options, error, message):
    options = {"y": [0, 1, 1, 0], "X": np.zeros((4, 2)), **options}
    if len(options["y"]) != 4:
        del options["X"]
    with pytest.raises(error, match=message):
        simulate_expert_predictions(**options)


def test_error_probability_hits_weighted_means():
    signal = np.array([[0.0], [1.0], [5.0]])
    mass = np.array([0.5, 0.3, 0.2])
    p = error_probability(signal, 0.25, 30.0, mass)[:, 0]
    assert p @ mass == pytest.approx(0.25, abs=1e-9)
    assert (np.diff(p) >= 0).all()


def test_drawing_needs_no_wrong_class_where_there_is_none():
    codes = draw_answers(np.zeros(3, int), np.ones((3, 1)), *np.full((2, 3, 1), 0.999), 1)
    assert codes.tolist() == [[0], [0], [0]]


# The expert who can be asked


@pytest.mark.parametrize("kind", KINDS)
def test_an_expert_has_the_skill_that_was_asked_for(rows, kind):
    X, y = rows
    expert = SimulatedExpert(kind, **skill_of(kind)).fit(X, y)
    answers = expert.answers(X).astype(int)
    if kind in ("features", "prototypes"):
        assert np.mean(answers != y) == pytest.approx(0.2, abs=0.01)
    else:
        found = accuracy_by_class(answers, y)
        expected = np.diag(CONFUSION) if kind == "confusion" else [0.4, 0.4, 0.4, 1.0]
        np.testing.assert_allclose(np.sort(found), np.sort(expected), atol=TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_row_gets_the_same_answer_in_any_batch(rows, kind):
    X, y = rows[0][:300], rows[1][:300]
    expert = SimulatedExpert(kind, missing_rate=0.2, shared=0.5, **skill_of(kind)).fit(X, y)
    answers = expert.answers(X)
    assert answers.dtype == object
    assert (answers == None).mean() == pytest.approx(0.2, abs=0.1)  # noqa: E711
    picked = np.random.default_rng(0).integers(300, size=500)
    np.testing.assert_array_equal(expert.answers(X[picked]), answers[picked])
    assert [expert.answers(X[i : i + 1])[0] for i in range(9)] == answers[:9].tolist()


def test_rows_it_was_not_shown_and_empty_batches(rows):
    X, y = rows[0][:50], rows[1][:50]
    expert = SimulatedExpert().fit(X, y)
    assert expert.answers(X + 0.5).tolist() == [None] * 50
    assert expert.answers(X[:0]).shape == (0,)


@pytest.mark.parametrize("kind", ["oracle", "confusion"])
def test_more_rows_leave_old_answers_as_they_were(rows, kind):
    X, y = rows[0][:400], rows[1][:400]
    options = {"missing_rate": 0.2, "random_state": 5, "classes": range(4), **skill_of(kind)}
    small = SimulatedExpert(kind, **options).fit(X[:100], y[:100])
    large = SimulatedExpert(kind, **options).fit(X[::-1], y[::-1])
    np.testing.assert_array_equal(small.answers(X[:100]), large.answers(X[:100]))


def test_equal_rows_are_one_row_and_its_first_label_counts():
    X = np.array([["fever"], ["fever"], ["cough"]], dtype=object)
    expert = SimulatedExpert(oracle_classes=["flu", "cold"]).fit(X, ["flu", "cold", "cold"])
    assert expert.answers(X).tolist() == ["flu", "flu", "cold"]


@pytest.mark.parametrize(
    "container",
    [
        lambda X: X,
        lambda X: X.astype(np.float32).astype(float),
        sparse.csr_matrix,
        pd.DataFrame,
        lambda X: [f"text {row}" for row in X.tolist()],
    ],
    ids=["array", "float32", "sparse", "frame", "text"],
)
def test_any_container_of_rows(rows, container):
    X, y = container(rows[0][:60]), rows[1][:60]
    expert = SimulatedExpert(p_out=0.5).fit(X, y)
    answers = expert.answers(X)
    assert (answers == y).mean() > 0.4
    first = X.iloc[:7] if hasattr(X, "iloc") else X[:7]
    np.testing.assert_array_equal(expert.answers(first), answers[:7])


def test_experts_of_one_shared_seed_err_on_the_same_rows(rows):
    X, y = rows[0][:8000], rows[1][:8000]

    def errors(seed, **options):
        expert = SimulatedExpert(
            "features", weights=np.zeros(6), error_rate=0.3, random_state=seed, **options
        )
        return expert.fit(X, y).answers(X) != y

    assert abs(np.corrcoef(errors(1), errors(2))[0, 1]) < 0.05
    together = np.corrcoef(errors(1, shared=0.6), errors(2, shared=0.6))[0, 1]
    assert together == pytest.approx(0.6, abs=0.05)
    apart = np.corrcoef(errors(1, shared=0.6), errors(2, shared=0.6, shared_seed=9))[0, 1]
    assert abs(apart) < 0.05


def test_another_process_gives_the_same_answers():
    code = (
        "import numpy as np; from skdefer.experts._simulated import SimulatedExpert;"
        "X = np.arange(40.0).reshape(20, 2); y = np.arange(20) % 3;"
        "print(SimulatedExpert('features', error_rate=0.5).fit(X, y).answers(X).tolist())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    X, y = np.arange(40.0).reshape(20, 2), np.arange(20) % 3
    here = SimulatedExpert("features", error_rate=0.5).fit(X, y).answers(X).tolist()
    assert out.stdout.strip() == str(here)


def test_it_is_an_expert_like_any_other(rows):
    X, y = rows[0][:50], rows[1][:50]
    expert = SimulatedExpert(name="sim", cost=0.2, capacity=3, max_queries=9)
    assert as_expert(expert) is expert
    assert (expert.name, expert.cost, expert.capacity, expert.max_queries) == ("sim", 0.2, 3, 9)
    assert expert.can_answer
    assert expert.cache_key() is None
    with pytest.raises(NotFittedError, match=r"Call fit\(X, y\)"):
        expert.answers(X)
    expert.fit(X, y)
    assert expert.cache_key() == SimulatedExpert().fit(X, y).cache_key()
    assert expert.cache_key() != SimulatedExpert(random_state=1).fit(X, y).cache_key()
    assert SimulatedExpert(version="2").cache_key() == "2"
    copy = pickle.loads(pickle.dumps(expert))
    np.testing.assert_array_equal(copy.answers(X), expert.answers(X))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"kind": "human"}, ValueError, "kind is 'human'"),
        ({"random_state": None}, TypeError, "random_state"),
        ({"random_state": -1}, ValueError, "random_state"),
        ({"shared_seed": 0.5}, TypeError, "shared_seed"),
        ({"shared": 2}, ValueError, "shared is 2"),
        ({"error_rate": 0.2}, TypeError, "error_rate"),
        ({"cost": -1}, ValueError, "cost of an expert is -1"),
    ],
    ids=str,
)
def test_bad_parameters_of_an_expert_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        SimulatedExpert(**options)


def test_lengths_of_rows_and_labels_must_agree(rows):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        SimulatedExpert().fit(rows[0][:5], rows[1][:4])
