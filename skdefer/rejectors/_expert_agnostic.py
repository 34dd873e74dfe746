"""One rejector for all experts, seen or not: six numbers of the row and the expert's profile."""

from __future__ import annotations

import copy
import hashlib
import numbers
from collections.abc import Iterator

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from skdefer.experts._profile import ExpertProfile
from skdefer.experts._six_numbers import expertise_class, six_numbers
from skdefer.rejectors._base import BaseRejector
from skdefer.rejectors._correction import Correction, safe_logit
from skdefer.rejectors._learned import LearnedRejector
from skdefer.rejectors._shares import Shares
from skdefer.utils._validation import MISSING

_BLOCK = 1 << 13  # rows weighed at once: what fits the cache
# Answers of one expert are alike: however many, they say as much of the next expert as this
# number of answers from as many experts.
_ALIKE = 100.0
_RIDGE = 3.0
_FEW = 1.0  # answers at which an expert's own record and the lack of one count the same


class ExpertAgnosticRejector(BaseRejector):
    """Learn from all experts together how good anybody with such a profile is on such a row.

    It reads six numbers of a row and an expert: the model's largest class probability, mean and
    variance of the expert's accuracy on the class that the model predicts, the same on the
    expert's best class, and the model's probability of that class. None of them names a class
    or an expert, so an expert that ``fit`` never saw is weighed as one of the same profile that
    it did see. To meet experts of whom little is known, ``fit`` draws every expert's profile
    several times afresh from a random part of the record.

    Parameters
    ----------
    estimator : classifier with ``predict_proba``, default=None
        Learns the target from the six numbers; it must take ``sample_weight``. None: a logistic
        regression on them and a few products, which starts from the target's closed form and
        leaves it only as far as the data force it.
    target : {"answers", "published"}, default="answers"
        What is learned. ``"answers"``: how often an expert is right, from answers to rows
        outside the drawn context; losses are in errors, and blended with those of
        :class:`ProfileRejector` where there is little to learn from. ``"published"``: the
        loss of the source, which reads the expert's profile and never an answer; its scores
        order rows and are no gains (see Notes).
    pessimism : float, default=1.0
        Of ``target="published"``: posterior standard deviations that are taken off the weight of
        a row.
    n_contexts : int, default=10
        Contexts drawn per expert.
    shrinkage : float, default=50.0
        Of ``target="answers"``: number of answers at which the profile's rule and what was
        learned count the same. The answers of one expert count as 100 at most.
    max_rows : int, default=100_000
        Number of triples (row, expert, context) that the estimator is shown at most, each
        expert's share drawn at random.
    random_state : int, RandomState instance or None, default=None
        Fixes the contexts, and the rows if there are too many.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes.
    profiles_ : list of ExpertProfile
        One per expert.
    confidence_ : LearnedRejector
        What was learned of the model's own answers.
    learned_weight_ : float
        How much of what was learned of experts counts, in [0, 1].

    Notes
    -----
    The source trains logits of K classes and of deferral by ``-log p_y - w_y 1[y = k*] log p_d``,
    ``w_y`` the lower bound of the expert's accuracy on class y and ``k*`` the expert's best
    class. With the class probabilities given this is a weighted binary classification of triples:
    each once as "keep" with weight 1 and, where ``y = k*``, once as "defer" with weight ``w_y``.
    Its minimiser has the odds ``r = E[w_y 1[y = k*] | six numbers]``, and the published score
    ``p_d - max_k p_k`` is ``(r - max_k p_k) / (1 + r)`` in the model's own probabilities. As r is
    at most the probability of one class, the score is about 0 at best: use it with a policy that
    ranks rows, such as :class:`~skdefer.policies.BudgetPolicy`.

    With a cost matrix (``target="answers"`` only) "right" becomes the share of the greatest
    price that an answer saves. An expert without a single answer is weighed by the profile's rule;
    so is everybody where ``fit`` saw no answers.

    References
    ----------
    Strong et al. (2025). Expert-Agnostic Learning to Defer. arXiv 2502.10533.

    Examples
    --------
    >>> import numpy as np
    >>> from skdefer.experts import ExpertProfile
    >>> from skdefer.rejectors import ExpertAgnosticRejector
    >>> rng = np.random.default_rng(0)
    >>> proba = rng.dirichlet([1, 1, 1], size=600)
    >>> y = (rng.random((600, 1)) > proba.cumsum(axis=1)).sum(axis=1)
    >>> answers = np.column_stack([np.where(y == k, k, rng.integers(3, size=600)) for k in (0, 1)])
    >>> rejector = ExpertAgnosticRejector(random_state=0).fit(proba, y, answers)
    >>> new = ExpertProfile().fit([2, 2, 2, 2, 2, 1, 0, 1], [2, 2, 2, 2, 2, 0, 1, 1])  # knows 2
    >>> loss = rejector.with_profiles([new]).expected_loss([[0.3, 0.3, 0.4], [0.4, 0.6, 0.0]])
    >>> loss[:, 1] < loss[:, 0]
    array([ True, False])
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict_proba"]), None],
        "target": [StrOptions({"answers", "published"})],
        "pessimism": [Interval(numbers.Real, 0, None, closed="left")],
        "n_contexts": [Interval(numbers.Integral, 1, None, closed="left")],
        "shrinkage": [Interval(numbers.Real, 0, None, closed="left")],
        "max_rows": [Interval(numbers.Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }
    learns = True

    def __init__(
        self,
        estimator=None,
        *,
        target="answers",
        pessimism=1.0,
        n_contexts=10,
        shrinkage=50.0,
        max_rows=100_000,
        random_state=None,
    ):
        self.estimator = estimator
        self.target = target
        self.pessimism = pessimism
        self.n_contexts = n_contexts
        self.shrinkage = shrinkage
        self.max_rows = max_rows
        self.random_state = random_state

    @property
    def score_is_calibrated(self) -> bool:  # type: ignore[override]
        """Whether losses are in errors; not those of ``target="published"``."""
        return self.target == "answers"

    def _fit(self, proba, y, answers, X, sample_weight):
        if self.target == "published" and self.error_cost_ is not None:
            raise ValueError(
                "error_cost came with target='published', a loss that knows right and wrong only. "
                "Use target='answers', or plain errors."
            )
        self.confidence_ = LearnedRejector().fit(
            proba,
            self.classes_[y],
            None,
            error_cost=self.error_cost_,
            sample_weight=sample_weight,
            classes=self.classes_,
        )
        asked = sample_weight > 0
        proba, y, answers, weight = proba[asked], y[asked], answers[asked], sample_weight[asked]
        triples = list(self._triples(proba, y, answers, weight))
        self.learned_, self.learned_weight_ = None, 0.0
        if triples:
            six, prior, good, weights = map(np.concatenate, zip(*triples))
            model = _FromClosedForm() if self.estimator is None else Shares(clone(self.estimator))
            self.learned_ = model.fit(six, prior, good, weights)
            evidence = weights.sum()
            answering = self.target == "answers"
            self.learned_weight_ = evidence / (evidence + self.shrinkage) if answering else 1.0

    def _triples(
        self, proba: np.ndarray, y: np.ndarray, answers: np.ndarray, weight: np.ndarray
    ) -> Iterator[tuple[np.ndarray, ...]]:
        """Six numbers, closed form, share of good and weight, by expert and drawn context."""
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        answering = self.target == "answers"
        experts = [
            _Record(profile, y, said, weight, seed)
            for profile, said in zip(self.profiles_, answers.T)
            if len(y) and ((said != MISSING).any() if answering else profile.n_context_.sum() > 0)
        ]
        # Sorted by content, so that the order of the experts can't matter.
        experts.sort(key=lambda expert: expert.key)
        sizes = [len(e.rows) if answering else len(y) for e in experts]
        for expert, size in zip(experts, sizes):
            quota = max(1, int(self.max_rows / self.n_contexts * size / sum(sizes)))
            drawn = []
            for _ in range(self.n_contexts):
                profile, outside = expert.draw()
                rows = outside if answering else np.arange(len(y))
                if len(rows) > quota:
                    rows = expert.rng.choice(rows, size=quota, replace=False, shuffle=False)
                six = six_numbers(proba[rows], profile.mean_, profile.variance_)
                prior = self._closed_form(proba[rows], six, profile)
                if answering:
                    good = self._good(self._realised_loss(y[rows], expert.said[rows]))
                    mass = weight[rows]
                else:
                    best = expertise_class(profile.mean_, proba[rows], profile.variance_)
                    defer = (y[rows] == best) * self._caution(six)
                    good = defer / (1.0 + defer)
                    mass = weight[rows] * (1.0 + defer)
                drawn.append((six, prior, good, mass))
            total = sum(mass.sum() for *_, mass in drawn)
            if total > 0:
                # Copies of a row in several contexts are no further rows.
                scale = 1.0 / self.n_contexts
                if answering:
                    m = weight[expert.rows].sum()
                    scale = m / (1.0 + m / _ALIKE) / total
                yield from ((*parts, mass * scale) for *parts, mass in drawn)

    def _closed_form(
        self, proba: np.ndarray, six: np.ndarray, profile: ExpertProfile
    ) -> np.ndarray:
        """What the target is if answers depend on the class only and ``proba`` is calibrated."""
        if self.target == "published":
            odds = self._caution(six) * six[:, 5]
            return odds / (1.0 + odds)
        return self._rule(proba, profile)

    def _rule(self, proba: np.ndarray, profile: ExpertProfile) -> np.ndarray:
        if self.error_cost_ is None:
            return proba @ profile.mean_
        loss = (profile.confusion_ * self.error_cost_).sum(axis=1)
        return 1.0 - proba @ loss / self._worst_price()

    def _caution(self, six: np.ndarray) -> np.ndarray:
        """Lower bound of the accuracy on the expertise class: the published weight there."""
        return np.maximum(0.0, six[:, 3] - self.pessimism * np.sqrt(six[:, 4]))

    def _losses(self, proba, X):
        loss = np.empty((len(proba), 1 + len(self.profiles_)))
        for start in range(0, len(proba), _BLOCK):
            rows = slice(start, start + _BLOCK)
            block = proba[rows].astype(float, copy=False)
            loss[rows, 0] = self._losses_of_model(block)
            for j, profile in enumerate(self.profiles_, start=1):
                loss[rows, j] = self._losses_of(profile, block, loss[rows, 0])
        return loss

    def _losses_of_model(self, proba: np.ndarray) -> np.ndarray:
        if self.score_is_calibrated or self.learned_ is None:
            return self.confidence_.expected_loss(proba)[:, 0]
        return self._model_loss(proba)

    def _losses_of(self, profile: ExpertProfile, proba: np.ndarray, kept: np.ndarray) -> np.ndarray:
        good = self._rule(proba, profile)
        n_answers = profile.n_context_.sum()
        if self.learned_ is not None:
            six = six_numbers(proba, profile.mean_, profile.variance_)
            learned = self.learned_.predict(six, self._closed_form(proba, six, profile))
            if self.target == "published":
                return kept - (learned - (1.0 - learned) * (1.0 - kept))
            weight = self.learned_weight_ * n_answers / (n_answers + _FEW)
            good = (1.0 - weight) * good + weight * learned
        return (1.0 - good) * self._worst_price()


class _Record:
    """What one expert answered, and profiles from random parts of it."""

    def __init__(
        self,
        profile: ExpertProfile,
        y: np.ndarray,
        said: np.ndarray,
        weight: np.ndarray,
        seed: int,
    ):
        self.profile, self.said = profile, said
        self.rows = np.flatnonzero(said != MISSING)
        K = len(profile.classes_)
        # Position of each answer in the flattened counts; the last column is outside the classes.
        answer = np.where(said[self.rows] >= 0, said[self.rows], K)
        self.entry = y[self.rows] * (K + 1) + answer
        self.weight = weight[self.rows]
        # What the profile knew before: it has no rows here.
        earlier = profile.counts_ - self._counts(np.ones(len(self.rows), dtype=bool))
        self.earlier = np.maximum(earlier.round(), 0.0).astype(int)
        # Right, wrong or silent names no class, so that renaming classes draws the same.
        right = np.where(said == MISSING, MISSING, said == y).astype(np.int8)
        content = np.r_[self.weight, profile.n_context_.sum()].astype(float).round(9)
        self.key = hashlib.sha256(right.tobytes() + content.tobytes()).digest()
        self.rng = np.random.default_rng([seed, *self.key])

    def draw(self) -> tuple[ExpertProfile, np.ndarray]:
        """Draw a context, and name the answered rows that are not in it."""
        share = self.rng.random()
        inside = self.rng.random(len(self.rows)) < share
        profile = copy.copy(self.profile)
        profile.counts_ = self._counts(inside)
        if self.earlier.any():
            profile.counts_ = profile.counts_ + self.rng.binomial(self.earlier, share)
        profile._update_posterior()
        return profile, self.rows[~inside]

    def _counts(self, inside: np.ndarray) -> np.ndarray:
        weight = self.weight * inside
        if self.profile.decay < 1.0:
            age = inside.sum() - np.cumsum(inside)  # answers given since
            weight = weight * self.profile.decay**age
        shape = self.profile.counts_.shape
        return np.bincount(self.entry, weight, minlength=np.prod(shape)).reshape(shape)


class _FromClosedForm:
    """Logistic regression on the six numbers and products, started from the closed form."""

    def fit(
        self, six: np.ndarray, prior: np.ndarray, good: np.ndarray, weight: np.ndarray
    ) -> _FromClosedForm:
        self.correction_ = Correction(_RIDGE).fit(_features(six, prior), prior, good, weight)
        return self

    def predict(self, six: np.ndarray, prior: np.ndarray) -> np.ndarray:
        return self.correction_.predict(_features(six, prior), prior)


def _features(six: np.ndarray, prior: np.ndarray) -> np.ndarray:
    sure, mean, variance, best_mean, best_variance, best = six.T
    deviation, best_deviation = np.sqrt(variance), np.sqrt(best_variance)
    return np.column_stack(
        [
            *map(safe_logit, (sure, mean, best_mean, best, prior)),
            deviation,
            best_deviation,
            sure * mean,
            (1.0 - sure) * mean,
            best * best_mean,
            (1.0 - sure) * best_mean,
            sure * deviation,
            best * best_deviation,
        ]
    )
