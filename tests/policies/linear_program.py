"""The assignment problem as a linear program, for comparison: its optimum is a whole one."""

import numpy as np
from scipy import sparse
from scipy.optimize import linprog


def greatest_sum(score, limits):
    """The greatest sum of scores within the limits, by HiGHS; None if they can't be kept."""
    n, J = score.shape
    away = np.isneginf(score).ravel()
    gain = np.where(away, 0.0, score.ravel())
    of_row = sparse.kron(sparse.eye(n), np.ones((1, J)))
    of_expert = sparse.kron(np.ones((1, n)), sparse.eye(J)).tocsr()
    limited = np.isfinite(limits.upper)
    parts = [of_row, of_expert[limited], -of_expert]
    bounds = [np.full(n, limits.per_row), limits.upper[limited], -limits.lower]
    if np.isfinite(limits.pool):
        parts.append(sparse.csr_matrix(np.ones((1, n * J))))
        bounds.append([limits.pool])
    result = linprog(
        -gain,
        A_ub=sparse.vstack(parts),
        b_ub=np.concatenate(bounds),
        bounds=np.column_stack([np.zeros(n * J), ~away]),
        method="highs",
    )
    assert result.status in (0, 2), result.message
    return -result.fun if result.status == 0 else None
