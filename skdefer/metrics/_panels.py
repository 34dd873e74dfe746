"""Systems that ask several experts about a row: the panel as one more expert."""

from __future__ import annotations

from typing import Any

import numpy as np

from skdefer.metrics._inputs import Rows, check_column, check_route, check_rows
from skdefer.utils._validation import is_missing


def with_panels(
    rows: Rows, route: Any, price: np.ndarray, y_system: Any
) -> tuple[Rows, np.ndarray, np.ndarray]:
    """Bring routes, or panels with what they came to, to the route of one expert per row.

    Parameters
    ----------
    rows : Rows
        Labels and answers of n rows, J experts.
    route : array-like of int of shape (n,), or of bool of shape (n, J)
        Who is to answer each row, or a panel: everybody who is.
    price : ndarray of shape (n, J)
        Of asking.
    y_system : array-like of shape (n,) or None
        The labels of the system, read where a panel has answers; needed if some panel has
        several experts.

    Returns
    -------
    rows : Rows
        Where there are panels, with a column more: an expert who says what they came to.
    route : ndarray of int of shape (n,)
        0 the model, j expert j; J + 1 the panel.
    price : ndarray of shape (n, rows.n_experts)
        A panel's is the sum over those who answered.

    Raises
    ------
    ValueError
        For a wrong shape, a panel of several without ``y_system``, or ``y_system`` with a route.
    """
    if np.ndim(route) != 2:
        if y_system is not None:
            raise ValueError(
                "y_system came with a route of one expert per row, whose answers are in "
                "expert_predictions. Leave it out, or pass a panel (n_rows, n_experts) as route."
            )
        return rows, check_route(route, rows.n_rows, rows.n_experts), price
    panel = np.asarray(route)
    if panel.shape != rows.answers.shape or not np.isin(panel, (0, 1)).all():
        raise ValueError(
            f"route is a panel of shape {panel.shape} and dtype {panel.dtype}; expected flags of "
            f"shape {rows.answers.shape}, True where an expert is asked. Pass predict_panel(X)."
        )
    panel = panel.astype(bool)
    if y_system is None:
        if panel.sum(axis=1).max() > 1:
            raise ValueError(
                "route has rows with several experts, but y_system was not passed, so it can't be "
                "known what their answers came to. Pass y_system, the labels of predict."
            )
        return rows, np.where(panel.any(axis=1), 1 + panel.argmax(axis=1), 0), price
    said = check_column(y_system, "y_system", rows.n_rows).astype(object)
    answered = panel & rows.answered
    said[~answered.any(axis=1) | is_missing(said)] = None
    answers = np.column_stack([rows.answers.astype(object), said])
    price = np.column_stack([price, sum_of_prices(price, answered)])
    route = np.where(panel.any(axis=1), panel.shape[1] + 1, 0)
    return check_rows(rows.y_true, rows.y_pred, answers), route, price


def sum_of_prices(price: np.ndarray, panel: np.ndarray) -> np.ndarray:
    """What each panel costs, (n,), by prices (n, J); who is not asked may be beyond price."""
    return np.where(panel, price, 0.0).sum(axis=1)
