"""The closed form: the model's confidence against what the profile promises on the row."""

from __future__ import annotations

import numbers

import numpy as np
from sklearn.utils._param_validation import Interval

from skdefer.rejectors._base import BaseRejector


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

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes.
    profiles_ : list of ExpertProfile
        One per expert.

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

    _parameter_constraints: dict = {"pessimism": [Interval(numbers.Real, 0, None, closed="left")]}

    def __init__(self, *, pessimism=0.0):
        self.pessimism = pessimism

    def _losses(self, proba, X):
        experts = proba @ self._class_losses()
        if self.pessimism:
            variance = np.column_stack([profile.variance_ for profile in self.profiles_])
            deviation = np.sqrt(np.square(proba) @ (variance * np.square(self._price_of_wrong())))
            experts = experts + self.pessimism * deviation
        return np.column_stack([self._model_loss(proba), experts])

    def _price_of_wrong(self):
        """How much the loss on a class moves with the accuracy there, (n_classes, n_experts)."""
        if self.error_cost_ is None:
            return np.ones((len(self.classes_), len(self.profiles_)))
        right = self.error_cost_.diagonal()[:, None]
        wrong_share = 1.0 - np.column_stack([profile.mean_ for profile in self.profiles_])
        # Mean price of a wrong answer, given the class: what is left of the loss.
        from_wrong = self._class_losses() - right * (1.0 - wrong_share)
        return from_wrong / np.maximum(wrong_share, np.finfo(float).tiny) - right
