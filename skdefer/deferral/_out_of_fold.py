"""Probabilities and losses of rows that taught nothing to whoever judges them."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
import sklearn
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import StratifiedGroupKFold, check_cv
from sklearn.utils.parallel import Parallel, delayed

from skdefer.exceptions import UncachedWarning, UnseenClassWarning
from skdefer.utils._rows import take_rows

_FOLDS_WITHIN = 5  # where the estimator's own split leaves a single test fold


@dataclass
class OutOfFold:
    """Out-of-fold probabilities; n rows, K classes."""

    proba: np.ndarray  # (n, K); rows outside `covered` hold no information
    covered: np.ndarray  # bool (n,): the row stood in a test fold
    fold: np.ndarray  # int (n,): the first test fold of the row, -1 outside `covered`


class FittingCache:
    """Fits estimators, and keeps what it fitted in a ``joblib.Memory``.

    Parameters
    ----------
    memory : joblib.Memory
        Where fits are kept; one without a location keeps nothing.
    estimator, X, y, fit_params
        What is fitted, on what; every parameter has a value per row. Hashed once, here,
        for all fits.
    """

    def __init__(self, memory: Any, estimator: Any, X: Any, y: Any, fit_params: dict[str, Any]):
        self.estimator, self.X, self.y, self.fit_params = estimator, X, y, fit_params
        self.memory, self.key = memory, None
        if getattr(memory, "location", None) is None:
            return
        try:
            self.key = joblib.hash((sklearn.__version__, estimator, X, y, fit_params))
        except Exception as error:  # whatever an object that can't be pickled raises
            warnings.warn(
                f"memory= keeps no fit: {type(estimator).__name__}, X or the weights can't be "
                f"hashed ({type(error).__name__}). Replace lambdas and local functions by "
                "module-level ones.",
                UncachedWarning,
                stacklevel=3,
            )

    def _cached(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if self.key is None:
            return function
        return self.memory.cache(function, ignore=["estimator", "X", "y", "fit_params"])

    def _arguments(self) -> tuple[Any, ...]:
        # Clones are made here, in the parent: the workers' random states can't collide.
        return self.key, clone(self.estimator), self.X, self.y, self.fit_params

    def fit(self) -> Any:
        """Fit the estimator on all rows."""
        return self._cached(_fit)(*self._arguments())

    def cross_fit(
        self,
        splits: list[tuple[np.ndarray, np.ndarray]],
        classes: np.ndarray,
        *,
        with_folds: bool,
        groups: Any,
        n_jobs: int | None,
        verbose: int,
    ) -> OutOfFold:
        """Give every row of a test fold the probabilities of an estimator that never saw it.

        Parameters
        ----------
        splits : list of (train, test)
            Positions of rows. Rows in several test folds are averaged.
        classes : ndarray of shape (n_classes,)
            The columns of the result.
        with_folds : bool
            Whether ``fold`` is needed: for policies that learn.
        groups : array-like of shape (n_rows,) or None
            Rows of a group share a fold, wherever folds are made here.
        n_jobs, verbose
            As in scikit-learn.

        Returns
        -------
        out_of_fold : OutOfFold
            With one warning where a training fold lacks a class.
        """
        n_rows = len(self.y)
        total = np.zeros((n_rows, len(classes)))
        times = np.zeros(n_rows, dtype=int)
        if isinstance(self.estimator, FrozenEstimator):
            # Never refitted: its probabilities are those of rows it has not seen.
            total += align_columns(self.estimator.predict_proba(self.X), self.estimator, classes)
            times += 1
        else:
            function = self._cached(_fit_fold)
            folds = Parallel(n_jobs=n_jobs, verbose=verbose)(
                delayed(function)(train, test, classes, *self._arguments())
                for train, test in splits
            )
            for (_, test), proba in zip(splits, folds, strict=True):
                total[test] += proba
                times[test] += 1
            self._warn_of_unseen(splits, classes)
        return OutOfFold(
            proba=total / np.maximum(times, 1)[:, None],
            covered=times > 0,
            fold=_first_folds(splits, self.y, times > 0, groups)
            if with_folds
            else np.zeros(n_rows, dtype=int),
        )

    def _warn_of_unseen(self, splits: list[Any], classes: np.ndarray) -> None:
        unseen = {
            label
            for train, _ in splits
            for label in np.setdiff1d(classes, take_rows(self.y, train)).tolist()
        }
        if unseen:
            warnings.warn(
                f"Some training folds lack the classes {sorted(unseen, key=str)}; their "
                "probability is 0 there. Use fewer folds, or more rows of these classes.",
                UnseenClassWarning,
                stacklevel=4,
            )


def check_groups(groups: Any, n_rows: int) -> None:
    """Refuse groups of another length than the rows."""
    if len(groups) != n_rows:
        raise ValueError(
            f"groups has {len(groups)} entries, but X has {n_rows} rows; pass one group per row."
        )


def make_splits(cv: Any, X: Any, y: np.ndarray, groups: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split the rows as ``cv`` says; a number of folds keeps groups together.

    Parameters
    ----------
    cv : int, splitter or iterable
        As in scikit-learn.
    X, y, groups
        The rows, their labels, and their groups or None.

    Returns
    -------
    splits : list of (train, test)
        Positions of rows.
    """
    if groups is not None:
        check_groups(groups, len(y))
    if groups is not None and (cv is None or isinstance(cv, numbers.Integral)):
        splitter: Any = StratifiedGroupKFold(5 if cv is None else cv)
    else:
        splitter = check_cv(cv, y, classifier=True)
    return [(np.asarray(train), np.asarray(test)) for train, test in splitter.split(X, y, groups)]


def cross_fit_losses(
    fit_rejector: Callable[[np.ndarray], Any],
    out_of_fold: OutOfFold,
    X: Any,
) -> np.ndarray:
    """Expected losses from rejectors that never saw the row, with the estimator's folds.

    Parameters
    ----------
    fit_rejector : callable
        Fits a rejector on the rows whose positions it gets.
    out_of_fold : OutOfFold
        Probabilities and folds.
    X : the rows, without the columns of column experts
        For rejectors that read them.

    Returns
    -------
    loss : ndarray of shape (n_covered, 1 + n_experts)
        One row for each covered row, in order.
    """
    parts, order = [], []
    for fold in np.unique(out_of_fold.fold[out_of_fold.covered]):
        test = np.flatnonzero(out_of_fold.fold == fold)
        train = np.flatnonzero(out_of_fold.covered & (out_of_fold.fold != fold))
        rejector = fit_rejector(train)
        parts.append(rejector.expected_loss(out_of_fold.proba[test], X=take_rows(X, test)))
        order.append(test)
    return np.concatenate(parts)[np.argsort(np.concatenate(order))]


def align_columns(proba: Any, fitted: Any, classes: np.ndarray) -> np.ndarray:
    """Put the columns of ``fitted.predict_proba`` in the order of ``classes``, 0 where absent."""
    proba = np.asarray(proba)
    if np.array_equal(fitted.classes_, classes):
        return proba
    aligned = np.zeros((len(proba), len(classes)), dtype=proba.dtype)
    aligned[:, np.searchsorted(classes, fitted.classes_)] = proba
    return aligned


def _fit(key, estimator, X, y, fit_params):
    return estimator.fit(X, y, **fit_params)


def _fit_fold(train, test, classes, key, estimator, X, y, fit_params):
    params = {name: take_rows(value, train) for name, value in fit_params.items()}
    estimator.fit(take_rows(X, train), take_rows(y, train), **params)
    return align_columns(estimator.predict_proba(take_rows(X, test)), estimator, classes)


def _first_folds(splits: list[Any], y: np.ndarray, covered: np.ndarray, groups: Any) -> np.ndarray:
    """Number the test fold of each covered row; split anew where there is only one."""
    fold = np.full(len(y), -1)
    for number, (_, test) in reversed(list(enumerate(splits))):
        fold[test] = number
    # A frozen estimator covers rows outside the test folds too: they are one more fold.
    fold[covered & (fold < 0)] = len(splits)
    fold[~covered] = -1
    rows = np.flatnonzero(covered)
    if len(np.unique(fold[rows])) < 2:
        within = None if groups is None else np.asarray(groups)[rows]
        few = np.unique(y[rows], return_counts=True)[1].min()
        few = few if within is None else min(few, len(np.unique(within)))
        if few < 2:
            raise ValueError(
                f"cv leaves one test fold of {len(rows)} rows, too few to learn the policy on "
                "rows that did not teach the rejector. Use several folds, or a larger test fold."
            )
        splits = make_splits(min(_FOLDS_WITHIN, int(few)), rows, y[rows], within)
        for number, (_, test) in enumerate(splits):
            fold[rows[test]] = number
    return fold
