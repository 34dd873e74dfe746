"""A deferral estimator around another one, which does the deciding."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from skdefer.base import DeferralMixin


def _method(name: str) -> Callable[..., Any]:
    """Make a method of the contract that the fitted estimator inside answers."""

    @functools.wraps(getattr(DeferralMixin, name))
    def method(self, *args, **kwargs):
        check_is_fitted(self)
        return getattr(self.estimator_, name)(*args, **kwargs)

    return method


def _attribute(name: str) -> Any:
    """Make an attribute that is read from the fitted estimator inside."""

    def read(self):
        if "estimator_" not in vars(self):
            raise AttributeError(f"{type(self).__name__} is not fitted, so it has no {name!r}.")
        return getattr(self.estimator_, name)

    return property(read)


class DelegatingMixin(DeferralMixin):
    """Answers by ``estimator_``, a fitted deferral estimator.

    A subclass has the parameter ``estimator``, and its ``fit`` sets ``estimator_``: a copy of its
    own, whose cost or policy (``estimator_._set_policy``) it may change. Everything else is the
    business of ``estimator_``, whose parameters ``cost`` and ``on_missing`` may be set anew.
    """

    estimator: Any

    predict_model = _method("predict_model")
    predict_proba = _method("predict_proba")
    deferral_score = _method("deferral_score")
    predict_route = _method("predict_route")
    predict_defer = _method("predict_defer")
    predict_panel = _method("predict_panel")
    predict = _method("predict")
    score = _method("score")
    ask_experts = _method("ask_experts")
    explain_defer = _method("explain_defer")
    _vote_of = _method("_vote_of")
    _weigh = _method("_weigh")

    classes_ = _attribute("classes_")
    experts_ = _attribute("experts_")
    profiles_ = _attribute("profiles_")
    policy_ = _attribute("policy_")
    routes_ = _attribute("routes_")
    n_experts_ = _attribute("n_experts_")
    error_cost_ = _attribute("error_cost_")
    n_features_in_ = _attribute("n_features_in_")
    feature_names_in_ = _attribute("feature_names_in_")
    cost = _attribute("cost")
    error_cost = _attribute("error_cost")
    on_missing = _attribute("on_missing")
    memory = _attribute("memory")
    _former_columns = _attribute("_former_columns")

    @property
    def score_is_calibrated(self):
        """Whether scores are in units of the cost, so that costs can be subtracted."""
        return getattr(getattr(self, "estimator_", None), "score_is_calibrated", True)

    def with_experts(self, experts, *, profiles=None, cost=None):
        """Serve other experts without a refit; see :meth:`DeferralMixin.with_experts`."""
        check_is_fitted(self)
        other = copy.copy(self)
        other.estimator_ = self.estimator_.with_experts(experts, profiles=profiles, cost=cost)
        if not is_frozen(self.estimator):  # a clone is to have the experts that are served
            other.estimator = clone(self._inner()).set_params(experts=experts)
        return other

    def _inner(self) -> Any:
        """Take the estimator to be fitted, or the default."""
        if self.estimator is not None:
            return self.estimator
        from skdefer.deferral._post_hoc import DeferralClassifier

        return DeferralClassifier()

    def _check_inner(self) -> None:
        """Refuse what has not the contract of a deferral estimator."""
        inner = self._inner()
        inner = inner.estimator if is_frozen(inner) else inner
        if not isinstance(inner, DeferralMixin):
            raise TypeError(
                f"estimator is {type(inner).__name__}; expected a deferral estimator, such as "
                "DeferralClassifier(estimator). Pass one, or a fitted one in FrozenEstimator."
            )
        if not self._may_hold(inner):
            raise TypeError(
                f"estimator is {type(inner).__name__}, which chooses a threshold itself; "
                "expected an estimator that decides alone, such as DeferralClassifier. Pass the "
                f"one inside that {type(inner).__name__}."
            )

    def _may_hold(self, inner: DeferralMixin) -> bool:
        """Tell whether the threshold of an estimator is free to be chosen."""
        return not isinstance(inner, DelegatingMixin)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self._inner())
        tags.input_tags = inner.input_tags
        tags.classifier_tags = inner.classifier_tags or tags.classifier_tags
        return tags


def is_frozen(estimator: Any) -> bool:
    """Tell whether an estimator is to be used as it is."""
    return isinstance(estimator, FrozenEstimator)


def thaw(estimator: Any) -> Any:
    """Copy the fitted estimator out of a ``FrozenEstimator``, so that its policy can be changed.

    The copy shares model and experts with the original.
    """
    inner = estimator.estimator
    check_is_fitted(inner)
    return copy.copy(inner)
