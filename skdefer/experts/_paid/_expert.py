"""Asking a model about rows, and the model as a classifier."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from hashlib import blake2b
from multiprocessing import current_process
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skdefer.calling._buying import buy
from skdefer.calling._endpoint import check_key
from skdefer.calling._outcomes import Outcome, Reply
from skdefer.calling._store import ReplyKey
from skdefer.calling._till import Call
from skdefer.calling._trial import count_outcomes
from skdefer.exceptions import (
    ExpertAnswerError,
    ExpertStoppedError,
    FailedCallsWarning,
    UncachedWarning,
)
from skdefer.experts._options import Options
from skdefer.experts._paid._estimate import CHARACTERS_PER_TOKEN, CallEstimate, estimate_calls
from skdefer.experts._paid._prompt import is_blank
from skdefer.experts._paid._terms import Terms
from skdefer.utils._optional import import_optional
from skdefer.utils._rows import count_rows, take_rows
from skdefer.utils._validation import check_target

_EMPTY = Reply(Outcome.UNPARSABLE, text="empty (not asked)")
_TOO_LONG = Reply(Outcome.TRUNCATED, text="longer than max_characters (not asked)")
_NOT_ASKED = (_EMPTY, _TOO_LONG)


class Question(NamedTuple):
    """What is asked about one row: a digest of it, what was read, and the options in order."""

    digest: bytes
    content: Any
    options: Options


def _is_classifier(expert: PaidExpert) -> bool:
    return expert._gives_probabilities()


class PaidExpert(ClassifierMixin, Terms):
    """A model that is asked for one of the options about each row, and paid for it.

    A subclass says how rows are read, what is asked besides, and how one call is made.
    """

    classes_: np.ndarray

    def _read(self, X: Any) -> list[Any]:
        """Read the rows: texts, tuples of texts, or dicts."""
        raise NotImplementedError

    def _asked(self, options: Options) -> list[Any]:
        """Tell all that is asked besides the row: what changes it changes the question."""
        raise NotImplementedError

    def _body(self, question: Question) -> dict[str, Any]:
        """Write what is sent."""
        raise NotImplementedError

    def _send(self, question: Question, deadline: float) -> Reply:
        """Make one call, in a thread of its own."""
        raise NotImplementedError

    def _gives_probabilities(self) -> bool:
        return True

    def _workers(self) -> int:
        return self.n_workers

    def _try_out(self, key: ReplyKey, calls: list[Call]) -> None:
        """Make a first call alone, where it may show that all others are useless."""

    def _prepare(self) -> None:
        """Find out before the first call what would make all of them fail."""
        check_key(self.key_variable)
        if self.base_url is not None:
            import_optional("urllib3", needed_for=type(self).__name__)

    # -- questions -----------------------------------------------------------------------

    def _key(self, options: Options) -> ReplyKey:
        types = [type(label).__name__ for label in options.labels]  # "1" is no answer for 1
        asked = json.dumps([self._asked(options), types], default=repr)
        digest = blake2b(asked.encode(), digest_size=16).hexdigest()
        return ReplyKey(str(self.name), self.version, digest)

    def _questions(self, X: Any, options: Options) -> list[Question | Reply]:
        """Make a question of each row, or say why it is none."""
        questions: list[Question | Reply] = []
        for content in self._read(X):
            if is_blank(content):
                questions.append(_EMPTY)
                continue
            raw = json.dumps(content)
            size = len(raw) if isinstance(content, dict) else sum(map(len, content))
            if size > self.max_characters:
                questions.append(_TOO_LONG)
                continue
            start = 0
            if self.rotate_options:  # the same start for a row always, so that it is one question
                drawn = blake2b(raw.encode(), digest_size=8, person=b"options").digest()
                start = int.from_bytes(drawn, "big") % len(options)
            digest = blake2b(f"{start}|{raw}".encode(), digest_size=16).digest()
            turned = options.rotated(start) if start else options
            questions.append(Question(digest, content, turned))
        return questions

    def _call(self, question: Question) -> Call:
        size, most = self._n_bytes(question), self._most_output()
        return Call(
            question.digest,
            question,
            self._price().at_most(size, most),
            size // CHARACTERS_PER_TOKEN + (most or 0),
        )

    def _n_bytes(self, question: Question) -> int:
        """Count the bytes of what is sent: no tokenizer makes more tokens than that."""
        raw = json.dumps(self._body(question), ensure_ascii=False, default=repr)
        return len(raw.encode("utf-8", "replace"))

    # -- asking --------------------------------------------------------------------------

    def answers(self, X: Any, explanation: Any = None) -> np.ndarray:
        """Ask about every row that the store has no reply of.

        Parameters
        ----------
        X : the rows as the user passed them
            What the prompt reads.
        explanation : DataFrame, default=None
            Not read.

        Returns
        -------
        answers : ndarray of shape (n_rows,), dtype object
            A class per row, None where the service gave no answer.

        Raises
        ------
        ExpertStoppedError, BudgetExhaustedError
            If the service, the key, the quota or ``max_cost`` allow no more calls. ``partial``
            holds the answers so far; they are in the store.
        ValueError
            If rows can't be read, or the key's variable is not set; before any call.

        Warns
        -----
        FailedCallsWarning
            If rows have no answer, with their number.
        """
        answers = np.empty(count_rows(X), dtype=object)
        answers[:] = [reply.answer for reply in self._replies(X)]
        return answers

    def _replies(self, X: Any) -> list[Reply]:
        """Get a reply of each row, from the store or by asking."""
        self._check()
        options = self._options()
        key = self._key(options)
        questions = self._questions(X, options)
        asked = {q.digest: q for q in questions if isinstance(q, Question)}
        known = self.store.replies(key, asked)
        new = [question for digest, question in asked.items() if digest not in known]
        if new:
            known |= self._ask(key, new, questions, known)
        replies = [known[q.digest] if isinstance(q, Question) else q for q in questions]
        self._warn_of_failures(replies)
        return replies

    def _ask(
        self,
        key: ReplyKey,
        new: list[Question],
        questions: list[Question | Reply],
        known: dict[bytes, Reply],
    ) -> dict[bytes, Reply]:
        """Buy replies to new questions; an error carries the answers to all rows."""
        self._prepare()
        if self.paid and self.store.path is None and current_process().name != "MainProcess":
            warnings.warn(
                f"Expert {self.name!r} is asked in a process of joblib or the like and has no "
                "store on disk, so what it buys is lost in the end, and may be paid for again. "
                "Pass store=, a file.",
                UncachedWarning,
                stacklevel=4,
            )
        if self._live.breaker.broken:  # in an earlier run; things may have changed
            self._live.breaker.reset()
        calls = [self._call(question) for question in new]
        try:
            self._try_out(key, calls)
            replies = self._buy(key, calls, len(known))
        except ExpertStoppedError as error:
            answers = {digest: reply.answer for digest, reply in known.items()}
            if error.partial is not None and len(error.partial) == len(calls):
                answers |= {c.row: label for c, label in zip(calls, error.partial, strict=True)}
            error.partial = np.full(len(questions), None, dtype=object)
            error.partial[:] = [
                answers.get(q.digest) if isinstance(q, Question) else None for q in questions
            ]
            raise
        return {call.row: reply for call, reply in zip(calls, replies, strict=True)}

    def _buy(self, key: ReplyKey, calls: list[Call], n_known: int = 0) -> list[Reply]:
        return buy(
            calls,
            self._send,
            key=key,
            store=self.store,
            n_workers=self._workers(),
            max_cost=self.max_cost,
            rate_limiter=self.rate_limiter,
            breaker=self._live.breaker,
            max_retries=self.max_retries,
            deadline=self.deadline,
            verbose=self.verbose,
            n_known=n_known,
        )

    def _warn_of_failures(self, replies: list[Reply]) -> None:
        """Tell how many rows have no answer though nothing went wrong on the way."""
        failed = Counter(
            next((r.text for r in _NOT_ASKED if r is reply), str(reply.outcome))
            for reply in replies
            if reply.outcome.replied and reply.outcome is not Outcome.OK
        )
        if failed:
            counts = ", ".join(f"{n} {outcome}" for outcome, n in failed.most_common())
            warnings.warn(
                f"Expert {self.name!r} has no answer to {failed.total()} of {len(replies)} rows: "
                f"{counts}. expert.store.to_frame() shows what the service said.",
                FailedCallsWarning,
                stacklevel=4,
            )

    @property
    def why_silent(self) -> str:
        """A sentence for ``fit`` to say where the expert gave no answer at all."""
        counts = count_outcomes(self.store, str(self.name), self.version)
        counts.pop(str(Outcome.OK), None)
        if not counts:
            return (
                f"No reply of {self.name!r} is kept: calls failed (a FailedCallsWarning says how), "
                "or rows are empty or too long."
            )
        said = ", ".join(f"{n} {outcome}" for outcome, n in counts.items())
        return (
            f"Replies of {self.name!r} that are no answers: {said}; look at what it said in "
            "expert.store.to_frame(), and mend prompt=, classes= or max_tokens=."
        )

    # -- before paying -------------------------------------------------------------------

    def check_rows(self, X: Any) -> None:
        """Refuse rows without what the prompt reads; see :meth:`Expert.check_rows`."""
        self._check()
        self._read(take_rows(X, np.arange(0)))  # what stands in the row is no matter here

    def estimate(self, X: Any) -> CallEstimate:
        """Tell what answers to these rows will cost; nobody is asked.

        Parameters
        ----------
        X : the rows as the user would pass them
            What the prompt reads.

        Returns
        -------
        estimate : CallEstimate
            ``n_rows``, ``n_known`` (replies in the store), ``n_not_asked``, ``n_calls``,
            ``input_tokens`` (about), ``output_tokens`` (at the most), ``price`` (None: unknown)
            and ``left`` of ``max_cost``.

        Raises
        ------
        ValueError
            If rows can't be read, or the classes are not known.
        """
        self._check()
        return estimate_calls(self, X)

    # -- as a classifier -----------------------------------------------------------------

    def fit(self, X: Any, y: Any) -> PaidExpert:
        """Take note of the classes; nothing is trained, and nobody is asked.

        Parameters
        ----------
        X : the rows
            Only counted.
        y : array-like of shape (n_rows,)
            The labels. With ``classes=``, 0, 1, ... may stand for the sorted classes, as
            ``cross_val_predict`` passes them; without, those numbers would be the options.

        Returns
        -------
        self : expert
            With ``classes_``: those of ``classes``, or else of ``y``.

        Raises
        ------
        ValueError
            If ``y`` has labels that are not among ``classes``.
        """
        self._check()
        found = np.unique(check_target(y, count_rows(X)))
        if self.classes is not None:
            labels = Options(self.classes).labels
            strangers = [label for label in found.tolist() if label not in labels]
            # cross_val_predict passes positions in the sorted classes instead of labels.
            if strangers and found.tolist() != list(range(len(labels))):
                raise ValueError(
                    f"y has the labels {strangers[:5]}, which are not among classes={labels}."
                )
            found = found if strangers else np.unique(np.asarray(labels))
        self._bound = None
        self.classes_ = found
        self._options()
        return self

    @available_if(_is_classifier)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Ask for the probability of each class.

        Parameters
        ----------
        X : the rows as the user passed them
            What the prompt reads.

        Returns
        -------
        proba : ndarray of shape (n_rows, n_classes)
            In the order of ``classes_``. All alike where the service gave no answer (refused, cut
            off, not readable, not asked), which is as uncertain as can be.

        Raises
        ------
        ExpertAnswerError
            If calls failed after all retries. What was bought is in the store.
        sklearn.exceptions.NotFittedError
            Before ``fit``.
        """
        check_is_fitted(self, "classes_")
        options = self._options()
        labels = [options.labels[i] for i in np.argsort(np.asarray(options.labels))]
        proba = np.full((count_rows(X), len(labels)), 1 / len(labels))
        failed: Counter[str] = Counter()
        for i, reply in enumerate(self._replies(X)):
            if reply.probabilities is not None:
                proba[i] = [reply.probabilities[label] for label in labels]
            elif reply.outcome is Outcome.OK:
                failed["answers without probabilities"] += 1
            elif not reply.outcome.replied:
                failed[f"{reply.outcome} ({reply.text})"] += 1
        if failed:
            what, n = failed.most_common(1)[0]
            raise ExpertAnswerError(
                f"Expert {self.name!r} gave no probabilities of {failed.total()} of {len(proba)} "
                f"rows: {n} {what}. What was bought is in the store; run it again."
            )
        return proba

    @available_if(_is_classifier)
    def predict(self, X: Any) -> np.ndarray:
        """Ask for the most probable class.

        Parameters
        ----------
        X : the rows as the user passed them
            What the prompt reads.

        Returns
        -------
        labels : ndarray of shape (n_rows,)
            The first of ``classes_`` where there is no answer; see ``predict_proba``.
        """
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.no_validation = True
        return tags
