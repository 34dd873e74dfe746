"""Two-stage deferral: one classifier of routes, by weights that say what each would save."""

from __future__ import annotations

import numbers

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.utils._param_validation import HasMethods, Interval

from skdefer.costs import least_cost_answer
from skdefer.rejectors._base import BaseRejector
from skdefer.rejectors._correction import safe_logit
from skdefer.rejectors._learned import LearnedRejector
from skdefer.rejectors._reading import FEATURES, ReadingMixin
from skdefer.rejectors._shares import Shares
from skdefer.rejectors._whitening import Whitening
from skdefer.utils._validation import MISSING

_RIDGE = 30.0  # of the default classifier, in rows, as in LearnedRejector


class TwoStageRejector(ReadingMixin, BaseRejector):
    """Learn whom to route a row to, with one classifier whose classes are the routes.

    What each route would have cost is known on out-of-fold rows: the loss of the model's answer
    and of each expert's. Every row is shown to the classifier once per route, as an example of that
    route, weighted by what the route saves against the row's worst one. Any scikit-learn
    classifier that takes ``sample_weight`` so learns to defer to several experts at once, and
    what it learns of one route it weighs against all others, where :class:`LearnedRejector` looks
    at one expert at a time. It can't serve experts that it was not fitted to.

    Parameters
    ----------
    estimator : classifier with ``predict_proba``, default=None
        Learns the routes; it must take ``sample_weight``. It reads the signals of the model's
        probabilities, the logit of what each expert's profile promises, and the features. None:
        a logistic regression on these, whitened, with a ridge of 30 rows.
    features : transformer or "passthrough", default=None
        What is read of the row besides the model's probabilities: the output of a transformer
        of X, or X itself, which must then be numeric. None: nothing, so X may be anything.
    shrinkage : float, default=200.0
        Number of an expert's answers at which the rule of the profile and what was learned count
        the same; of ``m`` answers, what was learned counts ``m / (m + shrinkage)``. 0 is the
        published reduction, but for experts without any answer, who are weighed by the profile.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes.
    profiles_ : list of ExpertProfile
        One per expert.
    confidence_ : LearnedRejector
        What was learned of the model's own answers.
    learned_weight_ : ndarray of shape (n_experts,)
        How much of what was learned counts, for each expert.

    Notes
    -----
    On a row whose routes cost ``c_0, ..., c_J``, as shares of the greatest price, route j has the
    weight ``w_j = max_i c_i - c_j``; rows on which all cost the same drop out. The minimiser of the
    weighted log loss is ``s_j(x) = E[w_j | x] / E[W | x]`` with ``W`` the sum of the weights, so
    that its largest ``s`` is the route of least expected cost. A second classifier of the same
    kind is fitted to ``W``, and ``(s_j - s_0) E[W | x] = E[c_0 - c_j | x]`` is the gain of expert
    j in units of the cost. Prices of asking have no part in it: they are taken off the gain
    later, so that they may change without a refit; the source has them in the weights.

    The gain is taken off the model's own expected loss, that of :class:`LearnedRejector`, which is
    moved as little as keeps all losses between 0 and the greatest price.

    A missing answer counts the loss that the profile expects on the row's true class. So where
    most answers of an expert are missing, what is learned of it lies near its profile, however
    many answers there are: :class:`LearnedRejector` leaves such rows out instead.

    References
    ----------
    Mao, Mohri, Mohri & Zhong (2023). Two-stage learning to defer with multiple experts. NeurIPS
    36, 3578-3606.

    Montreuil, Yeo, Carlier, Ng & Ooi (2024). A two-stage learning-to-defer approach for multi-task
    learning. arXiv 2410.15729.

    Examples
    --------
    >>> import numpy as np
    >>> from skdefer.rejectors import TwoStageRejector
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(2000, 1)), rng.integers(2, size=2000)
    >>> proba = np.full((2000, 2), 0.5)  # the model knows nothing
    >>> first, second = np.where(X > 0, y[:, None], 0).T[0], np.where(X < 0, y[:, None], 0).T[0]
    >>> rejector = TwoStageRejector(features="passthrough")
    >>> rejector = rejector.fit(proba, y, np.column_stack([first, second]), X=X)
    >>> rejector.expected_loss(proba[:2], X=[[2.0], [-2.0]]).argmin(axis=1)
    array([1, 2])
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict_proba"]), None],
        "features": FEATURES,
        "shrinkage": [Interval(numbers.Real, 0, None, closed="left")],
    }
    learns = True
    serves_unseen_experts = False

    def __init__(self, estimator=None, *, features=None, shrinkage=200.0):
        self.estimator = estimator
        self.features = features
        self.shrinkage = shrinkage

    def _fit(self, proba, y, answers, X, sample_weight):
        self.confidence_ = LearnedRejector().fit(
            proba,
            self.classes_[y],
            None,
            error_cost=self.error_cost_,
            sample_weight=sample_weight,
            classes=self.classes_,
        )
        n_answers = sample_weight @ (answers != MISSING)
        self._known = np.flatnonzero(n_answers)
        self.learned_weight_ = np.zeros(len(n_answers))
        m = n_answers[self._known]
        self.learned_weight_[self._known] = m / (m + self.shrinkage)
        if not len(self._known):
            return
        rows = np.flatnonzero(sample_weight > 0)
        weight = sample_weight[rows]
        features = self._features(proba, X, fitting=True)[rows]
        if self.estimator is None:
            self._whitening = Whitening().fit(features, weight)
            features = self._whitening.transform(features)
        saved = self._saved(proba[rows], y[rows], answers[rows])
        row, route = np.nonzero(saved)
        self._routes = np.unique(route)  # a route that never saves anything is never taken
        self._classifier = None
        if len(self._routes) > 1:
            self._classifier = self._new_classifier().fit(
                features[row], route, sample_weight=saved[row, route] * weight[row]
            )
        total = saved.sum(axis=1) / len(self._known)  # one route saves nothing, so in [0, 1]
        self._stake = Shares(self._new_classifier()).fit(features, None, total, weight)

    def _saved(self, proba, y, answers):
        """What each route saves against the worst one of the row, (n_rows, 1 + n_known)."""
        by_class = self._class_losses()
        said = np.column_stack(
            [least_cost_answer(proba, self.error_cost_), answers[:, self._known]]
        )
        cost = np.column_stack([self._realised_loss(y, a) for a in said.T])
        cost[:, 1:] = np.where(said[:, 1:] == MISSING, by_class[y][:, self._known], cost[:, 1:])
        cost /= self._worst_price()
        return cost.max(axis=1, keepdims=True) - cost

    def _new_classifier(self):
        if self.estimator is not None:
            return clone(self.estimator)
        # Tight, so that the order of the experts does not show.
        return LogisticRegression(C=1.0 / _RIDGE, tol=1e-8, max_iter=1000)

    def _features(self, proba, X, *, fitting=False):
        signals = self._read(proba, X, fitting=fitting)
        promised = self._good(self._rules(proba)[:, 1 + self._known])
        return np.column_stack([signals, safe_logit(promised)])

    def _losses(self, proba, X):
        proba = proba.astype(float, copy=False)
        loss = self._rules(proba)
        loss[:, 0] = self.confidence_.expected_loss(proba)[:, 0]
        worst = self._worst_price()
        if len(self._known):
            gain = self._gains(proba, X) * worst
            weight, known = self.learned_weight_[self._known], 1 + self._known
            rule = (1.0 - weight) * loss[:, known]
            # From 0 <= rule + weight (L_0 - gain) <= worst, for every expert.
            low, high = gain - rule / weight, gain + (worst - rule) / weight
            loss[:, 0] = np.clip(loss[:, 0], low.max(axis=1), high.min(axis=1)).clip(0.0, worst)
            loss[:, known] = rule + weight * (loss[:, :1] - gain)
        return np.clip(loss, 0.0, worst)

    def _gains(self, proba, X):
        """What each known expert saves against the model, in shares of the greatest price."""
        features = self._features(proba, X)
        if self.estimator is None:
            features = self._whitening.transform(features)
        share = np.zeros((len(proba), 1 + len(self._known)))
        if self._classifier is None:
            share[:, self._routes] = 1.0
        else:
            share[:, self._routes] = self._classifier.predict_proba(features)
        total = self._stake.predict(features) * len(self._known)
        return (share[:, 1:] - share[:, :1]) * total[:, None]
