"""The arithmetic of a profile: priors, tallies of answers, and how many answers it takes."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.utils import column_or_1d

from skdefer.utils._rows import count_rows
from skdefer.utils._validation import (
    OUT_OF_LABELS,
    check_answers,
    check_weights,
    encode_answers,
    is_missing,
)


def beta_prior(classes: np.ndarray, accuracy: Any, confidence: Any, strength: float) -> np.ndarray:
    """Turn what is believed of an expert into Beta(1 + s c a, 1 + s c (1 - a)) by class.

    ``accuracy`` a and ``confidence`` c are numbers, mappings by class, or arrays in the order of
    ``classes``, which must then be sorted; without an accuracy the prior is uniform, without a
    confidence it is 1. Returned are alpha and beta, shape (2, n_classes), of the sorted classes.
    """
    ordered = np.array_equal(classes, np.unique(classes))
    classes = np.unique(classes)
    right = _by_class("prior_accuracy", accuracy, classes, ordered)
    trust = _by_class("prior_confidence", confidence, classes, ordered)
    if right is None:
        if trust is not None:
            raise ValueError(
                "prior_confidence was given without prior_accuracy, so there is nothing to be "
                "confident of. Pass prior_accuracy too."
            )
        return np.ones((2, len(classes)))
    weight = strength if trust is None else strength * trust
    return np.stack([1.0 + weight * right, 1.0 + weight * (1.0 - right)])


def _by_class(parameter: str, value: Any, classes: np.ndarray, ordered: bool) -> np.ndarray | None:
    if value is None:
        return None
    if hasattr(value, "to_dict"):  # a pandas Series: its index says which class
        value = value.to_dict()
    if isinstance(value, Mapping):
        absent = [c for c in classes.tolist() if c not in value]
        if absent:
            raise ValueError(
                f"{parameter} has no value for the classes {absent}. Give one for each of "
                f"{classes.tolist()}."
            )
        value, ordered = [value[c] for c in classes.tolist()], True
    array = np.asarray(value, dtype=float)
    if array.ndim and array.shape != classes.shape:
        raise ValueError(
            f"{parameter} has shape {array.shape}; expected a number, a mapping by class, or "
            f"one value for each of the {len(classes)} classes."
        )
    if array.ndim and not ordered:
        raise ValueError(
            f"{parameter} has one value per class, but classes are not in sorted order, so it is "
            "not clear whose they are. Pass a mapping by class."
        )
    if not ((array >= 0) & (array <= 1)).all():
        raise ValueError(f"{parameter} is {value!r}; expected probabilities in [0, 1].")
    return np.broadcast_to(array, classes.shape)


def check_truth(y: Any) -> np.ndarray:
    """Bring the truth to an array of shape (n_rows,) in which no label is missing."""
    y = column_or_1d(y)
    missing = is_missing(y)
    if missing.any():
        raise ValueError(
            f"y is missing (NaN or None) on {int(missing.sum())} of {len(y)} rows; expected the "
            "truth on each. Leave those rows out."
        )
    return y


def tally(
    expert_predictions: Any, y: Any, classes: np.ndarray, sample_weight: Any, *, decay: float
) -> tuple[np.ndarray, int]:
    """Count what was said on rows of each class, and how many answers there were.

    Entry [k, a] of the counts, of shape (n_classes, n_classes + 1), is the weight of the
    answers a on rows of class k; the last column is of answers outside the classes. Each
    answer takes the factor ``decay`` off all earlier ones.
    """
    n_answers = count_rows(expert_predictions)
    if n_answers != len(y):
        raise ValueError(
            f"expert_predictions has {n_answers} answers, but y has {len(y)} labels; pass one "
            "answer per label, None where there is none."
        )
    counts = np.zeros((len(classes), len(classes) + 1))
    y = check_truth(y)
    if not len(y):
        return counts, 0
    answers = check_answers(expert_predictions, len(y))[0]
    if answers.shape[1] != 1:
        raise ValueError(
            f"expert_predictions has {answers.shape[1]} columns; a profile is of one expert. Fit "
            "one ExpertProfile per column."
        )
    truth = encode_answers(y, classes)
    if (truth < 0).any():
        unknown = np.unique(y[truth < 0].astype(str))[:5].tolist()
        raise ValueError(
            f"y has the labels {unknown}, which are not among the classes {classes.tolist()}. "
            "Pass ExpertProfile(classes=...) with all of them."
        )
    weight = check_weights(sample_weight, len(y))
    answered = ~is_missing(answers[:, 0]) & (weight > 0)
    said = encode_answers(answers[answered, 0], classes)
    said = np.where(said == OUT_OF_LABELS, len(classes), said)
    n_answers = int(answered.sum())
    age = np.float_power(decay, np.arange(n_answers - 1, -1, -1))
    np.add.at(counts, (truth[answered], said), weight[answered] * age)
    return counts, n_answers


def posterior(believed: np.ndarray, counts: np.ndarray, population: Any) -> tuple[np.ndarray, ...]:
    """Put prior and answers together, by class.

    Parameters
    ----------
    believed : ndarray of shape (2, n_classes)
        Alpha and beta of what is believed of this expert; Beta(1, 1): nothing.
    counts : ndarray of shape (n_classes, n_classes + 1)
        As :func:`tally` gives them.
    population : PopulationPrior or None
        The prior of classes of which nothing is believed; None: they keep Beta(1, 1).

    Returns
    -------
    prior_alpha, prior_beta, alpha, beta : ndarray of shape (n_classes,)
        Of prior and posterior. Those that come of a mixture have its mean and variance.
    """
    right, total = counts.diagonal(), counts.sum(axis=1)
    before, after = believed, believed + np.stack([right, total - right])
    silent = (believed == 1.0).all(axis=0)
    if population is not None and silent.any():
        nothing = np.zeros(len(right))
        before = np.where(silent, population.posterior_beta(nothing, nothing), before)
        after = np.where(silent, population.posterior_beta(right, total), after)
    return *before, *after


def confusion(counts: np.ndarray, mean: np.ndarray, prior_beta: np.ndarray) -> np.ndarray:
    """Compute the posterior mean of P(answer | class), Dirichlet rows around the given diagonal.

    What is wrong goes to the other classes as the wrong answers did, and as the prior does,
    evenly. An answer outside the classes is wrong in no known way: spread like the prior.
    """
    n_classes = len(counts)
    if n_classes == 1:
        return mean[:, None].copy()
    wrong = counts[:, :-1] + ((prior_beta + counts[:, -1]) / (n_classes - 1))[:, None]
    np.fill_diagonal(wrong, 0.0)
    share = wrong / np.maximum(wrong.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    rows = (1.0 - mean)[:, None] * share
    np.fill_diagonal(rows, mean)
    return rows


def align_counts(
    believed: np.ndarray,
    counts: np.ndarray,
    old_classes: np.ndarray,
    new_believed: np.ndarray,
    classes: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Bring priors and counts to other classes; one that is new keeps its ``new_believed``."""
    old = encode_answers(classes, old_classes)
    known = old >= 0
    new_believed = new_believed.copy()
    new_believed[:, known] = believed[:, old[known]]
    rows = counts[old[known]]
    inside = np.zeros((len(rows), len(classes)))
    inside[:, known] = rows[:, old[known]]
    # What the expert said of classes that are gone is wrong all the same.
    outside = np.maximum(rows.sum(axis=1) - inside.sum(axis=1), 0.0)  # rounded below 0, if not
    new_counts = np.zeros((len(classes), len(classes) + 1))
    new_counts[known] = np.column_stack([inside, outside])
    return new_believed, new_counts


def prior_covers(accuracy: Any, confidence: Any, classes: np.ndarray) -> bool:
    """Tell whether a self-assessment says something of all these classes."""
    return all(
        value is None
        or isinstance(value, numbers.Real)
        or (isinstance(value, Mapping) and set(classes.tolist()) <= set(value))
        for value in (accuracy, confidence)
    )


def rows_to_identify(n_classes: int, margin: Any, delta: Any) -> int:
    """Count the answers per class that identify the best class (Proposition 1)."""
    if not 0 < margin <= 1:
        raise ValueError(f"margin is {margin!r}; expected a gap in accuracy in (0, 1].")
    check_open_unit("delta", delta)
    return math.ceil(2.0 / margin**2 * math.log(2 * n_classes / delta))


def rows_to_correct(
    alpha: np.ndarray, beta: np.ndarray, true_accuracy: Any, tolerance: Any, delta: Any
) -> np.ndarray:
    """Count the answers per class that overcome the prior Beta(alpha, beta) (Proposition 2)."""
    if not 0 < tolerance <= 1:
        raise ValueError(f"tolerance is {tolerance!r}; expected a distance in (0, 1].")
    check_open_unit("delta", delta)
    truth = np.asarray(true_accuracy, dtype=float)
    if not ((truth >= 0) & (truth <= 1)).all() or truth.shape not in ((), alpha.shape):
        raise ValueError(
            f"true_accuracy is {true_accuracy!r}; expected a number in [0, 1], or one for each of "
            f"the {len(alpha)} classes."
        )
    strength = alpha + beta
    bias = np.abs(alpha / strength - truth)
    from_prior = strength * np.maximum(0.0, 2 * bias / tolerance - 1)
    from_noise = 2 * math.log(2 / delta) / tolerance**2
    return np.ceil(np.maximum(from_prior, from_noise)).astype(int)


def check_open_unit(name: str, value: Any) -> None:
    """Refuse what is no probability in (0, 1)."""
    if not 0 < value < 1:
        raise ValueError(f"{name} is {value!r}; expected a probability in (0, 1).")
