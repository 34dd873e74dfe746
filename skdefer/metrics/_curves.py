"""How good the system is as more and more rows are handed over, and areas under that."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from skdefer.metrics._inputs import Rows, check_rows, check_score, check_weight, mean
from skdefer.metrics._ranking import Ranking, area, best_experts


def deferral_curve(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    expert_predictions: Any,
    deferral_score: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""How accurate the system and its experts are at each share of rows deferred.

    Rows are handed over by falling score, each to its best expert. With the first i of N
    rows deferred, at :math:`d = i / N`,

    .. math::

        \mathrm{SysAcc}(d) = \frac{1}{N} \Big( \sum_{k \le i} 1[m_k = y_k]
        + \sum_{k > i} 1[h_k = y_k] \Big), \qquad
        \mathrm{ExpAcc}(d) = \frac{1}{i} \sum_{k \le i} 1[m_k = y_k]

    where :math:`h` is the model's label and :math:`m` the answer of the expert.

    **Ties.** Rows of equal score are taken in random order, and each sum is its
    expectation: the curve of the system is straight there, and the order of the rows never
    matters. An expert tied with others for a row gets an equal share of it.

    **Missing answers** fall back to the model's label in the system's accuracy, and are
    left out of the experts', whose denominator is then the number of answers.

    Parameters
    ----------
    y_true : array-like of shape (n_rows,)
        The labels.
    y_pred : array-like of shape (n_rows,)
        The model's labels.
    expert_predictions : array-like or DataFrame of shape (n_rows,) or (n_rows, n_experts)
        The experts' answers; None, NaN, NA or masked where there is none. An answer that
        is no known label is simply wrong.
    deferral_score : array-like of shape (n_rows,) or (n_rows, n_experts)
        The wish to defer each row to each expert; only its order counts. Infinite is fine.
        A column per expert as soon as there are several.
    sample_weight : array-like of shape (n_rows,), optional
        How much each row counts; rows of weight 0 are left out.

    Returns
    -------
    deferral_rate : ndarray of shape (N + 1,)
        From 0 to 1, the (weighted) share of rows deferred.
    system_accuracy : ndarray of shape (N + 1,)
        Accuracy of model and experts together; the model alone first.
    expert_accuracy : ndarray of shape (N + 1,)
        Accuracy of the experts on the rows deferred; NaN where they have none.

    Raises
    ------
    ValueError
        For no row, unequal lengths, a missing label, NaN in the score, or a score of
        shape (n_rows,) for several experts.

    References
    ----------
    .. [1] Strong et al., "Expert-Agnostic Learning to Defer", 2025, arXiv:2502.10533.

    Examples
    --------
    >>> from skdefer.metrics import deferral_curve
    >>> y_true, y_pred, expert = [0, 0, 1, 1], [0, 1, 1, 0], [1, 0, 0, 1]
    >>> rate, system, experts = deferral_curve(y_true, y_pred, expert, [0.1, 0.9, 0.2, 0.8])
    >>> rate
    array([0.  , 0.25, 0.5 , 0.75, 1.  ])
    >>> system
    array([0.5 , 0.75, 1.  , 0.75, 0.5 ])
    >>> experts
    array([       nan, 1.        , 1.        , 0.66666667, 0.5       ])

    Without any wish, a random order is expected:

    >>> deferral_curve(y_true, y_pred, expert, [0, 0, 0, 0])[1]
    array([0.5, 0.5, 0.5, 0.5, 0.5])
    """
    rows, score, weight = _check(y_true, y_pred, expert_predictions, deferral_score, sample_weight)
    ranked = _rank(rows, score, weight)
    rate, system = _system_curve(ranked)
    right, answered = ranked.ranking.sums(ranked.expert), ranked.ranking.sums(ranked.answered)
    experts = np.full_like(right, np.nan)
    np.divide(right, answered, out=experts, where=answered > 0)
    return rate, system, experts


def aursac_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    expert_predictions: Any,
    deferral_score: ArrayLike,
    *,
    deferral_range: tuple[float, float] = (0, 1),
    sample_weight: ArrayLike | None = None,
) -> float:
    """How accurate the system is, averaged over all shares of rows deferred.

    The area under the rejection-system-accuracy curve: the exact integral of the straight
    lines through the points of :func:`deferral_curve`, divided by the length of the range.

    Parameters
    ----------
    y_true : array-like of shape (n_rows,)
        The labels.
    y_pred : array-like of shape (n_rows,)
        The model's labels.
    expert_predictions : array-like or DataFrame of shape (n_rows,) or (n_rows, n_experts)
        The experts' answers; None, NaN, NA or masked where there is none.
    deferral_score : array-like of shape (n_rows,) or (n_rows, n_experts)
        The wish to defer each row to each expert; only its order counts.
    deferral_range : tuple of float, default=(0, 1)
        The shares deferred that count, ``0 <= low < high <= 1``.
    sample_weight : array-like of shape (n_rows,), optional
        How much each row counts.

    Returns
    -------
    score : float
        In [0, 1], higher is better.

    Raises
    ------
    ValueError
        As :func:`deferral_curve`, and for a range that is none.

    See Also
    --------
    normalized_aursac_score : The same, free of how good model and experts are.

    References
    ----------
    .. [1] Strong et al., "Expert-Agnostic Learning to Defer", 2025, arXiv:2502.10533.

    Examples
    --------
    >>> from skdefer.metrics import aursac_score
    >>> y_true, y_pred, expert = [0, 0, 1, 1], [0, 1, 1, 0], [1, 0, 0, 1]
    >>> aursac_score(y_true, y_pred, expert, [0.1, 0.9, 0.2, 0.8])
    0.75
    >>> aursac_score(y_true, y_pred, expert, [0.1, 0.9, 0.2, 0.8], deferral_range=(0, 0.25))
    0.625
    """
    low, high = _check_range(deferral_range)
    rows, score, weight = _check(y_true, y_pred, expert_predictions, deferral_score, sample_weight)
    rate, system = _system_curve(_rank(rows, score, weight))
    return area(rate, system, low, high)


def aurdac_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    expert_predictions: Any,
    deferral_score: ArrayLike,
    *,
    deferral_range: tuple[float, float] = (0, 1),
    sample_weight: ArrayLike | None = None,
) -> float:
    """How accurate the experts are on what they get, averaged over all shares deferred.

    The area under the rejection-deferral-accuracy curve: as :func:`aursac_score`, of the
    experts' accuracy, from the first point where it is defined (1 / N if the first row has
    an answer). It is an average over the range from there, so that an expert who is always
    right scores 1.

    It rewards handing easy rows to the experts, which helps nobody: report it, but choose
    by :func:`aursac_score`.

    Parameters
    ----------
    y_true : array-like of shape (n_rows,)
        The labels.
    y_pred : array-like of shape (n_rows,)
        The model's labels; checked, but the area does not depend on them.
    expert_predictions : array-like or DataFrame of shape (n_rows,) or (n_rows, n_experts)
        The experts' answers; a missing one is left out.
    deferral_score : array-like of shape (n_rows,) or (n_rows, n_experts)
        The wish to defer each row to each expert; only its order counts.
    deferral_range : tuple of float, default=(0, 1)
        The shares deferred that count, ``0 <= low < high <= 1``.
    sample_weight : array-like of shape (n_rows,), optional
        How much each row counts.

    Returns
    -------
    score : float
        In [0, 1], higher is better; NaN if no row in the range has an answer.

    Raises
    ------
    ValueError
        As :func:`deferral_curve`, and for a range that is none.

    Notes
    -----
    The experts' accuracy bends between its points. So a row of weight 2 and a row that
    stands twice, which has a point more, give areas that differ by about 1 / N.

    References
    ----------
    .. [1] Strong et al., "Expert-Agnostic Learning to Defer", 2025, arXiv:2502.10533.

    Examples
    --------
    >>> from skdefer.metrics import aurdac_score
    >>> y_true, y_pred, expert = [0, 0, 1, 1], [0, 1, 1, 0], [1, 0, 0, 1]
    >>> round(aurdac_score(y_true, y_pred, expert, [0.1, 0.9, 0.2, 0.8]), 3)
    0.806
    """
    low, high = _check_range(deferral_range)
    rate, _, experts = deferral_curve(
        y_true, y_pred, expert_predictions, deferral_score, sample_weight=sample_weight
    )
    return area(rate, experts, low, high)


def normalized_aursac_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    expert_predictions: Any,
    deferral_score: ArrayLike,
    *,
    deferral_range: tuple[float, float] = (0, 1),
    sample_weight: ArrayLike | None = None,
) -> float:
    """How much of the gain that a perfect score brings this score brings.

    ``(area - random) / (oracle - random)`` of :func:`aursac_score`. *Random* ranks rows at
    random and picks an expert at random; *oracle* knows who is right on every row. So the
    answer tells how good the score is, whatever the model and the experts are.

    Parameters
    ----------
    y_true : array-like of shape (n_rows,)
        The labels.
    y_pred : array-like of shape (n_rows,)
        The model's labels.
    expert_predictions : array-like or DataFrame of shape (n_rows,) or (n_rows, n_experts)
        The experts' answers; None, NaN, NA or masked where there is none.
    deferral_score : array-like of shape (n_rows,) or (n_rows, n_experts)
        The wish to defer each row to each expert; only its order counts.
    deferral_range : tuple of float, default=(0, 1)
        The shares deferred that count, ``0 <= low < high <= 1``.
    sample_weight : array-like of shape (n_rows,), optional
        How much each row counts.

    Returns
    -------
    score : float
        At most 1, the oracle's; 0 is a random score's, below 0 is worse than that. NaN if
        handing over changes every row alike (model and experts are right on the same rows,
        say): then every score gives the same area, and none is good or bad.

    Raises
    ------
    ValueError
        As :func:`deferral_curve`, and for a range that is none.

    Examples
    --------
    >>> from skdefer.metrics import normalized_aursac_score
    >>> y_true, y_pred, expert = [0, 0, 1, 1], [0, 1, 1, 0], [1, 0, 0, 1]
    >>> normalized_aursac_score(y_true, y_pred, expert, [0.1, 0.9, 0.2, 0.8])
    1.0
    >>> normalized_aursac_score(y_true, y_pred, expert, [0, 0, 0, 0])
    0.0
    """
    low, high = _check_range(deferral_range)
    rows, score, weight = _check(y_true, y_pred, expert_predictions, deferral_score, sample_weight)
    gains = rows.right[:, 1:].view(np.int8) - rows.right[:, :1].view(np.int8)
    if gains.min() == gains.max():
        return float("nan")
    reached, oracle = (_mean_gain(rows, s, weight, low, high) for s in (score, gains))
    # Random hand-overs gain in proportion to their share, whose mean is the midpoint.
    random = mean(gains.mean(axis=1), weight) * (low + high) / 2
    return (reached - random) / (oracle - random)


def _check(
    y_true: Any, y_pred: Any, expert_predictions: Any, deferral_score: Any, sample_weight: Any
) -> tuple[Rows, np.ndarray, np.ndarray | None]:
    """Check everything, and leave out the rows of weight 0."""
    rows = check_rows(y_true, y_pred, expert_predictions)
    score = check_score(deferral_score, rows.n_rows, rows.n_experts)
    weight = check_weight(sample_weight, rows.n_rows)
    if weight is not None and not weight.all():
        counted = weight > 0
        rows, score, weight = rows.keep(counted), score[counted], weight[counted]
    return rows, score, weight


def _check_range(deferral_range: tuple[float, float]) -> tuple[float, float]:
    try:
        low, high = (float(end) for end in deferral_range)
    except (TypeError, ValueError):
        low = high = float("nan")
    if not 0 <= low < high <= 1:
        raise ValueError(
            f"deferral_range is {deferral_range!r}; expected two shares (low, high) with "
            "0 <= low < high <= 1. Pass (0, 0.5), say."
        )
    return low, high


class _Ranked(NamedTuple):
    """A ranking, and what each of its entries (a row, or a kind of rows) counts."""

    ranking: Ranking
    model: np.ndarray  # 1 if the model is right
    expert: np.ndarray  # 1 if the expert is right: a mean where several are tied for the row
    answered: np.ndarray  # 1 if the expert has an answer: likewise
    model_right: float  # weight of the rows on which the model is right


def _rank(rows: Rows, score: np.ndarray, weight: np.ndarray | None) -> _Ranked:
    """Rank rows by the score of their best expert."""
    best, tied = best_experts(score)
    model = rows.right[:, 0]
    model_right = float(model.sum() if weight is None else model @ weight)
    expert, answered = rows.expert_right[:, 0], rows.answered[:, 0]
    if rows.n_experts > 1:
        n_tied = np.count_nonzero(tied, axis=1)
        expert = np.count_nonzero(rows.expert_right & tied, axis=1) / n_tied
        answered = np.count_nonzero(rows.answered & tied, axis=1) / n_tied
    expert_flag, answered_flag = expert.astype(np.uint8), answered.astype(np.uint8)
    whole = np.array_equal(expert_flag, expert) and np.array_equal(answered_flag, answered)
    if weight is None and whole:
        ranking = Ranking(best, kind=model + 2 * expert_flag + 4 * answered_flag)
        model, expert, answered = (np.arange(8, dtype=np.int8) >> bit & 1 for bit in range(3))
    else:
        ranking = Ranking(best, weight=weight)
        expert, answered = expert.astype(np.float64), answered.astype(np.float64)
    return _Ranked(ranking, model, expert, answered, model_right)


def _system_curve(ranked: _Ranked) -> tuple[np.ndarray, np.ndarray]:
    """Share of the rows deferred and accuracy of the system, after 0, 1, ... n rows."""
    rate = ranked.ranking.counts()
    total = rate[-1]
    system = ranked.ranking.sums(ranked.expert - ranked.answered * ranked.model)
    system += ranked.model_right
    system /= total
    rate /= total
    return rate, system


def _mean_gain(
    rows: Rows, score: np.ndarray, weight: np.ndarray | None, low: float, high: float
) -> float:
    """AURSAC less the model's accuracy."""
    rate, system = _system_curve(_rank(rows, score, weight))
    return area(rate, system, low, high) - float(system[0])
