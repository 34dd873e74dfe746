"""Many thresholds tested at once: which may be used, with one promise for all."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def fixed_sequence(p_values: ArrayLike, delta: float) -> np.ndarray:
    """Reject hypotheses one after the other, until one stands.

    Each is tested at the full level, so that no multiplicity is paid for; in return the order
    must be fixed before the rows are seen that the p-values come from. A good order begins with
    the threshold whose risk is surely low, and goes on to ever cheaper ones.

    Parameters
    ----------
    p_values : array-like of shape (n_thresholds,)
        In the order of the tests.
    delta : float
        The chance of any false rejection, in (0, 1).

    Returns
    -------
    valid : ndarray of bool of shape (n_thresholds,)
        True up to the first p-value above ``delta``. With probability 1 - delta, the risk is
        within its target at all of them.

    Raises
    ------
    ValueError
        For p-values that are none, or a delta that promises nothing.

    See Also
    --------
    holm : Without an order, at a price.

    References
    ----------
    Angelopoulos, Bates, Candes, Jordan & Lei (2021). Learn then test: calibrating predictive
    algorithms to achieve risk control. arXiv 2110.01052.

    Examples
    --------
    >>> from skdefer.guarantees import fixed_sequence
    >>> fixed_sequence([0.01, 0.04, 0.2, 0.03], delta=0.1)
    array([ True,  True, False, False])
    """
    p_values = _check(p_values, delta)
    return np.logical_and.accumulate(p_values <= delta)


def holm(p_values: ArrayLike, delta: float) -> np.ndarray:
    """Reject hypotheses in any order, the levels corrected for their number.

    The smallest p-value is held against ``delta / m``, the next against ``delta / (m - 1)``, and
    so on, until one is above its level.

    Parameters
    ----------
    p_values : array-like of shape (m,)
        In any order.
    delta : float
        The chance of any false rejection, in (0, 1).

    Returns
    -------
    valid : ndarray of bool of shape (m,)
        With probability 1 - delta, the risk is within its target at all of them.

    Raises
    ------
    ValueError
        For p-values that are none, or a delta that promises nothing.

    References
    ----------
    Holm (1979). A simple sequentially rejective multiple test procedure. Scandinavian Journal
    of Statistics 6, 65-70.

    Examples
    --------
    >>> from skdefer.guarantees import holm
    >>> holm([0.01, 0.06, 0.2, 0.03], delta=0.1)
    array([ True, False, False,  True])
    """
    p_values = _check(p_values, delta)
    m = len(p_values)
    order = np.argsort(p_values, kind="stable")
    valid = np.zeros(m, dtype=bool)
    valid[order] = np.logical_and.accumulate(p_values[order] <= delta / np.arange(m, 0, -1))
    return valid


def conformal_risk_control(
    risk: ArrayLike, n_rows: int, target: float, *, bound: float = 1.0
) -> np.ndarray:
    """Find the thresholds at which the expected risk is within its target.

    Those at which ``n / (n + 1) risk + B / (n + 1) <= target``, from the first on. That bounds
    the risk on average over samples of calibration rows. It does not bound the chance of a sample
    whose threshold has a higher risk, which is often near a half: where one system is calibrated
    once and must keep its target, test instead (:func:`fixed_sequence`).

    Parameters
    ----------
    risk : array-like of shape (n_thresholds,)
        Mean losses, which must not fall along the sequence, row by row; the running maximum of
        each row's losses makes them so.
    n_rows : int
        Exchangeable rows, or clusters.
    target : float
        The risk that is not to be exceeded on average, in (0, bound).
    bound : float, default=1.0
        B, the largest loss that is possible.

    Returns
    -------
    valid : ndarray of bool of shape (n_thresholds,)
        True up to the last threshold that may be used.

    Raises
    ------
    ValueError
        If the risk falls, or the target is not between 0 and the bound.

    References
    ----------
    Angelopoulos, Bates, Fisch, Lei & Schuster (2024). Conformal risk control. ICLR, arXiv
    2208.02814.

    Examples
    --------
    >>> from skdefer.guarantees import conformal_risk_control
    >>> conformal_risk_control([0.0, 0.05, 0.09, 0.1], n_rows=99, target=0.1)
    array([ True,  True,  True, False])
    """
    risk = np.asarray(risk, dtype=float)
    if risk.ndim != 1 or (np.diff(risk) < -1e-9).any():
        raise ValueError(
            f"risk has shape {risk.shape} or falls along the sequence; expected one mean loss per "
            "threshold, none below the one before. Take the running maximum of each row's losses."
        )
    if not 0 < target < bound:
        raise ValueError(
            f"target is {target!r}; expected a number above 0 and below {bound!r}, the largest "
            "loss."
        )
    return np.logical_and.accumulate((n_rows * risk + bound) / (n_rows + 1) <= target)


def _check(p_values: ArrayLike, delta: float) -> np.ndarray:
    p_values = np.asarray(p_values, dtype=float)
    if p_values.ndim != 1 or not ((p_values >= 0) & (p_values <= 1)).all():
        raise ValueError(
            f"p_values have shape {p_values.shape} and are {p_values}; expected numbers in [0, 1], "
            "one per threshold."
        )
    if not 0 < delta < 1:
        raise ValueError(
            f"delta is {delta!r}; expected a number above 0 and below 1, the chance that the "
            "promise fails."
        )
    return p_values
