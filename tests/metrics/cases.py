"""Made cases, and references that enumerate instead of computing."""

from itertools import chain, permutations, product

import numpy as np


def make_case(seed, n_rows=None, n_experts=None, missing=True):
    """All that a metric may take, small and full of ties, keyed by parameter name."""
    rng = np.random.default_rng(seed)
    n = n_rows or int(rng.integers(2, 15))
    J = n_experts or int(rng.integers(1, 4))
    K = int(rng.integers(2, 4))
    answers = rng.integers(0, K, (n, J)).astype(object)
    if missing:
        answers[rng.random((n, J)) < 0.2] = None
    answers[rng.random((n, J)) < 0.05] = 9  # no class of anyone
    score = rng.integers(-2, 3, (n, J)).astype(float)
    score[rng.random((n, J)) < 0.05] = rng.choice([-np.inf, np.inf])
    return {
        "y_true": rng.integers(0, K, n),
        "y_pred": rng.integers(0, K, n),
        "expert_predictions": answers,
        "deferral_score": score,
        "route": rng.integers(0, J + 1, n),
        "expected_accuracy": rng.integers(0, 5, (n, J)) / 4,
    }


def orders_of(score):
    """Every order of the rows by falling score."""
    blocks = [np.flatnonzero(score == value) for value in np.unique(score)[::-1]]
    for parts in product(*(permutations(block) for block in blocks)):
        yield list(chain(*parts))


def curve_by_enumeration(y_true, y_pred, expert_predictions, deferral_score):
    """The curve as a mean over all orders of tied rows and all choices of tied experts."""
    n = len(y_true)
    model = y_pred == y_true
    best = deferral_score.max(axis=1)
    tied = [np.flatnonzero(deferral_score[i] == best[i]) for i in range(n)]
    system, right, answered, count = np.zeros(n + 1), np.zeros(n + 1), np.zeros(n + 1), 0
    for order in orders_of(best):
        for experts in product(*tied):
            answers = [expert_predictions[i, experts[i]] for i in range(n)]
            given = np.array([answer is not None for answer in answers])
            hit = np.array([answer == true for answer, true in zip(answers, y_true)])
            together = np.where(given, hit, model)
            for i in range(n + 1):
                first, rest = order[:i], order[i:]
                system[i] += together[first].sum() + model[rest].sum()
                right[i] += (hit & given)[first].sum()
                answered[i] += given[first].sum()
            count += 1
    with np.errstate(invalid="ignore"):
        return np.arange(n + 1) / n, system / count / n, right / answered
