"""Prices of experts' hours: what makes a batch keep to their limits, and who then gets which row.

Prices found on a sample of the rows are nearly right for all of them, so that at each larger
sample only the few rows have to be looked at that are nearly as well off on another route. The
last round proves itself: at its prices no row would rather be elsewhere.
"""

from __future__ import annotations

import numpy as np

from skdefer.policies._flow import AWAY, FAR, Flow, Limits

_SMALL = 1000  # rows that are looked at all together
_GROWTH = 4  # of samples
_MANY = 50_000  # rows above which ties are split at random, so that few rows are tied
_TIE = 1e-9  # how far, as a share of the greatest gain
_GRID = 2.0**-40  # the unit of scores and prices, as a share of the greatest gain
_BLOCK = 1 << 14  # rows looked at together, to stay in the cache
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
    for block in _blocks(len(score)):
        part = score[block]
        part = np.where(np.isfinite(part), part, 0.0)
        greatest = max(greatest, part.max(initial=0.0))
        if limits.lower.any():
            greatest = max(greatest, -part[:, limits.lower > 0].min(initial=0.0))
    return max(greatest * _GRID, np.finfo(float).tiny)


def _allowed(score: np.ndarray, limits: Limits, unit: float) -> np.ndarray:
    """Copy the scores; -inf where none would go: no gain and no minimum, or no capacity."""
    n_rows, J = score.shape
    # A gain without end is worth more than what a chain of moves through all experts could bring.
    score = np.minimum(score, (2 * J + 2) * unit / _GRID)
    useless = score <= 0
    useless[:, limits.lower > 0] = False
    useless[:, limits.upper == 0] = True
    if n_rows > _MANY:
        random = np.random.default_rng(0)
        for block in _blocks(n_rows):
            part = score[block]
            part += random.random(part.shape) * (_TIE / _GRID * unit)
    score[useless] = -np.inf
    return score


def _blocks(n_rows: int):
    return (slice(i, i + _BLOCK) for i in range(0, n_rows, _BLOCK))


class _Search:
    """Prices of some rows, and the routes that the rows choose at them."""

    def __init__(self, score: np.ndarray, limits: Limits, unit: float):
        self.score, self.limits, self.unit = score, limits, unit

    def run(self, price: np.ndarray, *, rough: bool) -> None:
        """Find prices and routes; ``rough``: those to start from say nothing yet."""
        self._look(price)
        if not rough:
            self._correct()
        self._settle(len(self.score) if rough else self._some())

    def _look(self, price: np.ndarray) -> None:
        """See what the rows choose at these prices, and how far each is from another choice."""
        limits = self.limits
        self.price = price = _clip(price, limits)
        self.chosen, self.margin, bound = self._choices(price)
        above = price[:-1] - price[-1]
        dear, cheap = above > 0, above < 0
        bound += (above[dear] * limits.upper[dear]).sum()
        bound += (above[cheap] * limits.lower[cheap]).sum()
        if price[-1] > 0:
            bound += price[-1] * limits.pool
        self.bound = bound  # no assignment gains more
        self.load = _count(self.chosen, len(above))
        target = np.clip(self.load, limits.lower, limits.upper)
        self.target = np.where(dear, limits.upper, np.where(cheap, limits.lower, target))

    def _choices(self, price: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Experts of each row, how far it is from another choice, and the sum of gains."""
        n_rows, m = len(self.score), self.limits.per_row
        chosen, margin, gain = np.empty((n_rows, m), dtype=np.intp), np.empty(n_rows), 0.0
        for block in _blocks(n_rows):
            chosen[block], margin[block], more = _choose(self.score[block] - price[:-1], m)
            gain += more
        return chosen, margin, gain

    def _excess(self) -> float:
        """Rows that are in the wrong place, at least."""
        total = self.target.sum() - self.limits.pool if np.isfinite(self.limits.pool) else 0.0
        total = abs(total) if self.price[-1] > 0 else max(total, 0.0)
        return float(np.abs(self.load - self.target).sum() + total)

    def _some(self) -> int:
        """How many rows to look at, to move those that are in the wrong place."""
        return int(min(len(self.score), 200 + 8 * self._excess()))

    def _nearest(self, n: int) -> tuple[np.ndarray, float]:
        """The ``n`` rows that are nearest to another choice, and how far they are at the most."""
        if n >= len(self.score):
            return np.arange(len(self.score)), np.inf
        width = np.partition(self.margin, n - 1)[n - 1]
        return np.flatnonzero(self.margin <= width), float(width)

    def _correct(self) -> None:
        """Newton's steps on the bound, as long as it falls."""
        for _ in range(_STEPS):
            excess, best = self._excess(), (self.price, self.bound)
            if excess <= 2 * len(self.price):
                return
            self._look(self._step(*self._nearest(self._some())))
            if not self.bound < best[1]:
                self._look(best[0])
                return
            if self._excess() > excess / 2:
                return

    def _step(self, rows: np.ndarray, width: float) -> np.ndarray:
        """Better prices: rows between two choices say how loads answer to prices."""
        limits, J = self.limits, len(self.price) - 1
        slope = _slope(self.score[rows] - self.price[:-1], limits.per_row) / max(2 * width, 1e-300)
        slope[np.diag_indices(J)] += 0.5 / max(2 * width, 1e-300)
        held = (self.target != self.load) | (self.price[:-1] != self.price[-1])
        share = np.eye(J)[:, held]
        wrong = (self.load - self.target)[held]
        pooled = self.price[-1] > 0 or self.target.sum() > limits.pool
        if pooled:  # whoever is not held himself goes with the pool
            share = np.column_stack([share, ~held])
            wrong = np.append(wrong, self.load[~held].sum() + self.target[held].sum() - limits.pool)
        if not share.size:
            return self.price
        change = np.linalg.lstsq(share.T @ slope @ share, wrong, rcond=1e-12)[0]
        price = self.price.copy()
        price[:-1] += np.clip(share @ change, -2 * width, 2 * width)
        if pooled:
            price[-1] = max(0.0, price[-1] + np.clip(change[-1], -2 * width, 2 * width))
            price[:-1][~held] = price[-1]
        return price

    def _settle(self, n: int) -> None:
        """Bring loads within their limits by moving rows, the ``n`` nearest to a move at first.

        In the end no row that was not looked at would rather be elsewhere.
        """
        start, J = self.price, self.score.shape[1]
        rows, width = self._nearest(n)
        while True:
            rest = np.ones(len(self.score), dtype=bool)
            rest[rows] = False
            flow = self._flow(rows, _count(self.chosen[rest], J))
            self.lacking = flow.run()
            if self.lacking.any() and rest.any():
                n = min(len(self.score), 4 * n)
                rows = np.union1d(rows, self._nearest(n)[0])
                continue
            # Rows that are not looked at bear no greater change of prices than their width.
            price = _middle(flow, width / self.unit / 4 if rest.any() else np.inf) * self.unit
            price = _clip(price, self.limits)
            if not rest.any() or np.ptp(np.append(price - start, 0.0)) <= width:
                break
            torn = rest & (self._choices(price)[0] != self.chosen).any(axis=1)
            if not torn.any():
                break
            rows = np.union1d(rows, np.flatnonzero(torn))
        self.flow, self.price = flow, price
        self.chosen[rows] = _positions(flow.served.T, self.limits.per_row)

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


def _choose(net: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray, float]:
    """As ``_Search._choices``, of scores net of prices, which may be written over."""
    n_rows, J = net.shape
    if m == 1:  # by far the most frequent, and quicker than a sort
        best, row = net.argmax(axis=1), np.arange(n_rows)
        first = net[row, best]
        net[row, best] = -np.inf
        second = net.max(axis=1)
        chosen = np.where(first > 0, best, -1)[:, None]
        nearest = np.abs(first)
    else:
        order = np.argsort(-net, axis=1, kind="stable")[:, : m + 1]
        ranked = np.take_along_axis(net, order, axis=1)
        chosen = np.sort(np.where(ranked[:, :m] > 0, order[:, :m], -1), axis=1)
        chosen = np.pad(chosen, ((0, 0), (m - chosen.shape[1], 0)), constant_values=-1)
        first = ranked[:, m - 1] if m <= J else np.full(n_rows, -np.inf)
        second = ranked[:, m] if m < J else np.full(n_rows, -np.inf)
        nearest = np.abs(net).min(axis=1)
        best = None
    full = first > 0
    margin = np.where(full, first - np.where(full, np.maximum(second, 0), 0), nearest)
    gain = first[full].sum() if m == 1 else np.maximum(ranked[:, :m], 0).sum()
    return chosen, margin, float(gain)


def _slope(net: np.ndarray, m: int) -> np.ndarray:
    """Count between which experts (or the model) the rows stand, as a graph's Laplacian."""
    J = net.shape[1]
    order = np.argsort(-net, axis=1, kind="stable")[:, : m + 1]
    ranked = np.take_along_axis(net, order, axis=1)
    full = ranked[:, min(m, J) - 1] > 0
    first = np.where(full, order[:, min(m, J) - 1], np.abs(net).argmin(axis=1))
    second = np.full(len(net), J)
    if m < J:
        second = np.where(full & (ranked[:, m] > 0), order[:, m], J)
    pairs = np.bincount(first * (J + 1) + second, minlength=(J + 1) ** 2).reshape(J + 1, J + 1)
    pairs = (pairs + pairs.T).astype(float)
    return (np.diag(pairs.sum(axis=1)) - pairs)[:J, :J]


def _count(chosen: np.ndarray, J: int) -> np.ndarray:
    return np.bincount(chosen.ravel() + 1, minlength=J + 1)[1:].astype(float)


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
