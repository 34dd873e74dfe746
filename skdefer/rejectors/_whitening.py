"""Features without scale and correlation, on which logistic regressions are fitted in few steps."""

from __future__ import annotations

import numpy as np

_FLAT = 1e-9  # a feature of less deviation is constant
_LEAST = 0.01  # variance of standardised features below which a direction is left out


class Whitening:
    """Turns features into uncorrelated ones of mean 0 and variance 1.

    A ridge penalty on their coefficients is worth so many rows in every direction, however the
    features are scaled or correlated. Directions in which they hardly vary, such as the difference
    of two that nearly say the same, are left out: blown up, they would be noise.
    """

    def fit(self, features: np.ndarray, weight: np.ndarray) -> Whitening:
        """Learn how ``features`` of shape (n_rows, n_features) lie, rows weighted."""
        share = weight / weight.sum()
        self.center_ = share @ features
        scale = np.sqrt(share @ np.square(features - self.center_))
        scale[scale < _FLAT] = np.inf  # a constant says nothing
        standard = (features - self.center_) / scale
        size, direction = np.linalg.eigh((standard * share[:, None]).T @ standard)
        kept = size > _LEAST
        self.axes_ = direction[:, kept] / np.sqrt(size[kept]) / scale[:, None]
        return self

    def transform(self, features: np.ndarray) -> np.ndarray:
        """Give features of shape (n_rows, n_kept)."""
        return (features - self.center_) @ self.axes_
