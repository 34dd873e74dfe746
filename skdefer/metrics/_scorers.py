"""Scorers of deferral estimators, for ``cross_validate`` and searches."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.utils.metadata_routing import UNCHANGED, MetadataRequest

from skdefer.metrics._costs import system_cost
from skdefer.metrics._curves import aurdac_score, aursac_score
from skdefer.metrics._label_metrics import function_name
from skdefer.metrics._reading import bill, read_answers, read_prices
from skdefer.metrics._scores import deferral_rate

_RESPONSES = ("deferral_score", "route")


def make_deferral_scorer(
    score_func: Callable[..., float],
    *,
    response: str = "deferral_score",
    greater_is_better: bool = True,
    cost: Any = None,
    error_cost: Any = 1.0,
    **kwargs: Any,
) -> DeferralScorer:
    """Make a metric of this package a ``scoring`` of scikit-learn.

    Metrics of labels alone, such as ``"f1_macro"`` or ``"accuracy"``, need no scorer of
    this kind: ``predict`` gives the answers of the whole system.

    Parameters
    ----------
    score_func : callable
        A metric with a parameter named as ``response``. Of ``y_true``, ``y_pred``,
        ``expert_predictions``, ``deferral_score``, ``route``, ``cost``, ``error_cost``,
        ``labels`` and ``sample_weight`` it gets those that it has a parameter for.
    response : {"deferral_score", "route"}, default="deferral_score"
        ``"deferral_score"``: rows are ranked by ``estimator.deferral_score(X)``. The answers
        of all experts on all rows are needed, and asked for if they are not passed.
        ``"route"``: who answered, from one call of ``estimator.predict``, which asks for
        deferred rows only. Where several experts answer a row, their vote stands for the answer
        of the one it is routed to, and the sum of their prices for that one's price. A metric
        without ``expert_predictions`` gets ``estimator.predict_route(X)`` and nobody is asked.
    greater_is_better : bool, default=True
        If False, the sign is flipped.
    cost : float, array-like of shape (n_experts,), mapping, callable or CostModel, optional
        The price of asking, also by name or as a function of X. By default each expert's
        own ``cost``. The ``cost`` of the estimator itself is never read: a search over it
        would compare candidates by different prices.
    error_cost : float, array-like of shape (n_classes, n_classes) or DataFrame, default=1.0
        The price of a wrong answer; a matrix is in the order of ``classes_``.
    **kwargs : object
        More arguments of ``score_func``.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y_true, sample_weight=None, expert_predictions=None)``. With
        metadata routing, ``expert_predictions`` is requested already, and ``sample_weight``
        by ``set_score_request``.

    Raises
    ------
    ValueError
        For an unknown ``response``, a metric without that parameter, or arguments that the
        metric has no parameter for.

    Examples
    --------
    >>> from skdefer.metrics import aursac_score, make_deferral_scorer, system_cost
    >>> make_deferral_scorer(aursac_score, deferral_range=(0, 0.2))
    make_deferral_scorer(aursac_score, response='deferral_score', deferral_range=(0, 0.2))
    >>> make_deferral_scorer(system_cost, response="route", greater_is_better=False, cost=0.1)
    make_deferral_scorer(system_cost, response='route', greater_is_better=False, cost=0.1)
    """
    if response not in _RESPONSES:
        raise ValueError(f"response is {response!r}; expected one of {_RESPONSES}. Pass one.")
    names = set(inspect.signature(score_func).parameters)
    if response not in names:
        raise ValueError(
            f"{function_name(score_func)} has no parameter {response!r} but {sorted(names)}. Pass "
            "the other response; a metric of labels alone goes to sklearn.metrics.make_scorer."
        )
    given = set(kwargs) | ({"cost"} if cost is not None else set())
    given |= set() if isinstance(error_cost, (int, float)) and error_cost == 1 else {"error_cost"}
    if given - names:
        raise ValueError(
            f"{function_name(score_func)} has no parameter {sorted(given - names)} but "
            f"{sorted(names)}. Leave them out, or pass a metric that has them, such as system_cost."
        )
    return DeferralScorer(score_func, response, greater_is_better, cost, error_cost, kwargs)


class DeferralScorer:
    """A metric applied to a fitted deferral estimator; see :func:`make_deferral_scorer`."""

    def __init__(
        self,
        score_func: Callable[..., float],
        response: str,
        greater_is_better: bool,
        cost: Any,
        error_cost: Any,
        kwargs: dict[str, Any],
    ):
        self._score_func = score_func
        self._response = response
        self._greater_is_better = greater_is_better
        self._cost = cost
        self._error_cost = error_cost
        self._kwargs = kwargs
        self._requests: dict[str, Any] = {"expert_predictions": True, "sample_weight": None}

    def __call__(
        self,
        estimator: Any,
        X: Any,
        y_true: Any,
        sample_weight: Any = None,
        expert_predictions: Any = None,
    ) -> float:
        """Score a fitted deferral estimator.

        Parameters
        ----------
        estimator : object
            A fitted deferral estimator.
        X : the rows
            As ``estimator.predict`` takes them.
        y_true : array-like of shape (n_rows,)
            The labels.
        sample_weight : array-like of shape (n_rows,), optional
            How much each row counts.
        expert_predictions : array-like or DataFrame, (n_rows,) or (n_rows, n_experts), optional
            The experts' answers on these rows. Without them the experts are asked.

        Returns
        -------
        score : float
            Higher is better: a loss or a cost has its sign flipped.

        Raises
        ------
        ExpertPredictionsMissingError
            If there is no answer at all.
        """
        names = inspect.signature(self._score_func).parameters
        values: dict[str, Any] = {"y_true": y_true, "error_cost": self._error_cost}
        if "labels" in names:
            values["labels"] = estimator.classes_
        if "cost" in names:
            values["cost"] = read_prices(estimator, X, self._cost)
        if "y_pred" in names:
            values["y_pred"] = estimator.predict_model(X)
        if sample_weight is not None:
            if "sample_weight" not in names:
                raise ValueError(
                    f"sample_weight came, but {function_name(self._score_func)} takes none. Give "
                    "it a parameter sample_weight, or set_score_request(sample_weight=False)."
                )
            values["sample_weight"] = sample_weight
        read = self._by_route if self._response == "route" else self._by_score
        with_answers = "expert_predictions" in names
        values |= read(estimator, X, expert_predictions, with_answers, values.get("cost"))
        values = {name: value for name, value in values.items() if name in names}
        score = self._score_func(**(values | self._kwargs))
        return score if self._greater_is_better else -score

    def _by_route(
        self, estimator: Any, X: Any, expert_predictions: Any, with_answers: bool, cost: Any
    ) -> dict[str, Any]:
        if with_answers:
            labels, route, panel = estimator.predict(
                X, expert_predictions=expert_predictions, return_route=True, return_panel=True
            )
            route = np.asarray(route)
            # Only the answers that count are known, and only they are needed: of several, what
            # they came to.
            answers = np.full((len(route), len(estimator.routes_) - 1), None, dtype=object)
            deferred = np.flatnonzero(route)
            answers[deferred, route[deferred] - 1] = np.asarray(labels)[deferred]
            found = {"route": route, "expert_predictions": answers}
        else:
            found = {"route": estimator.predict_route(X)}
            panel = None if cost is None else estimator.predict_panel(X)
        return found if cost is None else found | {"cost": bill(cost, panel, found["route"])}

    def _by_score(
        self, estimator: Any, X: Any, expert_predictions: Any, with_answers: bool, cost: Any
    ) -> dict[str, Any]:
        score = estimator.deferral_score(X)
        if not with_answers:
            return {"deferral_score": score}
        answers = read_answers(estimator, X, expert_predictions, what=repr(self))
        return {"deferral_score": score, "expert_predictions": answers}

    def set_score_request(
        self, *, expert_predictions: Any = UNCHANGED, sample_weight: Any = UNCHANGED
    ) -> DeferralScorer:
        """Choose which metadata scikit-learn routes here, and under which name.

        Parameters
        ----------
        expert_predictions, sample_weight : bool, None or str
            As for every scikit-learn scorer. True: passed on if given. False: not passed on.
            None: refused if given. A string: passed on from this name. Left out: as it is, at
            first True and None.

        Returns
        -------
        self : DeferralScorer
            The same scorer, changed.

        Raises
        ------
        RuntimeError
            If metadata routing is not enabled.
        """
        if not get_config()["enable_metadata_routing"]:
            raise RuntimeError(
                "set_score_request came, but metadata routing is off, so that nothing would "
                "happen. Call sklearn.set_config(enable_metadata_routing=True) first."
            )
        new = {"expert_predictions": expert_predictions, "sample_weight": sample_weight}
        changed = {name: alias for name, alias in new.items() if alias is not UNCHANGED}
        _request(self, changed)  # refuses an alias that is none
        self._requests |= changed
        return self

    def get_metadata_routing(self) -> MetadataRequest:
        """Tell scikit-learn which metadata to pass here.

        Returns
        -------
        request : MetadataRequest
            Of the method ``score``.
        """
        return _request(self, self._requests)

    def _accept_sample_weight(self) -> bool:
        # Searches without metadata routing ask every scorer this.
        return "sample_weight" in inspect.signature(self._score_func).parameters

    def _routing_repr(self) -> str:
        # Names this scorer in scikit-learn's errors about metadata.
        return repr(self)

    def __repr__(self) -> str:
        parts = [function_name(self._score_func), f"response={self._response!r}"]
        if not self._greater_is_better:
            parts.append("greater_is_better=False")
        if self._cost is not None:
            parts.append(f"cost={self._cost!r}")
        if not (isinstance(self._error_cost, (int, float)) and self._error_cost == 1):
            parts.append(f"error_cost={self._error_cost!r}")
        parts += [f"{name}={value!r}" for name, value in self._kwargs.items()]
        return f"make_deferral_scorer({', '.join(parts)})"


def _request(owner: DeferralScorer, requests: dict[str, Any]) -> MetadataRequest:
    request = MetadataRequest(owner=owner)
    for name, alias in requests.items():
        request.score.add_request(param=name, alias=alias)
    return request


#: The area under the system's accuracy over all shares deferred.
aursac_scorer = make_deferral_scorer(aursac_score)
#: The area under the experts' accuracy over all shares deferred.
aurdac_scorer = make_deferral_scorer(aurdac_score)
#: The cost of a row, its sign flipped, at each expert's own price and 1 for an error.
system_cost_scorer = make_deferral_scorer(system_cost, response="route", greater_is_better=False)
#: The share of rows handed over, as it is, to be read beside other scores; asks nobody.
deferral_rate_scorer = make_deferral_scorer(deferral_rate, response="route")
