"""Deferral estimators: the whole system behind scikit-learn's interface."""

from skdefer.deferral._post_hoc import DeferralClassifier

__all__ = ["DeferralClassifier"]
