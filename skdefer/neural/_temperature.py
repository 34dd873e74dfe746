"""Temperature scaling of class scores, by scikit-learn's own means."""

from __future__ import annotations

import warnings

import numpy as np
import sklearn
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.utils.fixes import parse_version


def fit_temperature(
    scores: np.ndarray, y: np.ndarray, sample_weight: np.ndarray
) -> CalibratedClassifierCV:
    """Find the temperature that makes probabilities of given scores likeliest.

    Parameters
    ----------
    scores : ndarray of shape (n_rows, n_classes)
        Logits of the classes, on rows that they were not learned from.
    y : ndarray of int of shape (n_rows,)
        Positions of the true classes.
    sample_weight : ndarray of shape (n_rows,)
        Weights of the rows.

    Returns
    -------
    calibrator : CalibratedClassifierCV
        Its ``predict_proba`` reads scores.
    """
    # A row of weight 0 for each class, so that a class which y lacks is known all the same.
    n_classes = scores.shape[1]
    scores = np.vstack([scores, np.eye(n_classes)])
    y = np.concatenate([y, np.arange(n_classes)])
    sample_weight = np.concatenate([sample_weight, np.zeros(n_classes)])
    whole = np.arange(len(y))
    calibrator = CalibratedClassifierCV(
        FrozenEstimator(ClassScores(n_classes)),
        method="temperature",
        cv=[(whole, whole)],  # nothing is fitted but the temperature
        ensemble=False,
    )
    # The scores are what they are: no weight has to reach whoever made them.
    with config_context(enable_metadata_routing=False), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Since FrozenEstimator does not appear to accept")
        return calibrator.fit(scores, y, sample_weight=sample_weight)


def check_temperature() -> None:
    """Refuse where scikit-learn has no temperature scaling, before anything is trained."""
    if parse_version(sklearn.__version__) < parse_version("1.8"):
        raise ValueError(
            f'calibration="temperature" needs scikit-learn 1.8; this is {sklearn.__version__}. '
            "Upgrade it, or pass calibration=None."
        )


class ClassScores(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose decision function is its input: scores made elsewhere.

    Parameters
    ----------
    n_classes : int
        The number of classes.
    """

    def __init__(self, n_classes):
        self.n_classes = n_classes

    @property
    def classes_(self):
        """The classes: 0 .. n_classes - 1."""
        return np.arange(self.n_classes)

    def __sklearn_is_fitted__(self):
        return True

    def fit(self, X, y):
        """There is nothing to learn."""
        return self

    def decision_function(self, X):
        """Scores as they came; for two classes, of the second over the first."""
        return X[:, 1] - X[:, 0] if self.n_classes == 2 else X

    def predict(self, X):
        """Positions of the greatest scores."""
        return X.argmax(axis=1)
