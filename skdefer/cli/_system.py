"""A deferral system judged on rows it has not seen."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from skdefer.cli._options import UsageError
from skdefer.cli._progress import Progress
from skdefer.deferral import DeferralClassifier
from skdefer.exceptions import OutOfLabelsWarning
from skdefer.experts import ColumnExpert
from skdefer.policies import BudgetPolicy

if TYPE_CHECKING:
    import pandas

_INNER_FOLDS = 5
_FEW_ROWS = 20_000  # on busy cores threads make fits on fewer rows ten times slower
_PREFIX = "answers of "


@dataclass
class Fold:
    """Rows that fit a system, and rows that it is judged on."""

    X: pandas.DataFrame
    y: np.ndarray
    groups: np.ndarray | None
    answers: pandas.DataFrame
    train: np.ndarray
    test: np.ndarray

    @property
    def train_groups(self) -> np.ndarray | None:
        """What the rows that fit belong to."""
        return None if self.groups is None else self.groups[self.train]


@dataclass
class Terms:
    """The experts and their prices, and what the system may do."""

    names: list[str]
    prices: list[float]
    error_cost: float
    budget: float | None
    seed: int

    @property
    def price_list(self) -> str:
        """The prices, in a line."""
        if len(self.names) > 1 and len(set(self.prices)) == 1:
            return f"{self.prices[0]:g} for each of {len(self.names)} experts"
        return ", ".join(f"{name} {price:g}" for name, price in zip(self.names, self.prices))


@dataclass
class Decisions:
    """What systems decided on n rows that they had not seen; J experts."""

    terms: Terms
    y_true: np.ndarray  # (n,)
    y_pred: np.ndarray  # (n,), of the model
    answers: np.ndarray  # (n, J)
    score: np.ndarray  # (n, J)
    route: np.ndarray  # (n,)
    row: np.ndarray  # (n,), positions in the table; a row may come several times


def decide(folds: Iterable[Fold], n_folds: int, model: Any, terms: Terms) -> Decisions:
    """Fit a system per fold and let it decide on the fold's other rows.

    Parameters
    ----------
    folds : iterable of Fold
        May be made one by one.
    n_folds : int
        Their number, for the progress.
    model : classifier
        The model, not fitted.
    terms : Terms
        Prices, budget and seed.

    Returns
    -------
    decisions : Decisions
        In the order of the folds.

    Raises
    ------
    UsageError
        If a system refuses the rows.
    """
    experts = [
        ColumnExpert(_PREFIX + name, name=name, cost=price)
        for name, price in zip(terms.names, terms.prices, strict=True)
    ]
    # By batch, so that a budget is kept to the row: what is asked is what it would bring.
    policy = None if terms.budget is None else BudgetPolicy(terms.budget, scope="batch")
    parts: list[tuple[np.ndarray, ...]] = []
    with Progress("fold", n_folds) as progress:
        for fold in folds:
            system = DeferralClassifier(
                model,
                experts,
                policy=policy,
                error_cost=terms.error_cost,
                cv=_inner_folds(fold),
                random_state=terms.seed,
            )
            n_threads = 1 if len(fold.y) <= _FEW_ROWS else None
            with threadpool_limits(n_threads), warnings.catch_warnings():
                warnings.simplefilter("ignore", OutOfLabelsWarning)  # said once, for all rows
                parts.append(_decide_fold(system, fold))
            progress.step()
    return Decisions(terms, *map(np.concatenate, zip(*parts, strict=True)))


def _decide_fold(system: DeferralClassifier, fold: Fold) -> tuple[np.ndarray, ...]:
    """Fit on the fold's rows; give all of Decisions but the terms, for its other rows."""
    table = fold.X.join(fold.answers.add_prefix(_PREFIX))
    try:
        system.fit(table.iloc[fold.train], fold.y[fold.train], groups=fold.train_groups)
    except ValueError as error:
        raise UsageError(f"A system can't be fitted to these rows. {error}") from error
    new = table.iloc[fold.test]
    return (
        fold.y[fold.test],
        system.predict_model(new),
        fold.answers.iloc[fold.test].to_numpy(dtype=object),
        system.deferral_score(new),
        system.predict_route(new),
        fold.test,
    )


def make_folds(
    X: pandas.DataFrame,
    y: np.ndarray,
    answers: pandas.DataFrame,
    groups: np.ndarray | None,
    n_splits: int,
    seed: int,
) -> list[Fold]:
    """Split rows so that every row is judged once, groups whole, classes alike.

    Parameters
    ----------
    X, y, answers, groups
        The table; n_rows each.
    n_splits : int
        The number of folds.
    seed : int
        Of the split.

    Returns
    -------
    folds : list of Fold
        One per split.

    Raises
    ------
    UsageError
        If there are too few rows, or groups, of some class.
    """
    what = "rows" if groups is None else "groups"
    for label, count in _counts(y, groups).items():
        if count < n_splits:
            raise UsageError(
                f"The class {label!r} has {count} {what}, too few for {n_splits} folds. Pass fewer "
                "folds (--cv), or leave the class out."
            )
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    splits = kind(n_splits, shuffle=True, random_state=seed).split(X, y, groups)
    folds = [Fold(X, y, groups, answers, train, test) for train, test in splits]
    for fold in folds:
        left = _counts(y[fold.train], fold.train_groups)
        for label in np.unique(y).tolist():
            if left.get(label, 0) < 2:  # fitting splits these rows once more
                raise UsageError(
                    f"The class {label!r} stands in too few {what}: of one fold, less than 2 are "
                    "left to learn from. Pass other folds (--cv, --seed), or leave the class out."
                )
    return folds


def _counts(y: np.ndarray, groups: np.ndarray | None) -> dict[Any, int]:
    """Count the rows of each class, or the groups that it stands in."""
    rows = np.arange(len(y)) if groups is None else groups
    return {label: len(np.unique(rows[y == label])) for label in np.unique(y).tolist()}


def _inner_folds(fold: Fold) -> int:
    """Choose the folds within: five, or as many as the rarest class allows."""
    rarest = min(_counts(fold.y[fold.train], fold.train_groups).values())
    return max(2, min(_INNER_FOLDS, rarest))
