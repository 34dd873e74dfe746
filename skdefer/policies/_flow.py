"""The cheapest flow that brings loads within their limits, moving rows from route to route.

Routes are few and rows are many, so the residual network is kept with the routes as its nodes:
the edge from a to b is the row that loses least when it moves there, and only the nodes that a
path has touched are looked at again. Scores and prices are integers here, so that sums are exact
and rows that are tied move together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FAR = np.int64(1) << 60  # no way
AWAY = -(np.int64(1) << 56)  # the value of a row at an expert who can't have it


@dataclass
class Limits:
    """How much there may be, and must be; J experts, rows in integers."""

    lower: np.ndarray  # (J,)
    upper: np.ndarray  # (J,), inf for no limit
    pool: float  # of all experts together, inf for no limit
    per_row: int  # experts per row at the most

    def scaled(self, share: float) -> Limits:
        """Limits for a share of the rows."""
        upper = np.maximum(np.round(self.upper * share), np.minimum(self.upper, 1))
        return Limits(
            np.minimum(np.floor(self.lower * share), upper),
            upper,
            max(np.round(self.pool * share), min(self.pool, 1)),
            self.per_row,
        )

    def less(self, used: np.ndarray) -> Limits:
        """Limits that are left when experts have had so many rows already."""
        return Limits(
            np.maximum(self.lower - used, 0),
            np.maximum(self.upper - used, 0),
            max(self.pool - used.sum(), 0.0),
            self.per_row,
        )


def best_of_rows(net: np.ndarray, per_row: int) -> np.ndarray:
    """Mark the ``per_row`` greatest values above 0 of each row, of equal ones the first."""
    if per_row >= net.shape[1]:
        return net > 0
    chosen = np.zeros(net.shape, dtype=bool)
    first = np.argsort(-net, axis=1, kind="stable")[:, :per_row]
    np.put_along_axis(chosen, first, True, axis=1)
    return chosen & (net > 0)


class Flow:
    """Rows on their routes, under prices at which none would rather move.

    Nodes are the model (0), the experts (1..J) and, last, the pool through which all experts'
    rows go. ``run`` sends rows from nodes that have too many to nodes that lack some, always by
    the path that loses least, so that no other assignment with these loads is better.

    Parameters
    ----------
    value : ndarray of int64 of shape (n_rows, n_experts)
        Gains; ``AWAY`` where an expert can't have the row.
    price : ndarray of int64 of shape (2 + n_experts,)
        To start from; of the model 0, and of the pool 0 or more.
    limits : Limits
        Of these rows, less what other rows take.
    """

    def __init__(self, value: np.ndarray, price: np.ndarray, limits: Limits):
        J = value.shape[1]
        self.value, self.price, self.limits = value, price.copy(), limits
        self.per_row = limits.per_row
        chosen = best_of_rows(np.where(value > AWAY, value - price[1:-1], AWAY), self.per_row)
        self.served = np.ascontiguousarray(chosen.T)  # (J, n_rows)
        self.count = chosen.sum(axis=1)
        load = self.served.sum(axis=1).astype(float)
        above = price[1:-1] - price[-1]
        flow = np.clip(load, limits.lower, limits.upper)
        flow = np.where(above > 0, limits.upper, np.where(above < 0, limits.lower, flow))
        total = min(flow.sum(), limits.pool) if price[-1] == 0 else limits.pool
        self.flow = np.concatenate([flow, [total]])  # through each expert, and through the pool
        self.excess = np.concatenate([[total - load.sum()], load - flow, [flow.sum() - total]])
        # What a row adds where it is not yet, if it has room; for the edges from the model.
        self.open = np.where(chosen | (self.count >= self.per_row)[:, None], AWAY, value)
        self.length = np.full((J + 2, J + 2), FAR)
        self._look_at(range(J + 1))

    def _look_at(self, nodes) -> None:
        """Find the edges from these nodes again."""
        for a in nodes:
            if a == 0:
                to = -self.open.max(axis=0, initial=AWAY)
                self.length[0, 1:-1] = np.where(to < -AWAY, to, FAR)
                continue
            rows = np.flatnonzero(self.served[a - 1])
            if not len(rows):
                self.length[a, :-1] = FAR
                continue
            here = self.value[rows]
            own = self.value[rows, a - 1]
            if self.per_row > 1:
                here[self.served[:, rows].T] = AWAY  # whoever has the row already
            to = (own[:, None] - here).min(axis=0)
            to[a - 1] = FAR
            self.length[a, 0] = own.min()
            self.length[a, 1:-1] = np.where(to < -(AWAY // 2), to, FAR)

    def _lengths(self) -> np.ndarray:
        """Lengths of all edges net of prices, none negative; those through the pool by flows."""
        length = self.length.copy()
        length[1:-1, -1] = np.where(self.flow[:-1] < self.limits.upper, 0, FAR)
        length[-1, 1:-1] = np.where(self.flow[:-1] > self.limits.lower, 0, FAR)
        length[-1, 0] = 0 if self.flow[-1] < self.limits.pool else FAR
        length[0, -1] = 0
        return np.where(length < FAR, length + self.price - self.price[:, None], FAR)

    def distances(self, start: np.ndarray, *, back: bool = False) -> np.ndarray:
        """Distances (2 + n_experts,) from the nearest of the nodes marked; ``back``: to it."""
        length = self._lengths()
        return _shortest(length.T if back else length, start)[0]

    def _candidates(self, a: int, b: int) -> np.ndarray:
        """Rows that may move from a to b at the length of that edge."""
        length = self.length[a, b]
        if a == 0:
            return np.flatnonzero(self.open[:, b - 1] == -length)
        rows = np.flatnonzero(self.served[a - 1])
        own = self.value[rows, a - 1]
        if b == 0:
            return rows[own == length]
        fits = own - self.value[rows, b - 1] == length
        if self.per_row > 1:
            fits &= ~self.served[b - 1, rows]
        return rows[fits]

    def run(self) -> np.ndarray:
        """Send rows until all loads are within their limits, or no way is left.

        Returns
        -------
        lacking : ndarray of shape (2 + n_experts,)
            What nodes still lack (negative) or have too much of; zeros if all is well.
        """
        pool = len(self.price) - 1
        while True:
            sinks = np.flatnonzero(self.excess < 0)
            if not len(sinks) or not (self.excess > 0).any():
                return self.excess
            far, before = _shortest(self._lengths(), self.excess > 0)
            end = sinks[far[sinks].argmin()]
            if far[end] >= FAR:
                return self.excess
            self.price -= np.minimum(far, far[end])
            path, amount = [], -self.excess[end]
            b = end
            while before[b] >= 0:
                a = before[b]
                if pool in (a, b):
                    rows, room = None, self._room(a, b)
                else:
                    rows = self._candidates(a, b)
                    room = len(rows)
                path.append((a, b, rows))
                amount = min(amount, room)
                b = a
            amount = int(min(amount, self.excess[b]))
            self._send(path, amount)
            self.excess[b] -= amount
            self.excess[end] += amount

    def _room(self, a: int, b: int) -> float:
        """What more may go through the pool's edge from a to b."""
        if 0 in (a, b):
            return self.limits.pool - self.flow[-1] if b == 0 else np.inf
        if a < b:
            return self.limits.upper[a - 1] - self.flow[a - 1]
        return self.flow[b - 1] - self.limits.lower[b - 1]

    def _send(self, path, amount: int) -> None:
        pool, touched, moved = len(self.price) - 1, set(), []
        for a, b, rows in path:
            if rows is None:
                edge = -1 if 0 in (a, b) else min(a, b) - 1
                forwards = b == 0 or (b == pool and a != 0)
                self.flow[edge] += amount if forwards else -amount
                continue
            rows = rows[:amount]
            moved.append(rows)
            if a > 0:
                self.served[a - 1, rows] = False
                self.count[rows] -= 1
            if b > 0:
                self.served[b - 1, rows] = True
                self.count[rows] += 1
            touched |= {a, b}
        if not moved:
            return
        rows = np.unique(np.concatenate(moved))
        full = self.count[rows] >= self.per_row
        served = self.served[:, rows].T
        self.open[rows] = np.where(served | full[:, None], AWAY, self.value[rows])
        if self.per_row > 1:
            touched |= {0, *(1 + np.flatnonzero(served.any(axis=0)))}
        self._look_at(touched)


def _shortest(length: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances from the nodes marked, and the node before each on the way, -1 for none."""
    far = np.where(start, 0, FAR)
    before, nodes = np.full(len(far), -1), np.arange(len(far))
    while True:
        ways = far[:, None] + length
        came = ways.argmin(axis=0)
        new = ways[came, nodes]
        better = new < far
        if not better.any():
            return far, before
        far[better], before[better] = new[better], came[better]
