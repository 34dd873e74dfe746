"""Experts whose answers are on record and travel with the rows, or are looked up."""

from __future__ import annotations

from typing import Any

import numpy as np

from skdefer.exceptions import ExpertAnswerError
from skdefer.experts._base import Expert
from skdefer.utils._rows import count_rows, row_keys
from skdefer.utils._validation import check_answers, is_missing


class ColumnExpert(Expert):
    """Answers that stand in a column of X, and so travel with the rows through every split.

    Only this expert sees the column: the estimator, the rejector, the cost and the other
    experts get X without it. This is the way to use recorded answers in
    ``cross_validate`` and ``GridSearchCV`` with any scorer.

    Parameters
    ----------
    column : str
        Name of the column of a DataFrame (pandas or polars) that holds the answers.
    name : str, default=None
        Name of the expert; the column's if None.
    version, cost, capacity, max_queries
        As in :class:`Expert`.

    Examples
    --------
    >>> import pandas as pd
    >>> from skdefer.experts import ColumnExpert
    >>> X = pd.DataFrame({"age": [61, 45], "radiologist": ["ill", None]})
    >>> ColumnExpert("radiologist").answers(X)
    array(['ill', None], dtype=object)
    """

    recorded = True

    def __init__(self, column: str, *, name: str | None = None, **kwargs: Any):
        if not isinstance(column, str):
            raise TypeError(
                f"column is {column!r}; expected the name of a column, a string. For answers in "
                "an array pass expert_predictions= or use IndexExpert."
            )
        super().__init__(name=name or column, **kwargs)
        self.column = column

    def answers(self, X: Any, explanation: Any = None) -> np.ndarray:
        """Read the column; see :meth:`Expert.answers`.

        Raises
        ------
        ExpertAnswerError
            If X is no DataFrame or lacks the column.
        """
        if not hasattr(X, "columns"):
            raise ExpertAnswerError(
                f"Expert {self.name!r} reads the column {self.column!r}, but X is a "
                f"{type(X).__name__} without column names. Pass a DataFrame, or hand the answers "
                "over as expert_predictions=."
            )
        if self.column not in X.columns:
            raise ExpertAnswerError(
                f"Expert {self.name!r} reads the column {self.column!r}, which X lacks; its "
                f"columns are {[str(c) for c in X.columns]}. Add the column (None where there is "
                "no answer), or check its name."
            )
        answers = X[self.column].to_numpy().astype(object)
        answers[is_missing(answers)] = None
        return answers


class IndexExpert(Expert):
    """Answers on record, looked up by the index of a DataFrame or by the content of the row.

    Parameters
    ----------
    record : Series or DataFrame with one column
        The answers, by row. Its index is looked up where ``by="index"``.
    X : the rows of the record, default=None
        Their content is looked up where ``by="content"``; any container. Identical rows
        must have identical answers.
    by : {"index", "content"}, default=None
        How rows are found; "content" if X is given, "index" otherwise.
    name, version, cost, capacity, max_queries
        As in :class:`Expert`.

    Raises
    ------
    ValueError
        If the record is ambiguous: an index twice, or identical rows with different answers.

    Examples
    --------
    >>> import pandas as pd
    >>> from skdefer.experts import IndexExpert
    >>> record = pd.Series(["ill", "well"], index=["case 7", "case 9"], name="dr. b")
    >>> expert = IndexExpert(record)
    >>> expert.answers(pd.DataFrame({"age": [70, 33]}, index=["case 9", "case 8"]))
    array(['well', None], dtype=object)
    """

    recorded = True

    def __init__(self, record: Any, X: Any = None, *, by: str | None = None, **kwargs: Any):
        by = by or ("index" if X is None else "content")
        if by not in ("index", "content"):
            raise ValueError(f"by is {by!r}; expected 'index' or 'content'.")
        if by == "content" and X is None:
            raise ValueError("by='content' needs X, the rows of the record. Pass X=.")
        if by == "index" and not hasattr(record, "iloc"):  # a list has an .index too
            raise ValueError(
                f"record is a {type(record).__name__} without an index. Pass a pandas Series, or "
                "X= to look rows up by content."
            )
        answers, columns = check_answers(record, count_rows(record if X is None else X))
        if answers.shape[1] != 1:
            raise ValueError(
                f"record has {answers.shape[1]} columns; expected one. Make one IndexExpert "
                "per expert."
            )
        kwargs["name"] = kwargs.get("name") or (columns[0] if columns else None)
        super().__init__(**kwargs)
        self.by = by
        keys = record.index.tolist() if by == "index" else row_keys(X).tolist()
        column = answers[:, 0].astype(object)
        column[is_missing(column)] = None
        self.table_: dict[Any, Any] = {}
        for key, answer in zip(keys, column.tolist(), strict=True):
            if key in self.table_ and (by == "index" or self.table_[key] != answer):
                what = f"index {key!r}" if by == "index" else "content of a row"
                raise ValueError(
                    f"The {what} stands in the record more than once with answers that may "
                    "differ. Make the record unambiguous before it becomes an expert."
                )
            self.table_[key] = answer

    def answers(self, X: Any, explanation: Any = None) -> np.ndarray:
        """Look the rows up; see :meth:`Expert.answers`.

        Raises
        ------
        ExpertAnswerError
            If rows are looked up by index and X has none.
        """
        if self.by == "content":
            keys = row_keys(X).tolist()
        elif hasattr(X, "iloc"):
            keys = X.index.tolist()
        else:
            raise ExpertAnswerError(
                f"Expert {self.name!r} looks rows up by their index, but X is a "
                f"{type(X).__name__} without one. Pass a pandas DataFrame, or build the expert "
                "with X= to look rows up by content."
            )
        answers = np.empty(len(keys), dtype=object)
        answers[:] = [self.table_.get(key) for key in keys]
        return answers
