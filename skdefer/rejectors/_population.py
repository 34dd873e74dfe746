"""What the experts of ``fit`` have in common: where an expert whom nobody has met starts."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax

from skdefer.experts._priors import PopulationPrior
from skdefer.experts._profile import ExpertProfile
from skdefer.rejectors._correction import LEAST_SPREAD, Correction, fit_penalised, safe_logit
from skdefer.utils._validation import MISSING

_MOST_ROWS = 5000  # per expert: more would tell nothing of how experts differ
_SMALLEST = 1e-6  # a probability below is taken for this much
_SHARPEST = 2.0  # bound of the log of the power of probabilities
# Squared size of corrections, in units of what the ridge believes of one: of the one that
# experts share, and of what each departs from it. Beforehand half and half.
_SHARED = np.array([0.03, 0.1, 0.3, 1.0, 3.0])
_OWN = np.array([0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0])
_SIZE, _SHARED_SPREAD, _OWN_SPREAD = 0.5, 1.0, 1.5


@dataclass
class Newcomer:
    """An expert served by a population; K classes."""

    loss: np.ndarray  # (K,), expected on each class, as a share of the greatest price
    own: Correction | None = None  # learned from the expert's own answers
    weight: float = 0.0  # of the own correction; the rest is the population's


class Population:
    """A prior for the next expert, from the experts known: one who resembles them, roughly.

    Three things carry over. Probabilities of the model that fit the truth, by a power of
    them (a temperature). How often an expert is right on each class, as pseudo-answers: as
    many as explain how much the known experts differ. How an expert departs from what the
    profile promises, given how sure the model is: the known experts' corrections are taken
    as draws around a shared one, and the marginal likelihood weighs how much they share.
    One expert says half at most of the next, many alike nearly all.

    Parameters
    ----------
    ridge : float
        Penalty of an expert's correction, in rows.

    Attributes
    ----------
    power_ : float
        Power of the model's probabilities: above 1 it says less than it knows.
    prior : PopulationPrior
        How often its experts are right on a class.
    correction_ : Correction
        The shared correction, of signals and the rule; features of the rows have no part in it.
    features_ : Correction
        How the features lie; without effect.
    own_ : float
        Squared size of an expert's own departure from it, in units of the ridge's.
    """

    def __init__(self, ridge: float):
        self.ridge = ridge

    def fit(
        self,
        proba: np.ndarray,
        y: np.ndarray,
        answers: np.ndarray,
        good: np.ndarray,
        weight: np.ndarray,
        signals: np.ndarray,
        features: np.ndarray,
        *,
        losses: np.ndarray,
        profiles: Sequence[ExpertProfile],
    ) -> Population:
        """Learn from the experts of ``fit``.

        Parameters
        ----------
        proba : ndarray of shape (n_rows, n_classes)
            The model's probabilities.
        y : ndarray of int of shape (n_rows,)
            The truth, as positions.
        answers : ndarray of int of shape (n_rows, n_experts)
            The record, as positions; ``MISSING`` where there is no answer.
        good : ndarray of shape (n_rows, n_experts)
            What the answers saved, in [0, 1]; 1 where right.
        weight : ndarray of shape (n_rows,)
            Weights of the rows.
        signals : ndarray of shape (n_rows, n_signals)
            How sure the model is.
        features : ndarray of shape (n_rows, n_features)
            What a newcomer's own correction may read besides.
        losses : ndarray of shape (n_classes, n_experts)
            Expected on each class, as shares of the greatest price.
        profiles : sequence of ExpertProfile
            Of the experts.

        Returns
        -------
        self : Population
        """
        rows = _at_most(np.flatnonzero(weight > 0))
        self.power_ = _fit_power(proba[rows], y[rows], weight[rows])
        # Copies: a prior that is learned later is that of these answers all the same.
        self.profiles = [copy.copy(profile) for profile in profiles]
        self.__dict__.pop("prior", None)
        self.features_ = Correction(self.ridge).start(features[rows], weight[rows])
        records = []
        for j in range(answers.shape[1]):
            rows = _at_most(np.flatnonzero((answers[:, j] != MISSING) & (weight > 0)))
            if len(rows):
                rule = 1.0 - self.calibrate(proba[rows]) @ losses[:, j]
                columns = np.column_stack([signals[rows], safe_logit(rule)])
                records.append((columns, rule, good[rows, j], weight[rows]))
        self.own_ = _SIZE
        self.correction_ = Correction(self.ridge, LEAST_SPREAD)
        if not records:
            nothing = np.column_stack([signals, safe_logit(proba.max(axis=1))])
            self.correction_.start(nothing, weight)
            return self
        columns, _, _, weights = (np.concatenate(part) for part in zip(*records, strict=True))
        shared = self.correction_.start(columns, weights)
        likelihoods = [_likelihood(shared, *record) for record in records]
        informations, directions = map(np.array, zip(*likelihoods, strict=True))
        shared.coef_, self.own_ = _share(informations, directions, 1.0 / shared.penalty_)
        return self

    def calibrate(self, proba: np.ndarray) -> np.ndarray:
        """Bring the model's probabilities to what came true."""
        return np.exp(log_softmax(self.power_ * np.log(np.maximum(proba, _SMALLEST)), axis=1))

    @functools.cached_property
    def prior(self) -> PopulationPrior:
        """How often such experts are right; learned when the first stranger comes."""
        return PopulationPrior().fit(self.profiles)

    def inform(self, profile: ExpertProfile) -> ExpertProfile:
        """Give a profile this population as its prior, unless it has one."""
        return profile if profile.prior_ is not None else profile.with_prior(self.prior)

    def predict(
        self,
        newcomer: Newcomer,
        calibrated: np.ndarray,
        signals: np.ndarray,
        features: np.ndarray,
    ) -> np.ndarray:
        """Share of the greatest price that a newcomer saves on each row: P(right) for errors.

        ``calibrated`` are probabilities from :meth:`calibrate`, the rest is as in :meth:`fit`.
        """
        rule = 1.0 - calibrated @ newcomer.loss
        columns = np.column_stack([signals, safe_logit(rule)])
        typical = self.correction_.predict(columns, rule)
        if newcomer.own is None:
            return typical
        own = newcomer.own.predict(np.column_stack([columns, features]), rule)
        return (1.0 - newcomer.weight) * typical + newcomer.weight * own

    def learn(
        self,
        newcomer: Newcomer,
        proba: np.ndarray,
        good: np.ndarray,
        signals: np.ndarray,
        features: np.ndarray,
        *,
        shrinkage: float,
    ) -> Newcomer:
        """Learn a newcomer's own correction from answered rows, around the shared one."""
        rule = 1.0 - self.calibrate(proba) @ newcomer.loss
        columns = np.column_stack([signals, safe_logit(rule), features])
        shared, plain = self.correction_, self.features_
        own = Correction(self.ridge)
        own.center_ = np.r_[shared.center_, plain.center_]
        own.scale_ = np.r_[shared.scale_, plain.scale_]
        own.penalty_ = np.r_[shared.penalty_ / self.own_, plain.penalty_[1:]]
        own.coef_ = np.r_[shared.coef_, plain.coef_[1:]]
        own = own.adapt(columns, rule, good)
        return Newcomer(newcomer.loss, own, len(good) / (len(good) + shrinkage))


def _at_most(rows: np.ndarray) -> np.ndarray:
    return rows[:: max(1, -(-len(rows) // _MOST_ROWS))]


def _fit_power(proba: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    """Find the power of the probabilities that makes the truth likeliest; 1 without data."""
    log_proba = np.log(np.maximum(proba, _SMALLEST))
    truth = np.arange(len(y)), y

    def loss(log_power: float) -> float:
        likelihood = weight @ log_softmax(log_proba * np.exp(log_power), axis=1)[truth]
        return 2.0 * log_power**2 - float(likelihood)  # a normal prior of deviation 1/2

    found = minimize_scalar(
        loss, bounds=(-_SHARPEST, _SHARPEST), method="bounded", options={"xatol": 1e-4}
    )
    return float(np.exp(found.x))


def _likelihood(
    shared: Correction,
    columns: np.ndarray,
    rule: np.ndarray,
    good: np.ndarray,
    weight: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Expand an expert's log likelihood to the second order: information H and direction h.

    It is ``h . b - b . H b / 2`` up to a constant, near the expert's own ridge fit.
    """
    design, penalty = shared.design(columns), shared.penalty_
    b = fit_penalised(design, safe_logit(rule), good, weight, penalty)
    p = expit(safe_logit(rule) + design @ b)
    information = (design * (weight * p * (1.0 - p))[:, None]).T @ design
    return information, information @ b + penalty * b


def _share(
    informations: np.ndarray, directions: np.ndarray, variance: np.ndarray
) -> tuple[np.ndarray, float]:
    """Empirical Bayes over experts' corrections: the shared one, and the size of their own.

    The correction of expert j is ``b + d_j``, with ``b ~ N(0, s V)`` and ``d_j ~ N(0, o V)``,
    V the diagonal ``variance``. Its likelihood is Gaussian with information H_j, direction
    h_j. Sizes s and o are averaged over their posterior on a grid.

    Parameters
    ----------
    informations : ndarray of shape (n_experts, d, d)
    directions : ndarray of shape (n_experts, d)
    variance : ndarray of shape (d,)

    Returns
    -------
    b : ndarray of shape (d,)
        Posterior mean.
    own : float
        Posterior geometric mean of o.
    """
    one = np.eye(len(variance))
    logs, means, owns = [], [], []
    for own in _OWN:
        # Without d_j: precision A_j and direction g_j of the expert's correction about b.
        shrink = one + own * informations * variance
        both = np.concatenate([informations, directions[:, :, None]], axis=2)
        both = np.linalg.solve(shrink, both)
        precision, direction = both[:, :, :-1].sum(axis=0), both[:, :, -1].sum(axis=0)
        log = -0.5 * np.linalg.slogdet(shrink)[1].sum()
        log += 0.5 * own * np.einsum("ji,i,ji->", directions, variance, both[:, :, -1])
        for size in _SHARED:
            prior = size * variance
            shrunk = one + prior[:, None] * precision
            b = np.linalg.solve(shrunk, prior * direction)
            evidence = log - 0.5 * np.linalg.slogdet(shrunk)[1] + 0.5 * direction @ b
            evidence -= 0.5 * np.square(np.log(size / _SIZE) / _SHARED_SPREAD)
            evidence -= 0.5 * np.square(np.log(own / _SIZE) / _OWN_SPREAD)
            logs.append(evidence)
            means.append(b)
            owns.append(own)
    weight = np.exp(np.array(logs) - max(logs))
    weight /= weight.sum()
    return weight @ np.array(means), float(np.exp(weight @ np.log(owns)))
