"""How good the model is on what it keeps: selective classification, without experts."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from skdefer.metrics._inputs import check_rows, check_score, check_weight
from skdefer.metrics._ranking import Ranking, area, best_experts


def risk_coverage_curve(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    deferral_score: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """How often the model is wrong on the rows it keeps, at each share kept.

    Rows are kept by rising score. Experts play no part: this is the curve of selective
    classification. Ties are taken in random order, in expectation.

    Parameters
    ----------
    y_true : array-like of shape (n_rows,)
        The labels.
    y_pred : array-like of shape (n_rows,)
        The model's labels.
    deferral_score : array-like of shape (n_rows,) or (n_rows, n_experts)
        The wish to defer, the largest over experts; with no expert, the model's doubt.
    sample_weight : array-like of shape (n_rows,), optional
        How much each row counts; rows of weight 0 are left out.

    Returns
    -------
    coverage : ndarray of shape (N + 1,)
        From 0 to 1, the (weighted) share of rows kept.
    risk : ndarray of shape (N + 1,)
        Share of wrong labels among the rows kept; NaN at coverage 0.

    Raises
    ------
    ValueError
        For no row, unequal lengths, a missing label, or NaN in the score.

    References
    ----------
    .. [1] Geifman & El-Yaniv, "Selective classification for deep neural networks",
       NeurIPS 2017.

    Examples
    --------
    >>> from skdefer.metrics import risk_coverage_curve
    >>> coverage, risk = risk_coverage_curve([0, 0, 1, 1], [0, 1, 1, 0], [0.1, 0.9, 0.2, 0.3])
    >>> risk
    array([       nan, 0.        , 0.        , 0.33333333, 0.5       ])
    """
    # The model's own labels stand in for the answers that are not needed.
    rows = check_rows(y_true, y_pred, y_pred)
    score = check_score(deferral_score, rows.n_rows)
    weight = check_weight(sample_weight, rows.n_rows)
    if weight is not None and not weight.all():
        counted = weight > 0
        rows, score, weight = rows.keep(counted), score[counted], weight[counted]
    wrong = ~rows.right[:, 0]
    best, _ = best_experts(score)
    if weight is None:
        ranking = Ranking(best, kind=wrong.view(np.uint8), descending=False)
        wrong = np.array([False, True])  # of each kind
    else:
        ranking = Ranking(best, weight=weight, descending=False)
    kept = ranking.counts()
    risk = np.full_like(kept, np.nan)
    np.divide(ranking.sums(wrong), kept, out=risk, where=kept > 0)
    return kept / kept[-1], risk


def aurc_loss(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    deferral_score: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    """How often the model is wrong on what it keeps, averaged over all shares kept.

    The area under :func:`risk_coverage_curve`, by straight lines from its first defined
    point, 1 / N, divided by the length of that range. The sum over points of the paper
    differs from it by less than 1 / N.

    Parameters
    ----------
    y_true : array-like of shape (n_rows,)
        The labels.
    y_pred : array-like of shape (n_rows,)
        The model's labels.
    deferral_score : array-like of shape (n_rows,) or (n_rows, n_experts)
        The wish to defer, the largest over experts; with no expert, the model's doubt.
    sample_weight : array-like of shape (n_rows,), optional
        How much each row counts.

    Returns
    -------
    loss : float
        In [0, 1], lower is better.

    Raises
    ------
    ValueError
        For no row, unequal lengths, a missing label, or NaN in the score.

    References
    ----------
    .. [1] Geifman, Uziel & El-Yaniv, "Bias-reduced uncertainty estimation for deep neural
       classifiers", ICLR 2019.

    Examples
    --------
    >>> from skdefer.metrics import aurc_loss
    >>> round(aurc_loss([0, 0, 1, 1], [0, 1, 1, 0], [0.1, 0.9, 0.2, 0.3]), 3)
    0.194
    """
    coverage, risk = risk_coverage_curve(
        y_true, y_pred, deferral_score, sample_weight=sample_weight
    )
    return area(coverage, risk, 0, 1)
