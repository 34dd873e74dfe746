"""Hand over where that serves a metric of the system's labels best."""

from __future__ import annotations

import numbers

import numpy as np
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from skdefer.metrics._confusion import is_closed, values_of
from skdefer.metrics._label_metrics import label_metric
from skdefer.metrics._sweep import BLOCK, first_best, sweep_thresholds
from skdefer.policies._base import BasePolicy, best_expert, check_score, counted_weights
from skdefer.policies._thresholds import candidate_thresholds
from skdefer.utils._validation import check_answers, encode_answers

_MOST_CALLS = 1000  # of a metric that has to be called for each threshold


class ScoringPolicy(BasePolicy):
    """Hand over the rows above the threshold that maximises a metric of the system's labels.

    The threshold is learned in ``fit`` on cross-fitted scores. All candidates, midway between
    neighbouring scores, are compared in one sweep; a row without an answer counts with the
    model's. Where several are equally good the one that hands over least is taken.

    Parameters
    ----------
    metric : str, scorer or callable, default="accuracy"
        What is maximised: a scikit-learn scorer of labels by name (``"f1_macro"``,
        ``"balanced_accuracy"``), one from ``make_scorer``, or ``f(y_true, y_answered)``. Accuracy,
        balanced accuracy, F1, precision, recall, Jaccard and Matthews' coefficient are computed
        for all thresholds together; anything else is called for at most 1,000 thresholds, evenly
        by rank. Where it is undefined it counts as scikit-learn says, mostly 0; NaN is never best.
    budget : float or None, default=None
        The most that may be handed over, a share of the rows in [0, 1], on average over rows
        like those of ``fit``.
    gains_only : bool, default=True
        Whether the threshold is at least 0, so that no row is handed over that is expected to
        lose by its score. False serves metrics, or uncalibrated scores, that disagree.

    Attributes
    ----------
    threshold_ : float
        Rows above it are handed over; infinity if no hand-over serves the metric.
    metric_value_ : float
        The metric there, on the cross-fitted scores of ``fit``. It is the best of many, so a
        little too good: measure it on other rows.
    deferral_rate_ : float
        The share handed over there.

    Examples
    --------
    >>> from skdefer.policies import ScoringPolicy
    >>> score = [[0.4], [0.3], [0.1], [0.05]]
    >>> policy = ScoringPolicy("f1").fit(score, [1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0])
    >>> round(policy.threshold_, 3), policy.metric_value_, policy.deferral_rate_
    (0.2, 1.0, 0.5)
    >>> policy.route([[0.25], [0.15]])
    array([1, 0])
    """

    _parameter_constraints: dict = {
        "metric": [str, callable],
        "budget": [Interval(numbers.Real, 0, 1, closed="both"), None],
        "gains_only": ["boolean"],
    }
    learns = True

    def __init__(self, metric="accuracy", *, budget=None, gains_only=True):
        self.metric = metric
        self.budget = budget
        self.gains_only = gains_only

    @property
    def holds_threshold(self):
        """Whether it learned a threshold, which other prices or experts make stale."""
        return True

    def _fit(self, score, y, y_pred, expert_predictions, cost, capacity, X, sample_weight):
        weight = counted_weights(sample_weight, len(score))
        rows = np.flatnonzero(weight)
        y, y_pred, weight = np.asarray(y)[rows], np.asarray(y_pred)[rows], weight[rows]
        classes = np.unique(np.concatenate([y, y_pred]))
        metric = label_metric(self.metric, classes, "metric", weighted=sample_weight is not None)
        answers = check_answers(expert_predictions, len(score))[0][rows]
        best, score = best_expert(score[rows])
        kept = encode_answers(y_pred, classes)
        handed = encode_answers(np.take_along_axis(answers, best[:, None], axis=1)[:, 0], classes)
        thresholds = candidate_thresholds(
            score,
            most=None if is_closed(metric, classes) else _MOST_CALLS,
            lowest=0.0 if self.gains_only else None,
        )
        values, deferred = [], []
        for few in np.array_split(thresholds, -(-len(thresholds) * len(classes) ** 2 // BLOCK)):
            swept = sweep_thresholds(
                score,
                few,
                encode_answers(y, classes),
                kept,
                np.where(handed < 0, kept, handed),
                weight=weight,
                n_classes=len(classes),
            )
            values.append(values_of(metric, swept.counts, classes))
            deferred.append(swept.deferred)
        value, share = np.concatenate(values), np.concatenate(deferred)
        within = np.ones(len(share), dtype=bool)
        if self.budget is not None:
            within = share <= self.budget * (1 + 1e-12)
        chosen = first_best(value, within)
        if chosen < 0:
            raise ValueError(
                f"The metric {metric.name!r} is NaN at every threshold, even where no row is "
                "handed over. Pass one that is defined there, such as 'f1_macro'."
            )
        self.threshold_ = float(thresholds[chosen])
        self.metric_value_ = float(value[chosen])
        self.deferral_rate_ = float(share[chosen])

    def route(self, score, *, cost=None, X=None):
        """Decide who answers each row; see :meth:`BasePolicy.route`."""
        check_is_fitted(self)
        best, score = best_expert(check_score(score))
        return np.where(score > self.threshold_, best + 1, 0)
