"""A threshold that was tested: how it is found, served and given up."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skdefer.base import DeferralMixin
from skdefer.costs import same_prices
from skdefer.deferral._controlling import Control, find_threshold
from skdefer.deferral._delegating import DelegatingMixin
from skdefer.deferral._record import check_spending, of_all_rows
from skdefer.deferral._risks import (
    CalibrationRows,
    at_threshold,
    check_limits,
    make_risk,
    safest_threshold,
)
from skdefer.deferral._unseen_rows import copies_are_common, draw_rows, row_digests
from skdefer.exceptions import RiskNotControlledError, RiskNotControlledWarning
from skdefer.metrics._reading import read_answers
from skdefer.policies._base import BasePolicy
from skdefer.utils._rows import check_rows, take_rows
from skdefer.utils._validation import encode_answers, is_missing

if TYPE_CHECKING:
    import pandas as pd


# More groups than this, and of few rows each, are values of a number.
_MOST_GROUPS, _LEAST_ROWS = 10, 4


class CalibratedMixin(DelegatingMixin):
    """Serves a threshold with a promise, for an estimator that has the parameters of one.

    ``fit`` of the estimator sets ``estimator_``, ``_policy``, which decides on what a threshold
    leaves of the scores, and ``_salt``, a seed; then it calls ``_calibrate``.
    """

    risk: Any
    target: Any
    delta: float
    method: str
    correction: str
    prefer: str
    by: Any
    pos_label: Any
    loss_bound: float
    thresholds: Any
    pilot_fraction: float
    on_failure: str
    estimator_: Any
    _policy: BasePolicy
    _salt: str

    @property
    def certified_(self):
        """Whether the promise holds: it was proven, for these experts and prices."""
        check_is_fitted(self)
        served = self.estimator_
        return self._proven and same_prices(served._learned_at, served._prices())

    def with_experts(self, experts, *, profiles=None, cost=None):
        """Serve other experts, see :meth:`skdefer.base.DeferralMixin.with_experts`.

        Parameters
        ----------
        experts, profiles, cost
            As there.

        Returns
        -------
        estimator : RiskControlledDeferralClassifier
            A fitted copy. Unless these are the experts that the promise was made with, what is
            known of them included, it warns, and takes the safest route until :meth:`calibrate` is
            called with their answers.
        """
        other = super().with_experts(experts, profiles=profiles, cost=cost)
        if other.estimator_._learned_at == ():
            other._take_safest(
                f"Nothing is promised of {other.routes_[1:]}, with whom the threshold was not "
                "tested. Call calibrate with rows that they have answered."
            )
            warnings.warn(other.promise_, RiskNotControlledWarning, stacklevel=2)
        return other

    def explain_defer(self, X):
        """Why each row is kept or handed over, see :meth:`DeferralMixin.explain_defer`.

        Parameters
        ----------
        X : the rows
            As in ``fit``.

        Returns
        -------
        explanation : DataFrame of length n_rows
            As there; the reason of a row that is handed over at an expected loss is the promise.
        """
        shown = super().explain_defer(X)
        route = self.predict_route(X)
        scores = shown[[f"score_{name}" for name in self.routes_[1:]]].to_numpy()
        score = scores[np.arange(len(route)), np.maximum(route, 1) - 1]
        reason = shown["reason"].to_numpy(dtype=object, copy=True)
        for i in np.flatnonzero((route > 0) & (score <= 0)):
            reason[i] = (
                f"Handed to {self.routes_[route[i]]}, whose score {score[i]:.3g} is above the "
                f"threshold {self.threshold_:.3g}, by which the risk is controlled."
            )
        shown["reason"] = reason
        return shown

    # -- inside ----------------------------------------------------------------------------

    def _may_hold(self, inner: DeferralMixin) -> bool:
        """Tell whether the threshold of an estimator may be replaced; a promised one may not."""
        return not isinstance(inner, CalibratedMixin)

    def _calibrate(self, X: Any, y: np.ndarray, answers: Any, groups: Any) -> None:
        """Choose a threshold on rows that taught nothing."""
        inner = self.estimator_
        _refuse_unknown(y, inner.classes_)
        strata = labels_by(self.by, X)
        # Bets are settled row after row: in an order that no sorting has chosen.
        digests = row_digests(X, self._salt)
        order = np.argsort(digests, kind="stable")
        if groups is None and not copies_are_common(digests):
            order = order[np.unique(digests[order], return_index=True)[1]]  # a row twice is one
        parts = (X, y, answers, groups, strata)
        X, y, answers, groups, strata = (take_rows(part, order) for part in parts)
        if inner._rejects_only:
            if answers is not None:
                raise ValueError(
                    "expert_predictions came, but the estimator was fitted with nobody to ask. "
                    "Leave them out, or call with_experts first."
                )
        else:
            if answers is None:
                check_spending(inner._panel)
            with of_all_rows(order, len(digests)):
                answers = read_answers(inner, X, answers, what="A promise about the whole system")
        rows = CalibrationRows(inner, self._policy, X, y, answers)
        risks = [
            make_risk(*limit, rows, loss_bound=self.loss_bound, pos_label=self.pos_label)
            for limit in check_limits(self.risk, self.target, method=self.method)
        ]
        control = Control(
            risks=risks,
            delta=self.delta,
            method=self.method,
            correction=self.correction,
            prefer=self.prefer,
        )
        pilot = draw_rows(X, groups, self.pilot_fraction, f"{self._salt}|pilot")
        found = find_threshold(
            rows,
            control,
            pilot=pilot,
            thresholds=self.thresholds,
            clusters=None if groups is None else np.asarray(groups),
            strata=strata,
        )
        self.risk_table_: pd.DataFrame = found.table
        self.n_calibration_ = found.n_tested
        if found.threshold is None:
            self._take_safest(found.sentence)
            if self.on_failure == "raise":
                raise RiskNotControlledError(found.sentence)
            warnings.warn(found.sentence, RiskNotControlledWarning, stacklevel=3)
            return
        self._serve(found.threshold)
        self.promise_ = found.sentence
        self._proven = True

    def _take_safest(self, promise: str) -> None:
        """Promise nothing, and say why."""
        names = [self.risk] if isinstance(self.risk, str) or callable(self.risk) else self.risk
        self._serve(safest_threshold(names))
        self.promise_, self._proven = promise, False

    def _serve(self, threshold: float) -> None:
        self.threshold_ = float(threshold)
        worst = self.estimator_._error_unit()
        if self.estimator_.error_cost_ is not None:
            worst = self.estimator_.error_cost_.max()
        self.estimator_._set_policy(at_threshold(threshold, self._policy, worst))


def _refuse_unknown(y: np.ndarray, classes: np.ndarray) -> None:
    unknown = y[encode_answers(y, classes) < 0]
    if len(unknown):
        raise ValueError(
            f"y has the labels {list(dict.fromkeys(unknown.tolist()))[:5]} on {len(unknown)} of "
            f"{len(y)} calibration rows, but the classes are {classes.tolist()}; expected one of "
            "them in each row. Spell them alike, or fit on rows of every class."
        )


def labels_by(by: Any, X: Any) -> np.ndarray | None:
    """Take the group of each row for which the promise is to hold apart.

    Rows without a label are a group of their own, "(missing)".
    """
    if by is None:
        return None
    if callable(by):
        labels = np.asarray(by(X))
    elif by in getattr(X, "columns", ()):
        labels = np.asarray(X[by])
    else:
        raise ValueError(
            f"by is {by!r}, but X is {type(X).__name__} without such a column; expected a column "
            "of a frame, or a function of X that gives a label per row."
        )
    if labels.shape != (check_rows(X),):
        raise ValueError(
            f"by gives labels of shape {labels.shape} for {check_rows(X)} rows; expected one each."
        )
    missing = is_missing(labels)
    if missing.any():
        labels = np.where(missing, "(missing)", labels.astype(object))
    n_groups = len(set(labels.tolist()))
    if n_groups > max(_MOST_GROUPS, len(labels) / _LEAST_ROWS):
        raise ValueError(
            f"by is {by!r}, which has {n_groups} values on {len(labels)} rows; expected few groups "
            "with many rows each, or nothing can be proven in any. Pass a function of X that puts "
            "values together, such as lambda X: X['age'] >= 65."
        )
    return labels
