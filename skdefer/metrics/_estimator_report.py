"""The deferral report of a fitted estimator, in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skdefer.metrics._reading import read_answers, read_report_cost, read_system
from skdefer.metrics._report import deferral_report

if TYPE_CHECKING:
    import pandas as pd


def estimator_report(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    expert_predictions: Any = None,
    cost: Any = None,
    error_cost: Any = 1.0,
    **options: Any,
) -> pd.DataFrame:
    """Report whether a fitted deferral estimator pays on rows that it has not seen.

    Parameters
    ----------
    estimator : object
        A fitted deferral estimator, such as :class:`skdefer.DeferralClassifier`.
    X : the rows
        As ``estimator.predict`` takes them.
    y : array-like of shape (n_rows,)
        The truth.
    expert_predictions : array-like or DataFrame, (n_rows,) or (n_rows, n_experts), default=None
        The experts' answers on these rows. None: every expert is asked for every row, which
        may cost money.
    cost : None, float, array-like, mapping, callable or CostModel, default=None
        The price of asking, also by name or as a function of X; None: each expert's own. The
        estimator's parameter ``cost`` is not read. A :class:`~skdefer.CostModel` adds columns.
    error_cost : float, array-like of shape (n_classes, n_classes) or DataFrame, default=1.0
        The price of a wrong answer.
    **options : object
        More arguments of :func:`deferral_report`: ``metrics``, ``rates``, ``groups``,
        ``n_bootstrap``, ``confidence_level``, ``random_state``, ``sample_weight``.

    Returns
    -------
    report : DataFrame
        A row per strategy; see :func:`deferral_report`. ``system`` is what ``predict`` does:
        a handed-over row without an answer goes on as ``on_missing`` says, to the model
        where it says ``"raise"``. Where several experts are asked about a row it is right if
        their vote is, and it costs the sum of their prices.

    Raises
    ------
    ExpertPredictionsMissingError
        If there is no answer at all.

    Examples
    --------
    >>> import numpy as np
    >>> from skdefer import DeferralClassifier
    >>> from skdefer.metrics import estimator_report
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(400, 2))
    >>> y = (X[:, 0] + rng.normal(size=400) > 0).astype(int)
    >>> reader = np.where(rng.random(400) < 0.9, y, 1 - y)
    >>> clf = DeferralClassifier().fit(X[:200], y[:200], expert_predictions=reader[:200])
    >>> report = estimator_report(
    ...     clf, X[200:], y[200:], expert_predictions=reader[200:], n_bootstrap=0
    ... )
    >>> report.index.tolist()[:3]
    ['model alone', 'expert_1 alone', 'system']
    """
    answers = read_answers(estimator, X, expert_predictions, what="estimator_report")
    route, y_system = read_system(estimator, X, answers)
    return deferral_report(
        y,
        estimator.predict_model(X),
        answers,
        estimator.deferral_score(X),
        route,
        cost=read_report_cost(estimator, X, cost),
        error_cost=error_cost,
        labels=estimator.classes_,
        y_system=y_system,
        expert_names=list(estimator.routes_)[1:],
        **options,
    )
