"""What a monitor reads of an estimator's rows."""

from __future__ import annotations

from typing import Any

from sklearn.utils.validation import check_is_fitted

from skdefer.metrics._reading import read_panel
from skdefer.utils._rows import check_rows
from skdefer.utils._validation import check_answers


def observe(estimator, X, y=None, *, expert_predictions=None, y_pred=None):
    """Collect what a monitor reads of a batch; nobody is asked.

    Parameters
    ----------
    estimator : object
        A fitted deferral estimator.
    X : the rows
        As ``estimator.predict`` takes them, in the batch in which they were decided.
    y : array-like of shape (n_rows,), default=None
        The truth, missing where nobody has checked.
    expert_predictions : array-like or DataFrame, (n_rows,) or (n_rows, n_experts), default=None
        The answers that the system got, missing where there is none; from
        ``estimator.ask_experts(X, where=estimator.predict_panel(X))``, say.
    y_pred : array-like of shape (n_rows,), default=None
        The labels that the system gave; None: what those answers come to.

    Returns
    -------
    batch : dict
        Arguments of ``DeferralMonitor.fit`` and ``.update``: ``score`` (n_rows, n_experts),
        ``panel`` (n_rows, n_experts), ``names``, ``classes``, and, of what was passed, ``y``,
        ``expert_predictions`` and ``y_pred``.

    Raises
    ------
    TypeError
        If the estimator is none that defers.
    NotFittedError
        If it is not fitted.

    Examples
    --------
    >>> import numpy as np
    >>> from skdefer import DeferralClassifier
    >>> from skdefer.monitoring import observe
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2))
    >>> y = (X[:, 0] + rng.normal(size=200) > 0).astype(int)
    >>> clf = DeferralClassifier().fit(X, y, expert_predictions=y)
    >>> {name: np.shape(value) for name, value in observe(clf, X, expert_predictions=y).items()}
    {'score': (200, 1), 'panel': (200, 1), 'names': (1,), 'classes': (2,),
     'expert_predictions': (200, 1), 'y_pred': (200,)}
    """
    check_estimator(estimator)
    n_rows, names = check_rows(X), list(estimator.routes_)[1:]
    batch: dict[str, Any] = {
        "score": estimator.deferral_score(X),
        "panel": estimator.predict_panel(X),
        "names": names,
        "classes": estimator.classes_,
    }
    if y is not None:
        batch["y"] = y
    if expert_predictions is not None:
        answers = check_answers(expert_predictions, n_rows, names=names)[0]
        batch["expert_predictions"] = answers
        if y_pred is None:
            y_pred = estimator._vote_of(X, answers, read_panel(estimator, X, answers))
    if y_pred is not None:
        batch["y_pred"] = y_pred
    return batch


def check_estimator(estimator: Any) -> None:
    """Refuse what can't defer, or is not fitted."""
    if not hasattr(estimator, "explain_defer"):
        raise TypeError(
            f"estimator is a {type(estimator).__name__}; expected a deferral estimator of skdefer. "
            "Pass a fitted DeferralClassifier, say; its parameter estimator takes the model."
        )
    check_is_fitted(estimator)
