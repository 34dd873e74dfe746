"""A test of means by bets, for losses that are not all 0 or 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

_LARGEST_STAKE = 0.75  # of what may be lost at most: a loss of 1 leaves a quarter


def betting_p_value(
    loss: ArrayLike, target: float, *, counted: ArrayLike | None = None, delta: float = 0.1
) -> np.ndarray:
    """How strongly losses in [0, 1] speak against a mean above the target, by betting on it.

    A player pays into ``K_i = prod_{k <= i} (1 + b_k (target - L_k))``, the stake ``b_k`` chosen
    by the losses before. If the mean is the target or more, K does not grow on average, and
    ``1 / max_i K_i`` is a p-value. The stakes follow the variance of the losses, so that means of
    clusters and costs, which vary little, need far fewer rows than by
    :func:`hoeffding_bentkus_p_value`. For losses of 0 or 1 :func:`binomial_p_value` is sharper.

    Parameters
    ----------
    loss : array-like of shape (n_rows,) or (n_rows, m)
        Losses of independent rows under each of m thresholds, in [0, 1]. Rows are shuffled, always
        alike: sorted ones would make the later losses foreseeable.
    target : float
        The risk that is not to be exceeded, in (0, 1).
    counted : array-like of bool of the shape of ``loss``, default=None
        Rows that count; None: all.
    delta : float, default=0.1
        The level that stakes are best for. The p-value is one at any level.

    Returns
    -------
    p_value : ndarray of shape (m,), or a float
        In (0, 1].

    Raises
    ------
    ValueError
        For losses outside [0, 1] or a target outside (0, 1).

    References
    ----------
    Waudby-Smith & Ramdas (2024). Estimating means of bounded random variables by betting.
    Journal of the Royal Statistical Society B 86(1), 1-27.

    Examples
    --------
    Losses near their mean of 0.1 speak for a risk below 0.15; the other test, which knows the
    mean alone, does not see that:

    >>> import numpy as np
    >>> from skdefer.guarantees import betting_p_value, hoeffding_bentkus_p_value
    >>> loss = np.tile([0.05, 0.15], 40)
    >>> betting_p_value(loss, 0.15).round(3), hoeffding_bentkus_p_value(0.1, 80, 0.15).round(3)
    (np.float64(0.035), np.float64(0.365))
    """
    loss = np.asarray(loss, dtype=float)
    mask = np.ones(loss.shape, dtype=bool) if counted is None else np.asarray(counted, dtype=bool)
    if mask.shape != loss.shape or not ((loss >= 0) & (loss <= 1 + 1e-9))[mask].all():
        raise ValueError(
            f"loss has shape {loss.shape} and counted {mask.shape}; expected the same shape, and "
            "losses in [0, 1] where they count. Divide losses in [0, B] by B, and the target, too."
        )
    if not 0 < target < 1:
        raise ValueError(
            f"target is {target!r}; expected a number above 0 and below 1, the largest loss."
        )
    columns = loss.reshape(len(loss), -1)
    p_value = Bets(columns, mask.reshape(columns.shape), delta).p_value(target)
    return p_value if loss.ndim > 1 else p_value[0]


class Bets:
    """Stakes on losses (n, m) in [0, 1], where ``counted`` (n, m); they settle at any target."""

    def __init__(self, loss: np.ndarray, counted: np.ndarray, delta: float):
        order = np.random.default_rng(0).permutation(len(loss))
        counted = counted[order]
        self.loss = np.where(counted, loss[order], 0.0)
        n_before = counted.cumsum(axis=0)
        mean = (0.5 + self.loss.cumsum(axis=0)) / (n_before + 1)
        squares = np.where(counted, np.square(self.loss - mean), 0.0)
        variance = (0.25 + squares.cumsum(axis=0)) / (n_before + 1)
        variance = np.vstack([np.full((1, loss.shape[1]), 0.25), variance[:-1]])
        n_counted = np.maximum(n_before[-1:], 1) if len(loss) else 1
        stake = np.sqrt(2 * np.log(1 / delta) / (n_counted * variance))
        self.stake = np.where(counted, stake, 0.0)

    def p_value(self, target: np.ndarray | float) -> np.ndarray:
        """Settle the bets at a target, or one per column."""
        stake = np.minimum(self.stake, _LARGEST_STAKE / (1 - target))
        wealth = np.log1p(stake * (target - self.loss)).cumsum(axis=0)
        return np.exp(-np.maximum(wealth.max(axis=0, initial=0.0), 0.0))
