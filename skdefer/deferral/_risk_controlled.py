"""A threshold with a promise: a risk that is not exceeded, proven on rows of its own."""

from __future__ import annotations

import copy
import numbers
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skdefer.deferral._calibrated import CalibratedMixin, labels_by
from skdefer.deferral._delegating import DelegatingMixin, is_frozen, thaw
from skdefer.deferral._out_of_fold import check_groups
from skdefer.deferral._record import check_classes, of_all_rows
from skdefer.deferral._risks import check_limits
from skdefer.deferral._unseen_rows import (
    TaughtRows,
    draw_rows,
    index_of,
    leave_each_class,
    salt_of,
)
from skdefer.utils._rows import check_rows, check_same_order, take_rows
from skdefer.utils._signature import keywords_only
from skdefer.utils._validation import check_answers, check_target, check_weights, is_missing


class RiskControlledDeferralClassifier(CalibratedMixin, BaseEstimator):
    """A deferral estimator whose risk is promised not to exceed a target.

    A threshold is taken off the scores of any deferral estimator, such that the risks named are
    within their targets. That is proven on calibration rows: a share of the rows of ``fit`` that
    the estimator is not fitted on, or rows of their own, by :meth:`calibrate`. Of the thresholds
    that are proven, the one nearest to the estimator's own rule serves.

    Parameters
    ----------
    estimator : deferral estimator, default=None
        Whose threshold is chosen, not another RiskControlledDeferralClassifier;
        ``DeferralClassifier()`` if None. A fitted one in
        ``FrozenEstimator`` is used as it is: all rows of ``fit`` then calibrate, and must not be
        among those that it was fitted on, which nobody can check.
    risk : str, callable or sequence of them, default="system_error"
        What is limited. Several hold together, with one promise.

        - "system_error": the share of rows whose final answer is wrong.
        - "kept_error": the share of wrong answers among the rows that the model keeps.
        - "false_negative_rate": the share of wrong answers among the rows of ``pos_label``.
        - "deferral_rate": the share of rows about which somebody is asked.
        - "expected_cost": what a row costs on average, wrong answers and asking together, by the
          estimator's ``error_cost`` and ``cost``. Prices by a function of X must not exceed those
          of the calibration rows.
        - A function ``(y, labels, asked)``: of the truth, the system's answers and whether
          somebody is asked, all of shape (n_rows,), gives a loss in [0, ``loss_bound``] for
          each row; NaN where a row does not count.
    target : float or sequence of float, default=0.1
        The most that each risk may be.
    delta : float, default=0.1
        The chance, over calibration rows, that the promise fails; not for ``method="crc"``.
    method : {"ltt", "crc"}, default="ltt"
        "ltt", learn then test: with probability 1 - ``delta`` the risk of the system that you get
        is within its target. "crc", conformal risk control: the risk is within its target on
        average over calibrations. A single system, yours, may then be above it, and is in about
        40 % of cases; so take "crc" where many are calibrated and only their average counts. Not
        for "kept_error" and functions, whose rows that count change with the threshold.
    correction : {"fixed_sequence", "holm"}, default="fixed_sequence"
        How "ltt" tests many thresholds at once. "fixed_sequence": from the one that is clearest
        on the pilot rows towards the preferred one, until a test fails. "holm": all, at a lower
        level each.
    prefer : {"cost", "deferral_rate"}, default="cost"
        Which of the proven thresholds serves. "cost": the nearest to 0, the estimator's own rule
        of least expected cost; 0 itself where the targets allow it. "deferral_rate": the highest,
        that hands over least; for those who know a target but no price.
    by : str or callable, default=None
        A column of X, or a function of X that gives a label per row: the site, the sex, the
        device. Every risk is then kept within its target in each of these groups of calibration
        rows, by one threshold for all. Of groups that are not among them nothing is promised. Rows
        without a label are a group, "(missing)". The estimator sees the column, too.
    pos_label : label, default=None
        For "false_negative_rate"; of two classes the second one in their sorted order, which
        ``promise_`` names.
    loss_bound : float, default=1.0
        The largest loss of a risk that is a function. The promise depends on it.
    thresholds : int or array-like, default=100
        The candidates: how many, taken from the scores of the pilot rows, or numbers that were
        fixed beforehand. Handing over all and none are always among them, and 0.
    validation_fraction : float or None, default=0.2
        Share of the rows of ``fit`` (of ``groups``) that calibrates. They are chosen by their
        content, so that copies of a row are not on both sides, and count once; unless X has so few
        values that equal rows are common. None: all rows teach, and nothing is promised until
        :meth:`calibrate` is called.
    pilot_fraction : float, default=0.2
        Share of the calibration rows that only says which thresholds are tested, and in what
        order; the others test. With "holm" and ``thresholds`` of your own there is neither to
        say, and all rows test.
    on_failure : {"warn", "raise"}, default="warn"
        Where nothing is proven: a ``RiskNotControlledWarning`` and the safest route, or a
        ``RiskNotControlledError``. Both say what could be promised, and with how many rows. The
        safest route hands over everything that the policy lets through, so that the model
        answers no row on a promise that was not kept; where only "deferral_rate" or
        "expected_cost" are limited, nothing.
    random_state : int, RandomState instance or None, default=None
        Seed of the choice of calibration and of pilot rows.

    Attributes
    ----------
    estimator_ : deferral estimator
        Fitted, with the threshold in its policy. All methods are its own.
    threshold_ : float
        Taken off every score: a row is handed over where more is left than the policy asks for.
    certified_ : bool
        Whether the promise holds: it was proven, for these experts and prices.
    promise_ : str
        What is promised, or why nothing is, in a sentence.
    risk_table_ : DataFrame
        A row per threshold, risk and group: ``threshold``, ``risk``, ``pos_label`` (of
        "false_negative_rate"), ``group``, ``value`` (on the rows that test), ``n_counted``,
        ``target``, ``upper`` (the least target that this threshold alone would be found to keep),
        ``p_value``, ``valid`` (all risks and groups are proven there) and ``chosen``.
    n_calibration_ : int
        Rows that tested, or their groups.
    classes_, experts_, profiles_, policy_, routes_, n_experts_
        Of ``estimator_``.

    See Also
    --------
    skdefer.guarantees : The tests and bounds, as functions of arrays.
    skdefer.displays.RiskControlDisplay : Risk and bound against the threshold.

    Notes
    -----
    The promise is about rows drawn like the calibration rows, of which each counts once, whatever
    its weight: another population, other experts or other prices need another calibration. After
    ``with_experts`` with anybody new, everything takes the safest route until :meth:`calibrate`
    is called; after a change of prices a ``StaleThresholdWarning`` says so. Where nobody can be
    asked, a row that is handed over counts as right.

    References
    ----------
    Angelopoulos, Bates, Candes, Jordan & Lei (2021). Learn then test. arXiv 2110.01052.
    Angelopoulos, Bates, Fisch, Lei & Schuster (2024). Conformal risk control. ICLR, arXiv
    2208.02814.

    Examples
    --------
    >>> import numpy as np
    >>> from skdefer import DeferralClassifier, RiskControlledDeferralClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(2000, 2))
    >>> y = (X[:, 0] + (X[:, 1] > 1) * 3 > 0).astype(int)  # not linear
    >>> desk = lambda X: (X[:, 0] + (X[:, 1] > 1) * 3 > 0).astype(int)  # but known to the desk
    >>> clf = RiskControlledDeferralClassifier(
    ...     DeferralClassifier(experts=[("desk", desk)]), target=0.05, prefer="deferral_rate"
    ... ).fit(X[:1000], y[:1000])
    >>> clf.promise_
    'With probability 0.9, system_error <= 0.05 on rows drawn like the 160 that tested it.'
    >>> bool(np.mean(clf.predict(X[1000:]) != y[1000:]) <= 0.05)
    True
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods("fit"), None],
        "risk": "no_validation",  # a sentence with the known names says more
        "target": "no_validation",
        "delta": [Interval(numbers.Real, 0, 1, closed="neither")],
        "method": [StrOptions({"ltt", "crc"})],
        "correction": [StrOptions({"fixed_sequence", "holm"})],
        "prefer": [StrOptions({"cost", "deferral_rate"})],
        "by": [str, callable, None],
        "pos_label": "no_validation",
        "loss_bound": [Interval(numbers.Real, 0, None, closed="neither")],
        "thresholds": [Interval(numbers.Integral, 1, None, closed="left"), "array-like"],
        "validation_fraction": [Interval(numbers.Real, 0, 1, closed="neither"), None],
        "pilot_fraction": [Interval(numbers.Real, 0, 1, closed="neither")],
        "on_failure": [StrOptions({"warn", "raise"})],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator=None,
        *,
        risk="system_error",
        target=0.1,
        delta=0.1,
        method="ltt",
        correction="fixed_sequence",
        prefer="cost",
        by=None,
        pos_label=None,
        loss_bound=1.0,
        thresholds=100,
        validation_fraction=0.2,
        pilot_fraction=0.2,
        on_failure="warn",
        random_state=None,
    ):
        self.estimator = estimator
        self.risk = risk
        self.target = target
        self.delta = delta
        self.method = method
        self.correction = correction
        self.prefer = prefer
        self.by = by
        self.pos_label = pos_label
        self.loss_bound = loss_bound
        self.thresholds = thresholds
        self.validation_fraction = validation_fraction
        self.pilot_fraction = pilot_fraction
        self.on_failure = on_failure
        self.random_state = random_state

    @keywords_only
    def fit(self, X, y, *, expert_predictions=None, sample_weight=None, groups=None):
        """Fit the estimator on most rows, and prove the promise on the others.

        Parameters
        ----------
        X : the rows
            Whatever the estimator takes.
        y : array-like of shape (n_rows,)
            The truth.
        expert_predictions : array-like of shape (n_rows,) or (n_rows, n_experts), default=None
            Answers on record. Without any, experts are asked: by the estimator as its own ``fit``
            does, and every one about every calibration row, which may cost money.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows that teach. Of the calibration rows each counts once, or not at
            all where its weight is 0.
        groups : array-like of shape (n_rows,), default=None
            Rows of a group (the images of a patient) are on the same side, and count as one when
            the promise is tested, which would fail otherwise.

        Returns
        -------
        self : RiskControlledDeferralClassifier

        Raises
        ------
        ValueError
            For risks and targets that don't fit, and where no row is left to calibrate.
        RiskNotControlledError
            If nothing is proven and ``on_failure="raise"``; the estimator stays fitted, so that
            :meth:`calibrate` may be called with more rows.
        """
        self._validate_params()
        self._check_inner()
        check_limits(self.risk, self.target, method=self.method)
        n_rows = check_rows(X)
        y = check_target(y, n_rows)
        _check_groups(groups, n_rows)
        labels_by(self.by, X)  # before anything is fitted
        answers = _checked_answers(expert_predictions, X, n_rows)
        weight = None if sample_weight is None else check_weights(sample_weight, n_rows)
        counted = np.arange(n_rows) if weight is None else np.flatnonzero(weight)
        if not len(counted):
            raise ValueError("Every sample_weight is zero; expected one weight above 0 at least.")
        self._salt = salt_of(self.random_state)
        if is_frozen(self.estimator):
            self._taught, held = None, counted
            inner = thaw(self.estimator)
        else:
            check_classes(y[counted])
            held = self._held_out(X, y, groups, counted)
            taught = np.setdiff1d(np.arange(n_rows), held)
            inner = clone(self._inner())
            with of_all_rows(taught, n_rows):
                inner.fit(
                    take_rows(X, taught),
                    y[taught],
                    expert_predictions=take_rows(answers, taught),
                    sample_weight=None if weight is None else weight[taught],
                    groups=take_rows(groups, taught),
                )
            index = index_of(X)
            self._taught = TaughtRows(
                take_rows(X, taught),
                None if index is None else index[taught],
                groups=take_rows(groups, taught),
                without={expert.column for expert in inner.experts_},
            )
        while isinstance(inner, DelegatingMixin):
            inner = inner.estimator_
        self.estimator_ = copy.copy(inner)
        self._policy = self.estimator_.policy_
        if self._policy.batch_dependent:
            raise ValueError(
                f"The estimator's policy {type(self._policy).__name__} decides by the other rows "
                "of a batch, so nothing can be promised of a row; expected one that decides row by "
                "row, such as CostPolicy. Limit risk='deferral_rate' instead of a batch."
            )
        if len(held):
            parts = (take_rows(part, held) for part in (X, y, answers, groups))
            with of_all_rows(held, n_rows):
                self._calibrate(*parts)
        else:
            self._take_safest("Nothing is promised: call calibrate with rows of their own.")
        return self

    @keywords_only
    def calibrate(self, X, y, *, expert_predictions=None, groups=None):
        """Choose the threshold on calibration rows of their own; nothing is fitted.

        Parameters
        ----------
        X : the rows
            As in ``fit``; none of those that the estimator was fitted on.
        y : array-like of shape (n_rows,)
            The truth.
        expert_predictions : array-like of shape (n_rows,) or (n_rows, n_experts), default=None
            Answers on record; None: every expert is asked about every row, which may cost money.
        groups : array-like of shape (n_rows,), default=None
            Rows of a group count as one; none of those that the estimator was fitted on. Required
            after a ``fit`` with groups.

        Returns
        -------
        self : RiskControlledDeferralClassifier

        Raises
        ------
        ValueError
            For rows that the estimator was fitted on: rows with the same labels in the index, of
            the same groups, or with the same content, unless equal rows are as common among those
            of ``fit``. The content is that of the columns of ``fit``, without answers, numbers in
            single precision. Also for labels of y that are none of ``classes_``.
        RiskNotControlledError
            If nothing is proven and ``on_failure="raise"``.
        """
        check_is_fitted(self)
        self._validate_params()
        n_rows = check_rows(X)
        y = check_target(y, n_rows)
        _check_groups(groups, n_rows)
        answers = _checked_answers(expert_predictions, X, n_rows)
        if self._taught is not None:
            _refuse_taught_groups(self._taught, groups)
            rows, how = self._taught.find(X)
            if len(rows):
                raise ValueError(
                    f"{len(rows)} of {n_rows} calibration rows are known by {how} from the rows "
                    f"that the estimator was fitted on, such as rows {rows[:5].tolist()}; expected "
                    "rows that taught nothing, or the promise is false. Leave them out, or fit on "
                    "others; if the labels of the index mean nothing, call reset_index."
                )
        self.estimator_ = copy.copy(self.estimator_)  # copies that serve others keep theirs
        self._calibrate(X, y, answers, groups)
        return self

    def _held_out(self, X: Any, y: np.ndarray, groups: Any, counted: np.ndarray) -> np.ndarray:
        """Choose the rows that calibrate."""
        if self.validation_fraction is None:
            return counted[:0]
        rows, which = take_rows(X, counted), take_rows(groups, counted)
        drawn = draw_rows(rows, which, self.validation_fraction, self._salt)
        held = counted[leave_each_class(drawn, y[counted], which)]
        if not len(held):
            unit, found = "rows", len(counted)
            if which is not None:
                unit, found = "groups", len(set(np.asarray(which).tolist()))
            raise ValueError(
                f"{found} {unit} with weight are too few to hold one out to calibrate, and leave "
                f"every class some. Pass more {unit}, or validation_fraction=None and call "
                "calibrate with rows of their own."
            )
        return held


def _check_groups(groups: Any, n_rows: int) -> None:
    if groups is None:
        return
    check_groups(groups, n_rows)
    missing = np.flatnonzero(is_missing(groups))
    if len(missing):
        raise ValueError(
            f"groups is missing in {len(missing)} of {n_rows} rows, such as rows "
            f"{missing[:5].tolist()}; expected the group of each row. Pass a name of its own for "
            "each row that belongs to no other."
        )


def _refuse_taught_groups(taught: TaughtRows, groups: Any) -> None:
    """Refuse groups that the estimator was fitted on, and rows that hide theirs."""
    if groups is None and taught.grouped:
        raise ValueError(
            "fit had groups=, but calibrate has none; expected the group of each row, or rows "
            "of a group that taught could not be told. Pass groups=, with a name of its own "
            "for each row that belongs to no other."
        )
    known = [] if groups is None else taught.find_groups(groups)
    if known:
        raise ValueError(
            f"groups has {len(known)} groups that the estimator was fitted on, such as "
            f"{known[:5]}; expected groups that taught nothing, or the promise is false. Leave "
            "them out; if they are others by the same names, rename them."
        )


def _checked_answers(expert_predictions: Any, X: Any, n_rows: int) -> Any:
    if expert_predictions is not None:
        check_answers(expert_predictions, n_rows)
        check_same_order(expert_predictions, X)
    return expert_predictions
