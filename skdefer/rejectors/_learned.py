"""Learned rejection: where does the model fail, where does each expert, and which is worse."""

from __future__ import annotations

import copy
import dataclasses
import numbers

import numpy as np
from sklearn.base import clone
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import check_is_fitted

from skdefer.costs import least_cost_answer
from skdefer.rejectors._base import BaseRejector
from skdefer.rejectors._correction import LEAST_SPREAD, Correction, count_signals, safe_logit
from skdefer.rejectors._population import Newcomer, Population
from skdefer.rejectors._reading import FEATURES, ReadingMixin
from skdefer.rejectors._shares import Shares
from skdefer.utils._validation import MISSING, check_answers, encode_answers


class LearnedRejector(ReadingMixin, BaseRejector):
    """Learn where the model fails and where each expert does, and compare.

    On out-of-fold rows it learns how often the model is right given how sure it is, and,
    on the rows that an expert answered, how often the expert is. Both start from a rule
    without training, the model's own probability and what the expert's profile promises
    of the row, and leave it only as far as the data force them: few answers give the rule
    of :class:`ProfileRejector`, not noise. An expert who comes later, by ``with_experts``,
    is weighed as one more of the experts of ``fit``, as far as those are alike.

    Parameters
    ----------
    estimator : classifier with ``predict_proba``, default=None
        Learns P(right) in place of the default, a logistic correction of the rule; it must
        take ``sample_weight``. It reads the signals, the logit of the rule and the features.
    features : transformer or "passthrough", default=None
        What is read of the row besides the model's probabilities: the output of a
        transformer of X, or X itself, which must then be numeric. None: nothing, so X may
        be anything.
    ridge : float, default=30.0
        Penalty of the default correction, in rows.
    shrinkage : float, default=200.0
        Number of an expert's answers at which the rule and what was learned count the same;
        of ``m`` answers, what was learned counts ``m / (m + shrinkage)``.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes.
    profiles_ : list of ExpertProfile
        One per expert.
    learned_weight_ : ndarray of shape (1 + n_experts,)
        How much of what was learned counts, for the model (1) and for each expert; of an
        expert who came later, from the rows of a context.

    Notes
    -----
    With a cost matrix, "right" becomes the share of the greatest price that an answer
    saves, in [0, 1]; the same models are fitted to it.

    References
    ----------
    Raghu et al. (2019). The algorithmic automation problem: prediction, triage, and human
    effort. arXiv 1903.12220.

    Examples
    --------
    >>> import numpy as np
    >>> from skdefer.rejectors import LearnedRejector
    >>> rng = np.random.default_rng(0)
    >>> proba = rng.dirichlet([1, 1], size=500)
    >>> y = (rng.random(500) < proba[:, 1]).astype(int)
    >>> answers = np.where(rng.random(500) < 0.9, y, 1 - y)  # right on nine rows of ten
    >>> loss = LearnedRejector().fit(proba, y, answers).expected_loss([[0.99, 0.01], [0.5, 0.5]])
    >>> loss[:, 0] < loss[:, 1]
    array([ True, False])
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict_proba"]), None],
        "features": FEATURES,
        "ridge": [Interval(numbers.Real, 0, None, closed="neither")],
        "shrinkage": [Interval(numbers.Real, 0, None, closed="left")],
    }
    learns = True
    reads_contexts = True

    def __init__(self, estimator=None, *, features=None, ridge=30.0, shrinkage=200.0):
        self.estimator = estimator
        self.features = features
        self.ridge = ridge
        self.shrinkage = shrinkage

    def _fit(self, proba, y, answers, X, sample_weight):
        signals = self._read(proba, X, fitting=True)
        kept = least_cost_answer(proba, self.error_cost_)
        rules = self._good(self._rules(proba))
        said = np.column_stack([kept, answers])
        good = np.column_stack([self._good(self._realised_loss(y, a)) for a in said.T])
        self.learned_ = []
        self.learned_weight_ = np.zeros(said.shape[1])
        for route, rule in enumerate(rules.T):
            rows = np.flatnonzero((said[:, route] != MISSING) & (sample_weight > 0))
            model = None
            if len(rows):
                columns = self._with_rule(signals[rows], rule[rows], route)
                model = self._new_model(columns.shape[1], route).fit(
                    columns,
                    rule[rows],
                    good[rows, route],
                    sample_weight[rows],
                )
                # An expert may have few answers; the model answers every row.
                m = sample_weight[rows].sum()
                self.learned_weight_[route] = m / (m + self.shrinkage) if route else 1.0
            self.learned_.append(model)
        self._newcomers = {}
        self._population = Population(self.ridge).fit(
            proba,
            y,
            answers,
            good[:, 1:],
            sample_weight,
            *self._split(signals),
            losses=self._class_losses() / self._worst_price(),
            profiles=self.profiles_,
        )

    def _losses(self, proba, X):
        proba = proba.astype(float, copy=False)
        signals = self._read(proba, X)
        good = self._good(self._rules(proba))
        for route, model in enumerate(self.learned_):
            weight = self.learned_weight_[route]
            if model is not None and weight:
                rule = good[:, route]
                learned = model.predict(self._with_rule(signals, rule, route), rule)
                good[:, route] = (1.0 - weight) * rule + weight * learned
        if self._newcomers:
            calibrated = self._population.calibrate(proba)
            for route, newcomer in self._newcomers.items():
                good[:, route] = self._population.predict(
                    newcomer, calibrated, *self._split(signals)
                )
        return (1.0 - good) * self._worst_price()

    def with_profiles(self, profiles, *, met=None):
        """Serve other experts; see :meth:`BaseRejector.with_profiles`.

        What was learned of the model stays, and what was learned of experts met before: a
        newer profile moves the rule, and the correction of the rule is as it was. A stranger is
        weighed as one more of them: their accuracies are the prior of the profile
        (:class:`~skdefer.experts.PopulationPrior`; a belief of its own stands), and the rule is
        corrected as theirs are, as far as they are alike. One known expert says little of the
        next, many alike much.
        """
        check_is_fitted(self, "profiles_")
        met = self._who_was_met(profiles, met)
        other: LearnedRejector = super().with_profiles(profiles, met=met)
        routes = [0] + [None if j is None else j + 1 for j in met]
        other.learned_ = [None if r is None else self.learned_[r] for r in routes]
        other.learned_weight_ = np.array(
            [0.0 if r is None else self.learned_weight_[r] for r in routes]
        )
        other._newcomers = {}
        for route, r in enumerate(routes):
            if r is None or r in self._newcomers:
                informed = self._population.inform(other.profiles_[route - 1])
                loss = self._class_losses([informed])[:, 0] / self._worst_price()
                before = Newcomer(loss) if r is None else self._newcomers[r]
                other._newcomers[route] = dataclasses.replace(before, loss=loss)
        return other

    def with_contexts(self, contexts):
        """Learn of strangers from rows they answered; see :meth:`BaseRejector.with_contexts`.

        A stranger's correction starts from what is typical of the experts of ``fit`` and
        leaves it as far as the rows force it, by ``ridge`` and ``shrinkage``; it reads
        ``features`` too, unless ``estimator`` is given. Experts of ``fit`` keep theirs.
        """
        check_is_fitted(self, "profiles_")
        if len(contexts) != len(self.profiles_):
            raise ValueError(
                f"{len(contexts)} contexts for {len(self.profiles_)} experts; pass one each, None "
                "where there is none."
            )
        other = copy.copy(self)
        other.learned_weight_ = self.learned_weight_.copy()
        other._newcomers = dict(self._newcomers)
        for route, context in enumerate(contexts, start=1):
            if context is not None and route in self._newcomers:
                signals, proba, good = self._read_context(*context)
                if len(good):
                    learned = self._population.learn(
                        self._newcomers[route],
                        proba,
                        good,
                        *self._split(signals),
                        shrinkage=self.shrinkage,
                    )
                    other._newcomers[route] = learned
                    other.learned_weight_[route] = learned.weight
        return other

    def _read_context(self, proba, y, answers, X):
        """Signals and probabilities of the rows that were answered, and what answers saved."""
        proba = self._check_proba(proba)
        said = encode_answers(check_answers(answers, len(proba))[0][:, 0], self.classes_)
        truth = encode_answers(np.asarray(y), self.classes_)
        if truth.shape != said.shape or (truth < 0).any():
            raise ValueError(
                f"y of a context has shape {truth.shape} and proba {proba.shape}; expected one "
                f"label for each row of proba, among the classes {self.classes_.tolist()}."
            )
        rows = np.flatnonzero(said != MISSING)
        good = self._good(self._realised_loss(truth[rows], said[rows]))
        return self._read(proba, X)[rows], proba[rows], good

    def _new_model(self, n_columns, route):
        if self.estimator is not None:
            return Shares(clone(self.estimator))
        least = np.zeros(n_columns)  # features of the rows may be of any size
        least[: count_signals(len(self.classes_))] = LEAST_SPREAD
        least[n_columns - (route > 0) :] = LEAST_SPREAD  # the rule
        return Correction(self.ridge, least)

    def _split(self, signals):
        """Signals of the model's probabilities, and what corrections of strangers read besides."""
        n = count_signals(len(self.classes_))
        return signals[:, :n], signals[:, n:] if self.estimator is None else signals[:, n:n]

    def _with_rule(self, signals, rule, route):
        # The rule on the model's own answer is among its signals already.
        return signals if route == 0 else np.column_stack([signals, safe_logit(rule)])
