"""A deferral estimator with nothing behind it: the columns of X are its answers."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.metadata_routing import UNUSED

from skdefer.exceptions import ExpertPredictionsMissingError
from skdefer.utils._validation import check_answers


class FakeExpert:
    """Answers what column ``column`` of X says; without one it can't be asked."""

    def __init__(self, cost=0.0, column=None):
        self.cost = cost
        self.column = column


class FakeDeferral(ClassifierMixin, BaseEstimator):
    """The methods of a deferral estimator that scorers may call, and no other.

    X holds the model's answer, the scores of two experts, and their answers.
    """

    __metadata_request__fit = {"expert_predictions": True}
    __metadata_request__predict = {
        "expert_predictions": True,
        "return_route": UNUSED,
        "return_panel": UNUSED,
    }
    __metadata_request__score = {"expert_predictions": True}

    def __init__(self, experts=(), threshold=0.0, cost=None):
        self.experts = experts
        self.threshold = threshold
        self.cost = cost

    def fit(self, X, y, expert_predictions=None, sample_weight=None):
        self.classes_ = np.unique(y)
        self.experts_ = list(self.experts)
        self.routes_ = ["model", *(f"expert_{j + 1}" for j in range(len(self.experts)))]
        self.calls_ = []
        return self

    def predict_model(self, X):
        self.calls_.append("predict_model")
        return self.classes_[np.asarray(X)[:, 0].astype(int)]

    def deferral_score(self, X):
        self.calls_.append("deferral_score")
        return np.asarray(X)[:, 1 : 1 + len(self.experts)]

    def predict_route(self, X):
        self.calls_.append("predict_route")
        score = np.asarray(X)[:, 1 : 1 + len(self.experts)]
        return np.where(score.max(axis=1) > self.threshold, 1 + score.argmax(axis=1), 0)

    def predict_panel(self, X):
        return self.predict_route(X)[:, np.newaxis] == [1, 2]

    def ask_experts(self, X, where=None):
        self.calls_.append("ask_experts")
        return self._answers(X)

    def predict(self, X, expert_predictions=None, return_route=False, return_panel=False):
        self.calls_.append("predict")
        if expert_predictions is None:
            answers = self._answers(X)
            if any(expert.column is None for expert in self.experts_):
                raise ExpertPredictionsMissingError("nobody to ask")
        else:
            answers, _ = check_answers(expert_predictions, len(X), names=self.routes_[1:])
        score = np.asarray(X)[:, 1 : 1 + len(self.experts)]
        route = np.where(score.max(axis=1) > self.threshold, 1 + score.argmax(axis=1), 0)
        labels = self.classes_[np.asarray(X)[:, 0].astype(int)].astype(object)
        for i in np.flatnonzero(route):
            answer = answers[i, route[i] - 1]
            if answer is None:
                route[i] = 0
            else:
                labels[i] = answer
        labels = np.asarray(labels.tolist())
        result = [labels, *[route] * return_route, *[route[:, None] == [1, 2]] * return_panel]
        return tuple(result) if len(result) > 1 else labels

    def _answers(self, X):
        X = np.asarray(X)
        answers = np.full((len(X), len(self.experts_)), None, dtype=object)
        for j, expert in enumerate(self.experts_):
            if expert.column is not None:
                answers[:, j] = self.classes_[X[:, expert.column].astype(int)]
        return answers


def make_rows(n_rows=60, seed=0, labels=("no", "yes")):
    """X, y and the answers of two experts."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n_rows)

    def right_with(accuracy):
        return np.where(rng.random(n_rows) < accuracy, y, 1 - y)

    X = np.column_stack(
        [right_with(0.7), rng.normal(size=(n_rows, 2)), right_with(0.9), right_with(0.8)]
    )
    labels = np.array(labels)
    return X, labels[y], labels[X[:, 3:].astype(int)]
