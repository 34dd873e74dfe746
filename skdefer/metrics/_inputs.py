"""What a metric takes, checked once: labels, answers, scores, routes and weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Number
from typing import Any

import numpy as np

from skdefer.utils._validation import MANY, _as_objects, check_answers, check_weights, is_missing

_NUMBERS = "biuf"


@dataclass(frozen=True)
class Rows:
    """Labels and answers of n rows and J experts, and who is right.

    Attributes
    ----------
    y_true, y_pred : ndarray of shape (n,)
        The labels, and the model's.
    answers : ndarray of shape (n, J)
        The experts' answers.
    answered : ndarray of bool, of shape (n, J)
        False where an answer is missing.
    expert_right : ndarray of bool, of shape (n, J)
        Whether the expert answered, and rightly.
    right : ndarray of bool, of shape (n, 1 + J)
        Whether the system is right under each route: 0 the model, j the expert j, or the
        model where expert j has no answer.
    names : list of str or None
        The experts' names if the answers came with some.
    """

    y_true: np.ndarray
    y_pred: np.ndarray
    answers: np.ndarray
    answered: np.ndarray
    expert_right: np.ndarray
    right: np.ndarray
    names: list[str] | None

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return self.answers.shape[0]

    @property
    def n_experts(self) -> int:
        """The number of experts."""
        return self.answers.shape[1]

    def keep(self, mask: np.ndarray) -> Rows:
        """The rows where ``mask`` is True."""
        arrays = {k: v[mask] for k, v in vars(self).items() if isinstance(v, np.ndarray)}
        return replace(self, **arrays)


def check_rows(y_true: Any, y_pred: Any, expert_predictions: Any) -> Rows:
    """Check labels and answers, and see who is right.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        The labels, and the model's.
    expert_predictions : array-like, masked array, Series or DataFrame, (n,) or (n, J)
        The experts' answers.

    Returns
    -------
    rows : Rows
        Everything that the metrics read.

    Raises
    ------
    ValueError
        For no row, a wrong shape, a wrong length, or a missing label.
    """
    y_true = check_labels(y_true, "y_true")
    y_pred = check_labels(y_pred, "y_pred", len(y_true))
    kinds = {_kind_of_label(y_true), _kind_of_label(y_pred)}
    if kinds == {"numbers", "strings"}:
        raise ValueError(
            f"y_true begins with {y_true[0]!r} and y_pred with {y_pred[0]!r}, so that no label can "
            "match. Pass both as numbers or both as strings."
        )
    answers, answered, names = check_expert_predictions(expert_predictions, len(y_true))
    expert_right = equal(answers, y_true[:, np.newaxis]) & answered
    _check_some_label(answers, answered, expert_right, y_true, y_pred)
    # Columns are read one at a time, so they lie one after the other.
    right = np.empty((len(y_true), 1 + answers.shape[1]), dtype=bool, order="F")
    right[:, 0] = equal(y_pred, y_true)
    for j in range(answers.shape[1]):
        right[:, 1 + j] = np.where(answered[:, j], expert_right[:, j], right[:, 0])
    return Rows(y_true, y_pred, answers, answered, expert_right, right, names)


def _check_some_label(
    answers: np.ndarray,
    answered: np.ndarray,
    expert_right: np.ndarray,
    y_true: np.ndarray,
    y_pred: np.ndarray,
) -> None:
    """Refuse an expert who speaks of other labels: many answers, never a label at all."""
    many = answered.sum(axis=0) >= MANY
    for j in np.flatnonzero(many & ~expert_right.any(axis=0)):
        said = answers[answered[:, j], j].tolist()
        if not set(map(str, said)) & set(map(str, y_true.tolist() + y_pred.tolist())):
            raise ValueError(
                f"Column {j} of expert_predictions has no label of y_true or y_pred: it says "
                f"{said[0]!r}, where y_true says {y_true[0]!r}. Pass answers in its labels."
            )


def check_labels(values: Any, name: str, n_rows: int | None = None) -> np.ndarray:
    """Check that there is one label per row, none missing.

    Parameters
    ----------
    values : array-like of shape (n,) or (n, 1)
        The labels.
    name : str
        The argument's name, for the error.
    n_rows : int, optional
        The number of rows of ``y_true``.

    Returns
    -------
    labels : ndarray of shape (n,)
        The labels, of the dtype they came in.
    """
    labels = check_column(_as_objects(values), name, n_rows)
    if len(labels) == 0:
        raise ValueError(f"{name} has no row, and a metric needs one at least. Pass some rows.")
    n_missing = np.count_nonzero(
        is_missing(values if isinstance(values, np.ma.MaskedArray) else labels)
    )
    if n_missing:
        raise ValueError(
            f"{name} has {n_missing} missing labels out of {len(labels)}, but a metric needs "
            "every one. Leave these rows out."
        )
    return labels


def check_column(values: Any, name: str, n_rows: int | None = None) -> np.ndarray:
    """Bring one value per row into shape (n,)."""
    column = np.asarray(values)
    if column.ndim == 2 and column.shape[1] == 1:
        column = column[:, 0]
    if column.ndim != 1:
        raise ValueError(
            f"{name} has shape {column.shape}; expected (n_rows,). Pass one value per row."
        )
    if n_rows is not None and len(column) != n_rows:
        raise ValueError(
            f"{name} has {len(column)} rows, but y_true has {n_rows}. Pass the same rows."
        )
    return column


def check_expert_predictions(
    expert_predictions: Any, n_rows: int
) -> tuple[np.ndarray, np.ndarray, list[str] | None]:
    """Bring answers into shape (n, J), with the mask of those given and the names, if any."""
    if hasattr(expert_predictions, "__len__") and not isinstance(expert_predictions, dict):
        n_given = len(expert_predictions)
        if n_given != n_rows:
            transposed = np.shape(expert_predictions)[1:] == (n_rows,)
            hint = "its transpose: rows come first" if transposed else "one answer per row"
            raise ValueError(
                f"expert_predictions has {n_given} rows, but y_true has {n_rows}. Pass {hint}."
            )
    answers, names = check_answers(expert_predictions, n_rows)
    missing = is_missing(answers)
    if answers.dtype.kind == "O" and missing.any():
        answers = answers.copy()
        answers[missing] = None  # a pandas NA would not compare to a bool
    return answers, ~missing, names


def _kind_of_label(labels: np.ndarray) -> str:
    if isinstance(labels[0], str):
        return "strings"
    return "numbers" if isinstance(labels[0], (Number, np.bool_)) else "others"


def is_number(labels: np.ndarray) -> bool:
    """Whether the dtype is a number's."""
    return labels.dtype.kind in _NUMBERS


def equal(answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Where an answer is the label; a number is never a string."""
    if answers.dtype.kind != labels.dtype.kind and not (is_number(answers) and is_number(labels)):
        answers, labels = answers.astype(object), labels.astype(object)
    return np.asarray(answers == labels, dtype=bool)


def check_score(
    deferral_score: Any, n_rows: int, n_experts: int | None = None, name: str = "deferral_score"
) -> np.ndarray:
    """Bring scores into shape (n, J) without a change of precision.

    Parameters
    ----------
    deferral_score : array-like of shape (n,) or (n, J)
        The wish to defer each row, to each expert. Infinite is fine, NaN is not.
    n_rows : int
        The number of rows.
    n_experts : int, optional
        The number of experts; any if not given.
    name : str
        The argument's name, for the errors.

    Returns
    -------
    score : ndarray of shape (n, J), float or int

    Raises
    ------
    ValueError
        For a wrong shape, NaN, something that is no number, or (n,) with several experts.
    """
    score = np.asarray(deferral_score)
    if score.dtype.kind not in "fiu":
        try:
            score = score.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{name} holds {score.dtype}; expected numbers. Pass floats."
            ) from error
    if score.ndim == 1 and n_experts not in (None, 1):
        raise ValueError(
            f"{name} has shape {score.shape}, but there are {n_experts} experts, so it can't be "
            f"known which one it is about. Pass shape ({n_rows}, {n_experts}), a column per expert."
        )
    if score.ndim == 1:
        score = score.reshape(-1, 1)
    n_columns = n_experts if n_experts is not None else score.shape[-1]
    if score.shape != (n_rows, n_columns) or n_columns == 0:
        raise ValueError(
            f"{name} has shape {score.shape}, but there are {n_rows} rows and "
            f"{n_columns} experts. Pass shape ({n_rows}, {max(n_columns, 1)})."
        )
    # The least value is NaN if any is; it needs no array of flags.
    if np.isnan(score.min()) or np.ma.is_masked(deferral_score):
        hint = " Pass -inf where nothing is to be deferred." if name == "deferral_score" else ""
        raise ValueError(
            f"{name} has NaN or masked values; expected a number for each row and expert.{hint}"
        )
    return score


def check_route(route: Any, n_rows: int | None = None, n_experts: int | None = None) -> np.ndarray:
    """Check who is to answer each row: 0 the model, j the expert j.

    Parameters
    ----------
    route : array-like of shape (n,)
        Integers in 0..J; flags are fine for one expert.
    n_rows, n_experts : int, optional
        What the route must match.

    Returns
    -------
    route : ndarray of int, of shape (n,)
    """
    route = check_column(route, "route", n_rows)
    if len(route) == 0:
        raise ValueError("route has no row, and a metric needs one at least. Pass some rows.")
    if route.dtype.kind == "b" and n_experts not in (None, 1):
        raise ValueError(
            f"route holds flags, but there are {n_experts} experts, so it can't be known who "
            "answers. Pass integers: 0 the model, j the expert j."
        )
    as_int = None
    if route.dtype.kind in "biu" or _all_integral(route):
        as_int = route.astype(np.intp)
    highest = np.inf if n_experts is None else n_experts
    if as_int is None or as_int.min() < 0 or as_int.max() > highest:
        upper = "the number of experts" if n_experts is None else n_experts
        raise ValueError(
            f"route holds {route.dtype} values such as {np.unique(route.astype(str))[:5].tolist()}"
            f"; expected integers from 0 (the model) to {upper}. Pass predict_route(X), or 0 and "
            "the expert's number."
        )
    return as_int


def _all_integral(values: np.ndarray) -> bool:
    if values.dtype.kind not in "fO":
        return False
    try:
        values = values.astype(np.float64)
    except (TypeError, ValueError):
        return False
    return bool(np.all(np.isfinite(values) & (values == np.rint(values))))


def check_weight(sample_weight: Any, n_rows: int) -> np.ndarray | None:
    """Check weights: finite, not negative, not all 0; None stays None."""
    if sample_weight is None:
        return None
    weight = check_weights(sample_weight, n_rows)
    if not weight.any():
        raise ValueError(
            "sample_weight is 0 on every row, so that nothing is left to measure; expected one "
            "above 0. Leave out only the rows that do not count."
        )
    return weight


def mean(values: Any, weight: np.ndarray | None, where: Any = None) -> float:
    """Weighted mean of the values, of those marked if ``where`` is given; NaN of none."""
    if where is not None:
        values = values[where]
        weight = None if weight is None else weight[where]
    total = len(values) if weight is None else weight.sum()
    if total == 0:
        return float("nan")
    return float(values.sum() / total if weight is None else values @ weight / total)


def numbered(n_experts: int) -> list[str]:
    """Name experts who have no name.

    Parameters
    ----------
    n_experts : int
        How many there are.

    Returns
    -------
    names : list of str
        ``expert_1``, ...
    """
    return [f"expert_{j + 1}" for j in range(n_experts)]
