"""People with a work list: rows go on it now, and their answers are imported later."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from skdefer.calling._store import AnswerStore
from skdefer.exceptions import CapacityWarning, CaseImportWarning
from skdefer.experts._base import Expert
from skdefer.experts._options import Options
from skdefer.experts._queue._answers import Given, ImportSummary, rule
from skdefer.experts._queue._cases import Case, CaseTable, read_rows, read_whys
from skdefer.experts._queue._label_studio import read_tasks, write_config, write_tasks
from skdefer.experts._queue._sheets import read_sheet, write_sheet

if TYPE_CHECKING:
    import pandas as pd

_FATE = (
    "They are left out, except the newest of different ones where all have times. The summary has "
    "them all; to correct an answer, import it with replace=True."
)


class QueueExpert(Expert):
    """People with a work list: what they are asked today they answer tomorrow.

    A row that is handed over is put on a list of cases and has no answer yet, so
    ``on_missing="model"`` lets the model answer meanwhile. The list is exported, people fill it in,
    and their answers are imported; from then on ``predict`` has them. A row that is on the list,
    answered or not, is never put there again: rows with the same content are one case.

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
        differ in them alone are one case. Columns of an array are ``x0``, ``x1``, ...; None: all.
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
    def _table(self) -> CaseTable:
        return CaseTable(self.store, str(self.name), self.version or "")

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
        """
        keys, contents = read_rows(X, self.columns)
        known = self._table.answers(keys)
        first = {key: i for i, key in reversed([*enumerate(keys)]) if key not in known}
        if first:
            whys, gain = read_whys(explanation, len(keys), str(self.name))
            order = sorted(first.values(), key=lambda i: (-gain[i], i))
            n_left = self._table.add(
                [keys[i] for i in order],
                [contents[i] for i in order],
                [whys[i] for i in order],
                capacity=self.capacity,
                labels=None if self._options is None else self._options.labels,
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
        keys, _ = read_rows(X, self.columns)
        known = self._table.answers(keys)
        return np.fromiter(map(known.get, keys), dtype=object, count=len(keys))

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
        import pandas as pd

        columns = [
            *("case", "state", "deferred", "answered", "answer", "answered_by", "seconds"),
            *("route", "reason", "model_answer", "model_confidence"),
        ]
        history = pd.DataFrame(self._table.history(), columns=columns, dtype=object)
        table = history.set_index("case")
        for time in ("deferred", "answered"):
            table[time] = pd.to_datetime(table[time], utc=True, format="ISO8601")
        for number in ("seconds", "model_confidence"):
            table[number] = table[number].astype(float)
        table.insert(3, "waited", table["answered"] - table["deferred"])
        return table

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

    # -- to people, and back ----------------------------------------------------------------

    def export_csv(self, path: str | Path, *, only_open: bool = True) -> int:
        """Write the list to a file that spreadsheet programs open.

        The columns are ``case``, those of the row (``X.answer`` and so on where they share a name
        with one of the others), ``route``, ``reason``, ``model_answer`` and ``model_confidence``
        with ``show_model_answer``, and ``answer``, to be filled in. A text that a program might run
        as a formula gets an apostrophe in front.

        Parameters
        ----------
        path : str or path-like
            A new file.
        only_open : bool, default=True
            Whether to leave out cases that have an answer.

        Returns
        -------
        n_cases : int
            How many were written.

        Raises
        ------
        FileExistsError
            If there is such a file: it may hold answers that nobody has imported yet.
        """
        return self._export(write_sheet, path, only_open)

    def export_label_studio(self, path: str | Path, *, only_open: bool = True) -> int:
        """Write the list as tasks to import into a Label Studio project.

        Set the project up with :meth:`label_studio_config`. A task has the data ``case``, ``text``
        (the row, a line per column), ``reason`` and ``route``; with ``show_model_answer`` also the
        model's answer as a prediction.

        Parameters
        ----------
        path : str or path-like
            A new file.
        only_open : bool, default=True
            As in :meth:`export_csv`.

        Returns
        -------
        n_cases : int
            How many were written.

        Raises
        ------
        FileExistsError
            If there is such a file.
        """
        return self._export(write_tasks, path, only_open)

    def _export(self, write: Callable[..., None], path: str | Path, only_open: bool) -> int:
        cases: list[Case] = self._table.listed(only_open=only_open)
        try:
            write(cases, Path(path).expanduser(), show_model_answer=self.show_model_answer)
        except FileExistsError as error:
            raise FileExistsError(
                f"{path} is there already, and may hold answers. Import and remove it, or pass "
                "another name."
            ) from error
        return len(cases)

    def label_studio_config(self) -> str:
        """Write the labelling interface of a Label Studio project: the row, and the classes.

        Returns
        -------
        config : str
            XML, to be pasted into the settings of the project.

        Raises
        ------
        ValueError
            If the classes are not known yet.
        """
        return write_config(self._known_options().texts)

    def import_csv(self, path: str | Path, *, replace: bool = False) -> ImportSummary:
        """Take over the answers from a filled-in :meth:`export_csv`.

        A spreadsheet program may have changed the encoding (UTF-8 or UTF-16), the separator
        (comma, semicolon or tab) and the other columns. Answers are read with some tolerance: case,
        outer spaces and quotes don't count, and ``1.0`` is the class 1.

        Parameters
        ----------
        path : str or path-like
            With the columns ``case`` and ``answer``.
        replace : bool, default=False
            Whether another answer takes the place of the one that a case has already.

        Returns
        -------
        summary : ImportSummary
            What was imported, and what was not, and why; the latter is also told in one warning.

        Raises
        ------
        ValueError
            If the file is something else; nothing is imported then.
        """
        return self._import(read_sheet(Path(path).expanduser()), replace)

    def import_label_studio(self, path: str | Path, *, replace: bool = False) -> ImportSummary:
        """Take over the answers from what Label Studio exports, as JSON or JSON-MIN.

        Of several annotations of a task the newest stands. Skipped tasks stay open.

        Parameters
        ----------
        path : str or path-like
            The exported file.
        replace : bool, default=False
            As in :meth:`import_csv`.

        Returns
        -------
        summary : ImportSummary
            As in :meth:`import_csv`.

        Raises
        ------
        ValueError
            If the file is something else; nothing is imported then.
        """
        return self._import(read_tasks(Path(path).expanduser()), replace)

    def import_answers(self, answers: Any, *, replace: bool = False) -> ImportSummary:
        """Take over answers from memory.

        Parameters
        ----------
        answers : mapping, Series or DataFrame
            Case -> answer; a Series is indexed by case; a frame has a column ``answer`` and is
            indexed by case, or has a column ``case``.
        replace : bool, default=False
            As in :meth:`import_csv`.

        Returns
        -------
        summary : ImportSummary
            As in :meth:`import_csv`.

        Raises
        ------
        TypeError
            For anything else.
        """
        if hasattr(answers, "columns") and "answer" in answers.columns:
            table = answers.set_index("case") if "case" in answers.columns else answers
            answers = table["answer"]
        if not isinstance(answers, Mapping) and not hasattr(answers, "items"):
            raise TypeError(
                f"answers is a {type(answers).__name__}; expected a mapping of cases to answers, a "
                "Series indexed by case, or a DataFrame with the columns 'case' and 'answer'."
            )
        return self._import([Given(str(case), answer) for case, answer in answers.items()], replace)

    def _import(self, given: list[Given], replace: bool) -> ImportSummary:
        options = self._known_options()
        summary = self._table.record(rule(given, options), replace=replace)
        if summary.complaint:
            self._warn(f"{len(given)} answers came, {summary.complaint}. {_FATE}")
        return summary

    def _warn(self, message: str) -> None:
        warnings.warn(f"The list of {self.name!r}: {message}", CaseImportWarning, stacklevel=4)

    def _known_options(self) -> Options:
        if self._options is not None:
            return self._options
        labels = self._table.labels()
        if labels is None:
            raise ValueError(
                f"The classes that {self.name!r} chooses among are not known: no fitted estimator "
                "has handed it a row yet. Pass QueueExpert(..., classes=...)."
            )
        return Options(labels)
