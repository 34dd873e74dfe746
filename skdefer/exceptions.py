"""Every error and warning of skdefer: one class a situation.

Errors derive from the built-in that callers would catch anyway (``ValueError``,
``RuntimeError``, ...), so code that knows nothing of skdefer still handles them.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "AnswerStoreError",
    "AnswerStoreWarning",
    "BudgetExhaustedError",
    "CapacityWarning",
    "CaseColumnsWarning",
    "CaseImportWarning",
    "DatasetNotFoundError",
    "DecisionLogWarning",
    "ExpertAnswerError",
    "ExpertPredictionsMissingError",
    "ExpertStoppedError",
    "ExpertStoppedWarning",
    "FailedCallsWarning",
    "FairnessWarning",
    "ModelDisagreementWarning",
    "OutOfLabelsWarning",
    "RiskNotControlledError",
    "RiskNotControlledWarning",
    "SilentExpertWarning",
    "SkdeferWarning",
    "StaleThresholdWarning",
    "TrainingDivergedWarning",
    "TruncatedTextWarning",
    "UnansweredError",
    "UnansweredWarning",
    "UncachedWarning",
    "UncalibratedScoreWarning",
    "UncheckedRowsWarning",
    "UnseenClassWarning",
]


class _PaidError(RuntimeError):
    """An error that carries the answers bought before it.

    Parameters
    ----------
    message : str
        What happened and what to do.
    answers : ndarray of shape (n_rows, n_experts), dtype object, default=None
        The answers at hand, ``None`` where there is none. Pass them back as
        ``expert_predictions=`` and nothing is asked, or paid, twice.
    """

    def __init__(self, message: str, answers: Any = None):
        super().__init__(message, answers)
        self.answers = answers

    def __str__(self) -> str:
        return str(self.args[0])


class ExpertAnswerError(_PaidError):
    """An expert raised, or returned something that is not one answer per row."""


class ExpertStoppedError(ExpertAnswerError):
    """Calls to an expert were stopped, since every further one would fail (key, quota, server).

    Parameters
    ----------
    message : str
        What happened and what to do.
    answers : ndarray of shape (n_rows, n_experts), dtype object, default=None
        As in :class:`ExpertAnswerError`.
    partial : ndarray of shape (n_rows,), dtype object, default=None
        The answers to the rows of the batch that was stopped, ``None`` where there is none.
        They are in the expert's store, too.
    """

    def __init__(self, message: str, answers: Any = None, partial: Any = None):
        super().__init__(message, answers)
        self.partial = partial


class BudgetExhaustedError(ExpertStoppedError):
    """The next call could cost more than is left of ``max_cost``."""


class AnswerStoreError(RuntimeError):
    """The file where answers are kept can't be used: locked, read-only, or of a later version."""


class ExpertPredictionsMissingError(ValueError):
    """An expert known only by a record can't be asked, and no answers were passed."""


class UnansweredError(_PaidError):
    """A deferred row has no answer and ``on_missing="raise"``."""


class DatasetNotFoundError(FileNotFoundError):
    """A data set that skdefer doesn't ship is not where it was looked for."""


class SkdeferWarning(UserWarning):
    """Base of all warnings of skdefer."""


class OutOfLabelsWarning(SkdeferWarning):
    """Some answers of an expert are not among the classes."""


class UnseenClassWarning(SkdeferWarning):
    """A fold of the cross-fitting never saw a class; its probability there is 0."""


class ModelDisagreementWarning(SkdeferWarning):
    """``estimator.predict`` disagrees with the most probable class."""


class UncachedWarning(SkdeferWarning):
    """``memory`` was given, but something can't be hashed and so is not kept."""


class UnansweredWarning(SkdeferWarning):
    """No answer of a recorded expert reached ``predict``; the model answers for them."""


class SilentExpertWarning(SkdeferWarning):
    """An expert gave no answer at all in ``fit``, so only the prior weighs them."""


class StaleThresholdWarning(SkdeferWarning):
    """A policy learned its threshold at other prices, or with other experts."""


class TrainingDivergedWarning(SkdeferWarning):
    """Losses or gradients were no longer finite; the last good weights are kept."""


class TruncatedTextWarning(SkdeferWarning):
    """Some texts are longer than a network reads; their ends are cut off."""


class CapacityWarning(SkdeferWarning):
    """An expert declares a capacity that the policy in use does not hold."""


class UncalibratedScoreWarning(SkdeferWarning):
    """A cost is subtracted from a score that is not in units of the cost."""


class DecisionLogWarning(SkdeferWarning):
    """A decision was made but could not be logged, or a line of a log can't be read."""


class UncheckedRowsWarning(SkdeferWarning):
    """The truth of some rows was due and is missing, so that a monitor leaves them out."""


class FairnessWarning(SkdeferWarning):
    """A fairness constraint can't be met as asked, or leaves some groups out."""


class RiskNotControlledError(ValueError):
    """No threshold is proven to keep the risks within their targets."""


class RiskNotControlledWarning(SkdeferWarning):
    """Nothing is promised of a risk, and everything takes the safest route."""


class ExpertStoppedWarning(SkdeferWarning):
    """Calls to an expert were stopped, and others, or the model, answer for it."""


class FailedCallsWarning(SkdeferWarning):
    """Some calls to an expert came to nothing; their rows have no answer."""


class AnswerStoreWarning(SkdeferWarning):
    """A file of answers was damaged; it was moved aside, and a new one begun."""


class CaseColumnsWarning(SkdeferWarning):
    """Rows have other columns than the cases on a list of people."""


class CaseImportWarning(SkdeferWarning):
    """Some answers of an import were left out: unknown cases, no class, or in contradiction."""
