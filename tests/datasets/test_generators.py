"""The made data are what their truth says they are."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from skdefer.datasets import make_deferral_classification

TYPES = ("difficulty", "class", "region", "constant")


def right(bunch):
    return bunch.expert_predictions.to_numpy() == bunch.target[:, None]


@settings(max_examples=30, deadline=None)
@given(
    n_samples=st.integers(1, 40),
    n_features=st.integers(1, 5),
    n_classes=st.integers(2, 5),
    n_experts=st.integers(1, 4),
    expert_type=st.sampled_from(TYPES),
    mean_accuracy=st.floats(0, 1),
    complementarity=st.floats(-20, 20),
    shared=st.floats(0, 1),
    missing_rate=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_shapes_and_probabilities_always_hold(
    n_samples, n_features, n_classes, n_experts, seed, missing_rate, **options
):
    made = make_deferral_classification(
        n_samples,
        n_features,
        n_classes,
        n_experts,
        missing_rate=missing_rate,
        random_state=seed,
        **options,
    )
    assert made.data.shape == (n_samples, n_features)
    assert made.posterior.shape == (n_samples, n_classes)
    np.testing.assert_allclose(made.posterior.sum(axis=1), 1)
    assert made.expert_predictions.shape == made.expert_accuracy.shape == (n_samples, n_experts)
    assert (made.expert_accuracy >= -1e-12).all()
    assert (made.expert_accuracy <= 1 + 1e-12).all()
    answers = made.expert_predictions.to_numpy(dtype=float)
    assert np.isin(answers[~np.isnan(answers)], np.arange(n_classes)).all()
    assert missing_rate > 0 or not np.isnan(answers).any()


@pytest.mark.parametrize("expert_type", TYPES)
def test_experts_are_right_as_often_as_the_truth_says(expert_type):
    made = make_deferral_classification(
        40_000, expert_type=expert_type, mean_accuracy=[0.6, 0.9], random_state=0
    )
    np.testing.assert_allclose(right(made).mean(axis=0), [0.6, 0.9], atol=0.01)
    np.testing.assert_allclose(made.expert_accuracy.mean(axis=0), [0.6, 0.9], atol=0.01)
    for j in range(2):  # calibrated where the stated accuracy is low, middling and high
        order = np.argsort(made.expert_accuracy[:, j], kind="stable").reshape(10, -1)
        stated = made.expert_accuracy[:, j][order].mean(axis=1)
        found = right(made)[:, j][order].mean(axis=1)
        np.testing.assert_allclose(found, stated, atol=4 * np.sqrt(0.25 / 4000))


def test_posterior_is_that_of_the_data():
    made = make_deferral_classification(40_000, weights=[3, 2, 1], random_state=0)
    order = np.argsort(made.posterior[:, 0], kind="stable").reshape(20, -1)
    found = (made.target == 0)[order].mean(axis=1)
    np.testing.assert_allclose(found, made.posterior[:, 0][order].mean(axis=1), atol=0.045)
    np.testing.assert_allclose(np.bincount(made.target) / 40_000, [1 / 2, 1 / 3, 1 / 6], atol=0.01)
    # The classes are Gaussian with equal covariance: a logistic regression is well specified.
    model = LogisticRegression(C=1e3, max_iter=1000).fit(made.data, made.target)
    assert np.abs(model.predict_proba(made.data) - made.posterior).mean() < 0.01


def test_no_route_beats_the_best_one():
    made = make_deferral_classification(20_000, expert_type="region", random_state=0)
    model = made.posterior.argmax(axis=1) == made.target
    correct = np.column_stack([model, right(made)])
    best = correct[np.arange(len(model)), made.bayes_route].mean()
    assert best > max(correct.mean(axis=0)) + 0.03
    assert best == pytest.approx(1 - made.expected_loss.min(axis=1).mean(), abs=0.01)


def test_complementarity_turns_experts_from_partners_to_twins_of_the_model():
    gains = []
    for complementarity in (-6.0, 0.0, 6.0):
        made = make_deferral_classification(
            5000, mean_accuracy=0.75, complementarity=complementarity, random_state=0
        )
        system = 1 - made.expected_loss.min(axis=1).mean()
        gains.append(system - (1 - made.expected_loss.mean(axis=0)).max())
    assert gains[0] < gains[1] < gains[2]


def test_class_experts_know_their_class():
    made = make_deferral_classification(
        20_000, n_experts=3, expert_type="class", mean_accuracy=0.6, complementarity=6.0,
        random_state=0,
    )  # fmt: skip
    by_class = np.array([right(made)[made.target == k].mean(axis=0) for k in range(3)])
    assert by_class.argmax(axis=0).tolist() == [0, 1, 2]
    assert np.diag(by_class).min() > 0.95


def test_same_seed_same_data_whatever_the_experts():
    one = make_deferral_classification(n_experts=1, random_state=3)
    other = make_deferral_classification(
        n_experts=3, expert_type=["class", "region", "constant"], missing_rate=0.5, random_state=3
    )
    np.testing.assert_array_equal(one.data, other.data)
    np.testing.assert_array_equal(one.target, other.target)
    full = make_deferral_classification(random_state=3).expert_predictions
    part = make_deferral_classification(random_state=3, missing_rate=0.5).expert_predictions
    assert part.isna().to_numpy().mean() == pytest.approx(0.5, abs=0.05)
    assert ((part == full) | part.isna()).to_numpy().all()
    pd.testing.assert_frame_equal(
        full, make_deferral_classification(random_state=3).expert_predictions
    )


def test_shared_luck_correlates_errors_and_leaves_accuracies():
    correlations = []
    for shared in (0.0, 0.5, 1.0):
        made = make_deferral_classification(
            20_000, expert_type="constant", shared=shared, random_state=0
        )
        correlations.append(np.corrcoef(right(made).T)[0, 1])
        np.testing.assert_allclose(right(made).mean(axis=0), 0.8, atol=0.015)
    np.testing.assert_allclose(correlations, [0, 0.5, 1], atol=0.03)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_samples": 0}, "n_samples"),
        ({"n_classes": 1}, "n_classes"),
        ({"n_experts": 0}, "n_experts"),
        ({"expert_type": "oracle"}, "expert_type is 'oracle'; expected one of"),
        ({"expert_type": ["class"]}, "names 1 kinds for 2 experts"),
        ({"mean_accuracy": 1.2}, "mean_accuracy is 1.2; expected a finite number within"),
        ({"mean_accuracy": [0.1, 0.2, 0.3]}, "one for each of 2 experts"),
        ({"complementarity": np.nan}, "complementarity is nan"),
        ({"shared": -1}, "shared is -1"),
        ({"missing_rate": "half"}, "missing_rate is 'half'"),
        ({"weights": [1, 2]}, "expected 3 finite numbers above 0"),
    ],
    ids=str,
)
def test_bad_parameters_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_deferral_classification(**options)
