"""A list of cases that goes out to people, and comes back."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from skdefer.calling._store import AnswerStore
from skdefer.exceptions import CaseImportWarning
from skdefer.experts._base import Expert
from skdefer.experts._options import Options
from skdefer.experts._queue._answers import Given, ImportSummary, rule
from skdefer.experts._queue._cases import Case, CaseTable
from skdefer.experts._queue._label_studio import read_tasks, write_config, write_tasks
from skdefer.experts._queue._sheets import read_sheet, write_sheet


class ExchangedList(Expert):
    """The doors of a list: exports, imports, and which answers there are."""

    store: AnswerStore
    show_model_answer: bool
    _options: Options | None

    @property
    def _table(self) -> CaseTable:
        return CaseTable(self.store, str(self.name), self.version or "")

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
        given = read_sheet(Path(path).expanduser())
        return self._import(given, replace, note="Nothing is filled in.")

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
        given, note = read_tasks(Path(path).expanduser())
        return self._import(given, replace, note or "Nothing is annotated.", always=bool(note))

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

    def _import(
        self, given: list[Given], replace: bool, note: str = "", *, always: bool = False
    ) -> ImportSummary:
        """Record answers; the note is for an import without any, unless ``always``."""
        ruling = rule(given, self._known_options())
        summary = self._table.record(ruling, replace=replace)
        note = note if always or not ruling.n_answers else ""
        if summary.complaint or note:
            what = f"; {summary.complaint} (the summary has all)" if summary.complaint else ""
            n_blank = len(given) - ruling.n_answers
            self._warn(f"{ruling.n_answers} answers came, {n_blank} blanks{what}. {note}".strip())
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
