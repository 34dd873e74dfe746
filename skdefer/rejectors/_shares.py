"""Shares in [0, 1], learned by any classifier."""

from __future__ import annotations

from typing import Any

import numpy as np


class Shares:
    """Fits a classifier to shares in [0, 1]: each row as both outcomes, weighted.

    Parameters
    ----------
    classifier : classifier with ``predict_proba``
        It must take ``sample_weight``; it is fitted itself, not a clone.
    """

    def __init__(self, classifier: Any):
        self.classifier = classifier

    def fit(self, features: np.ndarray, prior: Any, good: np.ndarray, weight: np.ndarray) -> Shares:
        """Learn the share of each row; ``prior`` is not read."""
        both = np.r_[weight * good, weight * (1.0 - good)]
        rows = np.flatnonzero(both > 0)
        outcome = np.r_[np.ones(len(good), dtype=int), np.zeros(len(good), dtype=int)][rows]
        self.constant_ = float(outcome[0]) if (outcome == outcome[0]).all() else None
        if self.constant_ is None:
            twice = np.concatenate([features, features])[rows]
            self.classifier.fit(twice, outcome, sample_weight=both[rows])
        return self

    def predict(self, features: np.ndarray, prior: Any = None) -> np.ndarray:
        """Expected share of each row; ``prior`` is not read."""
        if self.constant_ is not None:
            return np.full(len(features), self.constant_)
        return self.classifier.predict_proba(features)[:, 1]
