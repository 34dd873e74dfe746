"""The mixture over rows: its likelihood, by brute force, and what it finds again."""

import itertools

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from skdefer.experts._row_types import _STRENGTH, _belief, fit_row_types
from skdefer.utils._validation import MISSING, OUT_OF_LABELS


def planted(n_rows=3000, n_experts=4, kept=0.6, seed=0):
    """Easy rows, on which all are right on .95, and hard ones (.2), the more of class 0."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(3, size=n_rows)
    hard = rng.uniform(size=n_rows) < np.array([0.5, 0.4, 0.3])[truth]
    right = rng.uniform(size=(n_rows, n_experts)) < np.where(hard, 0.2, 0.95)[:, None]
    said = np.where(right, truth[:, None], (truth[:, None] + 1) % 3)
    return truth, np.where(rng.uniform(size=said.shape) < kept, said, MISSING), right


def fit(truth, said, weight=None, *, n_types=2, **options):
    weight = np.ones(len(truth)) if weight is None else weight
    return fit_row_types(truth, said, weight, n_classes=3, n_types=n_types, **options)


def brute_force(fitted, truth, said, weight):
    """Penalised likelihood, summed over types and whatever missing answers could have been."""
    n_types, n_experts, n_classes, n_answers = fitted.theta.shape
    counts = np.zeros((n_experts, n_classes, n_answers))
    total = np.log(fitted.share).sum()
    for y, row, w in zip(truth, np.where(said == OUT_OF_LABELS, n_classes, said), weight):
        choices = [range(n_answers) if a == MISSING else [a] for a in row]
        chance = 0.0
        for full, z in itertools.product(itertools.product(*choices), range(n_types)):
            factors = [fitted.theta[z, j, y, a] for j, a in enumerate(full)]
            chance += fitted.share[y, z] * np.prod(factors)
        total += w * np.log(chance)
        for j in np.flatnonzero(row != MISSING):
            counts[j, y, row[j]] += w
    return total + (_STRENGTH * _belief(counts) * np.log(fitted.theta)).sum()


@pytest.mark.parametrize("n_types", [1, 2, 3])
def test_the_objective_is_the_likelihood_of_what_is_on_record(n_types):
    truth, said, _ = planted(n_rows=60, n_experts=3, kept=0.5)
    said[:3, 0] = OUT_OF_LABELS
    weight = np.linspace(0.0, 2.0, 60)
    fitted = fit(truth, said, weight, n_types=n_types)
    expected = brute_force(fitted, truth, said, weight)
    assert fitted.objective[-1] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_the_objective_never_falls(seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(3, size=200)
    said = rng.integers(OUT_OF_LABELS, 3, size=(200, 5))
    fitted = fit(truth, said, rng.uniform(size=200), n_types=1 + seed % 4, max_iter=2000)
    assert len(fitted.objective) > 1
    assert (np.diff(fitted.objective) >= -1e-9).all()


def test_it_stops_where_no_step_gets_higher():
    truth, said, _ = planted(n_rows=60)
    fitted = fit(truth, said)
    best = brute_force(fitted, truth, said, np.ones(60))
    rng = np.random.default_rng(0)
    for _ in range(20):
        moved = fitted.theta * np.exp(rng.normal(scale=0.05, size=fitted.theta.shape))
        moved /= moved.sum(axis=-1, keepdims=True)
        assert brute_force(fitted._replace(theta=moved), truth, said, np.ones(60)) < best


def test_too_few_steps_are_told():
    truth, said, _ = planted(n_rows=300)
    with pytest.warns(ConvergenceWarning, match="not converged after 2 steps"):
        fit(truth, said, max_iter=2)


def test_planted_types_are_found():
    truth, said, _ = planted()
    fitted = fit(truth, said)
    classes = np.arange(3)
    accuracy = fitted.confusion[:, :, classes, classes]
    np.testing.assert_allclose(accuracy[0], 0.2, atol=0.1)
    np.testing.assert_allclose(accuracy[1], 0.95, atol=0.05)
    np.testing.assert_allclose(fitted.share[:, 0], [0.5, 0.4, 0.3], atol=0.05)
    np.testing.assert_allclose(fitted.membership.sum(axis=1), 1.0)


def test_what_others_said_tells_more_than_the_class():
    truth, said, right = planted(kept=0.5)
    gaps = said == MISSING

    def log_loss(n_types):
        fitted = fit(truth, said, n_types=n_types)
        by_type = fitted.confusion[:, :, truth, truth]
        p = np.einsum("nt,tjn->nj", fitted.membership, by_type)[gaps]
        return -np.log(np.where(right[gaps], p, 1 - p)).mean()

    assert log_loss(2) < log_loss(1) - 0.1


def test_one_type_is_the_class_alone():
    truth, said, _ = planted(n_rows=200)
    fitted = fit(truth, said, n_types=1)
    np.testing.assert_array_equal(fitted.membership, 1.0)
    counts = np.zeros((4, 3, 4))
    row, expert = np.nonzero(said != MISSING)
    np.add.at(counts, (expert, truth[row], said[row, expert]), 1.0)
    expected = counts + _STRENGTH * _belief(counts)
    expected /= expected.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(fitted.theta[0], expected)


def test_somebody_hardly_known_is_wrong_as_everybody_is():
    truth = np.repeat([0, 1, 2], 20)
    said = np.column_stack([np.roll([0, 1, 2], -1)[truth], np.full(60, MISSING)])
    said[0, 1] = 0
    confusion = fit(truth, said, n_types=1).confusion[0]
    assert confusion[1, 2, 0] > 10 * confusion[1, 2, 1]  # the first calls 2 a 0, never a 1


def test_an_answer_outside_the_classes_is_wrong_in_any_way():
    truth = np.zeros(30, dtype=int)
    said = np.full((30, 1), OUT_OF_LABELS)
    confusion = fit(truth, said, n_types=1).confusion[0, 0, 0]
    assert confusion[0] < 0.1
    assert confusion[1] == pytest.approx(confusion[2])


def test_weights_count_as_copies():
    truth, said, _ = planted(n_rows=80)
    weight = np.random.default_rng(0).integers(3, size=80).astype(float)
    again = np.repeat(np.arange(80), weight.astype(int))
    weighted, copied = fit(truth, said, weight), fit(truth[again], said[again])
    np.testing.assert_allclose(weighted.theta, copied.theta)
    np.testing.assert_allclose(weighted.membership[again], copied.membership)


def test_names_and_orders_are_nothing_to_it():
    truth, said, _ = planted(n_rows=200)
    fitted = fit(truth, said)
    rows, experts = np.random.default_rng(0).permutation(200), [2, 0, 3, 1]
    shuffled = fit(truth[rows], said[rows][:, experts])
    np.testing.assert_allclose(shuffled.confusion, fitted.confusion[:, experts])
    np.testing.assert_allclose(shuffled.membership, fitted.membership[rows])
    other = np.array([2, 0, 1])
    renamed = fit(other[truth], np.where(said == MISSING, MISSING, other[said]))
    old = np.argsort(other)
    np.testing.assert_allclose(renamed.confusion, fitted.confusion[:, :, old][:, :, :, old])
    np.testing.assert_allclose(renamed.membership, fitted.membership)


def test_one_class_has_nothing_to_confuse():
    said = np.array([[0, MISSING], [MISSING, 0]])
    fitted = fit_row_types(np.zeros(2, int), said, np.ones(2), n_classes=1, n_types=2)
    np.testing.assert_allclose(fitted.confusion, 1.0)
