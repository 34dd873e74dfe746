"""Six numbers of a row and an expert, against loops and under other names of classes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdefer.experts import ExpertProfile
from skdefer.experts._six_numbers import SIX_NUMBERS, expertise_class, six_numbers


def profile_of(rng, n_classes, most=4):
    """Moments of a small context, in which means often tie."""
    n = rng.integers(0, most, size=n_classes)
    right = rng.binomial(n, 0.6)
    a, b = 1.0 + right, 1.0 + n - right
    return a / (a + b), a * b / ((a + b) ** 2 * (a + b + 1.0))


def loop(proba, mean, variance):
    """One row at a time, by the words of the definition."""
    found = []
    for p in proba:
        predicted = max(range(len(p)), key=lambda k: (p[k], -k))
        best = max(range(len(p)), key=lambda k: (mean[k], p[k], -variance[k], -k))
        found.append(
            [p[predicted], mean[predicted], variance[predicted]]
            + [mean[best], variance[best], p[best]]
        )
    return np.array(found)


@pytest.mark.parametrize("n_classes", [1, 2, 3, 7])
@pytest.mark.parametrize("coarse", [False, True], ids=["distinct", "equal probabilities"])
def test_the_numbers_are_those_of_a_loop(n_classes, coarse):
    rng = np.random.default_rng(n_classes)
    for _ in range(30):
        proba = rng.dirichlet(np.ones(n_classes), size=20)
        if coarse:  # as of a small forest
            proba = rng.multinomial(3, np.full(n_classes, 1 / n_classes), size=20) / 3
        mean, variance = profile_of(rng, n_classes)
        np.testing.assert_array_equal(
            six_numbers(proba, mean, variance), loop(proba, mean, variance)
        )
    assert six_numbers(proba, mean, variance).shape == (20, len(SIX_NUMBERS))


def test_several_experts_at_once():
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(4), size=15)
    mean, variance = (np.array(m) for m in zip(*[profile_of(rng, 4) for _ in range(3)]))
    together = six_numbers(proba, mean, variance)
    assert together.shape == (3, 15, 6)
    for j in range(3):
        np.testing.assert_array_equal(together[j], six_numbers(proba, mean[j], variance[j]))
        np.testing.assert_array_equal(
            expertise_class(mean, proba, variance)[j], expertise_class(mean[j], proba, variance[j])
        )
    assert six_numbers(proba, np.empty((0, 4)), np.empty((0, 4))).shape == (0, 15, 6)
    assert six_numbers(proba[:0], mean, variance).shape == (3, 0, 6)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), n_classes=st.integers(2, 6))
def test_renaming_classes_changes_nothing(seed, n_classes):
    """The columns of everything permuted: the numbers stay, the expertise class moves along."""
    rng = np.random.default_rng(seed)
    proba = rng.dirichlet(np.ones(n_classes), size=25)
    mean, variance = profile_of(rng, n_classes, most=3)
    order = rng.permutation(n_classes)
    renamed = proba[:, order], mean[order], variance[order]
    np.testing.assert_array_equal(six_numbers(proba, mean, variance), six_numbers(*renamed))
    moved = order[expertise_class(renamed[1], renamed[0], renamed[2])]
    np.testing.assert_array_equal(moved, expertise_class(mean, proba, variance))


def test_of_tied_classes_the_surest_counts():
    """Two of three right and four of six: the same mean, from more answers."""
    a, b = np.array([2.0, 4.0, 4.0]), np.array([1.0, 2.0, 2.0])
    mean, variance = a / (a + b), a * b / ((a + b) ** 2 * (a + b + 1))
    assert np.ptp(mean) < 1e-15
    assert expertise_class(mean, [[0.4, 0.4, 0.2]], variance).tolist() == [1]
    assert expertise_class(mean, [[0.2, 0.2, 0.6]], variance).tolist() == [2]
    assert expertise_class(mean, [[0.4, 0.4, 0.2]]).tolist() == [0]


def test_rounding_does_not_break_a_tie():
    mean = np.array([0.7, 0.1 + 0.2 + 0.4, 0.5])
    assert mean[0] != mean[1]
    for row, wanted in (([0.6, 0.3, 0.1], 0), ([0.3, 0.6, 0.1], 1)):
        assert expertise_class(mean, [row]).tolist() == [wanted]


def test_a_profile_gives_its_moments():
    y = np.repeat(["a", "b"], 4)
    profile = ExpertProfile().fit(["a", "a", "a", "a", "b", "a", "a", "a"], y)
    numbers = six_numbers([[0.2, 0.8]], profile.mean_, profile.variance_)[0]
    np.testing.assert_allclose(numbers, [0.8, 2 / 6, 2 * 4 / 36 / 7, 5 / 6, 5 / 36 / 7, 0.2])


@pytest.mark.parametrize(
    ("proba", "mean", "variance", "message"),
    [
        ([0.5, 0.5], [0.5, 0.5], [0.1, 0.1], r"proba \(2,\); expected"),
        ([[0.5, 0.5]], [0.5, 0.5, 0.5], [0.1] * 3, r"mean has shape \(3,\) and proba \(1, 2\)"),
        ([[0.5, 0.5]], [[[0.5, 0.5]]], [[[0.1, 0.1]]], r"mean has shape \(1, 1, 2\)"),
        ([[0.5, 0.5]], [0.5, 0.5], [0.1], r"variance has shape \(1,\) and mean \(2,\)"),
    ],
)
def test_shapes_that_do_not_match_are_refused(proba, mean, variance, message):
    with pytest.raises(ValueError, match=message):
        six_numbers(proba, mean, variance)
