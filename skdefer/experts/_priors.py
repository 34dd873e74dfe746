"""What the experts of a population are like: the prior of one who is hardly known yet."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import optimize
from scipy.special import betaln, digamma, expit
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

# What is believed of the parameters themselves, worth about one answer or expert each, so that
# few records, or records all right or all wrong, don't end in a prior of infinite strength.
# Without any record these beliefs are at their best in the uniform prior.
_LOG_STRENGTH = np.log(2.0)  # centre of the normal of log(alpha + beta): that of Beta(1, 1)
_LOG_STRENGTH_SD = 1.5
_MEAN_WEIGHT = 0.5  # Beta(1.5, 1.5) of the mean of a component
_SHARE_WEIGHT = 1.0  # Dirichlet(2, ..., 2) of shares
_MAX_STRENGTH = 1000.0  # answers that a component is worth at most
_MAX_ITER = 300


class PopulationPrior(BaseEstimator):
    """What the experts of a population are like, learned from the records of some of them.

    It answers: what is to be thought of an expert of whom a few answers are known, or none,
    if others of the kind are known well? The accuracy of an expert on a class is drawn from
    one of ``n_components`` Beta distributions, such as classes that an expert knows and
    classes that it doesn't. How often each is drawn depends on the type of the expert, one of
    ``n_types``, so that what an expert does on some classes tells what it will do on the
    others: a generalist is good on all, a specialist on few. Classes are exchangeable, so the
    prior serves any class, and classes that the population never saw.

    Parameters
    ----------
    n_components : int, default=2
        Number of Beta distributions. 1: a single one, by maximum likelihood of the
        beta-binomial distribution of counts (empirical Bayes).
    n_types : int, default=2
        Number of types of experts. 1: classes are independent, a plain mixture.

    Attributes
    ----------
    alpha_, beta_ : ndarray of shape (n_components,)
        Parameters of the components, by rising mean.
    type_shares_ : ndarray of shape (n_types,)
        Share of each type among the experts.
    component_shares_ : ndarray of shape (n_types, n_components)
        How often the accuracy on a class is drawn from each component, by type.
    n_experts_ : int
        Experts with an answer in ``fit``.
    is_uniform_ : bool
        Whether there was nobody to learn from, so that the prior is the uniform Beta(1, 1).

    Notes
    -----
    The likelihood is penalised, by about one pseudo-expert, and no component is worth more
    than 1,000 answers, so that none is degenerate. There are never more components than records
    of an expert on a class, nor more types than experts. With several types the accuracies of
    one expert depend on each other; variances are those of each class, without covariances.

    References
    ----------
    Strong et al. (2025). Expert-Agnostic Learning to Defer. arXiv 2502.10533 (the profile).
    Lord (1965). A strong true-score theory, with applications. Psychometrika 30 (the
    beta-binomial distribution as a model of a population).

    Examples
    --------
    >>> import numpy as np
    >>> from skdefer.experts import ExpertProfile, PopulationPrior, simulate_expert_predictions
    >>> y = np.repeat(np.arange(5), 40)
    >>> answers = simulate_expert_predictions(y, n_experts=10, random_state=0)  # know one class
    >>> profiles = [ExpertProfile().fit(a, y) for a in answers.T]
    >>> prior = PopulationPrior().fit(profiles)
    >>> (prior.alpha_ / (prior.alpha_ + prior.beta_)).round(2)  # on the others: 0.2 + 0.8 / 5
    array([0.37, 0.99])
    >>> stranger = ExpertProfile(classes=range(5)).fit([0, 0, 0, 4], [0, 0, 0, 1])
    >>> stranger.mean_.round(2), stranger.with_prior(prior).mean_.round(2)
    (array([0.8 , 0.33, 0.5 , 0.5 , 0.5 ]), array([0.9 , 0.37, 0.51, 0.51, 0.51]))
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(numbers.Integral, 1, None, closed="left")],
        "n_types": [Interval(numbers.Integral, 1, None, closed="left")],
    }

    def __init__(self, n_components=2, *, n_types=2):
        self.n_components = n_components
        self.n_types = n_types

    def fit(self, profiles, y=None):
        """Learn from the answers counted in profiles; their own priors are not read.

        Parameters
        ----------
        profiles : sequence of fitted ExpertProfile
            One per expert, each of any classes. Their order does not matter.
        y : None
            Not read.

        Returns
        -------
        self : PopulationPrior
            The fitted prior.

        Raises
        ------
        ValueError
            If something is no fitted profile.
        """
        self._validate_params()
        right, total = _pool(profiles)
        self.n_experts_ = len(right)
        self.is_uniform_ = not self.n_experts_
        n_components = min(self.n_components, max(np.count_nonzero(total), 1))
        # With one component all types are the same.
        n_types = min(self.n_types, max(self.n_experts_, 1)) if n_components > 1 else 1
        x = _most_likely(right, total, n_components, n_types)
        log_types, log_components, alpha, beta = _unpack(x, n_components, n_types)
        rising = np.argsort(alpha / (alpha + beta), kind="stable")
        self.alpha_, self.beta_ = alpha[rising], beta[rising]
        self.type_shares_ = np.exp(log_types)
        self.component_shares_ = np.exp(log_components[:, rising])
        return self

    def posterior(self, right, total):
        """Mean and variance of an expert's accuracy on each class, given its answers.

        Parameters
        ----------
        right, total : array-like of shape (..., n_classes)
            Right answers and all answers on the rows of each class; fractions are allowed.
            The classes along the last axis are those of one expert: with several types, each
            tells of the others.

        Returns
        -------
        mean, variance : ndarray of shape (..., n_classes)
            Of the posterior, a mixture of Beta distributions.

        Raises
        ------
        ValueError
            If ``right`` is negative or above ``total``.
        """
        check_is_fitted(self)
        right, total = np.broadcast_arrays(
            np.asarray(right, dtype=float), np.asarray(total, dtype=float)
        )
        if not ((right >= 0) & (right <= total) & np.isfinite(total)).all():
            raise ValueError(
                "right and total are not counts; expected 0 <= right <= total everywhere, the "
                "right answers and all answers on each class."
            )
        r, n = (np.atleast_1d(counts)[..., None] for counts in (right, total))
        in_type, _, of_type = _log_likelihoods(
            r,
            n,
            np.log(self.type_shares_),
            np.log(self.component_shares_),
            self.alpha_,
            self.beta_,
        )
        # P(type, component | the expert's answers), summed over types.
        weight = (np.exp(in_type) * np.exp(of_type)[..., None, :, None]).sum(axis=-2)
        strength = self.alpha_ + self.beta_ + n
        means = (self.alpha_ + r) / strength
        variances = means * (self.beta_ + n - r) / (strength * (strength + 1.0))
        mean = (weight * means).sum(axis=-1)
        spread = np.square(means - mean[..., None])
        variance = (weight * (variances + spread)).sum(axis=-1)
        return mean.reshape(right.shape), variance.reshape(right.shape)

    def posterior_beta(self, right, total):
        """Parameters of the Beta distributions with the mean and variance of the posterior.

        Parameters
        ----------
        right, total : array-like of shape (..., n_classes)
            As in :meth:`posterior`.

        Returns
        -------
        alpha, beta : ndarray of shape (..., n_classes)
            With one component they are the posterior itself.
        """
        mean, variance = self.posterior(right, total)
        strength = mean * (1.0 - mean) / variance - 1.0
        return mean * strength, (1.0 - mean) * strength


def _pool(profiles: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Stack right and total counts, shape (n_experts, n_classes), in an order of their own.

    Classes are exchangeable and experts too, so both are sorted: their names and order then
    can't change the fit, not even by rounding. Empty classes fill experts of fewer classes up;
    like experts without an answer they have likelihood 1.
    """
    rows = []
    for profile in profiles:
        if not hasattr(profile, "counts_"):
            raise ValueError(
                f"profiles holds {profile!r}; expected fitted ExpertProfiles. Call fit on it."
            )
        pairs = zip(profile.counts_.diagonal().tolist(), profile.counts_.sum(axis=1).tolist())
        rows.append(sorted(((total, right) for right, total in pairs if total > 0), reverse=True))
    rows = sorted(row for row in rows if row)
    counts = np.zeros((2, len(rows), max(map(len, rows), default=0)))
    for i, row in enumerate(rows):
        counts[1, i, : len(row)], counts[0, i, : len(row)] = np.transpose(row)
    return counts[0], counts[1]


def _unpack(x: np.ndarray, n_components: int, n_types: int) -> tuple[np.ndarray, ...]:
    """Free parameters to log shares of types, log shares of components, alpha and beta."""
    mean, strength = expit(x[:n_components]), np.exp(x[n_components : 2 * n_components])
    shares = x[2 * n_components :]
    # The first of each has the logit 0.
    of_components = shares[n_types - 1 :].reshape(n_types, n_components - 1)
    of_components = np.column_stack([np.zeros(n_types), of_components])
    log_components = of_components - _log_sum(of_components, axis=1)[:, None]
    of_types = np.r_[0.0, shares[: n_types - 1]]
    log_types = of_types - _log_sum(of_types, axis=0)
    return log_types, log_components, mean * strength, (1.0 - mean) * strength


def _log_sum(logs: np.ndarray, axis: int) -> np.ndarray:
    """Compute log(sum(exp(.))) of finite numbers: a tenth of the overhead of scipy's."""
    greatest = logs.max(axis=axis, keepdims=True)
    total = np.exp(logs - greatest).sum(axis=axis, keepdims=True)
    return (greatest + np.log(total)).squeeze(axis)


def _log_likelihoods(
    r: np.ndarray,
    n: np.ndarray,
    log_types: np.ndarray,
    log_components: np.ndarray,
    alpha: np.ndarray,
    beta: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Work out who is of which type, and which component each accuracy comes from.

    ``r`` and ``n`` have shape (..., n_classes, 1). Returned: log P(component | type, answers),
    shape (..., n_classes, n_types, n_components), the log-likelihood of each expert, and log
    P(type | answers), shape (..., n_types).
    """
    of_component = betaln(alpha + r, beta + n - r) - betaln(alpha, beta)
    joint = of_component[..., None, :] + log_components
    of_class = _log_sum(joint, axis=-1)
    of_type = of_class.sum(axis=-2) + log_types
    of_expert = _log_sum(of_type, axis=-1)
    return joint - of_class[..., None], of_expert, of_type - of_expert[..., None]


def _objective(
    x: np.ndarray, right: np.ndarray, total: np.ndarray, n_components: int, n_types: int
) -> tuple[float, np.ndarray]:
    """Compute the penalised negative log-likelihood and its gradient."""
    log_types, log_components, alpha, beta = _unpack(x, n_components, n_types)
    r, n = right[..., None], total[..., None]
    in_type, of_expert, of_type = _log_likelihoods(r, n, log_types, log_components, alpha, beta)
    of_type = np.exp(of_type)
    weight = np.exp(in_type) * of_type[:, None, :, None]  # what an E step of EM would give
    of_component = weight.sum(axis=2)
    strength = alpha + beta
    more = digamma(strength) - digamma(strength + n)
    by_alpha = (of_component * (digamma(alpha + r) - digamma(alpha) + more)).sum(axis=(0, 1))
    by_beta = (of_component * (digamma(beta + n - r) - digamma(beta) + more)).sum(axis=(0, 1))
    mean, log_strength = alpha / strength, x[n_components : 2 * n_components]
    away = (log_strength - _LOG_STRENGTH) / _LOG_STRENGTH_SD
    value = (
        of_expert.sum()
        - 0.5 * np.square(away).sum()
        + _MEAN_WEIGHT * (np.log(mean) + np.log1p(-mean)).sum()
        + _SHARE_WEIGHT * (log_types.sum() + log_components.sum())
    )
    n_types_each = of_type.sum(axis=0) + _SHARE_WEIGHT
    n_each = weight.sum(axis=(0, 1)) + _SHARE_WEIGHT
    gradient = np.concatenate(
        [
            (by_alpha - by_beta) * alpha * (1.0 - mean) + _MEAN_WEIGHT * (1.0 - 2.0 * mean),
            by_alpha * alpha + by_beta * beta - away / _LOG_STRENGTH_SD,
            (n_types_each - n_types_each.sum() * np.exp(log_types))[1:],
            (n_each - n_each.sum(axis=1, keepdims=True) * np.exp(log_components))[:, 1:].ravel(),
        ]
    )
    return -float(value), -gradient


def _most_likely(
    right: np.ndarray, total: np.ndarray, n_components: int, n_types: int
) -> np.ndarray:
    """Maximise the penalised likelihood from a few starts, and keep the best."""
    known = total > 0
    if not known.any():
        return np.r_[0.0, _LOG_STRENGTH]  # Beta(1, 1)
    rate = np.sort((right[known] + 0.5) / (total[known] + 1.0))
    spreads = [(0.1, 0.9)] if n_components == 1 else [(0.1, 0.6), (0.25, 0.75), (0.4, 0.9)]
    starts = [np.quantile(rate, _evenly(n_components, *spread)) for spread in spreads]
    starts.append(_evenly(n_components, rate[0], rate[-1]))
    # Types that differ in how much of the last component they have.
    tilt = np.linspace(-1.0, 1.0, n_types)[:, None] * np.linspace(0.0, 1.0, n_components)[1:]
    bounds = [(-9.0, 9.0)] * n_components
    bounds += [(-5.0, np.log(_MAX_STRENGTH))] * n_components
    bounds += [(-9.0, 9.0)] * (n_types * n_components - 1)
    found = []
    for means in starts:
        apart = np.clip(means + 0.01 * np.arange(n_components), 0.02, 0.98)
        x = np.concatenate(
            [
                np.log(apart / (1.0 - apart)),
                np.full(n_components, np.log(10.0)),
                np.zeros(n_types - 1),
                (tilt if n_types > 1 else 0.0 * tilt).ravel(),
            ]
        )
        result = optimize.minimize(
            _objective,
            x,
            args=(right, total, n_components, n_types),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": _MAX_ITER},
        )
        found.append((result.fun, result.x))
    return min(found, key=lambda pair: pair[0])[1]


def _evenly(n: int, low: float, high: float) -> np.ndarray:
    return np.linspace(low, high, n) if n > 1 else np.array([(low + high) / 2.0])
