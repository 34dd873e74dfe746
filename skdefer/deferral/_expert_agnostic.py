"""EA-L2D: a classifier and a rejector for experts that training never saw."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import expit, logsumexp
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval

from skdefer.deferral._neural import NeuralDeferralMixin
from skdefer.experts._base import Expert
from skdefer.experts._contexts import ContextSampler, beta_moments
from skdefer.experts._panel import as_profile, make_panel
from skdefer.experts._profile import ExpertProfile
from skdefer.utils._signature import keywords_only


class ExpertAgnosticDeferralClassifier(NeuralDeferralMixin, BaseEstimator):
    """EA-L2D: learn to defer to experts who were not there when it was trained.

    A network learns the classes, and when to hand over to an expert of whom it sees no name,
    only six numbers: how sure the model is, how good the expert's profile is on the class that
    the model predicts and on the class that the expert knows best, and how likely that class
    is. So it serves any expert with a profile of a few past answers (:meth:`with_experts`),
    and it needs no answer of any expert on the rows that it learns from.

    Only the ranking of rows is meant to be used: the score counts the expert on a single class.
    For gains that can be held against a price see :class:`skdefer.DeferralClassifier`, whose
    default also serves experts never seen, and was above this in every cell of our comparison
    (``benchmarks/populations.py``).

    Parameters
    ----------
    experts : expert, sequence of experts or of pairs (name, expert), or mapping, default=None
        As in :class:`skdefer.DeferralClassifier`. An ``ExpertProfile`` with ``prior_accuracy``
        brings an expert's assessment of itself.
    hidden_layer_sizes : sequence of int, default=(100,)
        Sizes of the classifier's hidden layers; not read with ``backbone``.
    backbone : torch Module, default=None
        Turns rows, of whatever shape, into features (n_rows, n_features), in place of the
        hidden layers; copied, then trained. X must be an array of numbers, or what its ``encode``
        method reads, such as texts (:class:`skdefer.neural.TransformerBackbone`).
    rejector_hidden_layer_sizes : sequence of int, default=(256, 256, 256, 256, 256, 256)
        Sizes of the rejector's hidden layers.
    pessimism : float, default=1.0
        Posterior standard deviations that are taken off an expert's accuracy where it weighs
        the loss of handing over. 0: its mean.
    weighted : bool, default=True
        Whether the loss of handing over is weighed by that bound; False: by 1.
    threshold : "tuned" or float, default="tuned"
        Taken off the score, so that handing over pays above 0. "tuned": where it does on
        held-out rows, over the experts of ``fit`` one by one. 0.0 is the published rule,
        which hands over almost nothing.
    calibration : {"temperature", None}, default=None
        Divide the class scores by a temperature found on held-out rows, by scikit-learn's
        ``CalibratedClassifierCV``. Needs scikit-learn 1.8.
    policy : policy, default=None
        ``CostPolicy()`` if None.
    cost : as in DeferralClassifier, default=None
        Prices of asking. The score is not in units of a price, so a warning says that the
        difference has no exact meaning; use a budget.
    error_cost : float, default=1.0
        The price of a wrong answer.
    on_missing : {"raise", "model", "next"}, default="raise"
        As in DeferralClassifier.
    memory : str or joblib.Memory, default=None
        Keeps bought answers.
    learning_rate_init : float, default=0.001
        Step size of Adam.
    weight_decay : float, default=0.0
        L2 penalty.
    batch_size : int, default=128
        Rows per step; all of them, in order, where there are no more.
    max_iter : int, default=200
        The most epochs.
    tol : float, default=1e-4
        Least improvement that counts.
    n_iter_no_change : int, default=10
        Epochs without one before training stops. The paper waits for 50.
    early_stopping : bool, default=False
        Whether to watch the expected AURSAC on held-out rows, and keep the best epoch.
    validation_fraction : float, default=0.1
        Share of rows held out for ``early_stopping``, ``calibration``, a tuned threshold and
        policies that learn (whose promise is then a little too good).
    warm_start : bool, default=False
        Whether to go on from the weights of the last fit.
    device : str or torch.device, default="auto"
        "auto" (CUDA, else MPS, else the CPU), "cpu", "cuda", "mps".
    random_state : int, RandomState instance or None, default=None
        Seed of weights, batches, contexts and held-out rows.
    verbose : int, default=0
        Whether to print a line per epoch.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes.
    module_ : torch Module
        The network.
    threshold_ : float
        Taken off the score.
    profiles_ : list of ExpertProfile
        How often each expert is right on each class.
    experts_, routes_, n_experts_
        The experts, their routes and number.
    policy_ : policy
        The fitted policy.
    n_iter_, loss_curve_, validation_scores_
        Epochs, training loss and validation score of each.
    calibrator_ : CalibratedClassifierCV or None
        The temperature.
    n_features_in_ : int
        The number of columns of X.

    References
    ----------
    Strong et al. (2025). Expert-Agnostic Learning to Defer. arXiv 2502.10533.

    Examples
    --------
    >>> import numpy as np
    >>> from skdefer import ExpertAgnosticDeferralClassifier
    >>> from skdefer.experts import simulate_expert_predictions
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(3, size=600)
    >>> X = rng.normal(size=(600, 2)) + np.array([[0, 0], [2, 2], [2, -2]])[y]
    >>> past = rng.integers(3, size=60)  # past answers of three experts, with the truth
    >>> said = simulate_expert_predictions(past, n_experts=3, random_state=0)
    >>> clf = ExpertAgnosticDeferralClassifier(
    ...     hidden_layer_sizes=(8,), rejector_hidden_layer_sizes=(8,), tol=0.01, random_state=0
    ... ).fit(X, y, contexts=[(said[:, j], past) for j in range(3)])

    A new expert, of whom twelve answers are known, all right on class 0 alone:

    >>> known = np.repeat([0, 1, 2], 4)
    >>> other = clf.with_experts(("dr. new", lambda X: np.zeros(len(X), int)),
    ...                          profiles=(np.zeros(12, int), known))
    >>> other.routes_, other.predict_route([[0.0, 0.0], [3.0, 3.0]])
    (['model', 'dr. new'], array([1, 0]))
    """

    __metadata_request__fit = {"contexts": True}

    _parameter_constraints: dict = {
        **NeuralDeferralMixin._parameter_constraints,
        "rejector_hidden_layer_sizes": [
            "array-like",
            Interval(numbers.Integral, 1, None, closed="left"),
        ],
        "pessimism": [Interval(numbers.Real, 0, None, closed="left")],
        "weighted": ["boolean"],
    }

    def __init__(
        self,
        experts=None,
        *,
        hidden_layer_sizes=(100,),
        backbone=None,
        rejector_hidden_layer_sizes=(256, 256, 256, 256, 256, 256),
        pessimism=1.0,
        weighted=True,
        threshold="tuned",
        calibration=None,
        policy=None,
        cost=None,
        error_cost=1.0,
        on_missing="raise",
        memory=None,
        learning_rate_init=0.001,
        weight_decay=0.0,
        batch_size=128,
        max_iter=200,
        tol=1e-4,
        n_iter_no_change=10,
        early_stopping=False,
        validation_fraction=0.1,
        warm_start=False,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.experts = experts
        self.hidden_layer_sizes = hidden_layer_sizes
        self.backbone = backbone
        self.rejector_hidden_layer_sizes = rejector_hidden_layer_sizes
        self.pessimism = pessimism
        self.weighted = weighted
        self.threshold = threshold
        self.calibration = calibration
        self.policy = policy
        self.cost = cost
        self.error_cost = error_cost
        self.on_missing = on_missing
        self.memory = memory
        self.learning_rate_init = learning_rate_init
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @keywords_only
    def fit(self, X, y, *, expert_predictions=None, contexts=None, sample_weight=None, groups=None):
        """Learn the classes, and when to hand over to an expert with a given profile.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            The rows; of any shape (n_rows, ...) that ``backbone`` reads.
        y : array-like of shape (n_rows,)
            The truth.
        expert_predictions : array-like of shape (n_rows,) or (n_rows, n_experts), default=None
            Answers on rows of X: those of an expert are its context.
        contexts : sequence or mapping by name, default=None
            In place of it, past answers on other rows: per expert a pair
            ``(expert_predictions, y)`` (anything after these two is not read), or a fitted
            ExpertProfile. An empty context leaves the expert's prior.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows.
        groups : array-like of shape (n_rows,), default=None
            Rows of a group are held out together.

        Returns
        -------
        self : ExpertAgnosticDeferralClassifier

        Raises
        ------
        ValueError
            For contexts, labels or answers that don't fit.
        ImportError
            Without torch; the extra is "torch".
        """
        y, weight = self._start(X, y, sample_weight, groups)
        if contexts is not None:
            if expert_predictions is not None:
                raise ValueError(
                    "Both contexts and expert_predictions were passed. Pass contexts= for past "
                    "answers on other rows, expert_predictions= for answers on the rows of X."
                )
            panel, profiles = self._read_contexts(contexts)
            self._fit_network(X, y, None, weight, panel, groups, profiles)
        else:
            panel, answers = self._read_answers(X, expert_predictions)
            self._fit_network(X, y, answers, weight, panel, groups)
        return self

    def _read_contexts(self, contexts: Any) -> tuple[dict[str, Expert], list[ExpertProfile]]:
        names = list(contexts) if isinstance(contexts, Mapping) else None
        given = list(contexts.values()) if isinstance(contexts, Mapping) else list(contexts)
        if self.experts is not None:
            panel = make_panel(self.experts, None, 0, self.classes_)
        elif not given:
            raise ValueError(
                "contexts is empty; expected past answers (expert_predictions, y) of one expert "
                "at least. Leave contexts out to reject at a price, without an expert."
            )
        else:
            names = names or [f"expert_{j + 1}" for j in range(len(given))]
            panel = make_panel({name: ExpertProfile(name=name) for name in names}, None, 0)
        if (names is not None and set(names) != set(panel)) or len(given) != len(panel):
            raise ValueError(
                f"contexts has {names or len(given)}, but the experts are {list(panel)}; pass "
                "one context per expert."
            )
        if names is not None:
            given = [given[names.index(name)] for name in panel]
        templates = [e.profile or ExpertProfile(name=name) for name, e in panel.items()]
        known = [
            as_profile(context, name, self.classes_, template)
            for context, name, template in zip(given, panel, templates)
        ]
        return panel, known

    # -- the network ----------------------------------------------------------------------

    def _new_module(self, backbone, n_features):
        from skdefer.neural import MLP
        from skdefer.neural._expert_agnostic import ExpertAgnosticNet

        sizes = np.atleast_1d(self.rejector_hidden_layer_sizes).tolist()
        return ExpertAgnosticNet(backbone, n_features, len(self.classes_), MLP(6, sizes, 1))

    def _objective(self, rows, seed):
        import torch
        import torch.nn.functional as F

        from skdefer.losses import expert_agnostic_loss

        sampler = ContextSampler(self.profiles_, seed)

        def loss(module, X, y):
            if self._rejects_only:
                return F.cross_entropy(module.class_scores(X), y, reduction="none")
            mean, variance, tied = self._moments(*sampler.draw(), like=X)
            scores, defer, expertise = module(X, mean, variance, tied)
            weight = (mean - self.pessimism * variance.sqrt()).clamp(min=0.0)[:, y]
            if not self.weighted:
                weight = torch.ones_like(weight)
            scores = torch.cat([scores.expand(len(mean), -1, -1), defer[..., None]], dim=-1)
            return expert_agnostic_loss(scores, y, expertise, weight).mean(0)

        return loss, self._tensors(rows.X, rows.y)

    def _scores(self, X, *, classes_only=False):
        if classes_only or self._rejects_only:
            return self._in_batches(self.module_.class_scores, X)
        alpha, beta = (
            np.stack([getattr(p, side) for p in self._served]) for side in ("alpha_", "beta_")
        )

        import torch

        def all_scores(X):
            scores, defer, _ = self.module_(X, *self._moments(alpha, beta, like=X))
            return torch.cat([scores, defer.T], dim=1)

        return self._in_batches(all_scores, X)

    def _moments(self, alpha: np.ndarray, beta: np.ndarray, *, like: Any) -> tuple[Any, ...]:
        """Mean, variance, and where the mean is greatest, as tensors beside ``like``."""
        import torch

        dtype = next(self.module_.parameters()).dtype  # X may be tokens
        mean, variance = beta_moments(alpha, beta)
        tied = mean >= mean.max(axis=1, keepdims=True) - 1e-12
        moments = (torch.as_tensor(m, dtype=dtype, device=like.device) for m in (mean, variance))
        return (*moments, torch.as_tensor(tied, device=like.device))

    def _priority(self, scores, proba):
        K = len(self.classes_)
        defer = expit(scores[:, K:] - logsumexp(scores[:, :K], axis=1, keepdims=True))
        return defer - (1.0 - defer) * proba.max(axis=1, keepdims=True)
