"""Has a system at work changed from what it promised? Looking every day raises no false alarm."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from skdefer.guarantees import (
    ChangeState,
    change_e_process,
    confidence_sequence,
)
from skdefer.monitoring._alarm import Alarm
from skdefer.monitoring._reference import find_reference
from skdefer.monitoring._streams import (
    QUANTILES,
    Stream,
    check_audit,
    check_batch,
    draw,
    quantities,
    warn_of_unchecked,
)
from skdefer.utils._rows import count_rows, row_keys


@dataclass
class _Watch:
    """One quantity: its sum so far and, where it has a reference, the evidence against it."""

    upper: float = 1.0
    n: int = 0
    total: float = 0.0
    rising: ChangeState | None = None
    falling: ChangeState | None = None


class DeferralMonitor(BaseEstimator):
    """Watch a system at work: errors, hand-overs, each expert, scores, missing answers.

    Each quantity is held against a reference: rates promised, or measured in :meth:`fit` on
    held-out rows. Without a change, the chance that any alarm is ever raised is at most ``delta``,
    however often one looks and however long; a reference measured on few rows is allowed its
    uncertainty. Memory is constant. It keeps no rows and never asks anybody.

    Rows that nobody checks prove nothing: the truth of rows that the model keeps comes to light on
    a random share only, ``audit_rate``, which :meth:`audit` draws. The system's error is then
    estimated with weights of one over that share.

    Parameters
    ----------
    delta : float, default=0.05
        Chance of any false alarm, ever; shared evenly by the quantities that have a reference.
    audit_rate : float, default=1.0
        Share of kept rows to check, in (0, 1]. 1: the truth of every row comes to light.
    reference : mapping of str to float, default=None
        Rates that were promised, by quantity: ``"system_error"``, ``"kept_error"``,
        ``"deferral_rate"``, ``"unanswered_rate"`` (of the rows handed over) and
        ``"accuracy_NAME"`` (on the rows handed to NAME). They are taken for exact, and go before
        those that :meth:`fit` measures.
    tolerance : float, default=0.0
        Changes of a rate up to this are no change.
    random_state : int or None, default=None
        Seed of the audit; the same rows are drawn in every process. None: a seed of its own.

    Attributes
    ----------
    names_ : list of str
        The experts.
    classes_ : ndarray or None
        The labels that the truth can have, if they came.
    reference_ : dict of str to (rate, lowest, highest)
        What each quantity is held against: it has moved once it is outside.
    score_edges_ : ndarray
        Scores of a row's best expert at or below which lay 10, 25, 50, 75 and 90 % of the rows of
        ``fit``: the quantities ``score_q10``... are the shares of rows there.
    alarms_ : list of Alarm
        One per quantity and direction at the most, the first.
    n_decided_, n_checked_, n_unchecked_ : int
        Rows that came with scores, that came with the truth of a batch, and those among the latter
        whose truth was due but missing.

    Notes
    -----
    Two monitors can't be merged: their streams have no common order. Run one per site with
    ``delta`` over the number of sites, or one over all.

    See Also
    --------
    skdefer.guarantees.change_e_process : The bets behind it.

    Examples
    --------
    >>> import numpy as np
    >>> from skdefer.monitoring import DeferralMonitor
    >>> monitor = DeferralMonitor(reference={"deferral_rate": 0.2, "accuracy_nurse": 0.9})
    >>> monitor = monitor.fit(names=["nurse"])
    >>> route = np.r_[np.tile([1, 0, 0, 0, 0], 100), np.tile([1, 0], 100)]
    >>> for day in range(7):
    ...     today = route[100 * day : 100 * day + 100]
    ...     for alarm in monitor.update(score=np.where(today, 0.1, -0.1)[:, None], panel=today):
    ...         print(alarm)
    deferral_rate rose from 0.2 to 0.508 since row 500 (noticed at row 564 of those decided)
    """

    _parameter_constraints: dict = {
        "delta": [Interval(numbers.Real, 0, 1, closed="neither")],
        "audit_rate": [Interval(numbers.Real, 0, 1, closed="right")],
        "reference": [Mapping, None],
        "tolerance": [Interval(numbers.Real, 0, 1, closed="left")],
        "random_state": [Interval(numbers.Integral, 0, 2**32 - 1, closed="both"), None],
    }

    def __init__(
        self, *, delta=0.05, audit_rate=1.0, reference=None, tolerance=0.0, random_state=None
    ):
        self.delta = delta
        self.audit_rate = audit_rate
        self.reference = reference
        self.tolerance = tolerance
        self.random_state = random_state

    def fit(
        self,
        *,
        score=None,
        panel=None,
        y_pred=None,
        y=None,
        expert_predictions=None,
        names=None,
        classes=None,
    ):
        """Measure the reference on held-out rows, all of them checked; forget what was watched.

        Parameters
        ----------
        score : array-like of shape (n_rows, n_experts), default=None
            ``deferral_score`` of rows that the system was not fitted on.
        panel : array-like, default=None
            Who was to answer: routes (n_rows,), or flags (n_rows, n_experts). None: there are no
            rows, and ``reference`` says all.
        y_pred, y : array-like of shape (n_rows,), default=None
            The system's labels, and the truth.
        expert_predictions : array-like of shape (n_rows, n_experts), default=None
            The answers, missing where there is none.
        names : sequence of str, default=None
            The experts; ``expert_1``... if None.
        classes : array-like, default=None
            The labels that the system knows; truth outside them is refused, here and in
            :meth:`update`. None: not checked.

        Returns
        -------
        self : DeferralMonitor

        Raises
        ------
        ValueError
            For arrays that don't fit, or a reference to what can't be watched.
        """
        self._validate_params()
        n_experts = 1 if score is None else np.shape(score)[-1]
        self.names_ = [f"expert_{j + 1}" for j in range(n_experts)] if names is None else [*names]
        self.classes_ = None if classes is None else np.asarray(classes)
        streams: dict[str, Stream] = {}
        edges = np.array([])
        if panel is not None:
            batch = check_batch(
                score,
                panel,
                y_pred,
                y,
                expert_predictions,
                None,
                names=self.names_,
                classes=self.classes_,
                everything=True,
            )
            warn_of_unchecked(batch)
            if batch.score is not None:
                edges = np.quantile(batch.score, QUANTILES, method="inverted_cdf")
            streams = draw(batch, self.names_, edges, audit_rate=1.0)
        self.score_edges_ = edges
        self.reference_, self._shares = find_reference(
            self.reference or {}, streams, self.names_, self.delta, self.tolerance
        )
        seed = self.random_state
        self.seed_ = check_random_state(None).randint(2**31) if seed is None else int(seed)
        self.alarms_: list[Alarm] = []
        self.n_decided_ = self.n_checked_ = self.n_unchecked_ = 0
        self._n_kept = self._n_audited = 0
        self._watches = {
            name: _Watch(upper=1.0 / self.audit_rate if name == "system_error" else 1.0)
            for name in quantities(self.names_)
        }
        for name in self.reference_:
            self._watches[name].rising = self._watches[name].falling = ChangeState.start()
        return self

    def audit(self, X, panel, *, row_id=None):
        """Draw the kept rows to check: the same ones in every batch and process.

        Parameters
        ----------
        X : the rows
            Their content, with the seed, decides: equal rows are drawn together.
        panel : array-like of shape (n_rows,) or (n_rows, n_experts)
            Who is to answer, as in :meth:`update`.
        row_id : array-like of shape (n_rows,), default=None
            Unique names of the rows, which decide instead; pass them where rows repeat.

        Returns
        -------
        audited : ndarray of bool of shape (n_rows,)
            Kept rows to have checked. Pass it to :meth:`update` with their truth.
        """
        check_is_fitted(self)
        n_rows, panel = count_rows(X), np.asarray(panel)
        if len(panel) != n_rows or (row_id is not None and len(row_id) != n_rows):
            raise ValueError(
                f"X has {n_rows} rows, panel {len(panel)}"
                + ("" if row_id is None else f" and row_id {len(row_id)}")
                + "; expected as many. Pass the panel of these rows."
            )
        keys = row_keys(X if row_id is None else list(row_id), salt=f"audit{self.seed_}")
        # The first 8 of the 16 bytes of each digest, as a number in [0, 1).
        luck = np.frombuffer(bytes.fromhex(keys.tobytes().decode()), dtype=">u8")[::2] / 2.0**64
        kept = ~panel.astype(bool).reshape(n_rows, -1).any(axis=1)
        return kept & (luck < self.audit_rate)

    def update(
        self,
        *,
        panel,
        score=None,
        y_pred=None,
        y=None,
        expert_predictions=None,
        audited=None,
        names=None,
        classes=None,
    ):
        """Take in rows, in portions of any size; the state is the same to the last bit.

        Rows that come with ``score`` count as decided, those with ``y`` as checked. Where the truth
        comes later, pass the first at once and the others then, without ``score``.

        Parameters
        ----------
        panel : array-like of shape (n_rows,) or (n_rows, n_experts)
            Who was to answer: routes, or flags.
        score : array-like of shape (n_rows, n_experts), default=None
            ``deferral_score``; None: these rows were counted before.
        y_pred : array-like of shape (n_rows,), default=None
            The system's labels; needed with ``y``.
        y : array-like of shape (n_rows,), default=None
            The truth, missing where nobody has checked. It is due on rows that were handed over and
            on audited ones; due and missing, a row is left out, with a warning. On other rows it
            is not read: they were not drawn at random.
        expert_predictions : array-like of shape (n_rows, n_experts), default=None
            The answers that came, missing where none did.
        audited : array-like of bool of shape (n_rows,), default=None
            What :meth:`audit` drew, unchanged, with all kept rows; not needed at an
            ``audit_rate`` of 1. Flags that can't be draws at ``audit_rate`` are refused.
        names : sequence of str, default=None
            The experts, to make sure that they are those of ``fit``.
        classes : array-like, default=None
            The labels that the system knows, if ``fit`` was not told.

        Returns
        -------
        alarms : list of Alarm
            Those that these rows have raised.

        Raises
        ------
        ValueError
            For other experts, arrays that don't fit, truth that is none of the classes, or
            ``audited`` that is not what was drawn. Nothing is taken in then.
        """
        check_is_fitted(self)
        if names is not None and list(names) != self.names_:
            raise ValueError(
                f"The experts are {list(names)}, but this monitor watches {self.names_}. Use one "
                "monitor per system, and name its experts: fit(names=[...]), which starts afresh."
            )
        batch = check_batch(
            score,
            panel,
            y_pred,
            y,
            expert_predictions,
            audited,
            names=self.names_,
            classes=classes if self.classes_ is None else self.classes_,
            everything=self.audit_rate == 1.0,
        )
        n_kept, n_audited = self._n_kept + batch.n_kept, self._n_audited + batch.n_audited
        if batch.n_kept:
            check_audit(n_audited, n_kept, self.audit_rate)
        self._n_kept, self._n_audited = n_kept, n_audited
        n_unchecked = warn_of_unchecked(batch)
        raised = []
        for name, stream in draw(batch, self.names_, self.score_edges_, self.audit_rate).items():
            raised += self._take_in(name, stream)
        self.n_decided_ += len(batch.panel) if batch.score is not None else 0
        self.n_checked_ += len(batch.panel) if batch.wrong is not None else 0
        self.n_unchecked_ += n_unchecked
        self.alarms_ += raised
        return raised

    def _take_in(self, name: str, stream: Stream) -> list[Alarm]:
        watch = self._watches[name]
        decided = name in ("deferral_rate", "unanswered_rate") or name.startswith("score_q")
        at = stream.rows + (self.n_decided_ if decided else self.n_checked_)
        watch.n += len(stream.values)
        # From the first value to the last, so that portions make no difference.
        watch.total = float(np.cumsum(np.append(watch.total, stream.values))[-1])
        if name not in self.reference_ or not len(stream.values):
            return []
        rate, low, high = self.reference_[name]
        limit = -np.log(self._shares[name])
        raised = []
        for attribute, direction, bound in (("rising", "rose", high), ("falling", "fell", low)):
            options = {"greater": direction == "rose", "upper": stream.upper}
            before = getattr(watch, attribute)
            log_e, state = change_e_process(stream.values, bound, at=at, state=before, **options)
            setattr(watch, attribute, state)
            known = any((a.quantity, a.direction) == (name, direction) for a in self.alarms_)
            over = np.flatnonzero(log_e >= limit)
            if len(over) and not known:
                upto = slice(over[0] + 1)
                state = change_e_process(
                    stream.values[upto], bound, at=at[upto], state=before, **options
                )[1]
                since, estimate = state.onset()
                counted = "decided" if decided else "checked"
                row = int(at[over[0]])
                raised.append(Alarm(name, direction, row, since, rate, min(estimate, 1.0), counted))
        return raised

    def _since(self, watch: _Watch, alarm: Alarm) -> tuple[int, float]:
        state = watch.rising if alarm.direction == "rose" else watch.falling
        assert state is not None  # only what has a reference raises alarms
        start, rate = state.onset()
        return start, min(rate, 1.0)  # a weighted share may pass 1

    def report(self):
        """Lay out every quantity: what was promised, what is seen, and what has moved.

        Returns
        -------
        report : DataFrame
            A row per quantity: ``reference`` with ``lowest`` and ``highest``, the rates that count
            as unmoved; ``n`` values seen; ``estimate``, their mean; ``lower`` and ``upper``,
            bounds of it that hold at all times, at confidence 1 - ``delta`` each, if it has not
            moved; ``alarm``, the alarms in words; ``since`` and ``now``, where there is one: the
            start of the change and the rate from there on, as the rows since the alarm have it.
        """
        import pandas as pd

        check_is_fitted(self)
        rows = {}
        for name, watch in self._watches.items():
            reference, low, high = self.reference_.get(name, (np.nan,) * 3)
            # A weighted share may pass 1.
            total = min(watch.total, watch.n * watch.upper)
            lower, upper = confidence_sequence(total, watch.n, self.delta, upper=watch.upper)
            alarms = [a for a in self.alarms_ if a.quantity == name]
            since, now = self._since(watch, alarms[-1]) if alarms else (np.nan, np.nan)
            rows[name] = {
                "reference": reference,
                "lowest": low,
                "highest": high,
                "n": watch.n,
                "estimate": min(watch.total / watch.n, 1.0) if watch.n else np.nan,
                "lower": float(lower),
                "upper": float(min(upper, 1.0)),
                "alarm": "; ".join(map(str, alarms)),
                "since": since,
                "now": now,
            }
        return pd.DataFrame.from_dict(rows, orient="index")
