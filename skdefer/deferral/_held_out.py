"""Rows of a network's fit: those it learns from, and those held out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit, StratifiedShuffleSplit


@dataclass
class Rows:
    """Rows of ``fit``: n of them, J experts."""

    X: np.ndarray  # (n, ...)
    y: np.ndarray  # (n,), positions in classes_
    weight: np.ndarray  # (n,)
    answers: np.ndarray | None  # (n, J), labels; None: there is no record
    codes: np.ndarray | None  # (n, J), the answers as positions in classes_, or negative

    def take(self, rows: np.ndarray) -> Rows:
        """Take some of the rows."""
        return Rows(
            self.X[rows],
            self.y[rows],
            self.weight[rows],
            None if self.answers is None else self.answers[rows],
            None if self.codes is None else self.codes[rows],
        )


def hold_out(
    y: np.ndarray, groups: Any, rows: np.ndarray, fraction: float, rng: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Hold rows out: whole groups, or else the classes in their shares where they allow it.

    Parameters
    ----------
    y : ndarray of int of shape (n_rows,)
        Positions of the classes.
    groups : array-like of shape (n_rows,) or None
        Rows of a group stay together.
    rows : ndarray of int
        Those that count.
    fraction : float
        Share of them, or of their groups, that is held out.
    rng : RandomState
        Chooses.

    Returns
    -------
    taught, held_out : ndarray of int
        Parts of ``rows``.
    """
    size: float = max(round(fraction * len(rows)), 1)
    if size >= len(rows):
        raise ValueError(
            f"X has {len(rows)} rows of weight > 0, too few to hold {size} out. Pass more "
            "rows, or early_stopping=False, calibration=None and a number for threshold."
        )
    splitter: Any = ShuffleSplit
    if groups is not None:
        groups = np.asarray(groups)[rows]
        if len(np.unique(groups)) < 2:
            raise ValueError(
                "All rows are of one group, so none can be held out. Leave groups out, or pass "
                "early_stopping=False, calibration=None and a number for threshold."
            )
        splitter, size = GroupShuffleSplit, fraction
    else:
        n_least = np.unique(y[rows], return_counts=True)[1]
        if n_least.min() > 1 and min(size, len(rows) - size) >= len(n_least):
            splitter = StratifiedShuffleSplit
    split = splitter(1, test_size=size, random_state=rng).split(rows, y[rows], groups)
    taught, held_out = next(split)
    return rows[np.sort(taught)], rows[np.sort(held_out)]
