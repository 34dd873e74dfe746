"""Choose the threshold, budget or cost of a deferral estimator in one out-of-fold pass."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.base import BaseEstimator, clone
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.parallel import Parallel, delayed

from skdefer.costs import as_prices
from skdefer.deferral._delegating import DelegatingMixin, is_frozen, thaw
from skdefer.deferral._out_of_fold import make_splits
from skdefer.deferral._record import check_classes
from skdefer.deferral._sweeping import HeldOut, fit_fold, fit_on, mute, settle_answers
from skdefer.metrics._confusion import values_of
from skdefer.metrics._label_metrics import LabelMetric, function_name, label_metric
from skdefer.metrics._scorers import DeferralScorer
from skdefer.metrics._sweep import Outcomes, first_best
from skdefer.policies import ThresholdPolicy
from skdefer.policies._thresholds import budget_threshold, candidate_thresholds
from skdefer.utils._rows import check_rows
from skdefer.utils._signature import keywords_only
from skdefer.utils._validation import check_target, check_weights

_MOST_THRESHOLDS = 1000
_BUDGETS = np.arange(101) / 100


class TunedDeferralClassifierCV(DelegatingMixin, BaseEstimator):
    """A deferral estimator whose threshold, budget or cost is tuned, without a fit for each.

    The estimator is fitted once per fold; then every candidate is tried on the held-out rows,
    in arrays. A ``GridSearchCV`` over the same costs and folds finds the same optimum with a fit
    per cost and fold. This is the sibling of scikit-learn's ``TunedThresholdClassifierCV``, for
    any number of classes and experts.

    Parameters
    ----------
    estimator : deferral estimator, default=None
        What is tuned; ``DeferralClassifier()`` if None. Its policy may learn nothing
        (:class:`~skdefer.policies.CostPolicy`, :class:`~skdefer.policies.TopKPolicy`). A fitted
        one in ``FrozenEstimator`` is not fitted again: all rows of ``fit`` are then held out, and
        must not be those that it was fitted on.
    tune : {"threshold", "budget", "cost"}, default="threshold"
        What a candidate is. "threshold": a number that is taken off every score. "budget": the
        share of rows that may be handed over, for which the threshold is found on the held-out
        rows of all folds. "cost": the estimator's parameter ``cost``, by which it then decides.
    grid : int, array-like or list, default=None
        The candidates. "threshold": numbers, or how many of the midpoints between neighbouring
        held-out scores, taken evenly by rank (1,000 if None). "budget": shares in [0, 1]; 0, .01,
        ... 1 if None. "cost": prices in any form that ``cost`` takes.
    objective : "cost", str, scorer or callable, default="cost"
        What is maximised. "cost": the mean cost of a row, its sign flipped: of wrong answers by
        the estimator's ``error_cost``, and of asking by its parameter ``cost`` as it came. Else a
        metric of the system's labels: the name of a scikit-learn scorer (``"f1_macro"``), one from
        ``make_scorer``, or ``f(y_true, y_answered)``.
    max_deferral_rate : float, default=None
        The most that may be handed over, a share of the rows.
    max_cost : float, default=None
        The most that asking may cost per row on average, whether an answer is on record or not.
    min_metric : mapping, default=None
        Names of metrics (as for ``objective``), or functions, to the least value of each:
        ``{"recall": 0.9}``. Every constraint is about the mean over the folds.
    cv : int, splitter or iterable, default=5
        The folds. A number keeps ``groups`` together.
    refit : bool, default=True
        Whether to fit on all rows afterwards. False, with a single split: the estimator of that
        split serves.
    n_jobs : int, default=None
        Folds at once.

    Attributes
    ----------
    estimator_ : deferral estimator
        Fitted, with the chosen threshold in its policy, or the chosen cost. All methods are its
        own; its parameters ``cost`` and ``on_missing`` may be set anew.
    best_value_ : candidate
        The one chosen; of equally good ones the first. Thresholds that were not given fall, so
        the first hands over least.
    best_threshold_ : float
        What it takes off the scores; not with ``tune="cost"``.
    best_score_ : float
        The objective there, the mean over the folds. It is the best of many, so a little too
        good: measure it on other rows.
    best_index_ : int
        Its position in ``cv_results_``.
    split_best_ : ndarray of shape (n_splits,)
        The candidate that each fold alone would choose of the feasible ones: its spread says how
        far the choice can be trusted.
    cv_results_ : dict of ndarray of shape (n_candidates,)
        ``param_threshold`` (or ``_budget``, ``_cost``), ``threshold`` but for costs,
        ``split0_test_score``..., ``mean_test_score``, ``std_test_score``, ``rank_test_score``
        (candidates that break a constraint come last), ``mean_deferral_rate``,
        ``mean_asking_cost``, ``mean_cost`` (asking and errors), ``mean_NAME`` of each metric in
        ``min_metric``, ``feasible``, and ``n_splits_best``, in how many folds it is the best.
    classes_, experts_, profiles_, policy_, routes_, n_experts_
        Of ``estimator_``.

    See Also
    --------
    skdefer.policies.ScoringPolicy : A threshold for a metric inside the fit of DeferralClassifier.

    Examples
    --------
    >>> import numpy as np
    >>> from skdefer import DeferralClassifier, TunedDeferralClassifierCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(600, 2))
    >>> y = (X[:, 0] + (X[:, 1] > 1) * 3 > 0).astype(int)  # not linear
    >>> desk = lambda X: (X[:, 0] + (X[:, 1] > 1) * 3 > 0).astype(int)  # but known to the desk
    >>> tuned = TunedDeferralClassifierCV(
    ...     DeferralClassifier(experts=[("desk", desk)], cost=0.2), max_deferral_rate=0.3
    ... ).fit(X, y)
    >>> bool(tuned.cv_results_["mean_deferral_rate"][tuned.best_index_] <= 0.3)
    True
    >>> tuned.routes_, tuned.predict_route([[3.0, 0.0], [-0.7, 1.2]])
    (['model', 'desk'], array([0, 1]))
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods("fit"), None],
        "tune": [StrOptions({"threshold", "budget", "cost"})],
        "grid": "no_validation",
        "objective": [str, callable],
        "max_deferral_rate": [Interval(numbers.Real, 0, 1, closed="both"), None],
        "max_cost": [Interval(numbers.Real, 0, None, closed="left"), None],
        "min_metric": [Mapping, None],
        "cv": ["cv_object"],
        "refit": ["boolean"],
        "n_jobs": [numbers.Integral, None],
    }

    def __init__(
        self,
        estimator=None,
        *,
        tune="threshold",
        grid=None,
        objective="cost",
        max_deferral_rate=None,
        max_cost=None,
        min_metric=None,
        cv=5,
        refit=True,
        n_jobs=None,
    ):
        self.estimator = estimator
        self.tune = tune
        self.grid = grid
        self.objective = objective
        self.max_deferral_rate = max_deferral_rate
        self.max_cost = max_cost
        self.min_metric = min_metric
        self.cv = cv
        self.refit = refit
        self.n_jobs = n_jobs

    @keywords_only
    def fit(self, X, y, *, expert_predictions=None, sample_weight=None, groups=None):
        """Fit the estimator per fold, try every candidate on the rows held out, and fit on all.

        Parameters
        ----------
        X : the rows
            Whatever the estimator takes.
        y : array-like of shape (n_rows,)
            The truth.
        expert_predictions : array-like of shape (n_rows,) or (n_rows, n_experts), default=None
            Answers on record. An expert without any is asked, once for each row or as often as
            its ``max_queries`` allows, and those answers serve every fold. A row without an answer
            counts with the model's.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows, for the estimator and for what is measured.
        groups : array-like of shape (n_rows,), default=None
            Rows of a group stay in one fold, here and inside the estimator.

        Returns
        -------
        self : TunedDeferralClassifierCV

        Raises
        ------
        ValueError
            For a grid, a policy or a constraint that doesn't fit, and where no candidate meets
            the constraints; the message says what can be reached.
        """
        self._validate_params()
        self._check_inner()
        self._check_objective()
        given = self._given_candidates()
        n_rows = check_rows(X)
        y = check_target(y, n_rows)
        weight = None if sample_weight is None else check_weights(sample_weight, n_rows)
        frozen = is_frozen(self.estimator)
        template = thaw(self.estimator) if frozen else clone(self._inner())
        classes = template.classes_ if frozen else check_classes(y)
        objective = None
        if self.objective != "cost":
            objective = label_metric(
                self.objective, classes, "objective", weighted=weight is not None
            )
        least = [
            label_metric(metric, classes, "min_metric", weighted=weight is not None)
            for metric in self.min_metric or {}
        ]
        panel, answers = settle_answers(template, X, expert_predictions, classes, fitted=frozen)

        rows = {"X": X, "y": y, "answers": answers, "weight": weight, "groups": groups}
        if frozen:
            splits: list[Any] = [(None, np.arange(n_rows))]
        else:
            splits = make_splits(self.cv, X, y, groups)
            if not self.refit and len(splits) > 1:
                raise ValueError(
                    f"refit is False, but cv makes {len(splits)} splits; expected one. Pass a "
                    "single split, or refit=True."
                )
            template.experts = mute(template.experts, panel)
        folds = Parallel(n_jobs=self.n_jobs)(
            delayed(fit_fold)(template if frozen else clone(template), rows, classes, train, test)
            for train, test in splits
        )
        held = [fold for _, fold in folds]
        self._check_policy(held[0].policy)
        candidates, thresholds = self._candidates(given, held)
        measured = [
            self._measure(fold, candidates, thresholds, objective, least, classes) for fold in held
        ]
        self._choose(candidates, thresholds, measured)

        if frozen or not self.refit:
            served = folds[0][0]
        else:
            served = fit_on(clone(template), rows, np.arange(n_rows))
        served.experts = self._inner().experts if not frozen else served.experts
        served._set_panel(panel, served._former_columns)
        if thresholds is None:
            served.cost = self.best_value_
        else:
            served._set_policy(ThresholdPolicy(self.best_threshold_, policy=served.policy_))
        self.estimator_ = served
        return self

    # -- what is tried, and by what it is judged ---------------------------------------

    def _check_objective(self) -> None:
        if isinstance(self.objective, DeferralScorer):
            raise ValueError(
                f"objective is {self.objective!r}, which asks an estimator; expected 'cost', or a "
                "metric of labels. Prices of 'cost' are the estimator's cost and error_cost."
            )

    def _check_policy(self, policy: Any) -> None:
        if policy.learns:
            raise ValueError(
                f"The estimator's policy is {type(policy).__name__}, which learns where to cut "
                "itself; expected one that learns nothing, such as CostPolicy or TopKPolicy, whose "
                "one cut for all experts is tuned here. Use that policy without "
                "TunedDeferralClassifierCV, or limit the rows of all experts by max_deferral_rate."
            )

    def _given_candidates(self) -> list[Any] | np.ndarray | int:
        """Bring the grid to a list of costs, an array of numbers, or how many thresholds."""
        grid = self.grid
        if self.tune == "cost":
            if grid is None or isinstance(grid, (str, Mapping)) or not np.iterable(grid):
                raise ValueError(
                    f"grid is {grid!r} with tune='cost'; expected the costs to be tried, a list. "
                    "Pass [0.0, 0.05, 0.1], say, or mappings of prices by expert."
                )
            grid = list(grid)
            if grid and all(isinstance(cost, numbers.Real) for cost in grid):
                grid = as_prices(grid, "grid")
        elif grid is None:
            return _BUDGETS if self.tune == "budget" else _MOST_THRESHOLDS
        elif self.tune == "threshold" and isinstance(grid, (int, np.integer)) and grid > 1:
            return int(grid)
        else:
            try:
                grid = np.asarray(grid, dtype=float)
            except (TypeError, ValueError):
                grid = np.array(np.nan)
            within = (grid >= 0) & (grid <= 1) if self.tune == "budget" else grid > -np.inf
            if grid.ndim != 1 or not within.all():
                what = "shares in [0, 1]" if self.tune == "budget" else "numbers, or an integer > 1"
                raise ValueError(
                    f"grid is {self.grid!r} with tune={self.tune!r}; expected {what}. Pass None "
                    "for a grid that is made from the held-out scores."
                )
        if len(grid) == 0:
            raise ValueError("grid is empty; expected a candidate at least. Pass some, or None.")
        return grid

    def _candidates(self, given: Any, held: list[HeldOut]) -> tuple[Any, np.ndarray | None]:
        """Candidates, and the threshold of each (None where costs are tuned)."""
        if self.tune == "cost":
            return given, None
        score = np.concatenate([fold.top_score for fold in held])
        if self.tune == "budget":
            weight = np.concatenate([fold.weight[fold.weight > 0] for fold in held])
            return given, np.array([budget_threshold(score, weight, share) for share in given])
        if isinstance(given, int):
            given = candidate_thresholds(score, most=given)
        return given, given

    def _measure(
        self,
        fold: HeldOut,
        candidates: Any,
        thresholds: np.ndarray | None,
        objective: LabelMetric | None,
        least: list[LabelMetric],
        classes: np.ndarray,
    ) -> dict[str, np.ndarray]:
        """What each candidate comes to on the rows of one fold."""
        if thresholds is None:
            blocks = fold.by_cost(candidates)
        else:
            blocks = fold.by_threshold(thresholds)

        def measure(outcomes: Outcomes) -> dict[str, np.ndarray]:
            cost = fold.expected_cost(outcomes)
            values = {metric.name: values_of(metric, outcomes.counts, classes) for metric in least}
            return {
                "score": -cost
                if objective is None
                else values_of(objective, outcomes.counts, classes),
                "deferral_rate": outcomes.deferred,
                "asking_cost": outcomes.asked,
                "cost": cost,
                **values,
            }

        parts = [measure(outcomes) for outcomes in blocks]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _limits(self) -> list[tuple[str, float, float]]:
        """Constraints as (column, sign, bound): sign * column <= sign * bound."""
        limits = [
            ("deferral_rate", 1.0, self.max_deferral_rate),
            ("asking_cost", 1.0, self.max_cost),
        ]
        limits += [(function_name(m), -1.0, bound) for m, bound in (self.min_metric or {}).items()]
        return [limit for limit in limits if limit[2] is not None]

    def _choose(
        self, candidates: Any, thresholds: np.ndarray | None, folds: list[dict[str, np.ndarray]]
    ) -> None:
        """Set what was chosen, and the table that it was chosen from."""
        mean = {name: np.mean([fold[name] for fold in folds], axis=0) for name in folds[0]}
        feasible = np.ones(len(candidates), dtype=bool)
        for column, sign, bound in self._limits():
            feasible &= sign * mean[column] <= sign * bound + 1e-12 * abs(bound)
        best = first_best(mean["score"], feasible)
        if best < 0:
            self._refuse(mean, feasible)
        alone = [first_best(fold["score"], feasible) for fold in folds]
        ranked = np.where(feasible, np.nan_to_num(-mean["score"], nan=np.inf), np.inf)
        table = {f"param_{self.tune}": _column(candidates)}
        if thresholds is not None:
            table["threshold"] = thresholds
        table |= {f"split{k}_test_score": fold["score"] for k, fold in enumerate(folds)}
        table["mean_test_score"] = mean.pop("score")
        table["std_test_score"] = np.std([fold["score"] for fold in folds], axis=0)
        table["rank_test_score"] = rankdata(ranked, method="min").astype(int)
        table |= {f"mean_{name}": values for name, values in mean.items()}
        table["feasible"] = feasible
        table["n_splits_best"] = np.bincount(alone, minlength=len(feasible))
        self.cv_results_ = table
        self.best_index_ = best
        self.best_score_ = float(table["mean_test_score"][best])
        self.best_value_ = candidates[best]
        self.split_best_ = _column(candidates)[alone]
        self.__dict__.pop("best_threshold_", None)  # of an earlier fit
        if thresholds is not None:
            self.best_threshold_ = float(thresholds[best])

    def _refuse(self, mean: dict[str, np.ndarray], feasible: np.ndarray) -> None:
        """Say why there is no candidate, and what can be reached."""
        if feasible.any():
            raise ValueError(
                f"The objective {self.objective!r} is NaN at every candidate that meets the "
                "constraints. Pass one that is defined there, such as 'f1_macro'."
            )
        reach = []
        for column, sign, bound in self._limits():
            known = mean[column][~np.isnan(mean[column])]
            extreme = f"alone it reaches {sign * min(sign * known):.4g}" if len(known) else "NaN"
            asked = f"at most {bound:g}" if sign > 0 else f"at least {bound:g}"
            reach.append(f"{column} of {asked} ({extreme})")
        raise ValueError(
            f"No candidate meets the constraints together: {', '.join(reach)}. Loosen one, or pass "
            "a grid with other candidates."
        )


def _column(candidates: Any) -> np.ndarray:
    """Candidates as one column: numbers, or objects such as mappings of prices."""
    if isinstance(candidates, np.ndarray):
        return candidates
    column = np.empty(len(candidates), dtype=object)
    for i, candidate in enumerate(candidates):  # a list of lists would become a matrix
        column[i] = candidate
    return column
