"""What a row costs against the share handed over, or against the price of asking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from skdefer.displays._base import Display, answers_of, in_percent, numbered, thinned
from skdefer.metrics import cost_curve, deferral_rate, system_cost
from skdefer.metrics._costs import check_cost, error_costs
from skdefer.metrics._inputs import check_rows, check_weight, mean
from skdefer.metrics._reading import read_prices, read_system

if TYPE_CHECKING:
    import pandas

_AGAINST = ("deferral_rate", "cost")
_POINTS = 201  # prices tried if none are given


class CostCurveDisplay(Display):
    """Shows what a row costs, errors and asking apart, and where the system stands.

    Draws what :func:`skdefer.metrics.cost_curve` computes, beside the model alone and each expert
    alone. Against the share of rows handed over it shows where handing over stops to pay; against
    the price of asking, how far that price may be wrong before the decision is. Make one by
    :meth:`from_estimator` or :meth:`from_predictions`; the parameters are stored as attributes.

    Parameters
    ----------
    x : ndarray of shape (n_points,)
        Share of rows handed over, or price of asking.
    deferral_rate : ndarray of shape (n_points,)
        Share of rows handed over.
    errors, asking : ndarray of shape (n_points,)
        What a row costs by wrong answers, and by asking.
    expert_alone : ndarray of shape (n_experts, n_points)
        What a row costs if an expert gets every row; the model answers where it has no answer.
    model_alone : float
        What a row costs if the model answers all.
    against : {"deferral_rate", "cost"}, default="deferral_rate"
        What ``x`` is.
    expert_names : sequence of str, default=None
        ``expert_1``, ... if None.
    operating_point : tuple of (float, float), default=None
        ``x`` and cost of the routes really taken.
    name : str, default=None
        Of the system, in the legend.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where it was drawn.
    line_, errors_line_, asking_line_, model_line_ : matplotlib Line2D
        The cost of a row, its two parts, and the model alone.
    expert_alone_lines_ : list of Line2D
        One per expert.
    point_ : matplotlib Line2D or None
        The operating point.

    See Also
    --------
    skdefer.metrics.cost_curve : The numbers.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from skdefer.displays import CostCurveDisplay
    >>> y_true, y_pred, expert = [0, 0, 1, 1], [0, 1, 1, 0], [1, 0, 0, 1]
    >>> display = CostCurveDisplay.from_predictions(
    ...     y_true, y_pred, expert, [0.1, 0.9, 0.2, 0.8], cost=0.2, ax=Figure().subplots()
    ... )
    >>> display.frame()[["deferral_rate", "errors", "asking", "cost"]]
       deferral_rate  errors  asking  cost
    0           0.00    0.50    0.00   0.5
    1           0.25    0.25    0.05   0.3
    2           0.50    0.00    0.10   0.1
    3           0.75    0.25    0.15   0.4
    4           1.00    0.50    0.20   0.7
    """

    def __init__(
        self,
        *,
        x: np.ndarray,
        deferral_rate: np.ndarray,
        errors: np.ndarray,
        asking: np.ndarray,
        expert_alone: np.ndarray,
        model_alone: float,
        against: str = "deferral_rate",
        expert_names: Sequence[str] | None = None,
        operating_point: tuple[float, float] | None = None,
        name: str | None = None,
    ):
        self.x = x
        self.deferral_rate = deferral_rate
        self.errors = errors
        self.asking = asking
        self.expert_alone = expert_alone
        self.model_alone = model_alone
        self.against = against
        self.expert_names = expert_names
        self.operating_point = operating_point
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        *,
        expert_predictions: Any = None,
        against: str = "deferral_rate",
        costs: ArrayLike | None = None,
        cost: Any = None,
        error_cost: Any = None,
        sample_weight: ArrayLike | None = None,
        name: str | None = None,
        ax: Any = None,
    ) -> CostCurveDisplay:
        """Draw the curve of a fitted deferral estimator, and the point where it stands.

        Parameters
        ----------
        estimator : deferral estimator
            Fitted.
        X : the rows
            As in the estimator's ``fit``; rows it has not seen.
        y : array-like of shape (n_rows,)
            The truth.
        expert_predictions : array-like or DataFrame, default=None
            Answers of shape (n_rows,) or (n_rows, n_experts). If None, every expert is asked about
            every row, which may cost money.
        against, costs
            As in :meth:`from_predictions`.
        cost, error_cost : as the parameters of the estimator, default=None
            What is paid; None: what the estimator decides by.
        sample_weight : array-like of shape (n_rows,), default=None
            How much each row counts.
        name, ax
            As in :meth:`plot`.

        Returns
        -------
        display : CostCurveDisplay
            Drawn. Against the price of asking there is a point only if all experts have one price.

        Raises
        ------
        ExpertPredictionsMissingError
            If an expert can't be asked and its answers were not passed.
        ImportError
            If matplotlib is not installed.
        """
        cls._need_matplotlib()
        score = estimator.deferral_score(X)
        answers = answers_of(estimator, X, expert_predictions)
        route, y_system = read_system(estimator, X, answers)
        if against == "cost":  # the gain before the price
            score = score + read_prices(estimator, X, estimator.cost)
        return cls.from_predictions(
            y,
            estimator.predict_model(X),
            answers,
            score,
            against=against,
            costs=costs,
            cost=read_prices(estimator, X, estimator.cost if cost is None else cost),
            error_cost=estimator.error_cost if error_cost is None else error_cost,
            labels=estimator.classes_,
            route=route,
            y_system=y_system,
            expert_names=estimator.routes_[1:],
            sample_weight=sample_weight,
            name=name,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        expert_predictions: Any,
        deferral_score: ArrayLike,
        *,
        against: str = "deferral_rate",
        costs: ArrayLike | None = None,
        cost: Any = 0.0,
        error_cost: Any = 1.0,
        labels: ArrayLike | None = None,
        route: ArrayLike | None = None,
        y_system: ArrayLike | None = None,
        expert_names: Sequence[str] | None = None,
        sample_weight: ArrayLike | None = None,
        name: str | None = None,
        ax: Any = None,
    ) -> CostCurveDisplay:
        """Draw the curve of labels, answers and scores.

        Parameters
        ----------
        y_true, y_pred, expert_predictions, deferral_score, cost, error_cost, labels, sample_weight
            As in :func:`skdefer.metrics.cost_curve`; with ``against="cost"`` the score is the
            gain before the price.
        against : {"deferral_rate", "cost"}, default="deferral_rate"
            What the cost of a row is drawn against.
        costs : array-like of shape (n_points,), default=None
            With ``against="cost"``: the prices. 201 from 0 to the highest finite gain if None.
        route : array-like of int (n_rows,), or of bool (n_rows, n_experts), default=None
            Who really answers; marked by a point.
        y_system : array-like of shape (n_rows,), default=None
            The labels of the system; with a panel of several experts only.
        expert_names : sequence of str, default=None
            One per expert; the columns' names of a DataFrame if None.
        name, ax
            As in :meth:`plot`.

        Returns
        -------
        display : CostCurveDisplay
            Drawn.

        Raises
        ------
        ValueError
            As :func:`skdefer.metrics.cost_curve`, and for an unknown ``against``.
        ImportError
            If matplotlib is not installed.
        """
        cls._need_matplotlib()
        if against not in _AGAINST:
            raise ValueError(f"against is {against!r}; expected one of {_AGAINST}. Pass one.")
        rows = check_rows(y_true, y_pred, expert_predictions)
        names = list(expert_names or rows.names or numbered(rows.n_experts))
        price = check_cost(cost, rows.n_rows, rows.n_experts, names)
        rule = {"error_cost": error_cost, "labels": labels, "sample_weight": sample_weight}
        x = None
        if against == "cost":
            x = _prices(deferral_score) if costs is None else np.asarray(costs, dtype=float)
        rate, errors, asking = cost_curve(
            y_true, y_pred, expert_predictions, deferral_score, costs=x, cost=price, **rule
        )
        weight = check_weight(sample_weight, rows.n_rows)
        wrong = error_costs(rows, error_cost, labels)
        alone = []
        for j in range(rows.n_experts):
            heard = rows.answered[:, j]
            if x is None:
                asked = np.full(len(rate), mean(np.where(heard, price[:, j], 0.0), weight))
            else:
                asked = x * mean(heard, weight)
            alone.append(mean(wrong[:, 1 + j], weight) + asked)
        point = None
        if route is not None and (x is None or (price == price[0, 0]).all()):
            paid = system_cost(
                y_true, y_pred, expert_predictions, route, y_system=y_system, cost=price, **rule
            )
            deferred = np.asarray(route) if np.ndim(route) == 1 else np.any(route, axis=1)
            share = deferral_rate(deferred, sample_weight=sample_weight)
            point = (share if x is None else float(price[0, 0])), paid
        display = cls(
            x=rate if x is None else x,
            deferral_rate=rate,
            errors=errors,
            asking=asking,
            expert_alone=np.array(alone),
            model_alone=mean(wrong[:, 0], weight),
            against=against,
            expert_names=names,
            operating_point=point,
            name=name,
        )
        return display.plot(ax=ax)

    def plot(self, ax: Any = None, *, name: str | None = None) -> CostCurveDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure if None.
        name : str, default=None
            Of the system, in the legend; the attribute ``name`` if None.

        Returns
        -------
        display : CostCurveDisplay
            Itself. Of more than 2,000 points 2,000 are drawn; :meth:`frame` has all.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        self._open_axes(ax)
        label = name or self.name or "model and experts"
        shown = thinned(len(self.x))

        def draw(height: np.ndarray, text: str, **style: Any) -> Any:
            style = {"linewidth": 1.3, **style}
            return self.ax_.plot(self.x[shown], height[shown], label=text, **style)[0]

        total = self.errors + self.asking
        self.line_ = draw(total, label, linewidth=2.2, zorder=4)
        colour = self.line_.get_color()
        self.errors_line_ = draw(self.errors, "of which errors", color=colour, linestyle="--")
        self.asking_line_ = draw(self.asking, "of which asking", color=colour, linestyle=":")
        level = np.full(len(self.x), self.model_alone)
        self.model_line_ = draw(level, "model alone", color="black", linestyle=(0, (5, 3)))
        self.expert_alone_lines_ = [
            draw(height, f"{expert} alone", color=f"C{9 - j % 9}", linestyle=(5, (5, 3)))
            for j, (expert, height) in enumerate(zip(self._names(), self.expert_alone))
        ]
        self.point_ = None
        if self.operating_point is not None:
            (self.point_,) = self.ax_.plot(
                *self.operating_point,
                marker="o",
                markersize=8,
                markeredgecolor="white",
                color=colour,
                linestyle="none",
                zorder=5,
                label=f"as used: {self.operating_point[1]:.3g} a row",
            )
        if self.against == "deferral_rate":
            self.ax_.set_xlabel("Share of rows handed to experts")
            in_percent(self.ax_.xaxis)
        else:
            self.ax_.set_xlabel("Price of asking")
        self.ax_.set_ylabel("Cost of a row")
        self.ax_.grid(alpha=0.25)
        self._place_legend()
        return self

    def _names(self) -> list[str]:
        return list(self.expert_names or numbered(len(self.expert_alone)))

    def frame(self) -> pandas.DataFrame:
        """Give back the data of the figure.

        Returns
        -------
        frame : DataFrame of n_points rows
            ``price`` if that is what costs are drawn against, ``deferral_rate``, ``errors``,
            ``asking``, their sum ``cost``, and ``cost_model`` and for each expert ``cost_NAME``, of
            it alone.
        """
        import pandas as pd

        columns = {"price": self.x} if self.against == "cost" else {}
        alone = {f"cost_{n}": c for n, c in zip(self._names(), self.expert_alone, strict=True)}
        return pd.DataFrame(
            {
                **columns,
                "deferral_rate": self.deferral_rate,
                "errors": self.errors,
                "asking": self.asking,
                "cost": self.errors + self.asking,
                "cost_model": self.model_alone,
                **alone,
            }
        )


def _prices(gain: ArrayLike) -> np.ndarray:
    """Prices from 0 to the highest gain, beyond which nobody is asked."""
    gain = np.asarray(gain, dtype=float)
    highest = float(np.max(gain, initial=0.0, where=np.isfinite(gain)))
    return np.linspace(0.0, highest or 1.0, _POINTS)
