"""Labels of one kind: a file keeps the same label as 1, 1.0 or "1", by column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas


def harmonised(target: pandas.Series, answers: pandas.DataFrame) -> tuple[Any, pandas.DataFrame]:
    """Bring target and answers to numbers if all are, else all to strings.

    Parameters
    ----------
    target : Series of shape (n_rows,)
        The truth, none missing.
    answers : DataFrame of shape (n_rows, n_experts)
        The experts' answers; missing ones as pandas reads them.

    Returns
    -------
    labels : ndarray of shape (n_rows,)
        The truth.
    answers : DataFrame of object
        None where there is no answer.
    """
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    columns = [target, *(answers[name] for name in answers)]
    numbers = all(is_numeric_dtype(c) and not is_bool_dtype(c) for c in columns)
    as_label = float if numbers else as_text
    found = answers.astype(object)
    for name in found:
        found[name] = found[name].map(as_label, na_action="ignore").astype(object)
    labels = target.astype(object).map(as_label).to_numpy()
    if numbers:
        labels = labels.astype(float)
        if (labels == np.rint(labels)).all():
            labels = labels.astype(np.int64)
    else:
        labels = labels.astype(str)
    return labels, found.where(found.notna(), None)


def as_text(label: Any) -> str:
    """Write a label without the ".0" and the spaces that files add.

    Parameters
    ----------
    label : object
        Not missing.

    Returns
    -------
    text : str
        ``"1"`` for 1, 1.0, "1" and " 1".
    """
    if isinstance(label, (float, np.floating)) and float(label).is_integer():
        label = int(label)
    return str(label).strip()
