"""What a learned rejector reads of a row: signals of the model's probabilities, and features."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.utils._param_validation import HasMethods, StrOptions

from skdefer.rejectors._correction import uncertainty_signals

#: What the parameter ``features`` may be.
FEATURES: list = [HasMethods(["fit_transform", "transform"]), StrOptions({"passthrough"}), None]


class ReadingMixin:
    """Reads rows as the parameter ``features`` says, for a rejector that has ``estimator`` too."""

    features: Any
    estimator: Any

    def _read(self, proba: np.ndarray, X: Any, *, fitting: bool = False) -> np.ndarray:
        """Signals of the model's probabilities and, on request, features of the rows."""
        signals = uncertainty_signals(proba)
        if self.features is None:
            return signals
        if X is None:
            raise ValueError(
                f"features is {self.features!r}, but X was not passed. Pass X=, the rows."
            )
        if self.features == "passthrough":
            rows = X
        elif fitting:
            self.features_ = clone(self.features)
            rows = self.features_.fit_transform(X)
        else:
            rows = self.features_.transform(X)
        if sparse.issparse(rows):
            rows = rows.toarray()
        try:
            rows = np.asarray(rows, dtype=float)
        except (TypeError, ValueError) as error:
            raise ValueError(
                "The features of the rejector are not numeric. Pass features=, a transformer that "
                f"turns X ({type(X).__name__}) into numbers, or None."
            ) from error
        if self.estimator is None and not np.isfinite(rows).all():
            raise ValueError(
                "The features of the rejector have NaN or infinity. Pass features=, a transformer "
                "that fills them, or estimator=, a classifier that takes them."
            )
        return np.column_stack([signals, rows.reshape(len(signals), -1)])
