"""Made data whose best decisions are known."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from scipy.special import ndtr, softmax
from sklearn.utils import Bunch, check_random_state, check_scalar

from skdefer.datasets._base import check_option
from skdefer.experts._simulated import draw_answers, error_probability
from skdefer.utils._validation import MISSING

_EXPERT_TYPES = ("difficulty", "class", "region", "constant")

_DESCR = """\
Made data: Gaussian classes with equal covariance, and experts of known skill.

posterior, expert_accuracy, expected_loss and bayes_route are the truth that a method can at best
find; tests and benchmarks compare with them.
"""


def make_deferral_classification(
    n_samples: int = 1000,
    n_features: int = 10,
    n_classes: int = 3,
    n_experts: int = 2,
    *,
    expert_type: str | Sequence[str] = "difficulty",
    mean_accuracy: Any = 0.8,
    complementarity: Any = 4.0,
    class_sep: float = 1.5,
    weights: Sequence[float] | None = None,
    shared: float = 0.0,
    missing_rate: float = 0.0,
    random_state: Any = None,
) -> Bunch:
    """Make a classification problem with experts who are good where the model is bad.

    It answers: does a method find the decisions that are known to be best? Class k is drawn
    with probability ``weights[k]``, and x from a Gaussian of unit variance around the mean
    of its class, so P(y | x) has a closed form. Expert j is right with probability
    sigmoid(b + complementarity * s(x, y)), else any other class with equal probability; b is
    solved so that its accuracy is ``mean_accuracy``, and s in [0, 1] is by ``expert_type``:

    - ``"difficulty"``: (1 - max P(y | x)) K / (K - 1): 0 where the best model is certain, 1
      where it can only guess. A negative ``complementarity`` makes experts who fail where the
      model fails;
    - ``"class"``: 1 on one class, j modulo K, 0 on the others;
    - ``"region"``: the share of the Gaussian below w.x, for a random direction w of its own;
    - ``"constant"``: 0 everywhere.

    Parameters
    ----------
    n_samples : int, default=1000
        Rows.
    n_features : int, default=10
        Columns; all are normal, and the class means lie in random directions.
    n_classes : int, default=3
        K, labelled 0 to K - 1.
    n_experts : int, default=2
        J.
    expert_type : str or sequence of str, default="difficulty"
        What skill depends on, for all experts or for each.
    mean_accuracy : float or sequence of float, default=0.8
        Expected accuracy, of all experts or of each; on the rows drawn, but for ``"class"``
        in the population.
    complementarity : float or sequence of float, default=4.0
        Log-odds of being right between s = 1 and s = 0; 0 makes skill constant.
    class_sep : float, default=1.5
        Distance of the class means from the origin, in standard deviations.
    weights : sequence of float, default=None
        Share of each class; scaled to sum to 1. None: equal.
    shared : float in [0, 1], default=0.0
        On this share of the rows, all experts have the same luck; see
        :func:`~skdefer.experts.simulate_expert_predictions`.
    missing_rate : float in [0, 1], default=0.0
        Share of the experts' answers that are missing, at random.
    random_state : int, RandomState instance or None, default=None
        Same seed, same data. The rows depend on nothing that concerns experts, the answers
        not on ``missing_rate``.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        ``data`` : ndarray of shape (n_samples, n_features)
            The rows.
        ``target`` : ndarray of int of shape (n_samples,)
            The labels.
        ``expert_predictions`` : DataFrame of shape (n_samples, n_experts)
            ``expert_1``, ...; integers, or floats with NaN where some are missing.
        ``posterior`` : ndarray of shape (n_samples, n_classes)
            P(y | x).
        ``expert_accuracy`` : ndarray of shape (n_samples, n_experts)
            P(expert right | x), the label unknown.
        ``expected_loss`` : ndarray of shape (n_samples, 1 + n_experts)
            Of the best model's answer (column 0) and of each expert's, in errors.
        ``bayes_route`` : ndarray of int of shape (n_samples,)
            Best route where asking is free: 0 the model, j expert j; ties go to the first.
        ``groups``
            None.
        ``feature_names``, ``target_names``, ``costs``, ``model_name``, ``name``, ``DESCR``
            As in the other data sets.

    Raises
    ------
    TypeError, ValueError
        For a parameter of a wrong type, outside its range, or with a wrong length.

    Examples
    --------
    >>> from skdefer.datasets import make_deferral_classification
    >>> made = make_deferral_classification(n_samples=2000, random_state=0)
    >>> made.data.shape, made.expert_accuracy.shape
    ((2000, 10), (2000, 2))
    >>> model, system = made.expected_loss[:, 0], made.expected_loss.min(axis=1)
    >>> print(f"accuracy: {1 - model.mean():.2f} alone, {1 - system.mean():.2f} at best")
    accuracy: 0.74 alone, 0.90 at best
    """
    import pandas

    for name, value in (("n_samples", n_samples), ("n_features", n_features)):
        check_scalar(value, name, Integral, min_val=1)
    check_scalar(n_classes, "n_classes", Integral, min_val=2)
    check_scalar(n_experts, "n_experts", Integral, min_val=1)
    types = [expert_type] * n_experts if isinstance(expert_type, str) else list(expert_type)
    for one in types:
        check_option("expert_type", one, _EXPERT_TYPES)
    accuracies = _per_expert("mean_accuracy", mean_accuracy, n_experts, 0, 1)
    slopes = _per_expert("complementarity", complementarity, n_experts)
    _per_expert("shared", shared, 1, 0, 1)
    _per_expert("missing_rate", missing_rate, 1, 0, 1)
    if len(types) != n_experts:
        raise ValueError(
            f"expert_type names {len(types)} kinds for {n_experts} experts; pass one for all, or "
            "one for each."
        )
    prior = _prior(weights, n_classes)

    # One generator a task: what concerns experts can't change the rows.
    rows, skills, luck_of, absence = (
        np.random.RandomState(seed)
        for seed in check_random_state(random_state).randint(2**31 - 1, size=4)
    )
    means = rows.normal(size=(n_classes, n_features))
    means *= class_sep / np.linalg.norm(means, axis=1, keepdims=True)
    y = rows.choice(n_classes, size=n_samples, p=prior)
    X = means[y] + rows.normal(size=(n_samples, n_features))
    # Up to what all classes share, the log-density of a unit Gaussian is linear in x.
    posterior = softmax(X @ means.T - (means**2).sum(axis=1) / 2 + np.log(prior), axis=1)

    right = np.empty((n_samples, n_experts, n_classes))  # P(right | x, y = k)
    for j, (kind, accuracy, slope) in enumerate(zip(types, accuracies, slopes)):
        direction = skills.normal(size=n_features)
        if kind == "class":
            own = (np.arange(n_classes) == j % n_classes).astype(float)
            wrong = error_probability(own[:, None], 1 - accuracy, -slope, mass=prior)
            right[:, j] = 1 - wrong[:, 0]
            continue
        if kind == "difficulty":
            signal = (1 - posterior.max(axis=1)) * n_classes / (n_classes - 1)
        elif kind == "region":
            signal = ndtr(X @ direction / np.linalg.norm(direction))
        else:
            signal = np.zeros(n_samples)
        right[:, j] = 1 - error_probability(signal[:, None], 1 - accuracy, -slope)

    luck, slip = luck_of.uniform(size=(2, n_samples, n_experts))
    luck = np.where(luck_of.uniform(size=(n_samples, 1)) < shared, luck[:, :1], luck)
    answers = draw_answers(y, right[np.arange(n_samples), :, y], luck, slip, n_classes)
    answers[absence.uniform(size=answers.shape) < missing_rate] = MISSING
    frame = pandas.DataFrame(answers, columns=[f"expert_{j + 1}" for j in range(n_experts)])
    expert_accuracy = np.einsum("ijk,ik->ij", right, posterior)
    expected_loss = 1 - np.column_stack([posterior.max(axis=1), expert_accuracy])
    return Bunch(
        name="deferral_classification",
        data=X,
        target=y,
        expert_predictions=frame.where(frame != MISSING),
        groups=None,
        feature_names=[f"x{i}" for i in range(n_features)],
        target_names=[str(k) for k in range(n_classes)],
        costs=None,
        model_name=None,
        posterior=posterior,
        expert_accuracy=expert_accuracy,
        expected_loss=expected_loss,
        bayes_route=expected_loss.argmin(axis=1),
        DESCR=_DESCR,
    )


def _prior(weights: Sequence[float] | None, n_classes: int) -> np.ndarray:
    """Bring the shares of the classes to a distribution."""
    shares = np.ones(n_classes) if weights is None else np.asarray(weights, dtype=float)
    if shares.shape != (n_classes,) or not (np.isfinite(shares) & (shares > 0)).all():
        raise ValueError(
            f"weights is {weights!r}; expected {n_classes} finite numbers above 0, one per class."
        )
    return shares / shares.sum()


def _per_expert(
    name: str, value: Any, n_experts: int, least: float = -np.inf, most: float = np.inf
) -> np.ndarray:
    """Bring a number, or one per expert, to shape (n_experts,)."""
    numbers = np.asarray(value)
    fits = numbers.dtype.kind in "iuf" and numbers.shape in ((), (n_experts,))
    if not fits or not (np.isfinite(numbers) & (numbers >= least) & (numbers <= most)).all():
        each = f", or one for each of {n_experts} experts" if n_experts > 1 else ""
        raise ValueError(
            f"{name} is {value!r}; expected a finite number within [{least:g}, {most:g}]{each}."
        )
    return np.broadcast_to(numbers.astype(float), (n_experts,))
