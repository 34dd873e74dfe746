"""People with a work list: rows go on it now, and their answers are imported later."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from skdefer.calling._store import AnswerStore
from skdefer.exceptions import CapacityWarning, CaseColumnsWarning, FailedCallsWarning
from skdefer.experts._options import Options
from skdefer.experts._paid._prompt import is_blank
from skdefer.experts._queue._exchange import ExchangedList
from skdefer.experts._queue._rows import Rows, read_rows, read_whys, take_columns

if TYPE_CHECKING:
    import pandas as pd


class QueueExpert(ExchangedList):
    """People with a work list: what they are asked today they answer tomorrow.

    A row that is handed over is put on a list of cases and has no answer yet, so
    ``on_missing="model"`` lets the model answer meanwhile. The list is exported, people fill it in,
    and their answers are imported; from then on ``predict`` has them. A row that is on the list,
    answered or not, is never put there again: rows with the same content are one case, whatever
    the order of their columns. Rows without any content (blank, or missing in all columns) are not
    put there, with one :class:`~skdefer.exceptions.FailedCallsWarning`.

    Whatever asks an expert puts rows on the list: ``predict``, ``score``, ``ask_experts``, and
    ``fit`` where there is no record, within ``max_queries``. :meth:`look_up` only reads.

    What people have to see is stored as it is, and so is in every export: the columns of X, or the
    text. ``columns`` limits it. The file holds personal data if X does.

    Parameters
    ----------
    store : str, path-like or AnswerStore
        The file that holds the list, beside the answers of other experts if there are any.
        Processes may share it.
    name : str, default="people"
        Of the expert, and of the list within the file.
    version : str, default=None
        Another version begins a list of its own, and asks about every row again.
    cost : float, default=0.0
        Price of one answer, in the unit of ``error_cost``.
    capacity : int, default=None
        The most cases that may be open at a time. What finds no room is not put on the list, with
        one :class:`~skdefer.exceptions.CapacityWarning`; rows of the largest gain go first. None:
        no limit.
    max_queries : int, default=None
        The most rows that ``fit`` may put on the list, for an expert without a record.
    columns : sequence of str, default=None
        The columns of X that people see; others are neither stored nor exported, and rows that
        differ in them alone are one case. Columns of an array are ``x0``, ``x1``, ...; None: all
        of the first frame. A later frame that has more is read without them, one that lacks some
        makes every row a new case, both with a :class:`~skdefer.exceptions.CaseColumnsWarning`.
    classes : sequence of labels, default=None
        The possible answers; None: those of the estimator that hands rows over.
    show_model_answer : bool, default=False
        Whether exports show what the model would answer. People tend to follow it.

    Examples
    --------
    >>> from skdefer.calling import AnswerStore
    >>> from skdefer.experts import QueueExpert
    >>> desk = QueueExpert(AnswerStore(), name="desk", classes=["ill", "well"])
    >>> desk.answers(["Cough and fever", "A routine check"]).tolist()
    [None, None]
    >>> first, second = desk.cases().index
    >>> desk.import_answers({first: "ill", second: "Well"}).n_imported
    2
    >>> desk.answers(["A routine check", "A third text"]).tolist()
    ['well', None]
    >>> desk.cases()["state"].tolist()
    ['answered', 'answered', 'open']
    """

    keeps_answers = True
    reads_explanation = True
    holds_capacity = True
    paid = True
    limits = ("max_queries",)

    def __init__(
        self,
        store: str | Path | AnswerStore,
        *,
        name: str = "people",
        version: str | None = None,
        cost: float = 0.0,
        capacity: int | None = None,
        max_queries: int | None = None,
        columns: Sequence[str] | None = None,
        classes: Sequence[Any] | None = None,
        show_model_answer: bool = False,
    ):
        super().__init__(
            name=name, version=version, cost=cost, capacity=capacity, max_queries=max_queries
        )
        if not name:
            raise ValueError(
                f"name is {name!r}; expected a name, by which the list is found again."
            )
        if isinstance(columns, str):
            raise TypeError(f"columns is {columns!r}; expected a list of names, as [{columns!r}].")
        self.store = store if isinstance(store, AnswerStore) else AnswerStore(store)
        self.columns = columns
        self.classes = classes
        self.show_model_answer = show_model_answer
        self._options = None if classes is None else Options(classes)

    def for_classes(self, classes: np.ndarray) -> QueueExpert:
        """Give a copy with the same list that knows the classes; see :meth:`Expert.for_classes`."""
        bound = copy.copy(self)
        bound._options = Options(classes)
        return bound

    @property
    def why_silent(self) -> str:
        """What to do where ``fit`` had no answer; see :meth:`Expert.why_silent`."""
        n_open = self._table.count().get("open", 0)
        if not n_open:
            return f"The list of {self.name!r} has no answer to these rows, and no open case."
        return (
            f"The list of {self.name!r} has {n_open} open cases: have them answered, import the "
            "answers and fit again."
        )

    def check_rows(self, X: Any) -> None:
        """Refuse rows that lack one of ``columns``; see :meth:`Expert.check_rows`."""
        take_columns(X, self.columns)

    # -- the list -------------------------------------------------------------------------

    def answers(self, X: Any, explanation: Any = None) -> np.ndarray:
        """Give the answers that were imported, and put the other rows on the list.

        Parameters
        ----------
        X : the rows
            Frame, array, sparse matrix, or texts in a list, a Series or an array.
        explanation : DataFrame of length n_rows, default=None
            Of ``explain_defer``: the reason is shown to people, and the gain says which rows go
            first where there is not room for all.

        Returns
        -------
        answers : ndarray of shape (n_rows,), dtype object
            Labels, None where there is none yet.

        Raises
        ------
        ValueError
            If X lacks one of ``columns``, or a text is missing (None, NaN).
        """
        rows, known = self._find(X)
        keys, contents = rows.keys, rows.contents
        new = [i for i, key in enumerate(keys) if key not in known]
        blank = {i for i in new if is_blank(contents[i])}
        if blank:
            warnings.warn(
                f"{len(blank)} of {len(keys)} rows have no content (blank or missing), so they "
                f"were not put on the list of {self.name!r} and have no answer.",
                FailedCallsWarning,
                stacklevel=2,
            )
        first = {keys[i]: i for i in reversed(new) if i not in blank}
        if first:
            whys, gain = read_whys(explanation, len(keys), str(self.name))
            order = sorted(first.values(), key=lambda i: (-gain[i], i))
            n_left = self._table.add(
                [keys[i] for i in order],
                [contents[i] for i in order],
                [whys[i] for i in order],
                capacity=self.capacity,
                labels=None if self._options is None else self._options.labels,
                layout=rows.layout,
            )
            if n_left:
                warnings.warn(
                    f"The list of {self.name!r} has its {self.capacity} open cases (capacity), so "
                    f"{n_left} of {len(order)} new rows were not put on it and have no answer. "
                    "Import answers, withdraw cases, or raise capacity.",
                    CapacityWarning,
                    stacklevel=2,
                )
        return np.fromiter(map(known.get, keys), dtype=object, count=len(keys))

    def look_up(self, X: Any) -> np.ndarray:
        """Give the answers that were imported, and put nothing on the list.

        Parameters
        ----------
        X : the rows
            As in :meth:`answers`.

        Returns
        -------
        answers : ndarray of shape (n_rows,), dtype object
            Labels, None where there is none: ``expert_predictions`` for a new ``fit``.
        """
        rows, known = self._find(X)
        return np.fromiter(map(known.get, rows.keys), dtype=object, count=len(rows.keys))

    def _find(self, X: Any) -> tuple[Rows, dict[bytes, Any]]:
        """Read rows, and what is known of those that are on the list."""
        rows = read_rows(X, self.columns, self._table.layouts())
        if rows.note:
            message = f"The list of {self.name!r}: {rows.note}"
            warnings.warn(message, CaseColumnsWarning, stacklevel=3)
        return rows, self._table.answers(rows.keys)

    def cases(self) -> pd.DataFrame:
        """Tell what became of each case, without what was in it.

        Returns
        -------
        cases : DataFrame of length n_cases, indexed by case
            ``state`` (open, answered or withdrawn), ``deferred`` and ``answered`` (times in
            UTC), ``waited`` (from the one to the other), ``answer``, ``answered_by`` and
            ``seconds`` (where Label Studio told who took how long), ``route``, ``reason``,
            ``model_answer``, ``model_confidence``. In the order in which they came.
        """
        return self._table.history()

    def withdraw(self, cases: Iterable[str]) -> int:
        """Take open cases off the list, and delete their content from it.

        Their rows stay without an answer and are not put on the list again. An answer that comes
        all the same counts.

        Parameters
        ----------
        cases : iterable of str
            Names of cases. Those that are answered or withdrawn already are left as they are.

        Returns
        -------
        n_withdrawn : int
            How many were open.
        """
        names = [cases] if isinstance(cases, str) else list(cases)
        n_withdrawn, unknown = self._table.withdraw(names)
        if unknown:
            self._warn(f"{len(unknown)} unknown cases were left out, such as {unknown[:3]}.")
        return n_withdrawn
