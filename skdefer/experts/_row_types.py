"""What experts say of rows of each class and type, from a record with gaps, by EM."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning

from skdefer.utils._validation import MISSING, OUT_OF_LABELS

_STRENGTH = 2.0  # answers that the belief about an expert on a class is worth
_TOL = 1e-6  # rise of the objective per answer below which EM has converged


class RowTypes(NamedTuple):
    """A fitted mixture.

    Attributes
    ----------
    theta : ndarray of shape (n_types, n_experts, n_classes, n_classes + 1)
        P(answer | type, expert, true class); the last answer is one outside the classes.
    share : ndarray of shape (n_classes, n_types)
        P(type | true class).
    membership : ndarray of shape (n_rows, n_types)
        P(type | true class and answers of the row).
    objective : list of float
        Penalised log-likelihood of the answers on record, one for each step of EM.
    """

    theta: np.ndarray
    share: np.ndarray
    membership: np.ndarray
    objective: list[float]

    @property
    def confusion(self) -> np.ndarray:
        """P(answer | type, expert, true class), (n_types, n_experts, n_classes, n_classes).

        An answer outside the classes is wrong and nobody knows how: any other class.
        """
        n_classes = self.theta.shape[2]
        wrong = ~np.eye(n_classes, dtype=bool)
        inside = self.theta[..., :-1] + wrong * self.theta[..., -1:] / max(n_classes - 1, 1)
        return inside / inside.sum(axis=-1, keepdims=True)


def fit_row_types(
    truth: np.ndarray,
    said: np.ndarray,
    weight: np.ndarray,
    *,
    n_classes: int,
    n_types: int,
    max_iter: int = 300,
) -> RowTypes:
    """Fit P(answer of expert j | class y, type z) and P(z | y) to the answers on record.

    The experts answer independently once class and type of the row are known; that the type is
    of the row, not of the expert, makes what one said tell what another would say. Missing
    answers drop out of the likelihood. The penalties are Dirichlet: each expert on each class
    and type starts from its own overall accuracy, its wrong answers spread as everybody's on
    that class, worth two answers; each type from one row.

    Parameters
    ----------
    truth : ndarray of int of shape (n_rows,)
        Positions of the true classes.
    said : ndarray of int of shape (n_rows, n_experts)
        Positions of the answers, ``MISSING`` or ``OUT_OF_LABELS`` (wrong in no known way).
    weight : ndarray of shape (n_rows,)
        Weights of the rows.
    n_classes, n_types, max_iter : int
        Sizes, and the most steps of EM.

    Returns
    -------
    fitted : RowTypes
        The mixture. Types are by rising accuracy at the start of EM.
    """
    # Rows of the same class with the same answers are one row here.
    rows = np.column_stack([truth, said])
    rows, place = np.unique(rows, axis=0, return_inverse=True)
    place = place.ravel()
    truth, said, weight = rows[:, 0], rows[:, 1:], np.bincount(place, weight)
    n_answers = n_classes + 1  # the last one: outside the classes
    row, expert = np.nonzero(said != MISSING)
    answer = said[row, expert]
    answer = np.where(answer == OUT_OF_LABELS, n_classes, answer)
    shape = (said.shape[1], n_classes, n_answers)
    cell = np.ravel_multi_index((expert, truth[row], answer), shape)

    def count(by_row: np.ndarray) -> np.ndarray:
        return np.bincount(cell, by_row[row], minlength=np.prod(shape)).reshape(shape)

    counts = count(weight)
    belief = _STRENGTH * _belief(counts)
    tol = _TOL * counts.sum()
    membership = _by_accuracy(row, answer == truth[row], len(truth), n_types)
    objective: list[float] = []
    for _ in range(max_iter):
        parts = (weight[:, None] * membership).T
        theta = belief + [count(part) for part in parts]
        theta /= theta.sum(axis=-1, keepdims=True)
        share = np.stack([np.bincount(truth, part, minlength=n_classes) for part in parts], axis=1)
        share = (share + 1.0) / (share + 1.0).sum(axis=1, keepdims=True)
        log_theta, log_share = np.log(theta), np.log(share)
        of_row = [np.bincount(row, t.ravel()[cell], minlength=len(truth)) for t in log_theta]
        joint = log_share[truth] + np.stack(of_row, axis=1)
        total = logsumexp(joint, axis=1)
        membership = np.exp(joint - total[:, None])
        penalty = (belief * log_theta).sum() + log_share.sum()
        objective.append(float(weight @ total + penalty))
        if len(objective) > 1 and objective[-1] - objective[-2] <= tol:
            break
    else:
        warnings.warn(
            f"EM has not converged after {max_iter} steps; the completed answers are those of the "
            "last one. Raise max_iter, or lower n_types.",
            ConvergenceWarning,
            stacklevel=3,
        )
    return RowTypes(theta, share, membership[place], objective)


def _belief(counts: np.ndarray) -> np.ndarray:
    """What an expert says of a class before its answers on that class are looked at."""
    right = counts.diagonal(axis1=1, axis2=2).sum(axis=1)
    total = counts.sum(axis=(1, 2))
    typical = (right.sum() + 1.0) / (total.sum() + 2.0)
    accuracy = ((right + _STRENGTH * typical) / (total + _STRENGTH))[:, None, None]
    is_right = np.eye(*counts.shape[1:])
    wrong = (1.0 - is_right) * (counts.sum(axis=0) + 1.0 / counts.shape[1])
    wrong /= wrong.sum(axis=1, keepdims=True)
    return accuracy * is_right + (1.0 - accuracy) * wrong


def _by_accuracy(row: np.ndarray, right: np.ndarray, n_rows: int, n_types: int) -> np.ndarray:
    """Start EM with types of equal sizes and evenly spaced accuracies: no seed, no class named."""
    accuracy = (np.arange(n_types) + 0.5) / n_types
    n_right = np.bincount(row, right, minlength=n_rows)[:, None]
    n_wrong = np.bincount(row, ~right, minlength=n_rows)[:, None]
    likely = n_right * np.log(accuracy) + n_wrong * np.log1p(-accuracy)
    return np.exp(likely - logsumexp(likely, axis=1, keepdims=True))
