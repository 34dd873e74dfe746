"""What came, what was expected, what to do: checks of answers, labels and scores."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

MISSING = -1
OUT_OF_LABELS = -2
MANY = 30  # answers that can't all be outside the labels by chance


def is_missing(values: Any) -> np.ndarray:
    """Mark ``None``, NaN, NA, NaT and masked entries, whatever array they stand in.

    Parameters
    ----------
    values : array-like
        Labels or answers of any dtype.

    Returns
    -------
    mask : ndarray of bool, of the shape of ``values``
        True where there is no answer.
    """
    masked = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
    values = np.ma.getdata(_as_objects(values))
    if values.dtype.kind == "f":
        mask = np.isnan(values)
    elif values.dtype.kind in "mM":
        mask = np.isnat(values)
    elif values.dtype.kind == "O":
        # A pandas NA can only be here once pandas is loaded.
        pandas = sys.modules.get("pandas")
        if pandas is not None:
            mask = np.asarray(pandas.isna(values), dtype=bool)
        else:
            flat = [v is None or v != v for v in values.ravel()]
            mask = np.array(flat, dtype=bool).reshape(values.shape)
    else:
        mask = np.zeros(values.shape, dtype=bool)
    return mask if masked is None else mask | masked


def check_answers(
    expert_predictions: Any, n_rows: int, *, names: Sequence[str] | None = None
) -> tuple[np.ndarray, list[str] | None]:
    """Bring experts' answers into an array of shape (n_rows, n_experts).

    Parameters
    ----------
    expert_predictions : array-like, masked array, Series or DataFrame
        One answer per row, shape ``(n_rows,)`` for one expert or ``(n_rows, n_experts)``.
    n_rows : int
        The number of rows that the answers must match.
    names : sequence of str, optional
        Names of the experts. The columns of a DataFrame are matched to them by name, and who has
        no column has no answer; an array must have as many columns.

    Returns
    -------
    answers : ndarray of shape (n_rows, n_experts)
        Missing answers are ``None`` or NaN.
    columns : list of str or None
        The columns' names if a DataFrame or a named Series came.

    Raises
    ------
    ValueError
        For a mapping, a wrong shape, a wrong length, or columns that do not match ``names``.
    """
    if isinstance(expert_predictions, Mapping):
        raise ValueError(
            "expert_predictions is a dict, which scikit-learn never slices with the rows. "
            "Pass an array of shape (n_rows, n_experts) or a DataFrame with a column per "
            "expert, such as pandas.DataFrame(expert_predictions)."
        )
    columns = None
    if hasattr(expert_predictions, "columns"):  # pandas, polars
        columns = [str(c) for c in expert_predictions.columns]
        if len(set(columns)) < len(columns):
            raise ValueError(
                f"expert_predictions has duplicate columns {columns}; each expert needs a "
                "name of its own. Rename the columns."
            )
        if names is not None and not (columns and set(columns) <= set(names)):
            raise ValueError(
                f"The columns of expert_predictions are {columns}, but the experts are "
                f"{list(names)}. Rename the columns, or pass an array in the order of the experts."
            )
    if isinstance(expert_predictions, np.ma.MaskedArray):
        answers = expert_predictions.data.astype(object)
        answers[np.ma.getmaskarray(expert_predictions)] = None
    elif hasattr(expert_predictions, "to_numpy"):
        answers = expert_predictions.to_numpy()
    else:
        try:
            answers = _as_objects(expert_predictions)
        except ValueError as error:
            raise ValueError(
                "expert_predictions has rows of different lengths; expected (n_rows,) for one "
                "expert or (n_rows, n_experts) for several. Put None where there is no answer."
            ) from error
    if columns is not None and names is not None:
        if len(columns) < len(names):
            blank = np.full((len(answers), 1), None, dtype=object)
            answers = np.hstack([answers.astype(object), blank])
        there = {name: j for j, name in enumerate(columns)}  # who isn't there is blank, at the end
        answers = answers[:, [there.get(name, -1) for name in names]]
        columns = list(names)
    if answers.ndim == 1:
        answers = answers.reshape(-1, 1)
        name = getattr(expert_predictions, "name", None)  # a Series
        columns = [str(name)] if name not in (None, "") else None
    if answers.ndim != 2:
        raise ValueError(
            f"expert_predictions has shape {answers.shape}; expected (n_rows,) for one expert "
            "or (n_rows, n_experts) for several."
        )
    if answers.shape[0] != n_rows:
        hint = (
            " It looks transposed: rows come first, experts second; pass its transpose."
            if answers.shape[1] == n_rows
            else " Pass one answer per row of X, None or NaN where there is none."
        )
        raise ValueError(
            f"expert_predictions has {answers.shape[0]} rows, but X has {n_rows}.{hint}"
        )
    if names is not None and answers.shape[1] != len(names):
        raise ValueError(
            f"expert_predictions has {answers.shape[1]} columns, but there are {len(names)} "
            f"experts: {list(names)}. Pass one column per expert, in this order, all None for one "
            "without a record; or a DataFrame with the columns of those who have one."
        )
    if answers.shape[1] == 0:
        raise ValueError("expert_predictions has no column. Pass one column per expert.")
    return answers, columns


def _as_objects(values: Any) -> np.ndarray:
    """Make an array; a list that mixes texts with NaN or numbers keeps its objects."""
    if isinstance(values, np.ndarray):
        return values
    array = np.asarray(values)
    return np.asarray(values, dtype=object) if array.dtype.kind in "US" else array


def encode_answers(answers: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Turn labels into positions in ``classes``.

    Parameters
    ----------
    answers : ndarray of any shape
        Labels; integral floats equal to a class are that class.
    classes : ndarray of shape (n_classes,), sorted
        The labels known.

    Returns
    -------
    codes : ndarray of int, of the shape of ``answers``
        Position in ``classes``, ``MISSING`` (-1) or ``OUT_OF_LABELS`` (-2).
    """
    answers = np.asarray(answers)
    if answers.dtype.kind in "biuf" and classes.dtype.kind in "biuf":
        position = np.searchsorted(classes, np.nan_to_num(answers))
        position = np.minimum(position, len(classes) - 1)
        codes = np.where(classes[position] == answers, position, OUT_OF_LABELS)
        if answers.dtype.kind == "f":
            codes[np.isnan(answers)] = MISSING
        return codes
    table = {label: code for code, label in enumerate(classes.tolist())}
    missing = is_missing(answers).ravel()
    codes = np.full(answers.size, MISSING, dtype=np.intp)
    for i, label in enumerate(answers.ravel().tolist()):
        if not missing[i]:
            try:
                codes[i] = table.get(label, OUT_OF_LABELS)
            except TypeError:  # a list or a dict where a label belongs
                codes[i] = OUT_OF_LABELS
    return codes.reshape(answers.shape)


def decode_answers(codes: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Turn positions in ``classes`` into an object array of labels, ``None`` where negative."""
    answers = np.full(codes.shape, None, dtype=object)
    known = codes >= 0
    answers[known] = classes[codes[known]]
    return answers


def check_weights(sample_weight: Any, n_rows: int) -> np.ndarray:
    """Bring sample weights to a float array of shape (n_rows,); ones if None.

    Parameters
    ----------
    sample_weight : array-like of shape (n_rows,) or None
        Weight of each row.
    n_rows : int
        The number of rows.

    Returns
    -------
    weights : ndarray of shape (n_rows,)
        Finite and not negative.

    Raises
    ------
    ValueError
        For a wrong length, a negative weight or one that is not finite.
    """
    if sample_weight is None:
        return np.ones(n_rows)
    weights = np.asarray(sample_weight, dtype=float)
    if weights.shape != (n_rows,):
        raise ValueError(
            f"sample_weight has shape {weights.shape}; expected ({n_rows},), a weight per row."
        )
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(
            "sample_weight has negative values, NaN or infinity; expected finite weights >= 0. "
            "Remove those rows, or give them the weight 0."
        )
    return weights


def check_target(y: Any, n_rows: int) -> np.ndarray:
    """Bring the truth to an array of class labels of shape (n_rows,), none missing.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
        The labels.
    n_rows : int
        The number of rows that they must match.

    Returns
    -------
    y : ndarray of shape (n_rows,)
        The labels.

    Raises
    ------
    ValueError
        For a wrong length, missing labels, or a continuous target.
    """
    if y is None:
        raise ValueError("fit requires y to be passed, but the target y is None.")
    y = column_or_1d(y, warn=True)
    if len(y) != n_rows:
        raise ValueError(f"y has {len(y)} labels, but X has {n_rows} rows; pass one label per row.")
    missing = is_missing(y)
    if missing.any():
        raise ValueError(
            f"y is missing (NaN or None) on {int(missing.sum())} of {n_rows} rows; expected a "
            "label on each. Leave those rows out."
        )
    check_classification_targets(y)
    return y
