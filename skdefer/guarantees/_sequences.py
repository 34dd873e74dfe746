"""Bounds and tests that hold however often one looks: sequences of confidence, bets on a change.

With Z_1, Z_2, ... in [0, u] of mean m, a product of bets ``1 + k (Z_i / m - 1)`` is a martingale
that starts at 1, so it ever reaches ``1 / delta`` with probability ``delta`` at most (Ville, 1939).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import betaln, logsumexp

_FRACTIONS = np.geomspace(0.001, 0.64, 12)  # what is bet: steps of 1.8 lose 12 % of power at most
_BLOCK = 1 << 14  # values held at once; products start afresh after as many, against rounding
_TINY = 1e-12  # a rate of 0 still lets a bet be settled
_STEPS = 60  # of bisection: beyond the precision of a float


def confidence_sequence(total, n, delta=0.05, *, upper=1.0):
    """Bound a mean by its sum so far, at all times at once.

    The answer to: which rates can a stream still have, if I look after every value and stop when I
    like? Values lie in [0, upper]; the bounds hold if their mean, given the past, is constant.

    Parameters
    ----------
    total : float or array-like
        Sum of the values.
    n : int or array-like
        How many there are; 0 bounds nothing.
    delta : float, default=0.05
        Chance, in (0, 1), that the mean is ever outside.
    upper : float, default=1.0
        The greatest value there can be.

    Returns
    -------
    lower, upper : ndarray of the shape of ``total`` and ``n``
        The means ``m`` at which the mixture of bets
        ``B(S + 1/2, n - S + 1/2) / (B(1/2, 1/2) m^S (1 - m)^(n - S))``, S the sum over ``upper``,
        is below ``1 / delta``.

    Raises
    ------
    ValueError
        If a sum is not in [0, n upper], or delta not in (0, 1).

    References
    ----------
    Robbins (1970). Statistical methods related to the law of the iterated logarithm. Howard,
    Ramdas, McAuliffe & Sekhon (2021). Time-uniform, nonparametric, nonasymptotic confidence
    sequences, arXiv 1810.08240: the mixture, and why it serves bounded values.

    Examples
    --------
    >>> from skdefer.guarantees import confidence_sequence
    >>> lower, upper = confidence_sequence([0, 10, 100], [0, 100, 1000])
    >>> lower.round(3), upper.round(3)
    (array([0.   , 0.029, 0.069]), array([1.   , 0.228, 0.138]))
    """
    _check_delta(delta)
    hits, n = np.broadcast_arrays(np.asarray(total, dtype=float) / upper, np.asarray(n, float))
    if (n < 0).any() or (hits < 0).any() or (hits > n * (1 + 1e-9)).any():
        raise ValueError(
            f"total is {total!r} for n {n!r} values in [0, {upper}]; expected sums between 0 and n "
            "times the greatest value. Pass upper=, if values are greater than 1."
        )
    hits = np.minimum(hits, n)
    limit = betaln(hits + 0.5, n - hits + 0.5) - betaln(0.5, 0.5) + np.log(delta)
    mean = np.where(n > 0, hits / np.maximum(n, 1), 0.5)

    def edge(outside, inside):
        # The evidence grows from the mean outwards.
        for _ in range(_STEPS):
            middle = (outside + inside) / 2
            with np.errstate(divide="ignore", invalid="ignore"):
                left = np.where(hits > 0, hits * np.log(middle), 0.0)
                right = np.where(n > hits, (n - hits) * np.log1p(-middle), 0.0)
            within = left + right > limit
            inside, outside = np.where(within, middle, inside), np.where(within, outside, middle)
        return inside

    lower = np.where(hits > 0, edge(np.zeros_like(mean), mean), 0.0)
    higher = np.where(hits < n, edge(np.ones_like(mean), mean), 1.0)
    return lower * upper, higher * upper


@dataclass(frozen=True)
class ChangeState:
    """Where a stream of bets on a change stands; all that is kept of the values so far.

    Parameters
    ----------
    n : int
        Values so far.
    total : float
        Their sum.
    product : ndarray of shape (n_bets,)
        Log of what each bet has made since it was last set to 0.
    starts : ndarray of shape (n_bets,)
        Log of the sum, over the values at which the bet may begin, of their weight over the
        product before it.
    low, low_n, low_total, low_at : ndarray of shape (n_bets,)
        The least product so far, and the values before it: how many, their sum, and the position
        after the last of them. From there on the bet has won most.

    Examples
    --------
    >>> from skdefer.guarantees import change_e_process
    >>> log_e, state = change_e_process([0, 0, 1, 1, 1, 1], rate=0.1)
    >>> state.n, state.onset()
    (6, (2, 1.0))
    """

    n: int
    total: float
    product: np.ndarray
    starts: np.ndarray
    low: np.ndarray
    low_n: np.ndarray
    low_total: np.ndarray
    low_at: np.ndarray

    @classmethod
    def start(cls) -> ChangeState:
        """Stand before the first value."""
        zeros = np.zeros(len(_FRACTIONS))
        none, nowhere = np.zeros(len(zeros), dtype=np.int64), np.full(len(zeros), -np.inf)
        return cls(0, 0.0, zeros, nowhere, zeros, none, zeros, none)

    def onset(self) -> tuple[int, float]:
        """Find since which position the rate has been another one, and the mean since then.

        It is the start from which the bet that has won most has won most (Page, 1954).
        """
        best = int(np.argmax(self.product + self.starts))
        n_since = self.n - int(self.low_n[best])
        if n_since == 0:
            return int(self.low_at[best]), float("nan")
        return int(self.low_at[best]), float(self.total - self.low_total[best]) / n_since


def change_e_process(values, rate, *, greater=True, upper=1.0, at=None, state=None):
    """Weigh the evidence that the mean of a stream has left its rate, since whenever.

    The answer to: has it changed, at a time that nobody knows beforehand, and may I look after
    every value? Bets of twelve sizes may begin at any value; value t has the weight
    ``w_t = T(t - 1) - T(t)``, ``T(t) = 1 / (1 + log(1 + t))``, and what has not begun yet keeps its
    stake, T(n). So the whole starts at 1 and, while the mean given the past is at most ``rate``, is
    expected not to grow: it ever reaches ``1 / delta`` with probability ``delta`` at most. A
    change after t values is found with log(1/delta) + log(1/w_t) nats of evidence.

    Parameters
    ----------
    values : array-like of shape (n_values,)
        In [0, upper].
    rate : float
        The mean that was promised, in [0, upper].
    greater : bool, default=True
        Whether to look for a rise above ``rate``; else for a fall below it.
    upper : float, default=1.0
        The greatest value there can be.
    at : array-like of int of shape (n_values,), default=None
        Positions of the values in a longer stream; None: 0, 1, 2...
    state : ChangeState, default=None
        Where the values before these have led; None: there is none.

    Returns
    -------
    log_e : ndarray of shape (n_values,)
        Natural log of the evidence after each value.
    state : ChangeState
        To go on from. In whatever portions the values come, it is the same to the last bit.

    Raises
    ------
    ValueError
        If a value or the rate is not in [0, upper].

    References
    ----------
    Ville (1939); Waudby-Smith & Ramdas (2024). Estimating means of bounded random variables by
    betting, arXiv 2010.09686. Shin, Ramdas & Rinaldo (2023). E-detectors, arXiv 2203.03532: sums
    over starting times, there with equal weights, which bound how often alarms are false; with
    weights that sum to 1 they bound the chance that one ever is. Page (1954) for the onset.

    Examples
    --------
    >>> import numpy as np
    >>> from skdefer.guarantees import change_e_process
    >>> errors = np.r_[np.tile([1, 0, 0, 0, 0, 0, 0, 0, 0, 0], 50), np.tile([1, 0], 50)]
    >>> log_e, state = change_e_process(errors, rate=0.1)
    >>> alarm = int(np.argmax(log_e >= np.log(1 / 0.05)))
    >>> alarm, state.onset()  # 0.1 up to position 500, then 0.5
    (526, (500, 0.5))
    """
    values = np.asarray(values, dtype=float)
    if not 0 <= rate <= upper or not ((values >= 0) & (values <= upper * (1 + 1e-9))).all():
        raise ValueError(
            f"rate is {rate!r}, and values begin with {values[:3]!r}; expected all of them in "
            f"[0, {upper}]. Pass upper=, the greatest value there can be."
        )
    state = ChangeState.start() if state is None else state
    at = np.arange(state.n, state.n + len(values)) if at is None else np.asarray(at)
    mean = max(rate if greater else upper - rate, _TINY * upper)
    log_e = np.empty(len(values))
    done = 0
    while done < len(values):
        # Edges lie at multiples of the block, however the values come.
        rows = slice(done, min(len(values), done + _BLOCK - state.n % _BLOCK))
        part = values[rows] if greater else np.maximum(upper - values[rows], 0.0)
        log_e[rows], state = _advance(state, values[rows], part / mean, at[rows])
        done = rows.stop
    return log_e, state


def _advance(
    state: ChangeState, values: np.ndarray, ratio: np.ndarray, at: np.ndarray
) -> tuple[np.ndarray, ChangeState]:
    """Settle the bets on one block; ``ratio`` is 1 on average where nothing has changed."""
    n = state.n + np.arange(len(values) + 1)
    wins = np.log1p(_FRACTIONS * (ratio[:, None] - 1.0))
    # Sums from the first value to the last, so that portions make no difference.
    product = np.cumsum(np.vstack([state.product, wins]), axis=0)
    unbegun = 1.0 / (1.0 + np.log1p(n))
    stake = np.log(np.log1p(1.0 / n[1:]) * unbegun[:-1] * unbegun[1:])
    starts = np.vstack([state.starts, stake[:, None] - product[:-1]])
    starts = np.logaddexp.accumulate(starts, axis=0)
    made = logsumexp(product[1:] + starts[1:], axis=1) - np.log(len(_FRACTIONS))
    total = np.cumsum(np.append(state.total, values))

    lowest = len(product) - 1 - product[::-1].argmin(axis=0)  # of equally low ones the last
    bets = np.arange(len(_FRACTIONS))
    fresh = (lowest > 0) & (product[lowest, bets] <= state.low)
    after = replace(
        state,
        n=int(n[-1]),
        total=float(total[-1]),
        product=product[-1],
        starts=starts[-1],
        low=np.where(fresh, product[lowest, bets], state.low),
        low_n=np.where(fresh, n[lowest], state.low_n),
        low_total=np.where(fresh, total[lowest], state.low_total),
        low_at=np.where(fresh, at[np.maximum(lowest, 1) - 1] + 1, state.low_at),
    )
    if after.n % _BLOCK == 0:
        after = replace(
            after,
            product=np.zeros_like(after.product),
            starts=after.starts + after.product,
            low=after.low - after.product,
        )
    return np.logaddexp(made, np.log(unbegun[1:])), after


def _check_delta(delta: Any) -> None:
    if not 0 < delta < 1:
        raise ValueError(
            f"delta is {delta!r}; expected a chance between 0 and 1, such as 0.05. At 0 nothing "
            "can be promised, at 1 everything."
        )
