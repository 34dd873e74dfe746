"""Chow's rule: the model's confidence against each expert's overall accuracy."""

from __future__ import annotations

import numpy as np

from skdefer.rejectors._base import BaseRejector


class ConfidenceRejector(BaseRejector):
    """Hand over where the model is less confident than the expert is accurate.

    The baseline that every other rejector must beat. An expert has one number, the
    accuracy over all classes, so the rule orders rows by the model's confidence alone.
    Without experts it is rejection at a price, Chow's rule.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes.
    profiles_ : list of ExpertProfile
        One per expert.
    class_weight_ : ndarray of shape (n_classes,)
        Share of each class in ``fit``; an expert's overall accuracy is the posterior
        mean accuracy over classes in these shares.

    References
    ----------
    Chow (1970). On optimum recognition error and reject tradeoff. IEEE Transactions on
    Information Theory 16, 41-46.

    Examples
    --------
    >>> import numpy as np
    >>> from skdefer.rejectors import ConfidenceRejector
    >>> proba = np.array([[0.95, 0.05], [0.55, 0.45]])
    >>> ConfidenceRejector().fit(proba, [0, 1], None).expected_loss(proba).round(2)
    array([[0.05, 0.  ],
           [0.45, 0.  ]])
    """

    def _losses(self, proba, X):
        experts = self.class_weight_ @ self._class_losses()
        return np.column_stack([self._model_loss(proba), np.tile(experts, (len(proba), 1))])
