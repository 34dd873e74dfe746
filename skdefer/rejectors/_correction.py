"""Uncertainty signals of a row, and a ridge-penalised logistic correction of a prior guess."""

from __future__ import annotations

import copy

import numpy as np
from scipy.special import expit, logit, xlogy

_CLIP = 1e-4  # a probability this near to 0 or 1 is taken at its word no further
#: Signals that differ by less are the same: blown up, the chance differences between folds, or
#: between the models of folds and the final one, would be taken for knowledge.
LEAST_SPREAD = 0.02


def safe_logit(p: np.ndarray) -> np.ndarray:
    """Logit of probabilities, finite at 0 and 1."""
    return logit(np.clip(p, _CLIP, 1.0 - _CLIP))


def uncertainty_signals(proba: np.ndarray) -> np.ndarray:
    """Say how sure the model is of a row, in ways that don't depend on the names of classes.

    Parameters
    ----------
    proba : ndarray of shape (n_rows, n_classes)
        Class probabilities.

    Returns
    -------
    signals : ndarray of shape (n_rows, 3) or (n_rows, 5)
        Logit of the largest probability, margin to the next, entropy in units of its
        maximum; with more than two classes also the logits of the second and the third.
    """
    n_classes = proba.shape[1]
    if n_classes == 2:  # column by column: reducing along short rows is slow
        high, low = np.maximum(*proba.T), np.minimum(*proba.T)
        entropy = -(xlogy(high, high) + xlogy(low, low)) / np.log(2.0)
        return np.column_stack([safe_logit(high), high - low, entropy])
    top = np.partition(proba, range(n_classes - 3, n_classes), axis=1)[:, -3:]
    third, second, first = top.T
    entropy = -xlogy(proba, proba).sum(axis=1) / np.log(n_classes)
    return np.column_stack(
        [safe_logit(first), first - second, entropy, safe_logit(second), safe_logit(third)]
    )


def count_signals(n_classes: int) -> int:
    """How many columns :func:`uncertainty_signals` gives."""
    return 3 if n_classes == 2 else 5


class Correction:
    """A logistic model that starts from a prior guess and leaves it only as far as data force it.

    ``P(good) = expit(logit(prior) + b0 + b . z)`` with ``z`` the standardised features and
    a ridge penalty on all of ``b``: without data it is the prior. The penalty on the
    intercept is a tenth, because a bias of the prior as a whole is what data show first.

    Parameters
    ----------
    ridge : float
        Strength of the penalty, in rows.
    least_scale : float or ndarray of shape (n_features,), default=0.0
        Deviation that features are taken to have at the least.
    """

    def __init__(self, ridge: float, least_scale: float | np.ndarray = 0.0):
        self.ridge = ridge
        self.least_scale = least_scale

    def fit(
        self, features: np.ndarray, prior: np.ndarray, good: np.ndarray, weight: np.ndarray
    ) -> Correction:
        """Fit by Newton's method.

        Parameters
        ----------
        features : ndarray of shape (n_rows, n_features)
            What the correction may depend on.
        prior : ndarray of shape (n_rows,)
            The guess, in [0, 1].
        good : ndarray of shape (n_rows,)
            What came true, in [0, 1]: shares are allowed.
        weight : ndarray of shape (n_rows,)
            Weights of the rows.

        Returns
        -------
        self : Correction
            The fitted model.
        """
        self.start(features, weight)
        self.coef_ = fit_penalised(
            self.design(features), safe_logit(prior), good, weight, self.penalty_
        )
        return self

    def start(self, features: np.ndarray, weight: np.ndarray) -> Correction:
        """Standardise the features as they lie here, and correct nothing yet."""
        total = max(weight.sum(), np.finfo(float).tiny)
        self.center_ = weight @ features / total
        self.scale_ = np.sqrt(weight @ np.square(features - self.center_) / total)
        self.scale_[self.scale_ < 1e-9] = 1.0
        self.scale_ = np.maximum(self.scale_, self.least_scale)
        self.penalty_ = np.full(features.shape[1] + 1, float(self.ridge))
        self.penalty_[0] /= 10.0
        self.coef_ = np.zeros(len(self.penalty_))
        return self

    def adapt(self, features: np.ndarray, prior: np.ndarray, good: np.ndarray) -> Correction:
        """Go on from here with other rows: a copy that pays for leaving these coefficients."""
        design = self.design(features)
        offset = safe_logit(prior) + design @ self.coef_
        left = fit_penalised(design, offset, good, np.ones(len(good)), self.penalty_)
        other = copy.copy(self)
        other.coef_ = self.coef_ + left
        return other

    def design(self, features: np.ndarray) -> np.ndarray:
        """Standardised features, after a column of ones."""
        standard = (features - self.center_) / self.scale_
        return np.column_stack([np.ones(len(features)), standard])

    def predict(self, features: np.ndarray, prior: np.ndarray) -> np.ndarray:
        """P(good) of each row."""
        slope = self.coef_[1:] / self.scale_
        eta = features @ slope
        eta += self.coef_[0] - self.center_ @ slope
        eta += safe_logit(prior)
        return expit(eta, out=eta)


def fit_penalised(
    design: np.ndarray,
    offset: np.ndarray,
    good: np.ndarray,
    weight: np.ndarray,
    penalty: np.ndarray,
    *,
    max_iter: int = 50,
    tol: float = 1e-8,
) -> np.ndarray:
    """Minimise weighted log loss + sum(penalty b^2) / 2 over b, by Newton with backtracking."""

    def objective(eta: np.ndarray, b: np.ndarray) -> float:
        return float(weight @ (np.logaddexp(0.0, eta) - good * eta) + 0.5 * (penalty * b) @ b)

    b = np.zeros(design.shape[1])
    eta, value = offset, objective(offset, b)
    for _ in range(max_iter):
        p = expit(eta)
        gradient = design.T @ (weight * (p - good)) + penalty * b
        hessian = (design * (weight * p * (1.0 - p))[:, None]).T @ design
        hessian[np.diag_indices_from(hessian)] += penalty + 1e-10
        step = np.linalg.solve(hessian, gradient)
        decrease = gradient @ step
        if decrease < tol:
            break
        size = 1.0
        while True:
            moved = b - size * step
            eta_moved = offset + design @ moved
            value_moved = objective(eta_moved, moved)
            if value_moved <= value - 1e-4 * size * decrease or size < 1e-4:
                break
            size /= 2
        b, eta, value = moved, eta_moved, value_moved
    return b
