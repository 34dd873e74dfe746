"""Percentile bootstrap over rows, or over whole groups of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse

# Counts of resamples are made in blocks of at most so many numbers (32 MiB).
_BLOCK = 2**22


class Bootstrap:
    """Resamples of rows, or of whole groups.

    Parameters
    ----------
    n_rows : int
        The number of rows.
    groups : ndarray of shape (n_rows,) or None
        Rows of one group are drawn together.
    n_bootstrap : int
        The number of resamples.
    confidence_level : float
        The share of resamples inside an interval.
    random_state : RandomState
        Gives one seed, from which every pass draws the same resamples.
    """

    def __init__(
        self,
        n_rows: int,
        groups: np.ndarray | None,
        n_bootstrap: int,
        confidence_level: float,
        random_state: np.random.RandomState,
    ):
        self.unit = np.arange(n_rows)
        if groups is not None:
            self.unit = np.unique(groups, return_inverse=True)[1].ravel()
        self.n_units = int(self.unit.max()) + 1
        self.n_bootstrap = n_bootstrap
        self.tails = [(1 - confidence_level) / 2, (1 + confidence_level) / 2]
        self.seed = random_state.randint(2**31 - 1)

    def sums(self, columns: Any) -> np.ndarray:
        """Sums of each column over each resample.

        Parameters
        ----------
        columns : ndarray or sparse matrix of shape (n_rows, m)
            What is summed.

        Returns
        -------
        sums : ndarray of shape (n_bootstrap, m)
        """
        n_rows = len(self.unit)
        shape = self.n_units, n_rows
        totals = sparse.csr_matrix((np.ones(n_rows), (self.unit, np.arange(n_rows))), shape)
        totals = totals @ columns
        return np.vstack([block @ totals for block in self._blocks()])

    def counts(self) -> Iterator[np.ndarray]:
        """How often each row (n_rows,) is drawn, resample by resample."""
        for block in self._blocks():
            for counts in block:
                yield counts[self.unit].astype(int)

    def ends(self, values: np.ndarray) -> np.ndarray:
        """Ends (2, m) of the interval of each column of (n_bootstrap, m), NaN left out."""
        ends = np.full((2, values.shape[1]), np.nan)
        known = ~np.isnan(values).all(axis=0)
        ends[:, known] = np.nanquantile(values[:, known], self.tails, axis=0)
        return ends

    def _blocks(self) -> Iterator[np.ndarray]:
        """Blocks (b, n_units) of how often each unit is drawn, n_bootstrap rows in all."""
        rng = np.random.default_rng(self.seed)
        size = max(1, _BLOCK // self.n_units)
        for start in range(0, self.n_bootstrap, size):
            block = np.empty((min(size, self.n_bootstrap - start), self.n_units))
            for counts in block:
                drawn = rng.integers(self.n_units, size=self.n_units)
                counts[:] = np.bincount(drawn, minlength=self.n_units)
            yield block
