"""The contract of every deferral estimator: who answers a row, why, and what it costs."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, clone
from sklearn.metrics import accuracy_score
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import check_is_fitted, check_memory

from skdefer.costs import error_unit, least_cost_answer, reads_rows, resolve_cost
from skdefer.exceptions import UncalibratedScoreWarning
from skdefer.experts._asking import answers_at_hand, ask_panel, check_where, collect, open_store
from skdefer.experts._base import Expert
from skdefer.experts._met import ServingMixin
from skdefer.experts._panel import (
    MODEL,
    find_contexts,
    find_profiles,
    given_names,
    make_panel,
    visible,
)
from skdefer.experts._profile import ExpertProfile
from skdefer.policies._base import Weighed
from skdefer.policies._deciding import DecidingMixin
from skdefer.policies._explanation import explain_routes
from skdefer.policies._vote import first_choice
from skdefer.utils._clone import clone_sharing
from skdefer.utils._rows import check_rows, check_same_order
from skdefer.utils._signature import keywords_only


class DeferralMixin(ServingMixin, DecidingMixin, ClassifierMixin):
    """The methods that every deferral estimator shares.

    A subclass fits ``classes_``, ``profiles_`` and ``error_cost_`` (a matrix, or None), calls
    ``_set_panel`` and ``_set_policy``, and writes ``_model_proba(X)``, ``_route_losses(proba,
    X)`` and ``_uncertainty(proba, X)``; X comes without columns that only experts may see.
    """

    # Set on the class, so that no user has to call set_*_request for them.
    __metadata_request__fit = {"expert_predictions": True, "groups": True}
    __metadata_request__predict = {
        "expert_predictions": True,
        "return_route": UNUSED,
        "return_panel": UNUSED,
    }
    __metadata_request__score = {"expert_predictions": True}

    score_is_calibrated: Any = True  # False: scores order rows, and costs can't be subtracted

    def __sklearn_clone__(self):
        # Experts are the world, not parameters: a copy would split their locks and
        # budgets, and unfit a classifier that is an expert.
        return clone_sharing(self, "experts")

    # -- the model alone ------------------------------------------------------------

    def predict_model(self, X):
        """Labels of the model alone; no expert is asked.

        Parameters
        ----------
        X : the rows
            As in ``fit``.

        Returns
        -------
        labels : ndarray of shape (n_rows,)
            Of least expected cost: the most probable class, unless ``error_cost`` is a matrix.
        """
        proba = self.predict_proba(X)
        return self.classes_[least_cost_answer(proba, self.error_cost_)]

    def predict_proba(self, X):
        """Class probabilities of the model alone, which ``"roc_auc"`` and its like measure.

        Parameters
        ----------
        X : the rows
            As in ``fit``.

        Returns
        -------
        proba : ndarray of shape (n_rows, n_classes)
            In the order of ``classes_``.
        """
        check_is_fitted(self)
        check_rows(X)
        return self._model_proba(visible(self._drop_former(X), self._panel))

    # -- who should answer ----------------------------------------------------------

    def deferral_score(self, X):
        """What handing a row to each expert is expected to gain, net of the price.

        Parameters
        ----------
        X : the rows
            As in ``fit``.

        Returns
        -------
        score : ndarray of shape (n_rows, n_experts)
            Expected loss of the model's answer less the expert's, less the expert's cost.
        """
        return self._weigh(X).score

    def predict_route(self, X):
        """Who should answer each row, the first choice if several should; nobody is asked.

        Parameters
        ----------
        X : the rows
            As in ``fit``.

        Returns
        -------
        route : ndarray of int of shape (n_rows,)
            Positions in ``routes_``: 0 the model, j in 1..n_experts expert j.
        """
        return self._decide(X, "route")

    def predict_defer(self, X):
        """Whether each row should be handed over; nobody is asked.

        Parameters
        ----------
        X : the rows
            As in ``fit``.

        Returns
        -------
        defer : ndarray of shape (n_rows,), dtype bool
            True where some expert should answer.
        """
        return self.predict_route(X) > 0

    def predict_panel(self, X):
        """Whom to ask on each row; nobody is asked.

        Parameters
        ----------
        X : the rows
            As in ``fit``.

        Returns
        -------
        panel : ndarray of bool of shape (n_rows, n_experts)
            One True per deferred row, in the column of its expert; several where the policy
            asks several, such as :class:`~skdefer.policies.TopKPolicy`.
        """
        return self._decide(X, "panel")

    # -- the whole system -----------------------------------------------------------

    @keywords_only
    def predict(self, X, *, expert_predictions=None, return_route=False, return_panel=False):
        """Labels of the whole system: the model's, and the experts' where they are asked.

        Each expert is asked once, for the rows handed to it alone. Where several are asked
        about a row, those who answer vote, as the policy says.

        Parameters
        ----------
        X : the rows
            As in ``fit``.
        expert_predictions : array-like of shape (n_rows,) or (n_rows, n_experts), default=None
            Answers at hand; read on deferred rows only. A missing one is asked for where
            the expert can be asked.
        return_route : bool, default=False
            Whether to return who answered, too.
        return_panel : bool, default=False
            Whether to return everybody who answered, last.

        Returns
        -------
        labels : ndarray of shape (n_rows,)
            The system's answers.
        route : ndarray of int of shape (n_rows,)
            Who actually answered, as positions in ``routes_``; of several the best-scored one.
            Only with ``return_route``.
        panel : ndarray of bool of shape (n_rows, n_experts)
            Everybody whose answer counts. Only with ``return_panel``.

        Raises
        ------
        ExpertPredictionsMissingError
            If an expert can't be asked and ``expert_predictions`` is missing.
        UnansweredError
            If a deferred row has no answer and ``on_missing="raise"``.
        ExpertAnswerError
            If an expert fails; this error and the one before carry the answers at hand. A paid
            expert whose calls were stopped raises with ``on_missing="raise"`` alone.
        """
        check_is_fitted(self)
        n_rows = check_rows(X)
        on_missing = "model" if self._rejects_only else self.on_missing
        check_same_order(expert_predictions, X)
        codes = answers_at_hand(
            self._panel, n_rows, expert_predictions, self.classes_, on_missing=on_missing
        )
        weighed = self._weigh(X)
        wanted = self._apply("panel", weighed)
        panel = collect(
            self._panel,
            self._drop_former(X),
            wanted,
            weighed.score,
            codes,
            self.classes_,
            on_missing=on_missing,
            store=self._store(),
            explain=lambda: self._explain(X, weighed, wanted),
        )
        result = [self._vote(weighed, codes, panel)]
        if return_route:
            result.append(first_choice(panel, weighed.score))
        if return_panel:
            result.append(panel)
        return tuple(result) if len(result) > 1 else result[0]

    @keywords_only
    def score(self, X, y, *, expert_predictions=None, sample_weight=None):
        """Accuracy of the whole system.

        Parameters
        ----------
        X : the rows
            As in ``fit``.
        y : array-like of shape (n_rows,)
            The truth.
        expert_predictions : array-like of shape (n_rows,) or (n_rows, n_experts), default=None
            As in ``predict``.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
            Share of right answers.
        """
        labels = self.predict(X, expert_predictions=expert_predictions)
        return accuracy_score(y, labels, sample_weight=sample_weight)

    def ask_experts(self, X, where=None):
        """Ask the experts, whatever the route: for reports, curves and audits.

        Parameters
        ----------
        X : the rows
            As in ``fit``.
        where : array-like of bool of shape (n_rows,) or (n_rows, n_experts), default=None
            Whom to ask on which row; None: everybody on every row. This may cost money.

        Returns
        -------
        answers : ndarray of shape (n_rows, n_experts), dtype object
            Labels, None where nobody was asked or nobody answered. Answers outside
            ``classes_`` are left as they are.
        """
        check_is_fitted(self)
        mask = check_where(where, check_rows(X), self.n_experts_)
        return ask_panel(self._panel, self._drop_former(X), mask, store=self._store())

    def explain_defer(self, X):
        """Why each row is kept or handed over; nobody is asked.

        Parameters
        ----------
        X : the rows
            As in ``fit``.

        Returns
        -------
        explanation : DataFrame of length n_rows
            ``route``, ``model_answer``, ``model_confidence``, ``expected_loss_model``, then
            for each expert ``expected_loss_NAME``, ``uncertainty_NAME`` (posterior
            standard deviation), ``cost_NAME`` and ``score_NAME``, and ``reason``, a
            sentence. Losses, costs and scores are those that decided.
        """
        weighed = self._weigh(X)
        return self._explain(X, weighed, self._apply("panel", weighed))

    def _explain(self, X: Any, weighed: Weighed, panel: np.ndarray) -> Any:
        return explain_routes(
            panel,
            weighed.proba,
            weighed.loss,
            self._uncertainty(weighed.proba, weighed.X),
            weighed.cost,
            weighed.score,
            answers=least_cost_answer(weighed.proba, self.error_cost_),
            classes=self.classes_,
            names=self.routes_[1:],
            index=X.index if hasattr(X, "iloc") else None,
            calibrated=self.score_is_calibrated,
        )

    # -- other experts --------------------------------------------------------------

    def with_experts(self, experts, *, profiles=None, cost=None):
        """Serve other experts, ones never seen too, without a refit.

        Parameters
        ----------
        experts : expert, or sequence of experts or of pairs (name, expert)
            As the parameter ``experts``.
        profiles : sequence or mapping by name, default=None
            What is known of each expert: a fitted :class:`ExpertProfile`, or a context, past
            answers with the truth: ``(expert_predictions, y)``, or with their rows, on which
            the model was not trained, ``(expert_predictions, y, X)``; empty: only what is known
            of others. None: what is known by its name already, else the expert's own. A profile
            from ``profiles_``, or of a name served already, is newer word of the same expert: what
            else was learned of it stays. A context starts afresh.
        cost : as the parameter, default=None
            Prices of asking the new experts; None keeps the parameter ``cost``.

        Returns
        -------
        estimator : object
            A fitted copy that shares the model, with profiles of its own.

        Raises
        ------
        ValueError
            If a profile, a context or the cost doesn't fit, or a part holds state per expert.
        """
        check_is_fitted(self)
        panel = make_panel(experts, None, 0, self.classes_)
        names = list(panel)
        other = copy.copy(self)
        for part in {"rejector", "policy"} & vars(self).keys():  # the copy has its own
            setattr(other, part, clone(getattr(self, part), safe=False))
        other.experts = experts
        if cost is not None:
            other.cost = cost
        if not reads_rows(other.cost):
            resolve_cost(other.cost, names, [e.cost for e in panel.values()], None, 0)
        named = given_names(experts)
        found, who = find_profiles(panel, profiles, self._met(), self.classes_, named)
        if self._serves(names, found, who):
            other.profiles_ = self._served  # copies of its own
        else:
            if self.policy_.holds_expert_state:
                name = type(self.policy_).__name__
                raise ValueError(f"{name} holds state per expert. Fit again, or use CostPolicy.")
            other._serve_profiles(found, who)
            other._learned_at = ()  # other experts: no prices are those of fit
        # A column that only an expert could see stays hidden when the expert is gone.
        other._set_panel(panel, {*self._former_columns, *(e.column for e in self.experts_)})
        other._serve_contexts(find_contexts(panel, profiles))
        return other

    def _serve_profiles(self, profiles: Sequence[ExpertProfile], met: list[int | None]) -> None:
        """Serve these; ``met`` says which of the experts so far each one is, by position."""
        name = type(self).__name__
        raise ValueError(f"{name} can't serve other experts. Fit it again with their answers.")

    def _serve_contexts(self, contexts: Sequence[Any]) -> None:
        """Learn from contexts (expert_predictions, y, X); None where there is none."""

    # -- inside ---------------------------------------------------------------------

    def _set_panel(self, panel: dict[str, Expert], former: Collection[Any] = ()) -> None:
        self._former_columns = sorted({*former} - {None, *(e.column for e in panel.values())})
        self.experts_ = list(panel.values())
        self._brought = [copy.copy(expert.profile) for expert in self.experts_]  # as it is now
        self.routes_ = [MODEL, *panel]
        self.n_experts_ = len(panel)

    def _store(self):
        return open_store(check_memory(self.memory))

    def _weigh(self, X: Any) -> Weighed:
        check_is_fitted(self)
        n_rows = check_rows(X)
        X = visible(self._drop_former(X), self._panel)
        proba, loss = self._proba_and_losses(X)
        loss = loss * self._error_unit()
        own = [expert.cost for expert in self.experts_]
        cost = resolve_cost(self.cost, self.routes_[1:], own, X, n_rows)
        if not self.score_is_calibrated and cost.any():
            warnings.warn(
                f"The scores of {type(self).__name__} order rows but are not in units of the cost: "
                "a cost taken off them has no exact meaning. Pass cost=0 and limit the share "
                "handed over by a BudgetPolicy; scorers and reports take prices of their own.",
                UncalibratedScoreWarning,
                stacklevel=3,
            )
        return Weighed(
            X=X,
            proba=proba,
            loss=loss,
            cost=np.broadcast_to(cost, (n_rows, self.n_experts_)),
            score=loss[:, :1] - loss[:, 1:] - cost,
            worst=self._error_unit() if self.error_cost_ is None else self.error_cost_.max(),
        )

    def _proba_and_losses(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        proba = self._model_proba(X)
        return proba, self._route_losses(proba, X)

    def _error_unit(self) -> float:
        return error_unit(self.error_cost, self.error_cost_, self.classes_)
