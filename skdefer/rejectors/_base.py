"""The contract of a rejector: how much each route is expected to lose on each row."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from skdefer.costs import resolve_error_cost
from skdefer.experts._panel import learn_profiles
from skdefer.experts._profile import ExpertProfile, always_right
from skdefer.utils._validation import check_answers, check_weights, encode_answers


class BaseRejector(BaseEstimator):
    """Base of all rejectors: validation, profiles, and what most of them share.

    A subclass writes ``_fit(proba, y, answers, X, sample_weight)``, where ``y`` are
    positions in ``classes_``, and ``_losses(proba, X)``; it reads ``classes_``,
    ``profiles_`` and ``error_cost_`` (a matrix, or None for plain errors).
    """

    _parameter_constraints: dict = {}

    #: Whether ``fit`` reads ``proba``; the estimator then needs out-of-fold probabilities.
    learns: bool = False
    #: Whether profiles of other experts can be served after ``fit``.
    serves_unseen_experts: bool = True
    #: Whether ``with_contexts`` reads rows that an expert answered.
    reads_contexts: bool = False
    #: Whether losses are in errors (or units of ``error_cost``), so that costs can be subtracted.
    score_is_calibrated: bool = True

    def fit(
        self,
        proba,
        y,
        expert_predictions,
        *,
        X=None,
        error_cost=None,
        sample_weight=None,
        classes=None,
        profiles=None,
    ):
        """Learn what to expect of the model and of each expert.

        Parameters
        ----------
        proba : array-like of shape (n_rows, n_classes)
            The model's class probabilities on rows it was not trained on.
        y : array-like of shape (n_rows,)
            The truth.
        expert_predictions : array-like of shape (n_rows,) or (n_rows, n_experts), or None
            The experts' answers, missing where there is none. None: one expert who is
            always right.
        X : the rows, default=None
            For rejectors that read them.
        error_cost : array-like of shape (n_classes, n_classes), default=None
            Price of each (true, answered) pair; None: every error is 1.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows.
        classes : array-like of shape (n_classes,), default=None
            The classes in the order of the columns of ``proba``, which must be sorted; those
            of ``y`` if None.
        profiles : sequence of ExpertProfile, default=None
            What is known of each expert beforehand: a prior (and a name), or a fitted
            profile. The expert's record is added to it. Copied; not read without
            ``expert_predictions``.

        Returns
        -------
        self : object
            The fitted rejector.

        Raises
        ------
        ValueError
            For shapes or labels that do not match.
        """
        self._validate_params()
        self.classes_ = np.unique(np.asarray(y if classes is None else classes))
        if classes is not None and not np.array_equal(self.classes_, classes):
            raise ValueError(
                f"classes is {list(classes)}; expected sorted labels, once each, such as those of "
                "numpy.unique. Sort them, and the columns of proba with them."
            )
        proba = self._check_proba(proba)
        truth = encode_answers(np.asarray(y), self.classes_)
        if truth.shape != (len(proba),) or (truth < 0).any():
            raise ValueError(
                f"y has shape {np.shape(y)} and proba {proba.shape}; expected one label for each "
                f"row of proba, among the classes {self.classes_.tolist()}."
            )
        self.error_cost_ = None
        if error_cost is not None:
            self.error_cost_ = resolve_error_cost(error_cost, self.classes_)[1]
        weight = check_weights(sample_weight, len(proba))
        if expert_predictions is None:
            answers = np.full((len(proba), 1), None, dtype=object)
            profiles = [always_right(self.classes_, "expert")]
        else:
            answers = check_answers(expert_predictions, len(proba))[0]
        self.profiles_ = learn_profiles(profiles, answers, y, weight, self.classes_)
        counts = np.bincount(truth, weight, minlength=len(self.classes_))
        self.class_weight_ = counts / max(counts.sum(), np.finfo(float).tiny)
        self._fit(proba, truth, encode_answers(answers, self.classes_), X, weight)
        return self

    def expected_loss(self, proba, *, X=None):
        """Expected loss of every route on every row.

        Parameters
        ----------
        proba : array-like of shape (n_rows, n_classes)
            The model's class probabilities.
        X : the rows, default=None
            For rejectors that read them.

        Returns
        -------
        loss : ndarray of shape (n_rows, 1 + n_experts)
            Of the model's answer (column 0), then of each expert's: in errors, or in
            units of ``error_cost``.
        """
        check_is_fitted(self, "profiles_")
        return self._losses(self._check_proba(proba), X)

    def uncertainty(self, proba):
        """Posterior standard deviation of each expert's expected accuracy.

        Parameters
        ----------
        proba : array-like of shape (n_rows, n_classes)
            The model's class probabilities.

        Returns
        -------
        deviation : ndarray of shape (n_rows, n_experts)
            In probability of being right.
        """
        check_is_fitted(self, "profiles_")
        proba = self._check_proba(proba)
        return np.column_stack([profile.uncertainty(proba) for profile in self.profiles_])

    def with_profiles(
        self, profiles: Sequence[ExpertProfile], *, met: Sequence[int | None] | None = None
    ):
        """Serve other experts, known by their profiles, without a refit.

        Parameters
        ----------
        profiles : sequence of fitted ExpertProfile
            One per expert.
        met : sequence of int or None, default=None
            Who each one is, as a position in ``profiles_``, or None for a stranger. Of an expert
            met before, what else was learned stays, though the profile may be a newer one. None:
            an expert was met whose profile is the very object in ``profiles_``.

        Returns
        -------
        rejector : object
            A fitted copy.

        Raises
        ------
        ValueError
            If the rejector learned something of its own about each expert.
        """
        check_is_fitted(self, "profiles_")
        if not self.serves_unseen_experts:
            raise ValueError(
                f"{type(self).__name__} has learned the experts of fit, and serves these alone, "
                "all of them. Fit it again with those you want, or use ProfileRejector."
            )
        other = copy.copy(self)
        other.profiles_ = [profile.align(self.classes_) for profile in profiles]
        return other

    def with_contexts(self, contexts: Sequence[Any]):
        """Learn more of the experts served, from rows that they answered, without a refit.

        Most rejectors read profiles alone; they come back as they are.

        Parameters
        ----------
        contexts : sequence of None or (proba, y, answers, X)
            One per expert: the model's class probabilities on rows that it was not trained
            on, shape (n_rows, n_classes), the truth, the expert's answers, and the rows.

        Returns
        -------
        rejector : object
            A fitted copy, or the rejector itself.
        """
        check_is_fitted(self, "profiles_")
        return self

    def _who_was_met(
        self, profiles: Sequence[ExpertProfile], met: Sequence[int | None] | None
    ) -> list[int | None]:
        if met is not None:
            return list(met)
        known = {id(profile): j for j, profile in enumerate(self.profiles_)}
        return [known.get(id(profile)) for profile in profiles]

    def _check_proba(self, proba: Any) -> np.ndarray:
        proba = np.asarray(proba)
        if proba.dtype.kind != "f":
            proba = proba.astype(float)
        if proba.ndim != 2 or proba.shape[1] != len(self.classes_):
            raise ValueError(
                f"proba has shape {proba.shape}; expected (n_rows, {len(self.classes_)}), a column "
                f"for each of the classes {self.classes_.tolist()}. Where y lacks a class, pass "
                "classes=."
            )
        if np.isnan(proba).any():
            raise ValueError(
                "proba has NaN; expected class probabilities. Look for a row on which the "
                "estimator gives none."
            )
        return proba

    def _class_losses(self, profiles: Sequence[ExpertProfile] | None = None) -> np.ndarray:
        """Expected loss of each expert on each class, shape (n_classes, n_experts)."""
        profiles = self.profiles_ if profiles is None else profiles
        if self.error_cost_ is None:
            return np.column_stack([1.0 - profile.mean_ for profile in profiles])
        return np.column_stack(
            [(profile.confusion_ * self.error_cost_).sum(axis=1) for profile in profiles]
        )

    def _model_loss(self, proba: np.ndarray) -> np.ndarray:
        """Expected loss of the model's answer, taking its probabilities at their word."""
        if self.error_cost_ is None:
            # Column by column: reducing along short rows is slow.
            return 1.0 - functools.reduce(np.maximum, proba.T)
        return (proba @ self.error_cost_).min(axis=1)

    def _rules(self, proba: np.ndarray) -> np.ndarray:
        """Expected loss of each route without training, (n_rows, 1 + n_experts)."""
        # A row's own answer stays in the profile. Left out, a right answer would lower its
        # own row's rule, and what corrects the rule would learn to distrust it (docs/design).
        return np.column_stack([self._model_loss(proba), proba @ self._class_losses()])

    def _worst_price(self) -> float:
        return 1.0 if self.error_cost_ is None else max(self.error_cost_.max(), 1e-300)

    def _good(self, loss: np.ndarray) -> np.ndarray:
        """Share of the greatest price that is saved: P(right) for plain errors."""
        return 1.0 - loss / self._worst_price()

    def _realised_loss(self, truth: np.ndarray, said: np.ndarray) -> np.ndarray:
        """What answers cost; both are positions in ``classes_``."""
        if self.error_cost_ is None:
            return (truth != said).astype(float)
        # An answer outside the classes costs what the worst answer would.
        outside = self.error_cost_.max(axis=1)
        return np.where(said >= 0, self.error_cost_[truth, np.maximum(said, 0)], outside[truth])

    def _fit(
        self,
        proba: np.ndarray,
        y: np.ndarray,
        answers: np.ndarray,
        X: Any,
        sample_weight: np.ndarray,
    ) -> None:
        """Learn more than the profiles; ``y`` and ``answers`` are positions in ``classes_``."""

    def _losses(self, proba: np.ndarray, X: Any) -> np.ndarray:
        raise NotImplementedError
