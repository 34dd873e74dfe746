"""Asking: one batch per expert, nothing bought twice, nothing bought lost."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from skdefer.calling._store import AnswerStore
from skdefer.exceptions import (
    AnswerStoreError,
    ExpertAnswerError,
    ExpertPredictionsMissingError,
    ExpertStoppedError,
    ExpertStoppedWarning,
    UnansweredError,
    UnansweredWarning,
    UncachedWarning,
)
from skdefer.experts._base import AbsentExpert, Expert
from skdefer.experts._panel import MISSING_FATE, encode_checked, visible
from skdefer.utils._rows import count_rows, row_keys, take_rows
from skdefer.utils._validation import (
    MANY,
    MISSING,
    check_answers,
    decode_answers,
    is_missing,
)


def open_store(memory: Any) -> AnswerStore | None:
    """Open the store beside a ``joblib.Memory``; None if it keeps nothing."""
    location = getattr(memory, "location", None)
    return None if location is None else AnswerStore(f"{location}/skdefer/answers.sqlite")


def ask(
    name: str,
    expert: Expert,
    panel: dict[str, Expert],
    X: Any,
    rows: np.ndarray,
    *,
    store: AnswerStore | None = None,
    explanation: Any = None,
) -> np.ndarray:
    """Ask one expert for some rows, in one batch.

    Parameters
    ----------
    name, expert, panel
        The expert and the panel it belongs to.
    X : the rows as the user passed them
        With the columns of column experts.
    rows : ndarray of int or bool
        Which rows.
    store : AnswerStore, default=None
        Where answers are looked up first and kept.
    explanation : DataFrame of length n_rows, default=None
        Why rows are handed over, for an expert that reads it.

    Returns
    -------
    answers : ndarray of shape (n_asked,), dtype object
        Labels, None where there is none.

    Raises
    ------
    ExpertAnswerError
        If the expert raises, or returns something that is not one answer per row.
    ExpertStoppedError
        If calls to the expert were stopped; ``partial`` has an answer or None for each row asked.
    """
    X = take_rows(X if expert.column is not None else visible(X, panel), rows)
    why = take_rows(explanation, rows)
    key = _store_key(name, expert) if store is not None else None
    if store is None or key is None:
        return _call(name, expert, X, why)
    keys = row_keys(X)
    answers, known = store.get(key, keys)
    # Identical rows of one batch are asked for once, in the order of the rows.
    unknown = np.flatnonzero(~known)
    _, first, copies = np.unique(keys[unknown], return_index=True, return_inverse=True)
    order = np.argsort(first)
    new = unknown[first[order]]
    if len(new):
        copies = np.argsort(order)[copies]
        try:
            bought = _call(name, expert, take_rows(X, new), take_rows(why, new))
        except ExpertStoppedError as error:
            came = np.logical_not(is_missing(error.partial))  # None: not asked, so no abstention
            store.put(key, keys[new][came], error.partial[came])
            answers[unknown] = error.partial[copies]
            error.partial = answers
            raise
        store.put(key, keys[new], bought)
        answers[unknown] = bought[copies]
    return answers


def _store_key(name: str, expert: Expert) -> str | None:
    if expert.recorded or expert.keeps_answers:  # nothing is bought, or it is kept elsewhere
        return None
    try:
        version = expert.cache_key()
    except Exception:  # whatever a state that can't be pickled raises
        version = None
    if version is None:
        warnings.warn(
            f"The answers of expert {name!r} are not kept by memory=: it has no version, and is a "
            "lambda, a closure, a method or what else its content doesn't tell. Give it one: "
            "CallableExpert(function, version=...).",
            UncachedWarning,
            stacklevel=2,
        )
        return None
    return f"{name!r}|{version}"


def _call(name: str, expert: Expert, X: Any, explanation: Any) -> np.ndarray:
    n_rows = count_rows(X)
    # Subclasses written before there were explanations may take none.
    given = {"explanation": explanation} if expert.reads_explanation else {}
    try:
        answers = expert.answers(X, **given)
    except ExpertStoppedError as error:
        partial = [None] * n_rows if error.partial is None else error.partial
        error.partial = _one_per_row(name, partial, n_rows)
        raise
    except ExpertAnswerError:
        raise
    except Exception as error:
        ours = isinstance(error, (ValueError, TypeError, AnswerStoreError, ImportError, OSError))
        if expert.keeps_answers and ours:  # it says what to do about X, its store or itself
            raise ExpertAnswerError(str(error)) from error
        what = f"{type(error).__name__}: {error}".rstrip(" .:")
        raise ExpertAnswerError(
            f"Expert {name!r} failed on a batch of {n_rows} rows: {what}. "
            "Mend the expert, or let it return None for rows that it can't answer."
        ) from error
    return _one_per_row(name, answers, n_rows)


def _one_per_row(name: str, answers: Any, n_rows: int) -> np.ndarray:
    """Bring what an expert returned to shape (n_rows,), None where there is no answer."""
    if hasattr(answers, "to_numpy"):
        answers = answers.to_numpy()
    try:
        shape = np.shape(answers)
    except ValueError:  # answers of different lengths
        shape = (len(answers), "?")
    if shape == ():  # one text, a mapping or a set says nothing of the rows either
        raise ExpertAnswerError(
            f"Expert {name!r} returned {type(answers).__name__} for {n_rows} rows; expected one "
            "label per row. Return a list or an array, None where there is no answer."
        )
    if shape not in ((n_rows,), (n_rows, 1)):
        raise ExpertAnswerError(
            f"Expert {name!r} returned answers of shape {shape} for {n_rows} rows; expected "
            f"({n_rows},), one label per row. Return None where there is no answer."
        )
    if not isinstance(answers, np.ndarray):
        answers = np.asarray(answers, dtype=object)
    labels = answers.ravel().astype(object)
    missing, labels = is_missing(labels), np.ma.getdata(labels)
    labels[missing] = None
    return labels


def with_partial(
    answers: np.ndarray, rows: np.ndarray, column: int, error: ExpertAnswerError
) -> np.ndarray:
    """Copy answers (n_rows, n_experts), with those that came before an expert was stopped."""
    answers = answers.astype(object)
    if isinstance(error, ExpertStoppedError):
        answers[rows, column] = error.partial
    return answers


def check_where(where: Any, n_rows: int, n_experts: int) -> np.ndarray:
    """Bring whom to ask on which row to shape (n_rows, n_experts); None: everybody."""
    if where is None:
        return np.ones((n_rows, n_experts), dtype=bool)
    where = np.asarray(where, dtype=bool)
    if where.shape not in ((n_rows,), (n_rows, n_experts)):
        raise ValueError(
            f"where has shape {where.shape}; expected ({n_rows},) or ({n_rows}, {n_experts}), "
            "True where an expert is to be asked."
        )
    return np.broadcast_to(where.reshape(n_rows, -1), (n_rows, n_experts))


def ask_panel(
    panel: dict[str, Expert], X: Any, where: np.ndarray, *, store: AnswerStore | None
) -> np.ndarray:
    """Ask the experts, each for its rows of ``where`` in one batch.

    Parameters
    ----------
    panel : dict of str to Expert
        The experts, in the order of the columns.
    X : the rows as the user passed them
        With the columns of column experts.
    where : ndarray of bool of shape (n_rows, n_experts)
        Whom to ask on which row.
    store : AnswerStore or None
        Where answers are looked up and kept.

    Returns
    -------
    answers : ndarray of shape (n_rows, n_experts), dtype object
        Labels, None where nobody was asked or nobody answered.

    Raises
    ------
    ExpertAnswerError
        If an expert fails; it carries the answers at hand.
    """
    answers = np.full(where.shape, None, dtype=object)
    for j, (name, expert) in enumerate(panel.items()):
        if expert.can_answer and where[:, j].any():
            try:
                answers[where[:, j], j] = ask(name, expert, panel, X, where[:, j], store=store)
            except ExpertAnswerError as error:
                error.answers = with_partial(answers, where[:, j], j, error)
                raise
    return answers


def answers_at_hand(
    panel: dict[str, Expert],
    n_rows: int,
    expert_predictions: Any,
    classes: np.ndarray,
    *,
    on_missing: str,
) -> np.ndarray:
    """Encode the answers that came with ``predict``; one outside the classes is none.

    Returns
    -------
    codes : ndarray of int of shape (n_rows, n_experts)
        Positions in ``classes``, or ``MISSING``.

    Raises
    ------
    ExpertPredictionsMissingError
        If none came, some expert can't be asked and ``on_missing="raise"``.
    """
    names = list(panel)
    if expert_predictions is not None:
        answers = check_answers(expert_predictions, n_rows, names=names)[0]
        refuse = n_rows >= MANY  # a few rows may all be odd; many are another column
        codes = encode_checked(answers, classes, names, fate=MISSING_FATE, refuse=refuse)
        return np.maximum(codes, MISSING)
    silent = [
        name
        for name, expert in panel.items()
        if not expert.can_answer and not isinstance(expert, AbsentExpert)
    ]
    if silent:
        # Even if no row is deferred: else a search would drop the candidates that defer
        # and pick the one that never does.
        message = (
            f"The experts {silent} are known by their record alone and can't be asked, and predict "
            "got no expert_predictions. Pass predict(X, expert_predictions=...); in a search or "
            "cross-validation, whose scorers never pass them, use experts that carry their "
            "answers (ColumnExpert, IndexExpert) or a callable."
        )
        if on_missing == "raise":
            raise ExpertPredictionsMissingError(message)
        warnings.warn(
            f"{message} The others, or the model alone, answer for them (on_missing="
            f"{on_missing!r}).",
            UnansweredWarning,
            stacklevel=4,
        )
    return np.full((n_rows, len(names)), MISSING)


def collect(
    panel: dict[str, Expert],
    X: Any,
    wanted: np.ndarray,
    score: np.ndarray,
    codes: np.ndarray,
    classes: np.ndarray,
    *,
    on_missing: str,
    store: AnswerStore | None,
    explain: Callable[[], Any] | None = None,
) -> np.ndarray:
    """Get an answer for every deferred row: on record, by asking, or by the next in line.

    Parameters
    ----------
    panel : dict of str to Expert
        The experts, in the order of the columns.
    X : the rows as the user passed them
        With the columns of column experts.
    wanted : ndarray of bool of shape (n_rows, n_experts)
        Who should answer each row; nobody: the model.
    score : ndarray of shape (n_rows, n_experts)
        The gain of each expert; only positive ones come next in line.
    codes : ndarray of int of shape (n_rows, n_experts)
        Answers on record, as positions in ``classes``; bought ones are written into it.
    classes : ndarray of shape (n_classes,)
        The classes.
    on_missing : {"raise", "model", "next"}
        What becomes of a deferred row without any answer. Where some of several answered, theirs
        stand.
    store : AnswerStore or None
        Where answers are kept.
    explain : callable, default=None
        Makes the frame that says why rows are handed over; called once at the most, if an expert
        who reads it is asked.

    Returns
    -------
    answered : ndarray of bool of shape (n_rows, n_experts)
        Who answers; nobody: the model.

    Raises
    ------
    UnansweredError
        If a deferred row has no answer and ``on_missing="raise"``.
    ExpertAnswerError
        If an expert fails. Both errors carry the answers at hand.
    """
    wanted = wanted.copy()
    tried = np.zeros(codes.shape, dtype=bool)
    at_hand = decode_answers(codes, classes)  # what errors carry; odd answers were paid for too
    can_answer = np.array([expert.can_answer for expert in panel.values()])
    stopped = np.zeros(len(panel), dtype=bool)
    explanation = None
    while True:
        for j, (name, expert) in enumerate(panel.items()):
            rows = np.flatnonzero(wanted[:, j] & ~tried[:, j] & (codes[:, j] == MISSING))
            tried[wanted[:, j], j] = True
            if len(rows) and expert.can_answer:
                if expert.reads_explanation and explanation is None and explain is not None:
                    explanation = explain()
                try:
                    answers = ask(
                        name, expert, panel, X, rows, store=store, explanation=explanation
                    )
                except ExpertAnswerError as error:
                    if on_missing == "raise" or not isinstance(error, ExpertStoppedError):
                        error.answers = with_partial(at_hand, rows, j, error)
                        raise
                    stopped[j], answers = True, error.partial
                    _warn_stopped(error, answers, on_missing)
                at_hand[rows, j] = answers
                bought = encode_checked(
                    answers[:, None], classes, [name], fate=MISSING_FATE, refuse=False
                )
                codes[rows, j] = np.maximum(bought[:, 0], MISSING)
        answered = wanted & (codes != MISSING)
        unanswered = np.flatnonzero(wanted.any(axis=1) & ~answered.any(axis=1))
        if not len(unanswered):
            return answered
        if on_missing == "raise":
            counts = wanted[unanswered].sum(axis=0)
            by_expert = {n: int(c) for n, c in zip(panel, counts, strict=True) if c}
            raise UnansweredError(
                f"{len(unanswered)} deferred rows have no answer, by expert: {by_expert}. The "
                "answers at hand are in the attribute `answers` of this error: pass them back "
                "as expert_predictions=. Or set on_missing='model' or on_missing='next'.",
                at_hand,
            )
        wanted[unanswered] = False
        if on_missing == "next":
            away = stopped & (codes == MISSING)
            left = np.where(tried | away | (score <= 0), -np.inf, score)
            # Whoever was asked has had the work, answer or not.
            busy = (tried & (can_answer | (codes != MISSING))).sum(axis=0)
            _send_on(panel, busy, wanted, unanswered, left)


def _warn_stopped(error: ExpertStoppedError, answers: np.ndarray, on_missing: str) -> None:
    """Tell what becomes of the rows of an expert who can't be asked any more."""
    came = int(np.logical_not(is_missing(answers)).sum())
    others = "The next in line, or the model," if on_missing == "next" else "The model"
    warnings.warn(
        f"{error} {came} of {len(answers)} rows were answered before, and those answers count. "
        f"{others} takes the rest (on_missing={on_missing!r}).",
        ExpertStoppedWarning,
        stacklevel=4,
    )


def _send_on(
    panel: dict[str, Expert],
    busy: np.ndarray,
    wanted: np.ndarray,
    rows: np.ndarray,
    score: np.ndarray,
) -> None:
    """Give each row to the next expert who gains and has room, best gains first."""
    limits = [e.capacity for e in panel.values()]
    room = np.array([np.inf if limit is None else limit for limit in limits]) - busy
    for i in rows[np.argsort(-score[rows].max(axis=1), kind="stable")]:
        options = np.where(room > 0, score[i], -np.inf)
        best = int(options.argmax())
        if options[best] > -np.inf:
            wanted[i, best] = True
            room[best] -= 1
