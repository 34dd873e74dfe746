"""How often an expert is right on each class, as Beta posteriors."""

from __future__ import annotations

import copy
import numbers

import numpy as np
from scipy import stats
from sklearn.base import BaseEstimator, clone
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from skdefer.experts._posterior import (
    align_counts,
    beta_prior,
    check_open_unit,
    check_truth,
    confusion,
    posterior,
    prior_covers,
    rows_to_correct,
    rows_to_identify,
    tally,
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
        in [0, 1] of being right on a class. An array is in the order of ``classes_``
        (sorted); a mapping or a pandas Series gives it by class. None: uniform.
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
    prior_ : PopulationPrior or None
        The prior that :meth:`with_prior` put in place of the uniform one.
    n_context_ : ndarray of shape (n_classes,)
        Answers by class, in the weight that they have after ``sample_weight`` and ``decay``.
    classes_ : ndarray of shape (n_classes,)
        The classes.

    References
    ----------
    Strong et al. (2025). Expert-Agnostic Learning to Defer. arXiv 2502.10533.

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
        self.classes_ = np.unique(check_truth(y) if self.classes is None else self.classes)
        if not len(self.classes_):
            raise ValueError(
                "y is empty and classes has none, so the classes are not known. "
                "Pass ExpertProfile(classes=...)."
            )
        self._believed = beta_prior(
            self.classes_ if self.classes is None else np.asarray(self.classes),
            self.prior_accuracy,
            self.prior_confidence,
            self.prior_strength,
        )
        self.prior_ = None
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
        counts, n_answers = tally(
            expert_predictions, y, self.classes_, sample_weight, decay=self.decay
        )
        self.counts_ = self.counts_ * self.decay**n_answers + counts
        self._update_posterior()
        return self

    def _update_posterior(self):
        self.prior_alpha_, self.prior_beta_, self.alpha_, self.beta_ = posterior(
            self._believed, self.counts_, self.prior_
        )
        strength = self.alpha_ + self.beta_
        self.mean_ = self.alpha_ / strength
        self.variance_ = self.alpha_ * self.beta_ / (strength**2 * (strength + 1.0))
        self.n_context_ = self.counts_.sum(axis=1)
        self.expertise_class_ = self.classes_[self.mean_.argmax()]
        self.confusion_ = confusion(self.counts_, self.mean_, self.prior_beta_)

    def with_prior(self, prior):
        """Put what is known of a population of experts in place of the uniform prior.

        What was said of the expert itself (``prior_accuracy``) stands: only classes without
        such a word, or with a confidence of 0 in it, get the prior. It stays through
        :meth:`partial_fit` and :meth:`align`; :meth:`fit` and ``clone`` forget it, as they
        forget answers. Where it is a mixture, means and variances are exact, and ``alpha_``,
        ``beta_`` and :meth:`interval` are those of the Beta distribution that has them.

        Parameters
        ----------
        prior : PopulationPrior
            Fitted; later fits of it change nothing here.

        Returns
        -------
        profile : ExpertProfile
            A fitted copy, in place of a population prior from before too.

        Raises
        ------
        ValueError
            If ``prior`` is something else.
        """
        check_is_fitted(self)
        if not hasattr(prior, "posterior_beta"):
            raise ValueError(f"prior is {prior!r}; expected a fitted PopulationPrior.")
        other = copy.copy(self)
        other.prior_ = copy.copy(prior)
        other._update_posterior()
        return other

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
        check_open_unit("level", level)
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
        return rows_to_identify(len(self._planned().classes_), margin, delta)

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
        known = self._planned()
        return rows_to_correct(
            known.prior_alpha_, known.prior_beta_, true_accuracy, tolerance, delta
        )

    def _planned(self):
        return self if hasattr(self, "prior_alpha_") else clone(self).fit([], [])

    def align(self, classes):
        """Bring the profile to other classes; one it never saw has the prior.

        Parameters
        ----------
        classes : array-like of shape (n_classes,)
            The classes of the model that will read the profile, in any order.

        Returns
        -------
        profile : ExpertProfile
            ``self`` if the classes are the same, a fitted copy otherwise.
        """
        check_is_fitted(self)
        classes = np.unique(classes)
        if np.array_equal(classes, self.classes_):
            return self
        aligned = clone(self).set_params(classes=classes)
        if not prior_covers(self.prior_accuracy, self.prior_confidence, classes):
            # A prior given for the old classes says nothing of the new ones.
            aligned.set_params(prior_accuracy=None, prior_confidence=None)
        aligned.fit([], [])
        aligned.prior_ = self.prior_
        aligned._believed, aligned.counts_ = align_counts(
            self._believed, self.counts_, self.classes_, aligned._believed, classes
        )
        aligned._update_posterior()
        return aligned

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
    profile._believed[1] = 0.0
    profile._update_posterior()
    return profile
