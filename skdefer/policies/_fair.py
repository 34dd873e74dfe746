"""Hand over so that groups of people fare about alike."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skdefer.exceptions import FairnessWarning
from skdefer.metrics._inputs import check_rows
from skdefer.policies._balance import balance
from skdefer.policies._base import BasePolicy, best_expert, check_score, counted_weights
from skdefer.policies._thresholds import midpoint
from skdefer.utils._validation import encode_answers, is_missing


class FairPolicy(BasePolicy):
    """Hand rows over so that the rate of hand-overs, or of errors, is about equal over groups.

    Each group has a threshold of its own, in units of the cost: what asking costs, or saves, beside
    its price. They are the multipliers of the constraint, chosen on the cross-fitted rows of
    ``fit``: of all thresholds under which the groups differ by at most ``tolerance``, those of
    greatest expected gain, found exactly. What equality costs in accuracy is in
    ``accuracy_price_`` and ``report_``.

    Parameters
    ----------
    constraint : {"deferral_rate", "system_error"}, default="deferral_rate"
        What must be about equal. "deferral_rate": the share of rows handed over; known without any
        label, it holds on new rows as well as rates of so many rows can. A threshold below 0 hands
        over rows that lose by it. "system_error": the share of rows that the system answers
        wrongly, measured with the answers on record. No row is given to somebody expected to do
        worse than the model; equality comes from asking more for one group, whatever the price,
        and less for another, whose error then grows. With one price for all experts these are
        the optimal rules; with several, the choice between experts stays that of ``CostPolicy``.
    tolerance : float, default=0.02
        The greatest difference between two groups on the rows of ``fit``. On new rows it is greater
        by the sampling error of both.
    groups : column name, int, callable or None, default=None
        The group of each row: a column of X, the position of a column of an array, or a callable
        of X that gives (n_rows,) labels. None: one group, and nothing is constrained, with a
        warning.
    min_group_size : int, default=30
        Groups with fewer rows (sum of weights) are not constrained: a group of one would have a
        rate of 0 or 1, and draw all others there.

    Attributes
    ----------
    groups_ : ndarray of shape (n_groups,)
        The groups that are held together.
    thresholds_ : ndarray of shape (n_groups,)
        Rows above it are handed over. 0, the rule of ``CostPolicy``, serves all others: small
        groups, ones that ``fit`` has not seen, and rows whose group is missing.
    gap_, gap_before_ : float
        The greatest difference between two groups on the rows of ``fit``, and under ``CostPolicy``.
    accuracy_price_ : float
        Accuracy of the system under ``CostPolicy`` less that under this policy, on these rows.
    gain_price_ : float
        Expected gain per row that is given up, in units of the cost; never negative.
    report_ : DataFrame
        By group: ``n_rows``, ``constrained``, ``threshold``, ``deferral_rate`` and
        ``system_error``, the last two also ``_before``. Errors are of the rows that have an answer
        of the expert they would go to.

    References
    ----------
    Charusaie & Samadi (2024). A unifying post-processing framework for multi-objective
    learn-to-defer problems, arXiv 2407.12710.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skdefer.policies import FairPolicy
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"site": rng.choice(["north", "south"], size=400)})
    >>> score = rng.normal(np.where(X["site"] == "north", 0.2, -0.2), 0.3)[:, None]
    >>> y = rng.integers(2, size=400)
    >>> policy = FairPolicy(tolerance=0.05, groups="site").fit(score, y, 1 - y, y[:, None], X=X)
    >>> policy.groups_, policy.thresholds_.round(2)
    (array(['north', 'south'], dtype=object), array([ 0.18, -0.15]))
    >>> policy.report_[["deferral_rate", "deferral_rate_before"]].astype(float).round(2)
           deferral_rate  deferral_rate_before
    north           0.47                  0.70
    south           0.43                  0.28
    """

    _parameter_constraints: dict = {
        "constraint": [StrOptions({"deferral_rate", "system_error"})],
        "tolerance": [Interval(numbers.Real, 0, 1, closed="both")],
        "groups": [Hashable, callable, None],
        "min_group_size": [Interval(numbers.Integral, 1, None, closed="left")],
    }
    learns = True

    def __init__(
        self, constraint="deferral_rate", *, tolerance=0.02, groups=None, min_group_size=30
    ):
        self.constraint = constraint
        self.tolerance = tolerance
        self.groups = groups
        self.min_group_size = min_group_size

    @property
    def holds_threshold(self):
        """Whether it learned a threshold, which other prices or experts make stale."""
        return self.groups is not None

    def _fit(self, score, y, y_pred, expert_predictions, cost, capacity, X, sample_weight):
        outcomes = self._outcomes(score, y, y_pred, expert_predictions, cost, sample_weight)
        labels = self._labels(X, len(score))
        known = ~is_missing(labels)
        names = np.unique(labels[known])
        code = encode_answers(labels, names)
        by_name = [_Group(outcomes, code == g) for g in range(len(names))]
        large = [group.n_rows >= self.min_group_size and group.n_judged > 0 for group in by_name]
        self._warn_of_groups(names, large)
        self.groups_ = names[large]
        held = [group for group, is_large in zip(by_name, large) if is_large]
        self.thresholds_, self.gap_, self.gap_before_ = self._balance(held)

        threshold = np.zeros(len(names))
        threshold[large] = self.thresholds_
        at = np.append(threshold, 0.0)[code]  # a missing group is -1, the last
        fair, plain = outcomes.score > at, outcomes.score > 0
        self.accuracy_price_ = outcomes.error(fair) - outcomes.error(plain)
        self.gain_price_ = max(outcomes.gain(plain) - outcomes.gain(fair), 0.0)
        self.report_ = _report(names, by_name, large, threshold)
        counted = (outcomes.weight > 0) & np.isin(code, np.flatnonzero(large))
        self._warn_of_extremes(fair[counted], plain[counted])

    def _outcomes(self, score, y, y_pred, expert_predictions, cost, sample_weight):
        rows = check_rows(y, y_pred, expert_predictions)
        best, top = self._best(score, cost)
        reached = np.arange(len(best)), best
        weight = counted_weights(sample_weight, len(best))
        return _Outcomes(
            score=top,
            weight=weight,
            judged=weight * rows.answered[reached],
            kept_wrong=~rows.right[:, 0],
            handed_wrong=~rows.expert_right[reached],
        )

    def _balance(self, held):
        if len(held) < 2:
            return np.zeros(len(held)), 0.0, 0.0
        rates = self.constraint == "deferral_rate"
        levels = [group.rates if rates else group.errors for group in held]
        before = [level[group.natural] for level, group in zip(levels, held)]
        chosen, reachable = balance(levels, [group.gains for group in held], self.tolerance)
        if reachable > self.tolerance + 1e-9:
            warnings.warn(
                f"No thresholds bring the {self.constraint} of the groups within "
                f"{self.tolerance} of each other; the closest leave {reachable:.3g}, and are taken."
                " Pass a tolerance of that much, or give the worst group better experts.",
                FairnessWarning,
                stacklevel=4,
            )
        after = [level[at] for level, at in zip(levels, chosen)]
        thresholds = [group.threshold(at) for group, at in zip(held, chosen)]
        return np.array(thresholds), float(np.ptp(after)), float(np.ptp(before))

    def _warn_of_groups(self, names, large):
        left_out = [str(name) for name, is_large in zip(names, large) if not is_large]
        if self.groups is None:
            message = (
                "groups is None, so nothing is constrained and the policy decides as CostPolicy "
                "does. Pass groups=, a column of X or a callable."
            )
        elif left_out:
            message = (
                f"{len(left_out)} of {len(names)} groups have fewer than {self.min_group_size} "
                "rows, or no answer on record, and are not constrained: "
                f"{left_out[:5]}; {sum(large)} are. Merge small groups, or lower min_group_size."
            )
        elif len(names) < 2:
            message = (
                f"groups is {self.groups!r}, which gives {len(names)} group on the rows of fit, "
                f"{names.tolist()}; expected two at least, so nothing is constrained. Pass groups= "
                "that tells rows apart, or fit on rows of every group."
            )
        else:
            return
        warnings.warn(message, FairnessWarning, stacklevel=4)

    def _warn_of_extremes(self, fair, plain):
        """Say so if the groups are equal only because all rows, or none, are handed over."""
        if not len(fair) or fair.any() != fair.all() or (fair == plain).all():
            return
        warnings.warn(
            f"With tolerance={self.tolerance:g} {'every row' if fair.any() else 'no row'} of the "
            f"groups is handed over, against {plain.mean():.0%} under CostPolicy, at a loss of "
            f"{self.gain_price_:.3g} per row: rates of few rows are seldom as close as that in any "
            "other way. Pass a wider tolerance.",
            FairnessWarning,
            stacklevel=4,
        )

    def _best(self, score, cost):
        """Best expert of each row, and the score; -inf where nobody may be asked."""
        best, top = best_expert(score)
        if self.constraint == "system_error" and self.groups is not None:
            price = np.broadcast_to(0.0 if cost is None else np.asarray(cost, float), score.shape)
            gross = top + np.take_along_axis(price, best[:, None], axis=1)[:, 0]
            top = np.where(gross > 0, top, -np.inf)
        return best, top

    def _labels(self, X: Any, n_rows: int) -> np.ndarray:
        """Label each row by its group, (n_rows,)."""
        if self.groups is None:
            return np.zeros(n_rows, dtype=np.intp)
        if X is None:
            raise ValueError(
                f"groups is {self.groups!r}, but no rows came; expected X. Pass X= to fit and "
                "route, as the estimators do."
            )
        if callable(self.groups):
            labels = self.groups(X)
        elif hasattr(X, "columns"):
            if self.groups not in list(X.columns):
                raise ValueError(
                    f"groups is {self.groups!r}, but X has the columns {list(X.columns)[:10]}. "
                    "Pass one of them, or a callable of X."
                )
            labels = X[self.groups]
        else:
            labels = np.asarray(X)[:, self.groups]
        missing = is_missing(labels)
        labels = np.ma.getdata(np.asarray(labels, dtype=object)).copy()
        if labels.shape != (n_rows,):
            raise ValueError(
                f"groups gave labels of shape {labels.shape}; expected ({n_rows},), one per row."
            )
        labels[missing] = None
        return labels

    def route(self, score, *, cost=None, X=None):
        """Decide who answers each row; see :meth:`BasePolicy.route`."""
        check_is_fitted(self)
        score = check_score(score)
        best, top = self._best(score, cost)
        threshold: Any = 0.0
        if self.groups is not None:
            code = encode_answers(self._labels(X, len(score)), self.groups_)
            threshold = np.append(self.thresholds_, 0.0)[np.maximum(code, -1)]
        return np.where(top > threshold, best + 1, 0)


@dataclass
class _Outcomes:
    """What becomes of the n rows of ``fit`` if kept, or handed to the best expert."""

    score: np.ndarray  # (n,)
    weight: np.ndarray  # (n,)
    judged: np.ndarray  # (n,), the weight where both outcomes are known, else 0
    kept_wrong: np.ndarray  # (n,)
    handed_wrong: np.ndarray  # (n,)

    def error(self, handed: np.ndarray) -> float:
        wrong = np.where(handed, self.handed_wrong, self.kept_wrong)
        total = self.judged.sum()
        return float(wrong @ self.judged / total) if total else float("nan")

    def gain(self, handed: np.ndarray) -> float:
        return float(self.score[handed] @ self.weight[handed] / self.weight.sum())


class _Group:
    """Operating points of one group: point i hands over the i best blocks of equal scores."""

    def __init__(self, outcomes: _Outcomes, rows: np.ndarray):
        weight, judged = outcomes.weight[rows], outcomes.judged[rows]
        score, kept = outcomes.score[rows], outcomes.kept_wrong[rows]
        self.n_rows, self.n_judged = float(weight.sum()), float(judged.sum())
        asked = np.isfinite(score) & (weight > 0)
        values, block = np.unique(-score[asked], return_inverse=True)
        self.values = -values

        def running(amount: np.ndarray) -> np.ndarray:
            sums = np.bincount(block, amount[asked], minlength=len(values))
            return np.append(0.0, np.cumsum(sums))

        change = outcomes.handed_wrong[rows].astype(float) - kept
        self.rates = running(weight) / max(self.n_rows, 1e-300)
        self.gains = running(np.where(asked, score, 0.0) * weight)
        self.errors = (judged @ kept + running(judged * change)) / max(self.n_judged, 1e-300)
        self.natural = int((self.values > 0).sum())

    def threshold(self, at: int) -> float:
        """Threshold of a point: 0 where that cuts there too, else midway between two scores."""
        if at == self.natural:
            return 0.0
        if at == 0:
            return float(self.values[0])
        if at == len(self.values):
            return -np.inf
        return float(midpoint(self.values[at], self.values[at - 1]))

    def point(self, threshold: float) -> int:
        return int((self.values > threshold).sum())


def _report(names, groups, large, thresholds):
    import pandas as pd

    rows = []
    for group, is_large, threshold in zip(groups, large, thresholds):
        now, before = group.point(threshold), group.natural
        rows.append(
            {
                "n_rows": group.n_rows,
                "constrained": bool(is_large),
                "threshold": threshold,
                "deferral_rate": group.rates[now],
                "deferral_rate_before": group.rates[before],
                "system_error": group.errors[now],
                "system_error_before": group.errors[before],
            }
        )
    return pd.DataFrame(rows, index=list(names))
