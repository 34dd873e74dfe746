"""Prices of experts' hours: what makes a batch keep to their limits, and who then gets which row.

Prices found on a sample of the rows are nearly right for all of them, so that at each larger
sample only the few rows have to be looked at that are nearly as well off on another route. The
last round proves itself: at its prices no row would rather be elsewhere.
"""

from __future__ import annotations

import numpy as np

from skdefer.policies._choices import Choices, blocks, choose, near_rows, slope
from skdefer.policies._flow import AWAY, FAR, Flow, Limits

_SMALL = 1000  # rows that are looked at all together
_GROWTH = 4  # of samples
_MANY = 50_000  # rows above which ties are split at random, so that few rows are tied
_TIE = 1e-9  # how far, as a share of the greatest gain
_GRID = 2.0**-40  # the unit of scores and prices, as a share of the greatest gain
_NEAR = 40  # rows of each expert that are looked at in any case
_LOCAL = 0.25  # as a share of these: rows that say how loads answer to prices
_SHARES = (1.0, 0.3, 0.1)  # of a correction, the greater ones first
_PROPORTION = 0.3  # the greatest change of a price in one correction
_STEPS = 8  # corrections of prices per sample, at the most


def solve(score: np.ndarray, limits: Limits) -> tuple[np.ndarray, np.ndarray]:
    """Find the assignment of greatest sum of scores within the limits, and prices that prove it.

    Parameters
    ----------
    score : ndarray of shape (n_rows, n_experts)
        Gains; -inf where an expert can't have the row.
    limits : Limits
        Of the whole batch.

    Returns
    -------
    chosen : ndarray of int of shape (n_rows, per_row)
        Experts of each row, from 0, in rising order; -1 for none comes first.
    price : ndarray of shape (n_experts,)
        Of one row more of each expert's, midway where several are right; inf for an expert who
        may have none. Each row gets the experts of greatest score less price above 0.

    Raises
    ------
    ValueError
        If the minima can't be reached.
    """
    n_rows, J = score.shape
    unit = _unit(score, limits)
    score = _allowed(score, limits, unit)
    order = np.random.default_rng(0).permutation(n_rows)
    sizes = [n_rows]
    while sizes[-1] > _SMALL:
        sizes.append(sizes[-1] // _GROWTH)
    price = np.zeros(J + 1)  # the last one is the pool's
    for size in reversed(sizes):
        rows = slice(None) if size == n_rows else order[:size]
        sample = limits.scaled(size / n_rows) if size < n_rows else limits
        search = _Search(score[rows], sample, unit)
        search.run(price, rough=size <= _SMALL)
        price = search.price
    search.refuse_if_lacking()
    price = price[:-1] + 2 * unit * (price[:-1] > 0)  # a trace above what is tied
    return search.chosen, np.where(limits.upper == 0, np.inf, price)


def _unit(score: np.ndarray, limits: Limits) -> float:
    """The grid on which scores and prices are integers."""
    greatest = 0.0
    for block in blocks(len(score)):
        part = score[block]
        part = np.where(np.isfinite(part), part, 0.0)
        greatest = max(greatest, part.max(initial=0.0))
        if limits.lower.any():
            greatest = max(greatest, -part[:, limits.lower > 0].min(initial=0.0))
    return float(max(greatest * _GRID, np.finfo(float).tiny))


def _allowed(score: np.ndarray, limits: Limits, unit: float) -> np.ndarray:
    """Copy the scores; -inf where none would go: no gain and no minimum, or no capacity."""
    n_rows, J = score.shape
    # A gain without end is worth more than what a chain of moves through all experts could bring.
    score = np.minimum(score, min((2 * J + 2) * (unit / _GRID), np.finfo(float).max))
    useless = score <= 0
    useless[:, limits.lower > 0] = False
    useless[:, limits.upper == 0] = True
    if n_rows > _MANY:
        random = np.random.default_rng(0)
        for block in blocks(n_rows):
            part = score[block]
            part += random.random(part.shape) * (_TIE / _GRID * unit)
    score[useless] = -np.inf
    return score


class _Search:
    """Prices of some rows, and the routes that the rows choose at them."""

    def __init__(self, score: np.ndarray, limits: Limits, unit: float):
        self.score, self.limits, self.unit = score, limits, unit

    def run(self, price: np.ndarray, *, rough: bool) -> None:
        """Find prices and routes; ``rough``: those to start from say nothing yet."""
        self._look(price)
        if not rough:
            self._correct()
        self._settle(rough)

    def _look(self, price: np.ndarray) -> None:
        """See what the rows choose at these prices, and how many are in the wrong place."""
        limits = self.limits
        self.price = price = _clip(price, limits)
        self.choices = self._choices(price)
        above = price[:-1] - price[-1]
        dear, cheap = above > 0, above < 0
        bound = self.choices.gain
        bound += (above[dear] * limits.upper[dear]).sum()
        bound += (above[cheap] * limits.lower[cheap]).sum()
        if price[-1] > 0:
            bound += price[-1] * limits.pool
        self.bound = bound  # no assignment gains more
        self.load = self.choices.load(len(above))
        target = np.clip(self.load, limits.lower, limits.upper)
        self.target = np.where(dear, limits.upper, np.where(cheap, limits.lower, target))

    def _choices(self, price: np.ndarray) -> Choices:
        return choose(self.score, price[:-1], self.limits.per_row)

    def _over(self) -> float:
        """Rows by which all experts together miss the pool."""
        total = self.target.sum() - self.limits.pool if np.isfinite(self.limits.pool) else 0.0
        return abs(total) if self.price[-1] > 0 else max(total, 0.0)

    def _excess(self) -> float:
        """Rows that are in the wrong place, at least."""
        return float(np.abs(self.load - self.target).sum() + self._over())

    def _near(self, times: float = 1) -> tuple[np.ndarray, np.ndarray]:
        """Rows to look at, so that those in the wrong place can be moved; see ``near_rows``."""
        J = len(self.load)
        wrong = np.abs(self.load - self.target) + self._over() / J
        return near_rows(self.choices, J + 1, times * np.append(_NEAR + 8 * wrong, _NEAR))

    def _correct(self) -> None:
        """Newton's steps on the bound, as long as it falls."""
        for _ in range(_STEPS):
            excess, start, bound = self._excess(), self.price, self.bound
            if excess <= 2 * len(start):
                return
            better = self._step(*self._near(_LOCAL))
            for share in _SHARES:
                self._look(start + share * (better - start))
                if self.bound < bound:
                    break
            else:
                self._look(start)
                return
            if self._excess() > excess / 2:
                return

    def _step(self, rows: np.ndarray, width: np.ndarray) -> np.ndarray:
        """Better prices: rows between two choices say how loads answer to prices."""
        limits, J = self.limits, len(self.price) - 1
        falls, width = slope(self.choices, rows, width), 2 * width[:-1]
        held = (self.target != self.load) | (self.price[:-1] != self.price[-1])
        share = np.eye(J)[:, held]
        wrong = (self.load - self.target)[held]
        pooled = self.price[-1] > 0 or self.target.sum() > limits.pool
        if pooled:  # whoever is not held himself goes with the pool
            share = np.column_stack([share, ~held])
            wrong = np.append(wrong, self.load[~held].sum() + self.target[held].sum() - limits.pool)
        if not share.size:
            return self.price
        change = np.linalg.lstsq(share.T @ falls @ share, wrong, rcond=1e-12)[0]
        price = self.price.copy()
        # Not far beyond the rows that were counted, and only so far in proportion.
        own = np.abs(price[:-1])
        farthest = np.minimum(width, np.where(own > 0, _PROPORTION * own, np.inf))
        price[:-1] += np.clip(share @ change, -farthest, farthest)
        if pooled:
            price[-1] += np.clip(change[-1], -width.max(), width.max())
            price[:-1][~held] = price[-1]
        return price

    def _settle(self, all_rows: bool) -> None:
        """Bring loads within their limits by moving rows, those near to another choice at first.

        In the end no row that was not looked at would rather be elsewhere.
        """
        start, n_rows, times = self.price, len(self.score), 1
        chosen, everyone = self.choices.chosen, np.arange(n_rows)
        rows, width = (everyone, np.inf) if all_rows else self._near()
        while True:
            rest = np.ones(n_rows, dtype=bool)
            rest[rows] = False
            flow = self._flow(rows, self.choices.load(len(self.load), rest))
            self.lacking = flow.run()
            if self.lacking.any() and rest.any():
                times *= 4
                more = self._near(times)[0]
                rows = everyone if len(more) <= len(rows) else np.union1d(rows, more)
                continue
            # Rows that are not looked at bear no greater change of prices than the widths.
            least = np.min(width)
            price = _middle(flow, least / self.unit / 4 if rest.any() else np.inf) * self.unit
            price = _clip(price, self.limits)
            if not rest.any() or np.ptp(np.append(price - start, 0.0)) <= least:
                break
            torn = rest & (self._choices(price).chosen != chosen).any(axis=1)
            if not torn.any():
                break
            rows = np.union1d(rows, np.flatnonzero(torn))
        chosen[rows] = _positions(flow.served.T, self.limits.per_row)
        self.flow, self.price, self.chosen = flow, price, chosen

    def _flow(self, rows: np.ndarray, taken: np.ndarray) -> Flow:
        """Some rows, within what the others leave of the limits."""
        limits, price = self.limits, np.append(0.0, self.price)
        left = Limits(
            limits.lower - taken, limits.upper - taken, limits.pool - taken.sum(), limits.per_row
        )
        return Flow(self._on_grid(rows), np.round(price / self.unit).astype(np.int64), left)

    def _on_grid(self, rows: np.ndarray) -> np.ndarray:
        score = self.score[rows]
        away = np.isneginf(score)
        value = np.round(np.where(away, 0.0, score) / self.unit)
        # One unit less: what gains nothing stays with the model.
        return np.where(away, AWAY, value.astype(np.int64) - 1)

    def refuse_if_lacking(self) -> None:
        """Say by how much the minima can't be reached, if they can't."""
        if not self.lacking.any():
            return
        reached = self.flow.distances(self.lacking > 0)[1:-1] < FAR
        experts = np.flatnonzero(~reached)
        need = int(self.limits.lower[experts].sum())
        short = int(-np.minimum(self.lacking, 0).sum())
        raise ValueError(
            f"minimum asks for {need} rows of the experts {experts.tolist()} (from 0), but at most "
            f"{need - short} rows can be theirs: {short} too few. On the others their score is "
            f"-inf, or the row is needed elsewhere. Lower minimum by {short}, or pass more rows."
        )


def _clip(price: np.ndarray, limits: Limits) -> np.ndarray:
    """Prices that may be: the pool's or more, unless a minimum makes a row worth a loss."""
    pool = max(price[-1], 0.0) if np.isfinite(limits.pool) else 0.0
    own = np.where(limits.lower > 0, price[:-1], np.maximum(price[:-1], pool))
    own = np.where(np.isfinite(limits.upper), own, np.minimum(own, pool))
    return np.append(own, pool)


def _positions(served: np.ndarray, m: int) -> np.ndarray:
    """Positions of the marked experts of each row, -1 for none, in rising order."""
    first = np.argsort(~served, axis=1, kind="stable")[:, :m]
    chosen = np.where(np.take_along_axis(served, first, axis=1), first, -1)
    chosen = np.pad(chosen, ((0, 0), (m - chosen.shape[1], 0)), constant_values=-1)
    return np.sort(chosen, axis=1)


def _middle(flow: Flow, within: float) -> np.ndarray:
    """Prices midway between the lowest and the highest that are right; the pool's is last.

    None is looked for farther than ``within``, nor where no row bounds it.
    """
    model = np.arange(len(flow.price)) == 0
    price = flow.price.astype(float)
    for sign, back in ((-1, False), (1, True)):
        far = flow.distances(model, back=back)
        price += sign * np.minimum(far, min(far[far < FAR].max(), within)) / 2
    return (price - price[0])[1:]
