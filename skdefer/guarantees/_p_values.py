"""P-values of the hypothesis that a risk is above its target."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr, xlogy

# Means such as 0.1 + 0.2, times n, are a little above the whole number that they stand for.
_SLACK = 1e-9


def binomial_p_value(risk: ArrayLike, n_rows: ArrayLike, target: ArrayLike) -> np.ndarray:
    """How likely as few errors are if the risk is the target; exact, for losses of 0 or 1.

    ``P(Bin(n, target) <= n * risk)``: if the risk is really above the target, the p-value is
    below any ``u`` in a share ``u`` of samples at most.

    Parameters
    ----------
    risk : array-like
        Share of errors among the rows.
    n_rows : array-like of int
        Independent rows. Without any, the p-value is 1.
    target : array-like
        The risk that is not to be exceeded, in (0, 1). The three are broadcast together.

    Returns
    -------
    p_value : ndarray
        In (0, 1].

    Raises
    ------
    ValueError
        For a risk outside [0, 1], a target outside (0, 1) or a negative number of rows.

    See Also
    --------
    hoeffding_bentkus_p_value : For losses between 0 and 1.

    References
    ----------
    Clopper & Pearson (1934). The use of confidence or fiducial limits illustrated in the case
    of the binomial. Biometrika 26, 404-413.

    Examples
    --------
    No error in 29 rows speaks for a risk below 10 %, one error does so no more:

    >>> from skdefer.guarantees import binomial_p_value
    >>> binomial_p_value([0, 1 / 29], 29, 0.1).round(3)
    array([0.047, 0.199])
    """
    risk, n_rows, target = _check(risk, n_rows, target)
    return bdtr(np.floor(n_rows * risk + _SLACK), n_rows, target)


def hoeffding_bentkus_p_value(risk: ArrayLike, n_rows: ArrayLike, target: ArrayLike) -> np.ndarray:
    """How likely so small a mean is if the risk is the target, for losses in [0, 1].

    The smaller one of two tail bounds: ``exp(-n h(min(risk, target), target))`` (Hoeffding), with
    ``h(a, b) = a ln(a / b) + (1 - a) ln((1 - a) / (1 - b))``, and ``e P(Bin(n, target) <=
    ceil(n risk))`` (Bentkus). For losses of 0 or 1, :func:`binomial_p_value` is sharper.

    Parameters
    ----------
    risk : array-like
        Mean loss of the rows; losses in [0, B] are divided by B before, and so is the target.
    n_rows : array-like of int
        Independent rows, or clusters if ``risk`` is the mean over clusters.
    target : array-like
        The risk that is not to be exceeded, in (0, 1). The three are broadcast together.

    Returns
    -------
    p_value : ndarray
        In (0, 1].

    Raises
    ------
    ValueError
        For a risk outside [0, 1], a target outside (0, 1) or a negative number of rows.

    References
    ----------
    Bates, Angelopoulos, Lei, Malik & Jordan (2021). Distribution-free, risk-controlling
    prediction sets. Journal of the ACM 68(6). Bentkus (2004). On Hoeffding's inequalities. Annals
    of Probability 32(2), 1650-1673.

    Examples
    --------
    >>> from skdefer.guarantees import hoeffding_bentkus_p_value
    >>> hoeffding_bentkus_p_value([0.02, 0.05, 0.2], 200, 0.1).round(4)
    array([0.    , 0.0219, 1.    ])
    """
    risk, n_rows, target = _check(risk, n_rows, target)
    low = np.minimum(risk, target)
    divergence = xlogy(low, low / target) + xlogy(1 - low, (1 - low) / (1 - target))
    hoeffding = np.exp(-n_rows * divergence)
    bentkus = np.e * bdtr(np.minimum(np.ceil(n_rows * risk - _SLACK), n_rows), n_rows, target)
    return np.minimum(np.minimum(hoeffding, bentkus), 1.0)


def _check(
    risk: ArrayLike, n_rows: ArrayLike, target: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    risk, n_rows, target = (np.asarray(v, dtype=float) for v in (risk, n_rows, target))
    if not ((risk >= 0) & (risk <= 1 + _SLACK)).all():
        raise ValueError(
            f"risk is {risk}; expected mean losses in [0, 1]. Divide losses in [0, B] by B, and "
            "the target, too."
        )
    if not ((target > 0) & (target < 1)).all():
        raise ValueError(
            f"target is {target}; expected numbers above 0 and below 1. No number of rows proves a "
            "risk of 0, and 1 holds of anything."
        )
    if not ((n_rows >= 0) & (n_rows == np.floor(n_rows))).all():
        raise ValueError(f"n_rows is {n_rows}; expected whole numbers >= 0, the rows counted.")
    return np.minimum(risk, 1.0), n_rows.astype(np.int_), target
