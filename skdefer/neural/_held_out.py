"""Rows that a network does not learn from, so that they can tell what it has learned."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit, StratifiedShuffleSplit

LEAST_TO_CALIBRATE = 10  # fewer held-out rows can't tell a temperature
_TRIES = 20  # of groups to hold out, until every class is left with rows
_WITHOUT = "early_stopping=False, calibration=None and, where there is a threshold, a number for it"


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
        Parts of ``rows``; every class that is in these is in ``taught``.

    Raises
    ------
    ValueError
        If there are too few rows, or groups, for that.
    """
    size: float = max(round(fraction * len(rows)), 1)
    if size >= len(rows):
        raise ValueError(
            f"X has {len(rows)} rows of weight > 0, too few to hold {size} out. Pass more rows, "
            f"or {_WITHOUT}."
        )
    splitter: Any = ShuffleSplit
    if groups is not None:
        groups = np.asarray(groups)[rows]
        if len(np.unique(groups)) < 2:
            raise ValueError(
                "All rows are of one group, so none can be held out. Leave groups out, or pass "
                f"{_WITHOUT}."
            )
        splitter, size = GroupShuffleSplit, fraction
    else:
        n_least = np.unique(y[rows], return_counts=True)[1]
        if n_least.min() > 1 and min(size, len(rows) - size) >= len(n_least):
            splitter = StratifiedShuffleSplit
    n_classes = len(np.unique(y[rows]))
    splits = splitter(_TRIES, test_size=size, random_state=rng).split(rows, y[rows], groups)
    for taught, held_out in splits:
        if len(np.unique(y[rows[taught]])) == n_classes:
            return rows[np.sort(taught)], rows[np.sort(held_out)]
        if groups is None:
            return _keep_classes(y, rows, int(size), rng)
    raise ValueError(
        f"X has too few groups to hold any out: with {fraction:.0%} of them gone, a class has no "
        f"row left to learn from. Leave groups out, lower validation_fraction, or pass {_WITHOUT}."
    )


def _keep_classes(
    y: np.ndarray, rows: np.ndarray, size: int, rng: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Hold rows out at random, but one of each class, which stays to be learned from."""
    drawn = rng.permutation(rows)
    classes, first = np.unique(y[drawn], return_index=True)
    others = np.delete(drawn, first)
    if size > len(others):
        raise ValueError(
            f"X has {len(rows)} rows of weight > 0 in {len(classes)} classes, too few rows to "
            f"hold any out: each class needs one to learn from. Pass more rows, or {_WITHOUT}."
        )
    held_out = others[:size]
    return np.setdiff1d(rows, held_out), np.sort(held_out)


def check_enough_to_calibrate(held_out: np.ndarray) -> None:
    """Refuse where too few rows are held out to find a temperature."""
    if len(held_out) < LEAST_TO_CALIBRATE:
        raise ValueError(
            f"{len(held_out)} rows are held out, too few to find a temperature; expected "
            f"{LEAST_TO_CALIBRATE} at least. Pass more rows or a larger validation_fraction."
        )
