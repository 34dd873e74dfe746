"""Deferral on top of any classifier: out-of-fold probabilities, a rejector, a policy."""

from __future__ import annotations

import numbers
import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    _routing_enabled,
    process_routing,
)
from sklearn.utils.validation import check_memory

from skdefer.base import DeferralMixin
from skdefer.costs import least_cost_answer, resolve_cost, resolve_error_cost
from skdefer.deferral._out_of_fold import (
    FittingCache,
    OutOfFold,
    align_columns,
    cross_fit_losses,
    make_splits,
)
from skdefer.deferral._record import buy_answers, check_classes, read_record
from skdefer.exceptions import ModelDisagreementWarning
from skdefer.experts._panel import visible
from skdefer.experts._profile import ExpertProfile
from skdefer.policies import CostPolicy
from skdefer.policies._base import warn_of_capacities
from skdefer.rejectors import ConfidenceRejector, LearnedRejector
from skdefer.utils._rows import check_rows, take_rows
from skdefer.utils._signature import keywords_only
from skdefer.utils._validation import check_target, check_weights, encode_answers

_ROWS_COMPARED = 200  # rows on which the estimator's own predict is held against its probabilities


class DeferralClassifier(DeferralMixin, BaseEstimator):
    """A classifier that hands rows over to experts, wherever that is worth their price.

    Any probabilistic classifier answers most rows; the others go to whoever is expected to
    lose less on them, price included. ``predict`` is the whole system, so that ordinary
    scorers, ``cross_validate`` and ``GridSearchCV`` measure what is deployed.

    Parameters
    ----------
    estimator : classifier with ``predict_proba``, default=None
        The model; a whole Pipeline too. X goes to it untouched. ``LogisticRegression()``
        if None. One in ``FrozenEstimator`` is used as it is, and the rows of ``fit`` only
        calibrate the hand-over.
    experts : expert, sequence of experts or of pairs (name, expert), or mapping, default=None
        A callable ``f(X) -> labels``, a fitted classifier, :class:`ColumnExpert`,
        :class:`IndexExpert`, or an :class:`ExpertProfile` (can be weighed, can't be asked).
        None: the columns of ``expert_predictions``, or, without those, nobody: rejection
        at the price ``cost`` by Chow's rule. Never copied and never fitted.
    rejector : rejector, default=None
        Says what each route is expected to lose; :class:`LearnedRejector` if None, or
        :class:`ConfidenceRejector` where there is nobody to ask.
    policy : policy, default=None
        Decides which gains are worth a hand-over; :class:`CostPolicy` if None.
    cost : None, float, sequence, mapping, callable or CostModel, default=None
        Price of asking: a number, one per expert, a mapping by name, a callable of X
        that gives shape (n_rows,) or (n_rows, n_experts), or a :class:`~skdefer.CostModel`
        of money and time. None: each expert's own. A change refits nothing.
    error_cost : float, array-like of shape (n_classes, n_classes) or DataFrame, default=1.0
        Price of a wrong answer, in the same unit; a matrix gives it for each
        (true, answered) pair, in the order of ``classes_`` or labelled by class.
    cv : int, splitter or iterable, default=5
        Folds of the out-of-fold pass. A number keeps ``groups`` together; rows in no test
        fold teach the model alone; rows in several are averaged.
    on_missing : {"raise", "model", "next"}, default="raise"
        For a deferred row without an answer: an error that carries the answers at hand, the
        model's answer, or the next expert who gains and has capacity.
    memory : str or joblib.Memory, default=None
        Keeps fits, out-of-fold probabilities and bought answers, so that a search over
        costs fits the estimator no more often than one candidate does.
    n_jobs : int, default=None
        Folds at once.
    random_state : int, RandomState instance or None, default=None
        Seed of a rejector that has none, and of the rows asked about under ``max_queries``.
    verbose : int, default=0
        Of that pass.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes.
    estimator_ : classifier
        The model, fitted on all rows.
    experts_ : list of Expert
        The experts.
    profiles_ : list of ExpertProfile
        How often each expert is right on each class.
    rejector_, policy_ : fitted rejector and policy
    routes_ : list of str
        ``"model"``, then the experts' names.
    n_experts_ : int
        The number of experts.
    error_cost_ : ndarray of shape (n_classes, n_classes) or None
        The matrix, if ``error_cost`` is one.
    n_features_in_ : int
        Of the model, where it has it; ``feature_names_in_`` likewise.

    See Also
    --------
    skdefer.metrics.estimator_report : What deferral gains, on rows of your own.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skdefer import DeferralClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(600, 2))
    >>> y = (X[:, 0] + (X[:, 1] > 1) * 3 > 0).astype(int)  # not linear
    >>> desk = lambda X: (X[:, 0] + (X[:, 1] > 1) * 3 > 0).astype(int)  # but known to the desk
    >>> clf = DeferralClassifier(LogisticRegression(), [("desk", desk)], cost=0.2)
    >>> clf = clf.fit(X[:400], y[:400])
    >>> bool(clf.score(X[400:], y[400:]) > (clf.predict_model(X[400:]) == y[400:]).mean())
    True
    >>> clf.routes_, clf.predict_route([[2.0, 0.0], [0.0, 0.0]])  # the model is sure of the first
    (['model', 'desk'], array([0, 1]))
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods("fit"), None],
        "experts": "no_validation",
        "rejector": [HasMethods(["fit", "expected_loss"]), None],
        "policy": [HasMethods(["fit", "route"]), None],
        "cost": "no_validation",
        "error_cost": "no_validation",
        "cv": ["cv_object"],
        "on_missing": [StrOptions({"raise", "model", "next"})],
        "memory": [str, HasMethods(["cache"]), None],
        "n_jobs": [Interval(numbers.Integral, None, None, closed="neither"), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        estimator=None,
        experts=None,
        *,
        rejector=None,
        policy=None,
        cost=None,
        error_cost=1.0,
        cv=5,
        on_missing="raise",
        memory=None,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.estimator = estimator
        self.experts = experts
        self.rejector = rejector
        self.policy = policy
        self.cost = cost
        self.error_cost = error_cost
        self.cv = cv
        self.on_missing = on_missing
        self.memory = memory
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @keywords_only
    def fit(self, X, y, *, expert_predictions=None, sample_weight=None, groups=None):
        """Fit the model, and learn on rows it did not see when to hand over.

        Parameters
        ----------
        X : the rows
            Whatever the estimator takes: array, DataFrame, sparse matrix, list of text.
        y : array-like of shape (n_rows,)
            The truth.
        expert_predictions : array-like of shape (n_rows,) or (n_rows, n_experts), default=None
            The experts' answers on record; None, NaN, NA or masked where there is none. The
            columns of a DataFrame are matched to the experts by name.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows, for the estimator (with metadata routing, if it requests
            them) and for the rejector, where a weight counts as that many answers.
        groups : array-like of shape (n_rows,), default=None
            Rows of a group stay in one fold.

        Returns
        -------
        self : DeferralClassifier

        Raises
        ------
        ValueError
            For labels, answers, costs or weights that don't fit.
        ExpertAnswerError
            If an expert without a record fails when asked.
        """
        self._validate_params()
        n_rows = check_rows(X)
        y = check_target(y, n_rows)
        estimator = self._checked_estimator()
        weight = None if sample_weight is None else check_weights(sample_weight, n_rows)
        fit_params = self._estimator_fit_params(estimator, weight)
        self.classes_ = self._find_classes(estimator, y)
        self.error_cost_ = resolve_error_cost(self.error_cost, self.classes_)[1]

        panel, answers = read_record(self.experts, X, expert_predictions, self.classes_)
        self._set_panel(panel)
        seen = visible(X, panel)
        own = [expert.cost for expert in panel.values()]
        cost = resolve_cost(self.cost, list(panel), own, seen, n_rows)
        cost = np.broadcast_to(cost, answers.shape)
        rejector, policy = self._parts()

        cache = FittingCache(check_memory(self.memory), estimator, seen, y, fit_params)
        if rejector.learns or policy.learns:
            unread = _is_frozen(estimator) and not policy.learns  # not even the folds
            out_of_fold = cache.cross_fit(
                [] if unread else make_splits(self.cv, seen, y, groups),
                self.classes_,
                with_folds=policy.learns,
                groups=groups,
                n_jobs=self.n_jobs,
                verbose=self.verbose,
            )
        else:  # nobody reads the probabilities, so every row may teach the profiles
            flat = np.full((n_rows, len(self.classes_)), 1.0 / len(self.classes_))
            everywhere = np.ones(n_rows, dtype=bool)
            out_of_fold = OutOfFold(flat, covered=everywhere, fold=np.zeros(n_rows, dtype=int))
        if not self._rejects_only:
            answers = buy_answers(
                panel,
                X,
                answers,
                self.classes_,
                out_of_fold.covered,
                store=self._store(),
                random_state=self.random_state,
            )

        profiles = [e.profile or ExpertProfile(name=name) for name, e in panel.items()]

        def fit_rejector(rows):
            return clone(rejector).fit(
                out_of_fold.proba[rows],
                y[rows],
                None if self._rejects_only else answers[rows],
                X=take_rows(seen, rows),
                error_cost=self.error_cost_,
                sample_weight=None if weight is None else weight[rows],
                classes=self.classes_,
                profiles=profiles,
            )

        covered = np.flatnonzero(out_of_fold.covered)
        if policy.learns:
            loss = cross_fit_losses(fit_rejector, out_of_fold, seen) * self._error_unit()
            answer = least_cost_answer(out_of_fold.proba[covered], self.error_cost_)
            policy.fit(
                loss[:, :1] - loss[:, 1:] - cost[covered],
                y[covered],
                self.classes_[answer],
                # An expert who is always right stands in where there is nobody.
                y[covered] if self._rejects_only else answers[covered],
                cost=cost[covered],
                capacity=[e.capacity for e in panel.values()],
                X=take_rows(seen, covered),
                sample_weight=None if weight is None else weight[covered],
            )
        self._set_policy(policy)
        self.rejector_ = fit_rejector(covered)
        self.profiles_ = self.rejector_.profiles_
        self.estimator_ = estimator if _is_frozen(estimator) else cache.fit()
        for name in ("n_features_in_", "feature_names_in_"):
            self.__dict__.pop(name, None)  # of an earlier fit
            if hasattr(self.estimator_, name):
                setattr(self, name, getattr(self.estimator_, name))
        self._warn_if_thresholded(seen)
        return self

    @property
    def score_is_calibrated(self):
        """Whether scores are in units of the cost, so that costs can be subtracted."""
        return getattr(getattr(self, "rejector_", None), "score_is_calibrated", True)

    def _inner(self):
        if self.estimator is not None:
            return self.estimator
        default = LogisticRegression()
        return default.set_fit_request(sample_weight=True) if _routing_enabled() else default

    def _checked_estimator(self):
        estimator = self._inner()
        if not hasattr(estimator, "predict_proba"):
            raise ValueError(
                f"estimator is {type(estimator).__name__}, which has no predict_proba; expected a "
                "probabilistic classifier. Wrap it in CalibratedClassifierCV."
            )
        return estimator if _is_frozen(estimator) else clone(estimator)

    def _find_classes(self, estimator, y):
        if _is_frozen(estimator):
            classes = np.unique(estimator.classes_)
            unknown = sorted(map(str, np.unique(y[encode_answers(y, classes) < 0])))
            if unknown:
                raise ValueError(
                    f"y has the labels {unknown[:5]}, which the frozen estimator doesn't know; it "
                    f"knows {classes.tolist()}. Leave those rows out, or fit it on them."
                )
            return classes
        return check_classes(y)

    def _estimator_fit_params(self, estimator, sample_weight) -> dict[str, Any]:
        given = {} if sample_weight is None else {"sample_weight": sample_weight}
        if _routing_enabled():
            return dict(process_routing(self, "fit", **given).estimator.fit)
        if given and isinstance(estimator, Pipeline):
            raise ValueError(
                "sample_weight came with a Pipeline as estimator, and without metadata routing it "
                "can't be known which step they are for. Call "
                "sklearn.set_config(enable_metadata_routing=True) and set_fit_request("
                "sample_weight=True) on that step, with False on the others."
            )
        return given

    def _parts(self):
        """Clone the rejector and the policy, or take the defaults."""
        if self.rejector is not None:
            rejector = clone(self.rejector)
        else:
            rejector = ConfidenceRejector() if self._rejects_only else LearnedRejector()
        for name, value in rejector.get_params().items():
            if name.rpartition("__")[2] == "random_state" and value is None:
                rejector.set_params(**{name: self.random_state})
        policy = CostPolicy() if self.policy is None else clone(self.policy)
        for part in (rejector, policy):
            if hasattr(part, "_validate_params"):
                part._validate_params()  # now, not after the out-of-fold pass
        warn_of_capacities(policy, self._panel)
        return rejector, policy

    def _warn_if_thresholded(self, X):
        rows = take_rows(X, np.arange(min(_ROWS_COMPARED, check_rows(X))))
        likeliest = self.classes_[self._model_proba(rows).argmax(axis=1)]
        differs = np.asarray(self.estimator_.predict(rows)) != likeliest
        if differs.any():
            warnings.warn(
                f"{type(self.estimator_).__name__}.predict differs from its most probable class on "
                f"{int(differs.sum())} of the first {len(differs)} rows (a tuned threshold?). "
                "Deferral uses probabilities; say what errors cost with error_cost= instead.",
                ModelDisagreementWarning,
                stacklevel=3,
            )

    def _model_proba(self, X):
        return align_columns(self.estimator_.predict_proba(X), self.estimator_, self.classes_)

    def _route_losses(self, proba, X):
        return self.rejector_.expected_loss(proba, X=X)

    def _uncertainty(self, proba, X):
        return self.rejector_.uncertainty(proba)

    def _serve_profiles(self, profiles, met):
        self.rejector_ = self.rejector_.with_profiles(profiles, met=met)
        self.profiles_ = self.rejector_.profiles_

    def _serve_contexts(self, contexts):
        if getattr(self.rejector_, "reads_contexts", False) and any(contexts):
            self.rejector_ = self.rejector_.with_contexts([self._weighed(c) for c in contexts])

    def _weighed(self, context):
        """Put the model's probabilities before the truth, the answers and the rows."""
        if context is None:
            return None
        answers, y, X = context
        X = visible(self._drop_former(X), self._panel)
        return self._model_proba(X), y, answers, X

    def get_metadata_routing(self):
        """Say which metadata go where: ``sample_weight`` to the estimator's ``fit``.

        Returns
        -------
        routing : MetadataRouter
        """
        mapping = MethodMapping().add(caller="fit", callee="fit")
        router = MetadataRouter(owner=self).add_self_request(self)
        return router.add(estimator=self._inner(), method_mapping=mapping)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self._inner())
        tags.input_tags = inner.input_tags
        tags.classifier_tags = inner.classifier_tags or tags.classifier_tags
        return tags


def _is_frozen(estimator: Any) -> bool:
    return isinstance(estimator, FrozenEstimator)
