"""The record that ``fit`` learns from: answers at hand, and those it has to buy."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from skdefer.calling._store import AnswerStore
from skdefer.exceptions import (
    BudgetExhaustedError,
    ExpertAnswerError,
    ExpertStoppedWarning,
    SilentExpertWarning,
)
from skdefer.experts._asking import ask, with_partial
from skdefer.experts._base import Expert
from skdefer.experts._panel import encode_checked, make_panel, visible
from skdefer.utils._rows import check_rows, check_same_order, row_keys, take_rows
from skdefer.utils._validation import check_answers, is_missing

_LIMITS = {"max_queries": "the most rows", "max_cost": "the most it may ever cost"}


def read_record(
    experts: Any, X: Any, expert_predictions: Any, classes: np.ndarray
) -> tuple[dict[str, Expert], np.ndarray]:
    """Name the experts, and bring their answers on record to one column each.

    Parameters
    ----------
    experts : as the parameter of the estimator
    X : the rows as the user passed them
    expert_predictions : array-like of shape (n_rows,) or (n_rows, n_experts), or None
        Answers on record.
    classes : ndarray of shape (n_classes,)
        The classes.

    Returns
    -------
    panel : dict of str to Expert
        The experts by name.
    answers : ndarray of shape (n_rows, n_experts)
        Missing where there is none.

    Raises
    ------
    ValueError
        For answers that don't fit, and if a paid expert would be asked without any limit.
    """
    n_rows = check_rows(X)
    if expert_predictions is None:
        panel = make_panel(experts, None, 0, classes)
        answers = np.full((n_rows, len(panel)), None, dtype=object)
        check_rows_read(panel, X, answers)
        check_spending(panel)
        return panel, answers
    check_same_order(expert_predictions, X)
    answers, columns = check_answers(expert_predictions, n_rows)
    panel = make_panel(experts, columns, answers.shape[1], classes)
    answers = check_answers(expert_predictions, n_rows, names=list(panel))[0]
    encode_checked(answers, classes, list(panel), fate="count as wrong in fit")
    check_rows_read(panel, X, answers)
    check_spending(panel, answers)
    return panel, answers


def check_classes(y: np.ndarray) -> np.ndarray:
    """Find the classes of ``y``; two at the least."""
    classes = np.unique(y)
    if len(classes) < 2:
        raise ValueError(
            f"y has one class only, {classes.tolist()}; expected at least two. A model of one "
            "class has nothing to hand over."
        )
    return classes


def buy_answers(
    panel: dict[str, Expert],
    X: Any,
    answers: np.ndarray,
    classes: np.ndarray,
    covered: np.ndarray,
    *,
    store: AnswerStore | None,
    random_state: Any,
) -> np.ndarray:
    """Ask the experts that have no record; a record, however sparse, is never completed.

    Parameters
    ----------
    panel : dict of str to Expert
        The experts, in the order of the columns.
    X : the rows as the user passed them
        With the columns of column experts.
    answers : ndarray of shape (n_rows, n_experts)
        Answers on record.
    classes : ndarray of shape (n_classes,)
        The classes.
    covered : ndarray of bool of shape (n_rows,)
        Rows with an out-of-fold probability: others would be bought for nothing.
    store : AnswerStore or None
        Where answers are looked up and kept.
    random_state : int, RandomState instance or None
        Chooses the rows of an expert with ``max_queries``; with an int, the same ones in
        every fold and candidate.

    Returns
    -------
    answers : ndarray of shape (n_rows, n_experts)
        With what was bought.

    Raises
    ------
    ValueError
        If no expert answers or has a profile.
    ExpertAnswerError
        If an expert fails; it carries the answers at hand.

    Warns
    -----
    ExpertStoppedWarning
        If ``max_cost`` of an expert is reached; the rows that were not bought have no answer.
    """
    has_record = _has_record(answers)
    for j, (name, expert) in enumerate(panel.items()):
        if has_record[j] or not expert.can_answer:
            continue
        rows = np.flatnonzero(covered)
        if expert.max_queries is not None and expert.max_queries < len(rows):
            rows = np.sort(_shuffle_rows(X, rows, random_state)[: expert.max_queries])
        if expert.max_cost is not None:  # what is bought before the money ends is a fair sample
            rows = _shuffle_rows(X, rows, random_state)
        if not len(rows):
            continue
        try:
            bought = ask(name, expert, panel, X, rows, store=store)
        except ExpertAnswerError as error:
            bought = _bought_before(error)
            n_bought = int(np.logical_not(is_missing(bought)).sum())
            if not n_bought:
                error.answers = with_partial(answers, rows, j, error)
                raise
            warnings.warn(
                f"{error} {n_bought} of {len(rows)} rows were bought before: fit learns from "
                f"those, and the others have no answer of {name!r}.",
                ExpertStoppedWarning,
                stacklevel=3,
            )
        answers = answers.astype(object)
        answers[rows, j] = bought
        try:
            encode_checked(answers[:, [j]], classes, [name], fate="count as wrong in fit")
        except ValueError as error:  # paid for all the same
            raise ExpertAnswerError(str(error), answers) from error
    _check_silence(panel, answers[covered])
    return answers


def check_spending(panel: dict[str, Expert], answers: np.ndarray | None = None) -> None:
    """Refuse to ask experts who cost money about any number of rows, before anything is fitted."""
    recorded = np.zeros(len(panel), dtype=bool) if answers is None else _has_record(answers)
    for (name, expert), has_record in zip(panel.items(), recorded, strict=True):
        limited = any(getattr(expert, limit) is not None for limit in expert.limits)
        if expert.paid and expert.can_answer and not has_record and not limited:
            limits = ", or ".join(f"{limit}, {_LIMITS[limit]}" for limit in expert.limits)
            raise ValueError(
                f"The expert {name!r} costs money, has no record, and nothing limits how many rows "
                f"fit may ask it about. Set {limits}; or pass answers in expert_predictions=."
            )


def _has_record(answers: np.ndarray) -> np.ndarray:
    """Whether each expert has any answer; shape (n_experts,)."""
    return np.logical_not(is_missing(answers)).any(axis=0)


@contextmanager
def of_all_rows(rows: np.ndarray, n_rows: int) -> Iterator[None]:
    """Bring the answers that an error carries from ``rows``, those in work, to all ``n_rows``."""
    try:
        yield
    except ExpertAnswerError as error:
        if error.answers is not None:
            whole = np.full((n_rows, error.answers.shape[1]), None, dtype=object)
            whole[rows] = error.answers
            error.answers = whole
        raise


def check_some_answered(panel: dict[str, Expert], answers: np.ndarray | None) -> None:
    """Refuse to learn from profiles alone, for estimators that learn from answers to rows."""
    if answers is not None and is_missing(answers).all():
        raise ValueError(
            f"The experts {list(panel)} gave no answer to any row of X, and there is nothing "
            "else to learn from. Pass expert_predictions=, or experts who can be asked."
        )


def check_rows_read(panel: dict[str, Expert], X: Any, answers: np.ndarray) -> None:
    """Find out before anything is fitted whether experts can read X.

    A column of answers may be absent where the answers are on record.
    """
    first = take_rows(X, np.arange(1))
    for expert, has_record in zip(panel.values(), _has_record(answers), strict=True):
        if expert.column is not None and not has_record:
            expert.answers(first)
        elif expert.column is None and expert.can_answer:
            expert.check_rows(visible(first, panel))


def _check_silence(panel: dict[str, Expert], answers: np.ndarray) -> None:
    """Refuse to learn from nobody; warn of experts that only the prior speaks for."""
    silent = [
        name
        for j, (name, expert) in enumerate(panel.items())
        if expert.profile is None and is_missing(answers[:, j]).all()
    ]
    if not silent:
        return
    why = " ".join(dict.fromkeys(panel[name].why_silent for name in silent))
    if len(silent) == len(panel):
        raise ValueError(
            f"The experts {silent} gave no answer at all, on record or when asked, so there is "
            f"nothing to learn. {why} Or pass answers in expert_predictions=, a callable that "
            "answers, or an ExpertProfile."
        )
    warnings.warn(
        f"The experts {silent} gave no answer at all, so only the prior weighs them. {why} Or "
        "leave them out, or pass an ExpertProfile of what is known of them.",
        SilentExpertWarning,
        stacklevel=4,
    )


def _bought_before(error: ExpertAnswerError) -> np.ndarray:
    """Take the answers that fit may learn from though an expert was stopped.

    Money that has run out is foreseen, and the rows were asked in a fair order; another stop (a
    key, a quota) is to be mended first.
    """
    if not isinstance(error, BudgetExhaustedError):
        return np.empty(0, dtype=object)
    return error.partial


def _shuffle_rows(X: Any, rows: np.ndarray, random_state: Any) -> np.ndarray:
    """Order rows by their seeded content hash, so that folds and candidates agree."""
    seed = random_state
    if not isinstance(seed, (int, np.integer)):
        seed = 0 if seed is None else check_random_state(seed).randint(2**31)
    keys = row_keys(take_rows(X, rows), salt=str(seed))
    return rows[np.argsort(keys, kind="stable")]
