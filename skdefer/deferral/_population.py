"""L2D-Pop: a classifier and a rejector that reads past answers of an expert, and its baselines."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
from scipy.special import expit, logsumexp
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions

from skdefer.deferral._neural import NeuralDeferralMixin
from skdefer.deferral._past_answers import (
    RecordSampler,
    by_content,
    keep_records,
    most_frequent,
    nothing_known,
    pad_records,
    read_record,
)
from skdefer.deferral._record import check_some_answered
from skdefer.experts._met import agree
from skdefer.experts._panel import visible
from skdefer.utils._signature import keywords_only
from skdefer.utils._validation import MISSING

_LAYERS = ["array-like", Interval(numbers.Integral, 1, None, closed="left")]
_WHOLE = [Interval(numbers.Integral, 1, None, closed="left")]


class PopulationDeferralClassifier(NeuralDeferralMixin, BaseEstimator):
    """L2D-Pop: learn to defer to a population of experts, known by what they answered.

    A network learns the classes, and when to hand over to an expert whom it knows by a
    context: a few past answers, with their rows and the truth. It learns from many contexts,
    drawn afresh for every batch, so it serves experts who come later with a context of their
    own (:meth:`with_experts`). Two baselines that ignore who the expert is are options.

    Parameters
    ----------
    experts : expert, sequence of experts or of pairs (name, expert), or mapping, default=None
        As in :class:`skdefer.DeferralClassifier`.
    representation : {"attention", "mean", "none", "mode"}, default="attention"
        What the rejector knows of an expert. "attention": each row looks for those past answers
        that matter to it. "mean": the mean of what an MLP makes of each (a neural process).
        "none": nothing, one rejector for a typical expert. "mode" (Pop-Avg): nothing; it
        learns when the experts' most frequent answer to a row is right, ties at random.
    loss : {"lce", "ova"}, default="lce"
        The surrogate loss, :func:`skdefer.losses.lce_loss` or :func:`skdefer.losses.ova_loss`,
        averaged over the experts who answered the row.
    hidden_layer_sizes : sequence of int, default=(100,)
        Sizes of the classifier's hidden layers; not read with ``backbone``.
    backbone : torch Module, default=None
        Turns rows, of whatever shape, into features (n_rows, n_features), in place of the
        hidden layers; copied, then trained. X must be an array of numbers, or what its ``encode``
        method reads, such as texts (:class:`skdefer.neural.TransformerBackbone`).
    rejector_hidden_layer_sizes : sequence of int, default=(128, 128, 128, 128)
        Sizes of the rejector's hidden layers.
    embedding_size : int, default=128
        Width of the embeddings of labels and answers, and of an expert's representation.
    context_hidden_layer_sizes : sequence of int, default=(128, 128, 128, 128, 128, 128)
        Sizes of the hidden layers that read a past answer.
    n_heads : int, default=8
        Heads of attention; they share ``embedding_size`` evenly.
    context_size : int, default=50
        The most past answers of a context in training, and the most that an expert of ``fit``
        keeps. Contexts of :meth:`with_experts` are read whole, whatever their size.
    threshold : float or "tuned", default=0.0
        Taken off the score, so that handing over pays above 0. "tuned": where it does on
        held-out rows, over the experts of ``fit`` one by one.
    calibration : {"temperature", None}, default=None
        Divide the class scores by a temperature found on held-out rows, by scikit-learn's
        ``CalibratedClassifierCV``. Needs scikit-learn 1.8.
    policy : policy, default=None
        ``CostPolicy()`` if None.
    cost : as in DeferralClassifier, default=None
        Prices of asking. With "mode" a warning says that the difference has no exact meaning.
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
        Rows per step; a quarter at most where contexts are drawn from the others.
    max_iter : int, default=200
        The most epochs.
    tol : float, default=1e-4
        Least improvement that counts.
    n_iter_no_change : int, default=10
        Epochs without one before training stops.
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
        How often each expert is right on each class; the score does not read them.
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

    Notes
    -----
    The score is the expert's expected accuracy on the row less the model's, in errors: with
    "lce" ``min(p_d / sum_k p_k, 1) - max eta``, with "ova" ``sigmoid(g_d) - max eta``. With
    "none" it is that of a typical expert of ``fit``, with "mode" of their vote, for everybody.

    References
    ----------
    Tailor, Patra, Verma, Manggala & Nalisnick (2024). Learning to Defer to a Population: A
    Meta-Learning Approach. AISTATS. arXiv 2403.02683.

    Examples
    --------
    >>> import numpy as np
    >>> from skdefer import PopulationDeferralClassifier
    >>> from skdefer.experts import simulate_expert_predictions
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(3, size=300)
    >>> X = rng.normal(size=(300, 2)) + np.array([[0, 0], [1, 1], [1, -1]])[y]
    >>> said = simulate_expert_predictions(y, n_experts=3, random_state=0)
    >>> clf = PopulationDeferralClassifier(
    ...     hidden_layer_sizes=(8,), max_iter=20, tol=1, random_state=0
    ... )
    >>> clf = clf.fit(X[:200], y[:200], expert_predictions=said[:200, :2])
    >>> past = slice(200, 250)  # a new expert has answered these rows
    >>> new = {"new": lambda X: [0] * len(X)}
    >>> monday = clf.with_experts(new, profiles=[(said[past, 2], y[past], X[past])])
    >>> monday.deferral_score(X[250:]).shape
    (50, 1)
    """

    _parameter_constraints: dict = {
        **NeuralDeferralMixin._parameter_constraints,
        "representation": [StrOptions({"attention", "mean", "none", "mode"})],
        "loss": [StrOptions({"lce", "ova"})],
        "rejector_hidden_layer_sizes": _LAYERS,
        "embedding_size": _WHOLE,
        "context_hidden_layer_sizes": _LAYERS,
        "n_heads": _WHOLE,
        "context_size": _WHOLE,
    }

    _records: list[Any]  # what the experts have answered, for representations that read it

    def __init__(
        self,
        experts=None,
        *,
        representation="attention",
        loss="lce",
        hidden_layer_sizes=(100,),
        backbone=None,
        rejector_hidden_layer_sizes=(128, 128, 128, 128),
        embedding_size=128,
        context_hidden_layer_sizes=(128, 128, 128, 128, 128, 128),
        n_heads=8,
        context_size=50,
        threshold=0.0,
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
        self.representation = representation
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.backbone = backbone
        self.rejector_hidden_layer_sizes = rejector_hidden_layer_sizes
        self.embedding_size = embedding_size
        self.context_hidden_layer_sizes = context_hidden_layer_sizes
        self.n_heads = n_heads
        self.context_size = context_size
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
    def fit(self, X, y, *, expert_predictions=None, sample_weight=None, groups=None):
        """Learn the classes, and when to hand over to an expert with given past answers.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            The rows; of any shape (n_rows, ...) that ``backbone`` reads.
        y : array-like of shape (n_rows,)
            The truth.
        expert_predictions : array-like of shape (n_rows,) or (n_rows, n_experts), default=None
            Answers on rows of X; experts without any are asked.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows.
        groups : array-like of shape (n_rows,), default=None
            Rows of a group are held out together.

        Returns
        -------
        self : PopulationDeferralClassifier

        Raises
        ------
        ValueError
            For labels or answers that don't fit, and heads that don't divide the embedding.
        ImportError
            Without torch; the extra is "torch".
        """
        y, weight = self._start(X, y, sample_weight, groups)
        panel, answers = self._read_answers(X, expert_predictions)
        check_some_answered(panel, answers)
        self._fit_network(X, y, answers, weight, panel, groups)
        return self

    # -- the network ----------------------------------------------------------------------

    @property
    def _reads_contexts(self) -> bool:
        return self.representation in ("attention", "mean") and not self._rejects_only

    def _new_module(self, backbone, n_features):
        from skdefer.neural._population import ContextAttention, ContextMean, PopulationNet

        sizes = np.atleast_1d(self.context_hidden_layer_sizes).tolist()
        arguments = (n_features, len(self.classes_), self.embedding_size, sizes)
        encoder = None
        if self.representation == "mean":
            encoder = ContextMean(*arguments)
        elif self.representation == "attention":
            encoder = ContextAttention(*arguments, self.n_heads)
        sizes = np.atleast_1d(self.rejector_hidden_layer_sizes).tolist()
        return PopulationNet(backbone, n_features, len(self.classes_), sizes, encoder)

    def _batch_size(self, n_rows):
        # Rows of the batch are in no context: others must be left to draw contexts from.
        return (
            min(self.batch_size, max(n_rows // 4, 1)) if self._reads_contexts else self.batch_size
        )

    def _objective(self, rows, seed):
        import torch

        from skdefer.losses import lce_loss, ova_loss
        from skdefer.neural._population import ContextDrawer, population_loss

        self._row_shape = rows.X.shape[1:]
        surrogate = lce_loss if self.loss == "lce" else ova_loss
        tensors = self._tensors(rows.X, rows.y, np.arange(len(rows.y)))
        rng = np.random.default_rng(seed)
        codes = rows.codes
        if self._rejects_only:
            codes = np.full((len(rows.y), 1), MISSING)
        elif self.representation == "mode":
            codes = most_frequent(codes, len(self.classes_), rng)[:, None]
        ordered = codes[:, by_content(codes)]
        said = torch.from_numpy(ordered).to(self.device_)
        draw = None
        if self._reads_contexts:
            # Of rows that were not held out: policies learn on the others.
            self._records = keep_records(rows.X, rows.y, codes, self.context_size, rng)
            sampler = RecordSampler(ordered, self.context_size, seed)
            X, y = (t.to(self.device_) for t in tensors[:2])
            draw = ContextDrawer(X, y, said, len(self.classes_), sampler.draw)

        def loss(module, X, y, at):
            if self._rejects_only:
                scores = module.class_scores(X)
                defer = torch.zeros_like(scores[:, :1].T)
            else:
                scores, defer = module(X, module.encode(draw and draw(at)))
            return population_loss(surrogate, scores, defer, y, said[at], said[at] == MISSING)

        return loss, tensors

    def _scores(self, X, *, classes_only=False):
        if classes_only or self._rejects_only:
            scores = self._in_batches(self.module_.class_scores, X)
        else:
            import torch

            encoded: list[Any] = []

            def all_scores(X):
                if not encoded:  # once: contexts are the same for all batches
                    encoded.append(self.module_.encode(self._contexts(X)))
                scores, defer = self.module_(X, encoded[0])
                return torch.cat([scores, defer.expand(self.n_experts_, -1).T], dim=1)

            scores = self._in_batches(all_scores, X)
        return scores

    def _class_logits(self, scores):
        logits = super()._class_logits(scores)
        # In logarithms: probabilities are the sigmoids over their sum.
        return -np.logaddexp(0.0, -logits) if self.loss == "ova" else logits

    def _contexts(self, like: Any) -> Any:
        """Bring what the experts have answered to tensors beside ``like``."""
        if not self._reads_contexts:
            return None
        import torch

        from skdefer.neural._population import Contexts

        *arrays, mask = pad_records(self._records, len(self.classes_), self._row_shape)
        tensors = (*self._tensors(*arrays), torch.from_numpy(mask))
        return Contexts(*(t.to(like.device) for t in tensors))

    def _priority(self, scores, proba):
        K = len(self.classes_)
        defer = scores[:, K:]
        accuracy = expit(defer)
        if self.loss == "lce":
            accuracy = np.exp(np.minimum(defer - logsumexp(scores[:, :K], axis=1)[:, None], 0.0))
        return accuracy - proba.max(axis=1, keepdims=True)

    @property
    def score_is_calibrated(self):
        """Whether scores are in errors, so that costs can be subtracted."""
        return self.representation != "mode" or super().score_is_calibrated

    # -- other experts --------------------------------------------------------------------

    def _serve_profiles(self, profiles, met):
        before = self._served
        super()._serve_profiles(profiles, met)
        if self._reads_contexts:
            # What a profile has learned since came without its rows.
            self._records = [
                None if j is None or not agree(profile, before[j]) else self._records[j]
                for profile, j in zip(profiles, met, strict=True)
            ]

    def _serve_contexts(self, contexts):
        if not self._reads_contexts:
            return
        panel = self._panel
        self._records = list(self._records)
        for j, (name, context) in enumerate(zip(panel, contexts, strict=True)):
            if context is not None:
                answers, y, X = context
                try:
                    X = self._check_X(visible(self._drop_former(X), panel), reset=False)
                    record = read_record(answers, y, X, self.classes_, self._row_shape)
                except ValueError as error:
                    raise ValueError(f"The context of expert {name!r}: {error}") from error
                self._records[j] = record
            elif self._records[j] is None:
                if self.profiles_[j].n_context_.any():
                    raise ValueError(
                        f"The answers of expert {name!r} came without their rows, which "
                        f"representation={self.representation!r} reads. Pass profiles="
                        "[(expert_predictions, y, X)]; ([], []) if nothing is known of the expert."
                    )
                self._records[j] = nothing_known()
