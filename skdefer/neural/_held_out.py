"""Rows that a network does not learn from, so that they can tell what it has learned."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit, StratifiedShuffleSplit

LEAST_TO_CALIBRATE = 10  # fewer held-out rows can't tell a temperature


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
            "rows, or early_stopping=False, calibration=None and, where there is a threshold, a "
            "number for it."
        )
    splitter: Any = ShuffleSplit
    if groups is not None:
        groups = np.asarray(groups)[rows]
        if len(np.unique(groups)) < 2:
            raise ValueError(
                "All rows are of one group, so none can be held out. Leave groups out, or pass "
                "early_stopping=False, calibration=None and, where there is a threshold, a number "
                "for it."
            )
        splitter, size = GroupShuffleSplit, fraction
    else:
        n_least = np.unique(y[rows], return_counts=True)[1]
        if n_least.min() > 1 and min(size, len(rows) - size) >= len(n_least):
            splitter = StratifiedShuffleSplit
    split = splitter(1, test_size=size, random_state=rng).split(rows, y[rows], groups)
    taught, held_out = next(split)
    return rows[np.sort(taught)], rows[np.sort(held_out)]


def check_enough_to_calibrate(held_out: np.ndarray) -> None:
    """Refuse where too few rows are held out to find a temperature."""
    if len(held_out) < LEAST_TO_CALIBRATE:
        raise ValueError(
            f"{len(held_out)} rows are held out, too few to find a temperature; expected "
            f"{LEAST_TO_CALIBRATE} at least. Pass more rows or a larger validation_fraction."
        )
