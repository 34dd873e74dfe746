"""How often an expert is right on each class, as Beta posteriors."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats
from sklearn.base import BaseEstimator
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from skdefer.utils._validation import (
    OUT_OF_LABELS,
    check_answers,
    check_weights,
    encode_answers,
    is_missing,
)


class ExpertProfile(BaseEstimator):
    """How often one expert is right on each class, learned from a few past answers.

    Each class has a Beta posterior of the probability that the expert is right on its
    rows. The profile decides alone, without training (:meth:`predict_defer`), is what
    rejectors read, and describes experts that no model has ever seen.

    Parameters
    ----------
    name : str, default=None
        Name of the expert.
    prior_accuracy : float, array-like of shape (n_classes,) or mapping, default=None
        What is believed beforehand, such as the expert's own assessment: the probability
        in [0, 1] of being right on a class; a mapping gives it by class. None: uniform.
    prior_confidence : float, array-like of shape (n_classes,) or mapping, default=None
        How much that belief is trusted, in [0, 1]; None means 1.
    prior_strength : float, default=10.0
        What full confidence is worth, in answers. The prior of a class is
        Beta(1 + s c a, 1 + s c (1 - a)) for accuracy a, confidence c and strength s. The
        value of the source is not published; ten pseudo-answers is ours.
    decay : float, default=1.0
        Forgetting, for experts who drift: with every answer all earlier ones count
        ``decay`` times as much. Answers are then taken in the order of the rows.
    classes : array-like of shape (n_classes,), default=None
        The classes; those of ``y`` at the first fit if None.

    Attributes
    ----------
    alpha_, beta_ : ndarray of shape (n_classes,)
        The parameters of the posteriors.
    mean_, variance_ : ndarray of shape (n_classes,)
        Mean and variance of the posteriors.
    confusion_ : ndarray of shape (n_classes, n_classes)
        Posterior mean of P(answer | class), Dirichlet rows; its diagonal is ``mean_``.
    expertise_class_ : label
        The class of greatest mean; the first one of several tied.
    n_context_ : ndarray of shape (n_classes,)
        Rows with an answer, by class.
    classes_ : ndarray of shape (n_classes,)
        The classes.

    References
    ----------
    Strong, Men and Noble (2025). Expert-Agnostic Learning to Defer. arXiv 2502.10533.

    Examples
    --------
    >>> import numpy as np
    >>> from skdefer import ExpertProfile
    >>> y = np.array(["benign"] * 4 + ["malignant"] * 4)
    >>> answers = np.array(["benign"] * 4 + ["malignant", "benign", "benign", None])
    >>> profile = ExpertProfile(name="dr. b").fit(answers, y)
    >>> profile.mean_.round(3)
    array([0.833, 0.4  ])
    >>> str(profile.expertise_class_)
    'benign'
    >>> profile.predict([[0.9, 0.1], [0.1, 0.9]]).round(3)
    array([0.79 , 0.443])
    """

    _parameter_constraints: dict = {
        "name": [str, None],
        "prior_accuracy": [Interval(numbers.Real, 0, 1, closed="both"), "array-like", dict, None],
        "prior_confidence": [Interval(numbers.Real, 0, 1, closed="both"), "array-like", dict, None],
        "prior_strength": [Interval(numbers.Real, 0, None, closed="left")],
        "decay": [Interval(numbers.Real, 0, 1, closed="right")],
        "classes": ["array-like", None],
    }

    def __init__(
        self,
        *,
        name=None,
        prior_accuracy=None,
        prior_confidence=None,
        prior_strength=10.0,
        decay=1.0,
        classes=None,
    ):
        self.name = name
        self.prior_accuracy = prior_accuracy
        self.prior_confidence = prior_confidence
        self.prior_strength = prior_strength
        self.decay = decay
        self.classes = classes

    def fit(self, expert_predictions, y, sample_weight=None):
        """Learn the profile from past answers, forgetting earlier fits.

        Parameters
        ----------
        expert_predictions : array-like of shape (n_rows,)
            The expert's answers; missing ones are skipped.
        y : array-like of shape (n_rows,)
            The truth. No row at all leaves the prior; ``classes`` is needed then.
        sample_weight : array-like of shape (n_rows,), default=None
            How many answers a row counts for.

        Returns
        -------
        self : ExpertProfile
            The fitted profile.

        Raises
        ------
        ValueError
            For lengths that differ, priors outside [0, 1] or a ``y`` outside ``classes``.
        """
        self._validate_params()
        labels = np.asarray(y)
        if self.classes is not None:
            self.classes_ = np.unique(np.asarray(self.classes))
        elif len(labels):
            self.classes_ = np.unique(labels)
        else:
            raise ValueError(
                "y is empty and classes is None, so the classes are not known. "
                "Pass ExpertProfile(classes=...)."
            )
        self._set_prior()
        n_classes = len(self.classes_)
        # counts_[k, a]: answers a on rows of class k; the last column: outside the classes.
        self.counts_ = np.zeros((n_classes, n_classes + 1))
        return self.partial_fit(expert_predictions, y, sample_weight)

    def partial_fit(self, expert_predictions, y, sample_weight=None):
        """Add answers as they come in; the same as having fitted on all of them in order.

        Parameters
        ----------
        expert_predictions, y, sample_weight
            As in :meth:`fit`.

        Returns
        -------
        self : ExpertProfile
            The updated profile.
        """
        if not hasattr(self, "counts_"):
            return self.fit(expert_predictions, y, sample_weight)
        check_consistent_length(expert_predictions, y)
        y = np.asarray(y)
        if len(y):
            answers = check_answers(expert_predictions, len(y))[0]
            if answers.shape[1] != 1:
                raise ValueError(
                    f"expert_predictions has {answers.shape[1]} columns; a profile is of one "
                    "expert. Fit one ExpertProfile per column."
                )
            answered = ~is_missing(answers[:, 0])
            weight = check_weights(sample_weight, len(y))[answered]
            truth = self._encode_truth(y)[answered]
            said = encode_answers(answers[answered, 0], self.classes_)
            said = np.where(said == OUT_OF_LABELS, len(self.classes_), said)
            n = int(answered.sum())
            age = np.float_power(self.decay, np.arange(n - 1, -1, -1))
            self.counts_ = self.counts_ * self.decay**n
            np.add.at(self.counts_, (truth, said), weight * age)
        self._update_posterior()
        return self

    def _encode_truth(self, y):
        codes = encode_answers(y, self.classes_)
        if (codes < 0).any():
            unknown = np.unique(y[codes < 0].astype(str))[:5].tolist()
            raise ValueError(
                f"y has the labels {unknown}, which are not among the classes "
                f"{self.classes_.tolist()}. Pass ExpertProfile(classes=...) with all of them."
            )
        return codes

    def _set_prior(self):
        accuracy = self._per_class("prior_accuracy")
        confidence = self._per_class("prior_confidence")
        if accuracy is None:
            if confidence is not None:
                raise ValueError(
                    "prior_confidence was given without prior_accuracy, so there is nothing to "
                    "be confident of. Pass prior_accuracy too."
                )
            accuracy, confidence = np.full(len(self.classes_), 0.5), 0.0
        elif confidence is None:
            confidence = 1.0
        weight = self.prior_strength * confidence
        self.prior_alpha_ = 1.0 + weight * accuracy
        self.prior_beta_ = 1.0 + weight * (1.0 - accuracy)

    def _per_class(self, parameter):
        value = getattr(self, parameter)
        if value is None:
            return None
        if isinstance(value, Mapping):
            absent = [c for c in self.classes_.tolist() if c not in value]
            if absent:
                raise ValueError(
                    f"{parameter} has no value for the classes {absent}. Give one for each of "
                    f"{self.classes_.tolist()}."
                )
            value = [value[c] for c in self.classes_.tolist()]
        array = np.asarray(value, dtype=float)
        if array.ndim and array.shape != self.classes_.shape:
            raise ValueError(
                f"{parameter} has shape {array.shape}; expected a number, a mapping by class, or "
                f"one value for each of the {len(self.classes_)} classes."
            )
        if not ((array >= 0) & (array <= 1)).all():
            raise ValueError(f"{parameter} is {value!r}; expected probabilities in [0, 1].")
        return np.broadcast_to(array, self.classes_.shape)

    def _update_posterior(self):
        right = self.counts_.diagonal().copy()
        total = self.counts_.sum(axis=1)
        self.alpha_ = self.prior_alpha_ + right
        self.beta_ = self.prior_beta_ + total - right
        strength = self.alpha_ + self.beta_
        self.mean_ = self.alpha_ / strength
        self.variance_ = self.alpha_ * self.beta_ / (strength**2 * (strength + 1.0))
        self.n_context_ = total
        self.expertise_class_ = self.classes_[self.mean_.argmax()]
        n_others = max(len(self.classes_) - 1, 1)
        # An answer outside the classes is wrong, in no known way: spread like the prior.
        spread = (self.prior_beta_ + self.counts_[:, -1]) / n_others
        concentration = self.counts_[:, :-1] + spread[:, None]
        np.fill_diagonal(concentration, self.alpha_)
        self.confusion_ = concentration / strength[:, None]

    def predict(self, proba):
        """Expected accuracy of the expert on each row.

        Parameters
        ----------
        proba : array-like of shape (n_rows, n_classes)
            The model's class probabilities, in the order of ``classes_``.

        Returns
        -------
        accuracy : ndarray of shape (n_rows,)
            The mean of the posteriors under the row's class probabilities.
        """
        return self._check_proba(proba) @ self.mean_

    def predict_defer(self, proba, cost=0.0, pessimism=1.0):
        """Whether the expert is worth its cost on each row.

        Parameters
        ----------
        proba : array-like of shape (n_rows, n_classes)
            The model's class probabilities, in the order of ``classes_``.
        cost : float, default=0.0
            Price of an answer, in errors.
        pessimism : float, default=1.0
            Standard deviations that are taken off the expected accuracy; 0 makes the
            fewest wrong hand-overs when probabilities are calibrated.

        Returns
        -------
        defer : ndarray of shape (n_rows,), dtype bool
            True where the lower bound of the expected accuracy, less ``cost``, is above
            the model's confidence.
        """
        proba = self._check_proba(proba)
        bound = proba @ self.mean_ - pessimism * self.uncertainty(proba)
        return bound - cost > proba.max(axis=1)

    def uncertainty(self, proba):
        """Posterior standard deviation of the expected accuracy on each row.

        Parameters
        ----------
        proba : array-like of shape (n_rows, n_classes)
            The model's class probabilities, in the order of ``classes_``.

        Returns
        -------
        deviation : ndarray of shape (n_rows,)
            sqrt(sum_k p_k^2 var_k).
        """
        return np.sqrt(np.square(self._check_proba(proba)) @ self.variance_)

    def lower_bound(self, pessimism=1.0):
        """Posterior mean less ``pessimism`` standard deviations, at least 0, by class.

        Parameters
        ----------
        pessimism : float, default=1.0
            Number of standard deviations.

        Returns
        -------
        bound : ndarray of shape (n_classes,)
            The bound of each class.
        """
        check_is_fitted(self)
        return np.maximum(0.0, self.mean_ - pessimism * np.sqrt(self.variance_))

    def interval(self, level=0.95):
        """Central posterior interval of the accuracy on each class.

        Parameters
        ----------
        level : float, default=0.95
            Posterior probability inside, in (0, 1).

        Returns
        -------
        interval : ndarray of shape (n_classes, 2)
            Lower and upper end.
        """
        check_is_fitted(self)
        _check_open_unit("level", level)
        ends = np.array([(1 - level) / 2, (1 + level) / 2])
        return stats.beta.ppf(ends, self.alpha_[:, None], self.beta_[:, None])

    def required_context(self, margin, delta=0.05):
        """Answers per class that identify the expert's best class (Proposition 1).

        Parameters
        ----------
        margin : float
            Gap in accuracy between the best class and the next, in (0, 1].
        delta : float, default=0.05
            Probability of naming another class, in (0, 1).

        Returns
        -------
        n : int
            Rows per class; the bound is on empirical means, so equally many of each.

        Examples
        --------
        >>> from skdefer import ExpertProfile
        >>> ExpertProfile(classes=list(range(7))).required_context(margin=0.5, delta=0.05)
        46
        """
        if not 0 < margin <= 1:
            raise ValueError(f"margin is {margin!r}; expected a gap in accuracy in (0, 1].")
        _check_open_unit("delta", delta)
        return math.ceil(2.0 / margin**2 * math.log(2 * self._n_classes() / delta))

    def required_to_correct(self, true_accuracy, tolerance, delta=0.05):
        """Answers per class that overcome a wrong prior (Proposition 2).

        Parameters
        ----------
        true_accuracy : float or array-like of shape (n_classes,)
            The accuracy to be found, in [0, 1].
        tolerance : float
            Largest distance of the posterior mean from it, in (0, 1].
        delta : float, default=0.05
            Probability of a greater distance, in (0, 1).

        Returns
        -------
        n : ndarray of shape (n_classes,), dtype int
            Rows per class.
        """
        if not 0 < tolerance <= 1:
            raise ValueError(f"tolerance is {tolerance!r}; expected a distance in (0, 1].")
        _check_open_unit("delta", delta)
        truth = np.asarray(true_accuracy, dtype=float)
        if not ((truth >= 0) & (truth <= 1)).all():
            raise ValueError(f"true_accuracy is {true_accuracy!r}; expected values in [0, 1].")
        if not hasattr(self, "prior_alpha_"):
            return ExpertProfile(**self.get_params()).fit([], []).required_to_correct(
                true_accuracy, tolerance, delta
            )
        strength = self.prior_alpha_ + self.prior_beta_
        bias = np.abs(self.prior_alpha_ / strength - truth)
        from_prior = strength * np.maximum(0.0, 2 * bias / tolerance - 1)
        from_noise = 2 * math.log(2 / delta) / tolerance**2
        return np.ceil(np.maximum(from_prior, from_noise)).astype(int)

    def align(self, classes):
        """Bring the profile to other classes; one it never saw has the prior.

        Parameters
        ----------
        classes : array-like of shape (n_classes,)
            The classes, sorted, of the model that will read the profile.

        Returns
        -------
        profile : ExpertProfile
            ``self`` if the classes are the same, a fitted copy otherwise.
        """
        check_is_fitted(self)
        classes = np.asarray(classes)
        if np.array_equal(classes, self.classes_):
            return self
        old = encode_answers(classes, self.classes_)
        known = old >= 0
        aligned = ExpertProfile(**{**self.get_params(), "classes": classes})
        if not known.all() and self._given_by_class():
            # A prior given for the old classes says nothing of the new ones.
            aligned.set_params(prior_accuracy=None, prior_confidence=None)
        aligned.fit([], [])
        for prior in ("prior_alpha_", "prior_beta_"):
            getattr(aligned, prior)[known] = getattr(self, prior)[old[known]]
        rows = self.counts_[old[known]]
        inside = np.zeros((len(rows), len(classes)))
        inside[:, known] = rows[:, old[known]]
        # What the expert said of classes that are gone is wrong all the same.
        outside = rows.sum(axis=1) - inside.sum(axis=1)
        aligned.counts_[known] = np.column_stack([inside, outside])
        aligned._update_posterior()
        return aligned

    def _given_by_class(self):
        return any(
            value is not None and not isinstance(value, numbers.Real)
            for value in (self.prior_accuracy, self.prior_confidence)
        )

    def _n_classes(self):
        if hasattr(self, "classes_"):
            return len(self.classes_)
        if self.classes is None:
            raise ValueError(
                "The number of classes is not known. Fit the profile, or pass "
                "ExpertProfile(classes=...)."
            )
        return len(np.unique(np.asarray(self.classes)))

    def _check_proba(self, proba):
        check_is_fitted(self)
        proba = np.asarray(proba, dtype=float)
        if proba.ndim != 2 or proba.shape[1] != len(self.classes_):
            raise ValueError(
                f"proba has shape {proba.shape}; expected (n_rows, {len(self.classes_)}), a "
                f"column for each of the classes {self.classes_.tolist()}."
            )
        return proba


def always_right(classes, name=None):
    """Make the profile of an expert who is never wrong: Beta posteriors with all mass at 1.

    Parameters
    ----------
    classes : array-like of shape (n_classes,)
        The classes.
    name : str, default=None
        Name of the expert.

    Returns
    -------
    profile : ExpertProfile
        Of mean 1 and variance 0 in every class.
    """
    profile = ExpertProfile(name=name, classes=classes).fit([], [])
    profile.prior_beta_ = np.zeros(len(profile.classes_))
    profile._update_posterior()
    return profile


def _check_open_unit(name, value):
    if not isinstance(value, numbers.Real) or not 0 < value < 1:
        raise ValueError(f"{name} is {value!r}; expected a probability in (0, 1).")
