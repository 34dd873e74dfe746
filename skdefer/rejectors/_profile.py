"""The closed form: the model's confidence against what the profile promises on the row."""

from __future__ import annotations

import numbers

import numpy as np
from sklearn.base import clone
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from skdefer.experts._priors import PopulationPrior
from skdefer.rejectors._base import BaseRejector

_BLOCK = 1 << 19  # entries of (rows, experts) or (rows, classes) that are worked on at once


class ProfileRejector(BaseRejector):
    """Hand over where the expert's profile, at the row's class probabilities, beats the model.

    The expert's expected accuracy on a row is ``sum_k p_k mu_k``, with ``p`` the model's
    class probabilities and ``mu`` the posterior means of the profile. This is Bayes' rule
    when answers depend on the row only through its class and ``p`` is calibrated. There is
    no training, so it serves experts that were never seen. Where experts fail on the same
    hard rows as the model it hands over too much; :class:`LearnedRejector` sees that.

    Parameters
    ----------
    pessimism : float, default=0.0
        Posterior standard deviations that are taken off the expert's expected accuracy.
        The mean makes the fewest wrong hand-overs; a bound is caution, at a price.
    prior : {"empirical_bayes", "mixture"}, PopulationPrior or None, default=None
        What is thought of an expert before an answer. None: what its profile says. Else the
        population of the experts of ``fit`` is learned, and what few answers say of one of them
        or of a newcomer is drawn to it: ``"empirical_bayes"`` is ``PopulationPrior(1)``,
        ``"mixture"`` is ``PopulationPrior()``. One of another population is passed fitted, in
        ``FrozenEstimator``. Self-assessments stand; see :meth:`ExpertProfile.with_prior`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes.
    profiles_ : list of ExpertProfile
        One per expert.
    prior_ : PopulationPrior or None
        The fitted prior.

    References
    ----------
    Strong et al. (2025). Expert-Agnostic Learning to Defer. arXiv 2502.10533.

    Examples
    --------
    >>> import numpy as np
    >>> from skdefer.rejectors import ProfileRejector
    >>> proba = np.array([[0.6, 0.4], [0.4, 0.6]])
    >>> y, answers = np.array([0, 1] * 8), np.array([0, 0] * 8)  # knows class 0 alone
    >>> rejector = ProfileRejector().fit(np.tile(proba, (8, 1)), y, answers)
    >>> rejector.expected_loss(proba).round(2)
    array([[0.4 , 0.42],
           [0.4 , 0.58]])
    """

    _parameter_constraints: dict = {
        "pessimism": [Interval(numbers.Real, 0, None, closed="left")],
        "prior": [
            StrOptions({"empirical_bayes", "mixture"}),
            HasMethods(["fit", "posterior_beta"]),
            None,
        ],
    }

    def __init__(self, *, pessimism=0.0, prior=None):
        self.pessimism = pessimism
        self.prior = prior

    def _fit(self, proba, y, answers, X, sample_weight):
        self.prior_ = None
        if self.prior is not None:
            prior = PopulationPrior(1) if self.prior == "empirical_bayes" else PopulationPrior()
            if not isinstance(self.prior, str):
                prior = clone(self.prior)
            self.prior_ = prior.fit(self.profiles_, None)
            self.profiles_ = [profile.with_prior(self.prior_) for profile in self.profiles_]

    def with_profiles(self, profiles, *, met=None):
        """Serve other experts; see :meth:`BaseRejector.with_profiles`.

        The prior, if there is one, is that of the experts of ``fit``.
        """
        other: ProfileRejector = super().with_profiles(profiles, met=met)
        if self.prior_ is not None:
            other.profiles_ = [profile.with_prior(self.prior_) for profile in other.profiles_]
        return other

    def _losses(self, proba, X):
        by_class = self._class_losses()
        spread = None
        if self.pessimism:
            variance = np.column_stack([profile.variance_ for profile in self.profiles_])
            spread = variance * np.square(self.pessimism * self._price_of_wrong())
        loss = np.empty((len(proba), 1 + len(self.profiles_)))
        # In blocks of rows: the result may be large, and nothing else should be.
        size = max(1, _BLOCK // max(loss.shape[1], proba.shape[1]))
        for start in range(0, len(proba), size):
            rows = proba[start : start + size].astype(float, copy=False)
            block = loss[start : start + size]
            block[:, 0] = self._model_loss(rows)
            block[:, 1:] = rows @ by_class
            if spread is not None:
                block[:, 1:] += np.sqrt(np.square(rows) @ spread)
        return loss

    def _price_of_wrong(self):
        """How much the loss on a class moves with the accuracy there, (n_classes, n_experts)."""
        if self.error_cost_ is None:
            return np.ones((len(self.classes_), len(self.profiles_)))
        right = self.error_cost_.diagonal()[:, None]
        wrong_share = 1.0 - np.column_stack([profile.mean_ for profile in self.profiles_])
        # Mean price of a wrong answer, given the class: what is left of the loss.
        from_wrong = self._class_losses() - right * (1.0 - wrong_share)
        return from_wrong / np.maximum(wrong_share, np.finfo(float).tiny) - right
