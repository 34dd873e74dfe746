"""What a classifier of texts is to learn: labels, or a distribution over the classes per row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skdefer.utils._validation import check_target, encode_answers

_ROUNDED = 1e-3  # by how much rounded probabilities may miss a sum of 1


@dataclass
class Target:
    """Targets of n rows, K classes."""

    classes: np.ndarray  # (K,), sorted
    values: np.ndarray  # int (n,), positions in classes, or float (n, K), probabilities

    def proba(self) -> np.ndarray:
        """Give probabilities of the classes, shape (n_rows, n_classes)."""
        if self.values.ndim == 2:
            return self.values
        return np.eye(len(self.classes))[self.values]

    def likeliest(self) -> np.ndarray:
        """Give positions of the likeliest classes, shape (n_rows,)."""
        return self.values if self.values.ndim == 1 else self.values.argmax(axis=1)


def read_target(y: Any, n_rows: int, classes: Any) -> Target:
    """Read labels of shape (n_rows,), or probabilities of shape (n_rows, n_classes).

    Parameters
    ----------
    y : array-like or DataFrame
        The columns of a DataFrame are the classes.
    n_rows : int
        The number of rows that it must match.
    classes : array-like of shape (n_classes,) or None
        The classes; those of the columns where ``y`` is an array of probabilities.

    Returns
    -------
    target : Target

    Raises
    ------
    ValueError
        For labels that are missing or unknown, numbers that are no probabilities, columns
        without classes, or fewer than two classes.
    """
    shape = np.shape(y)
    if len(shape) != 2 or shape[1] == 1:
        if _is_continuous(y):
            raise ValueError(
                "Unknown label type: continuous. y has one column of numbers that are no labels. "
                "If they are probabilities of the second of two classes, pass a column per class: "
                "np.column_stack([1 - y, y]), with classes=[first, second]."
            )
        return _read_labels(check_target(y, n_rows), classes)
    if hasattr(y, "columns"):
        columns = list(y.columns)
        if classes is not None and set(classes) != set(columns):
            raise ValueError(
                f"The columns of y are {columns}, but classes={list(classes)}. Rename the columns, "
                "or leave classes out."
            )
        classes = columns
    if classes is None:
        raise ValueError(
            f"y is an array of shape {shape}, a probability per class, but nothing says which "
            "class each column is for. Pass classes=, a label per column, or a DataFrame whose "
            "columns are the classes."
        )
    known, order = _sort_classes(classes)
    if shape != (n_rows, len(known)):
        raise ValueError(
            f"y has shape {shape}; expected ({n_rows}, {len(known)}), a row per row of X and a "
            f"probability for each of the classes {known.tolist()}."
        )
    return Target(known, _check_proba(y)[:, order])


def _is_continuous(y: Any) -> bool:
    numbers = np.asarray(y)
    return numbers.dtype.kind == "f" and bool((numbers[np.isfinite(numbers)] % 1).any())


def _read_labels(y: np.ndarray, classes: Any) -> Target:
    known, _ = _sort_classes(np.unique(y) if classes is None else classes)
    codes = encode_answers(y, known).astype(np.int64)
    if (codes < 0).any():
        raise ValueError(
            f"y has the labels {np.unique(y[codes < 0]).tolist()[:5]}, which are not among "
            f"classes={known.tolist()}. Add them, or leave those rows out."
        )
    return Target(known, codes)


def _sort_classes(classes: Any) -> tuple[np.ndarray, np.ndarray]:
    """Sort the classes; says where each was, too."""
    labels = np.asarray(list(classes))
    known = np.unique(labels)
    if len(known) < len(labels):
        raise ValueError(f"The classes {labels.tolist()} are not all different; name each once.")
    if len(known) < 2:
        raise ValueError(
            f"y has one class only, {known.tolist()}; expected at least two, or there is nothing "
            "to tell apart."
        )
    return known, np.argsort(labels)


def _check_proba(y: Any) -> np.ndarray:
    """Bring rows of probabilities to sums of exactly 1; an error for other numbers."""
    try:
        proba = np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"y has shape {np.shape(y)}, but its entries are not all numbers; expected the "
            "probability of each class, or one column of labels."
        ) from error
    total = proba.sum(axis=1)
    wrong = ~(proba >= 0).all(axis=1) | ~(np.abs(total - 1) <= _ROUNDED)  # NaN, too
    if wrong.any():
        first = int(wrong.argmax())
        raise ValueError(
            f"{int(wrong.sum())} of {len(proba)} rows of y are no probabilities, the first in row "
            f"{first}: {proba[first].tolist()}; expected numbers >= 0 whose sum is 1. Divide "
            "counts by their sums."
        )
    return proba / total[:, None]


def check_two_classes(target: Target, rows: np.ndarray) -> None:
    """Refuse rows that count, none of which has another class than the rest."""
    there = target.classes[target.proba()[rows].sum(axis=0) > 0]
    if len(there) < 2:
        raise ValueError(
            f"y has one class only, {there.tolist()}, in the {len(rows)} rows of weight > 0; "
            f"expected at least two of {target.classes.tolist()}, or there is nothing to tell "
            "apart."
        )


def class_weights(class_weight: Any, target: Target, rows: np.ndarray) -> np.ndarray:
    """Find the weight of each class in the loss, shape (n_classes,)."""
    if class_weight is None:
        return np.ones(len(target.classes))
    if isinstance(class_weight, str):  # "balanced", as in scikit-learn
        n_of = target.proba()[rows].sum(axis=0)
        return np.where(n_of > 0, len(rows) / (len(n_of) * np.maximum(n_of, 1e-12)), 0.0)
    unknown = set(class_weight) - set(target.classes.tolist())
    if unknown:
        raise ValueError(
            f"class_weight has {sorted(unknown, key=str)}, which are no classes; expected some of "
            f"{target.classes.tolist()}."
        )
    return np.array([float(class_weight.get(label, 1.0)) for label in target.classes.tolist()])
