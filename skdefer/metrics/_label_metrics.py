"""Any metric of labels, given by name or as a function, behind one signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import get_scorer


@dataclass(frozen=True)
class LabelMetric:
    """A metric of true and answered labels.

    Attributes
    ----------
    name : str
        Its name in a report.
    function : callable
        Takes (y_true, y_answered), and ``sample_weight`` if ``takes_weight``.
    takes_weight : bool
        Whether rows can be weighted.
    scorer : str or None
        The name of the scikit-learn scorer that it is.
    """

    name: str
    function: Callable[..., float]
    takes_weight: bool
    scorer: str | None = None


class _Echo(ClassifierMixin, BaseEstimator):
    """A classifier whose rows are its answers: scorers want one."""

    def __init__(self, classes):
        self.classes = classes

    @property
    def classes_(self):
        return self.classes

    def predict(self, X):
        return X


class _ScorerOfLabels:
    """A scikit-learn scorer, or the name of one, as a function of true and answered labels."""

    def __init__(self, scorer: Any, classes: np.ndarray, what: str):
        self.name, self.what = scorer, what
        self.scorer = get_scorer(scorer)
        self.echo = _Echo(classes)

    def __call__(self, y_true: np.ndarray, y_answered: np.ndarray, **weight: Any) -> float:
        try:
            return self.scorer(self.echo, y_answered, y_true, **weight)
        except AttributeError as error:
            raise ValueError(
                f"{self.what} has {self.name!r}, which needs probabilities, but what is compared "
                "are labels. Pass a scorer of labels, such as 'f1_macro'."
            ) from error


class _Explained:
    """A metric of labels that says what to do where it does not know the positive class."""

    def __init__(self, function: Callable[..., float], metric: Any, classes: np.ndarray, what: str):
        self.function, self.metric, self.classes, self.what = function, metric, classes, what

    def __call__(self, y_true: np.ndarray, y_answered: np.ndarray, **weight: Any) -> float:
        try:
            return self.function(y_true, y_answered, **weight)
        except ValueError as error:
            if "pos_label" not in str(error):
                raise
            if isinstance(self.metric, str):
                shown, score = repr(self.metric), f"{self.metric}_score"
            else:
                shown, score = function_name(self.metric), getattr(self.metric, "__name__", "...")
            raise ValueError(
                f"{self.what} has {shown}, which counts one class (pos_label, 1 unless given), but "
                f"the classes are {self.classes.tolist()}. Pass make_scorer({score}, "
                "pos_label=...) with the class that counts."
            ) from error


def check_metrics(
    metrics: Any, classes: np.ndarray, reserved: Iterable[str], *, what: str = "metrics"
) -> list[LabelMetric]:
    """Bring the metrics that a user asks for behind one signature.

    Parameters
    ----------
    metrics : None, str, callable, list of these, or mapping of names to them
        Names of scikit-learn scorers, scorers of labels from ``make_scorer``, or functions of
        (y_true, y_answered).
    classes : ndarray of shape (n_classes,)
        All labels that may occur.
    reserved : iterable of str
        Names that are taken.
    what : str, default="metrics"
        The parameter that they came by, for errors.

    Returns
    -------
    metrics : list of LabelMetric
        In the order they came.

    Raises
    ------
    ValueError
        For a name that is no scorer, is taken or comes twice, or for something else.
    """
    if metrics is None:
        return []
    if isinstance(metrics, str) or callable(metrics):
        metrics = [metrics]
    if isinstance(metrics, Mapping):
        named = [(str(name), metric) for name, metric in metrics.items()]
    else:
        named = [(function_name(m), m) for m in metrics]
    names = [name for name, _ in named]
    taken = (set(names) & set(reserved)) | {name for name in names if names.count(name) > 1}
    if taken:
        raise ValueError(
            f"{what} names {sorted(taken)}, which the report has already. Pass a dict that "
            "gives each metric a name of its own."
        )
    return [_label_metric(name, metric, classes, what) for name, metric in named]


def label_metric(
    metric: Any, classes: np.ndarray, what: str = "metric", *, weighted: bool
) -> LabelMetric:
    """Bring one metric behind the signature of all; ``weighted``: it has to take weights.

    ``what`` is the parameter that it came by, for errors.

    Raises
    ------
    ValueError
        If it takes none, or is no metric of labels.
    """
    (found,) = check_metrics([metric], classes, reserved=(), what=what)
    if weighted and not found.takes_weight:
        raise ValueError(
            f"sample_weight came, but {what} {found.name!r} takes none. Give the function a "
            "parameter sample_weight, or leave the weights out."
        )
    return found


def function_name(metric: Any) -> str:
    """A name to show for a function; a name stands for itself."""
    return metric if isinstance(metric, str) else getattr(metric, "__name__", None) or repr(metric)


def _label_metric(name: str, metric: Any, classes: np.ndarray, what: str) -> LabelMetric:
    # What make_scorer gives is known by its private attributes alone.
    if isinstance(metric, str) or hasattr(metric, "_response_method"):
        scorer = _ScorerOfLabels(metric, classes, what)
        # Not public, but scikit-learn's searches ask every scorer the same way.
        takes = getattr(scorer.scorer, "_accept_sample_weight", lambda: True)()
        function = _Explained(scorer, metric, classes, what)
        return LabelMetric(name, function, takes, metric if isinstance(metric, str) else None)
    if not callable(metric):
        raise ValueError(
            f"{what} has {metric!r} for {name!r}; expected the name of a scikit-learn scorer, or "
            "a function of (y_true, y_answered)."
        )
    try:
        takes = "sample_weight" in inspect.signature(metric).parameters
    except ValueError:  # some functions written in C have no signature
        takes = False
    return LabelMetric(name, _Explained(metric, metric, classes, what), takes)
