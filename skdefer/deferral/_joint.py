"""Joint training: one network learns the classes and the hand-over with a surrogate loss."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from skdefer.deferral._neural import NeuralDeferralMixin
from skdefer.deferral._record import check_some_answered
from skdefer.policies._base import best_expert
from skdefer.utils._signature import keywords_only
from skdefer.utils._validation import MISSING, encode_answers


class JointDeferralClassifier(NeuralDeferralMixin, BaseEstimator):
    """Learn the classes and the hand-over together, with a surrogate loss of the literature.

    One network has a score for each class and for each expert, and learns from the truth and
    from who was right. A small network can so spare itself the rows that experts answer well;
    where the classifier is good anyway, :class:`skdefer.DeferralClassifier` over the same
    classifier usually does as well (``benchmarks/joint.py``).

    Parameters
    ----------
    experts : expert, sequence of experts or of pairs (name, expert), or mapping, default=None
        As in :class:`skdefer.DeferralClassifier`.
    loss : str, callable or Surrogate, default="asymmetric_softmax"
        A name of :func:`skdefer.losses.surrogate_names`; a function ``(scores, y,
        expert_correct)`` that gives a number per row, such as ``functools.partial(rl2d_loss,
        q=0.7)``; or a :class:`skdefer.losses.Surrogate`, which also says how to read the scores.
    alpha : float, default=None
        The loss's own ``alpha``, for "lce" and "realizable"; None: its default.
    hidden_layer_sizes : sequence of int, default=()
        Sizes of the hidden layers; empty: a linear model. Not read with ``backbone``.
    backbone : torch Module, default=None
        Turns rows, of whatever shape, into features (n_rows, n_features), in place of the
        hidden layers; copied, then trained. X must be an array of numbers, or what its ``encode``
        method reads, such as texts (:class:`skdefer.neural.TransformerBackbone`).
    completion : AnswerCompletion, default=None
        Completes missing answers of the rows that are learned from, with this ``random_state``
        unless it has its own; None: they are left out
        where the loss allows it exactly ("asymmetric_softmax", "ova", "lce"), else refused.
    threshold : float or "tuned", default=0.0
        Taken off the score, so that handing over pays above 0. 0.0 is the loss's own rule.
        "tuned": where handing over pays on held-out rows.
    calibration : {"temperature", None}, default=None
        Divide the class scores by a temperature found on held-out rows, by scikit-learn's
        ``CalibratedClassifierCV``. Needs scikit-learn 1.8.
    policy : policy, default=None
        ``CostPolicy()`` if None.
    cost : as in DeferralClassifier, default=None
        Prices of asking; a change refits nothing. With losses whose score only orders rows a
        warning says that the difference has no exact meaning.
    error_cost : float, default=1.0
        The price of a wrong answer.
    on_missing : {"raise", "model", "next"}, default="raise"
        As in DeferralClassifier.
    memory : str or joblib.Memory, default=None
        Keeps bought answers.
    solver : {"adam", "lbfgs"}, default="adam"
        "lbfgs" takes all rows at once: tens of times faster for linear models (give them a
        ``weight_decay``), and without chance. With hidden layers it goes on to lower losses and
        takes longer. It reads neither ``batch_size`` nor ``learning_rate_init``.
    learning_rate_init : float, default=0.001
        Step size of Adam.
    weight_decay : float, default=0.0
        L2 penalty; ``1 / n_rows`` is that of ``LogisticRegression(C=1)``. Without one, classes
        that a network can tell apart perfectly drive its weights off, and "lbfgs" after them.
    batch_size : int, default=128
        Rows per step; all of them, in order, where there are no more.
    max_iter : int, default=200
        The most epochs; of "lbfgs", rounds of 20 iterations.
    tol : float, default=1e-4
        Least improvement that counts; of "lbfgs", the largest gradient at the end.
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
        Seed of weights, batches and held-out rows.
    verbose : int, default=0
        Whether to print a line per epoch.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes.
    module_ : torch Module
        The network.
    surrogate_ : Surrogate
        The loss and its readings.
    threshold_ : float
        Taken off the score.
    profiles_ : list of ExpertProfile
        How often each expert is right on each class; the score reads them only for experts
        without any answer.
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

    See Also
    --------
    skdefer.DeferralClassifier : The same over any classifier, trained before.

    Notes
    -----
    Where the loss says how often experts are right, the score is that less the probability of
    the likeliest class, in errors: "asymmetric_softmax", "ova", and "lce" with ``alpha=1``. For
    other losses it is the loss's own rule, the expert's probability less that of the likeliest
    class in one softmax, and orders rows (``score_is_calibrated`` is False).

    References
    ----------
    Mozannar & Sontag (2020). arXiv 2006.01862. Cao et al. (2023). arXiv 2311.01106. Each
    function of :mod:`skdefer.losses` names its source.

    Examples
    --------
    >>> import numpy as np
    >>> from skdefer import JointDeferralClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(600, 2))
    >>> y = np.where(X[:, 1] > 0, X[:, 0] > 0, X[:, 0] < 0).astype(int)  # not linear
    >>> nurse = np.where(X[:, 1] > 0, y, 1 - y)  # right above the line, wrong below
    >>> clf = JointDeferralClassifier(loss="realizable", solver="lbfgs")
    >>> clf = clf.fit(X[:400], y[:400], expert_predictions=nurse[:400])
    >>> clf.score(X[400:], y[400:], expert_predictions=nurse[400:]) > 0.95  # linear, alone: 0.5
    True
    >>> clf.predict_route([[1.0, 1.0], [1.0, -1.0]])
    array([1, 0])
    """

    _parameter_constraints: dict = {
        **NeuralDeferralMixin._parameter_constraints,
        "loss": "no_validation",  # a sentence with the known names says more
        "alpha": [Interval(numbers.Real, 0, 1, closed="both"), None],
        "completion": [HasMethods(["complete", "get_params"]), None],
        "solver": [StrOptions({"adam", "lbfgs"})],
    }

    _columns: list[int]  # of the network's experts, those that are served
    _taught: np.ndarray  # of the network's experts, those with any answer

    def __init__(
        self,
        experts=None,
        *,
        loss="asymmetric_softmax",
        alpha=None,
        hidden_layer_sizes=(),
        backbone=None,
        completion=None,
        threshold=0.0,
        calibration=None,
        policy=None,
        cost=None,
        error_cost=1.0,
        on_missing="raise",
        memory=None,
        solver="adam",
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
        self.loss = loss
        self.alpha = alpha
        self.hidden_layer_sizes = hidden_layer_sizes
        self.backbone = backbone
        self.completion = completion
        self.threshold = threshold
        self.calibration = calibration
        self.policy = policy
        self.cost = cost
        self.error_cost = error_cost
        self.on_missing = on_missing
        self.memory = memory
        self.solver = solver
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
        """Learn the classes, and when to hand over to which expert.

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
        self : JointDeferralClassifier

        Raises
        ------
        ValueError
            For labels or answers that don't fit, an unknown loss, and missing answers where
            the loss can't leave them out.
        ImportError
            Without torch; the extra is "torch".
        """
        y, weight = self._start(X, y, sample_weight, groups)
        from skdefer.losses import get_surrogate

        self.surrogate_ = get_surrogate(self.loss, alpha=self.alpha)
        panel, answers = self._read_answers(X, expert_predictions)
        check_some_answered(panel, answers)
        self._columns = list(range(len(panel)))
        self._fit_network(X, y, answers, weight, panel, groups)
        return self

    # -- the network ----------------------------------------------------------------------

    def _new_module(self, backbone, n_features):
        from skdefer.neural._joint import JointNet

        return JointNet(backbone, n_features, len(self.classes_), self.n_experts_)

    def _outputs(self):
        return {"experts": self.routes_[1:]}

    def _objective(self, rows, seed):
        import torch.nn.functional as F

        if self._rejects_only:
            K = len(self.classes_)
            tensors = self._tensors(rows.X, rows.y)

            def class_loss(scores, y):
                return F.cross_entropy(scores[:, :K], y, reduction="none")

            self._start_at_best(class_loss, list(range(K)), rows, *tensors[1:])
            return lambda module, X, y: class_loss(module(X), y), tensors

        codes = self._completed(rows, seed)
        self._taught = (codes != MISSING).any(axis=0)
        right = np.where(codes == MISSING, np.nan, codes == rows.y[:, None])[:, self._taught]
        tensors = self._tensors(rows.X, rows.y, right)
        surrogate, columns = self.surrogate_.loss, self._taught_columns()
        self._try_out(surrogate, *tensors[1:])
        # Losses that order rows may have their best constants at infinity, where nothing moves.
        if self.surrogate_.is_calibrated:
            own = list(range(self.module_.head.out_features)) if columns is None else columns
            self._start_at_best(surrogate, own, rows, *tensors[1:])

        def loss(module, X, y, expert_correct):
            scores = module(X)
            return surrogate(scores if columns is None else scores[:, columns], y, expert_correct)

        return loss, tensors

    def _start_at_best(self, loss, columns, rows, *data) -> None:
        """Let a new last layer begin at the scores that are best if nothing is seen of a row."""
        from skdefer.neural._start import best_constants

        head = self.module_.head
        if self.solver == "adam" and not head.weight.any():
            (weight,) = self._tensors(rows.weight)
            head.bias.data[columns] = best_constants(loss, len(columns), weight, *data)

    def _completed(self, rows, seed: int) -> np.ndarray:
        """Answers as positions in the classes, those completed that can be."""
        if self.completion is None:
            return rows.codes
        completion = clone(self.completion)
        if completion.get_params().get("random_state", seed) is None:
            completion.set_params(random_state=seed)
        answers = completion.complete(
            rows.answers,
            self.classes_[rows.y],
            X=rows.raw() if hasattr(self.backbone, "encode") else rows.X,  # texts, not tokens
            sample_weight=rows.weight,
            classes=self.classes_,
        )
        return encode_answers(answers, self.classes_)

    def _try_out(self, surrogate, y, expert_correct) -> None:
        """Ask for the loss of all rows once, before anything is trained."""
        import torch

        n_columns = len(self.classes_) + expert_correct.shape[1]
        scores = torch.zeros(len(y), n_columns, dtype=expert_correct.dtype, requires_grad=True)
        try:
            value = surrogate(scores, y, expert_correct)
        except TypeError as error:
            raise ValueError(
                f"loss can't be called with (scores, y, expert_correct): {error}. See "
                "skdefer.losses for the form."
            ) from error
        if not torch.is_tensor(value) or value.shape != (len(y),):
            raise ValueError(
                f"loss gives {tuple(value.shape) if torch.is_tensor(value) else type(value)} for "
                f"{len(y)} rows; expected a tensor of shape ({len(y)},), a number per row."
            )
        if not value.requires_grad:
            raise ValueError(
                "loss does not depend on the scores in a way that can be learned: its value has no "
                "gradient. Compute it from scores with torch, without detach() or rounding."
            )
        if n_bad := int((~value.isfinite()).sum()):
            raise ValueError(
                f"loss is not finite on {n_bad} of {len(y)} rows where all scores are 0. "
                "expert_correct is NaN where an answer is missing: let the loss leave it out, or "
                "pass completion=AnswerCompletion()."
            )

    def _scores(self, X, *, classes_only=False):
        scores = self._in_batches(self.module_, X)
        if self._rejects_only:
            return scores
        K = len(self.classes_)
        return np.hstack([scores[:, :K], scores[:, K:][:, self._columns]])

    def _class_logits(self, scores):
        if self._rejects_only:
            return super()._class_logits(scores)
        proba = self._read(self.surrogate_.class_proba, scores)
        return np.log(np.maximum(proba, np.finfo(float).tiny))

    def _read(self, reading: Any, scores: np.ndarray) -> np.ndarray:
        import torch

        return reading(torch.from_numpy(np.ascontiguousarray(scores)), len(self.classes_)).numpy()

    def _taught_columns(self) -> list[int] | None:
        """Scores of the classes, and of experts with any answer; None: all of them."""
        K = len(self.classes_)
        if self._taught.all():
            return None
        return [*range(K), *(K + np.flatnonzero(self._taught)).tolist()]

    def _priority(self, scores, proba):
        K, kept = len(self.classes_), proba.max(axis=1, keepdims=True)
        taught = self._taught[self._columns]
        # What nothing was learned of has no part in what is read of others.
        scores = scores[:, np.r_[np.ones(K, dtype=bool), taught]]
        priority = np.empty((len(proba), len(taught)))
        if self.surrogate_.is_calibrated:
            priority[:, taught] = self._read(self.surrogate_.expert_accuracy, scores) - kept
        else:
            priority[:, taught] = self._read(self.surrogate_.priority, scores)
        for j in np.flatnonzero(~taught):
            priority[:, [j]] = self._served[j].predict(proba)[:, None] - kept
        return priority

    def _on_offer(self, priority, gain):
        best, score = best_expert(priority)
        return score[:, None], np.take_along_axis(gain, best[:, None], axis=1)

    @property
    def score_is_calibrated(self):
        """Whether scores are in errors, so that costs can be subtracted."""
        return super().score_is_calibrated or (
            hasattr(self, "surrogate_") and self.surrogate_.is_calibrated
        )

    # -- other experts --------------------------------------------------------------------

    def _serve_profiles(self, profiles, met):
        super()._serve_profiles(profiles, met)
        if None in met:
            raise ValueError(
                f"{type(self).__name__} has learned its experts one by one and can't serve others. "
                "Fit it again with their answers, or use DeferralClassifier."
            )
        self._columns = [self._columns[j] for j in met]
