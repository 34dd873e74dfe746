"""System and expert accuracy against the share of rows handed over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from skdefer.displays._base import Display, in_percent, thinned
from skdefer.exceptions import ExpertPredictionsMissingError
from skdefer.metrics import deferral_curve, deferral_rate, system_accuracy_score
from skdefer.metrics._inputs import check_rows
from skdefer.utils._rows import count_rows
from skdefer.utils._validation import check_answers, is_missing

if TYPE_CHECKING:
    import pandas

_MOST_EXPERT_LINES = 6
# The experts' accuracy on fewer rows, or on a smaller share, jumps: it is not drawn.
_FEW_ROWS, _FEW = 50, 0.05


class DeferralCurveDisplay(Display):
    """Shows what the system gains at each share of rows handed over.

    Draws what :func:`skdefer.metrics.deferral_curve` computes: the accuracy of model and
    experts together, and of the experts on the rows they get, at each share handed over.
    For comparison: the model alone, each expert alone, rows handed over at random, and an
    oracle who knows who is right.

    Make one by :meth:`from_estimator` or :meth:`from_predictions`; the parameters are stored
    as attributes.

    Parameters
    ----------
    deferral_rate : ndarray of shape (n_points,)
        Share of rows handed over, rising from 0 to 1.
    system_accuracy, expert_accuracy : ndarray of shape (n_points,)
        Of model and experts together, and of the experts on what they got (NaN where that
        is nothing).
    random_accuracy, oracle_accuracy : ndarray of shape (n_points,)
        Of the system if rows and experts are picked at random, and if it is known who is
        right.
    expert_alone_accuracy : ndarray of shape (n_experts,)
        Of the system if an expert gets every row; the model answers where the expert has
        no answer.
    expert_names : sequence of str, default=None
        ``expert_1``, ... if None.
    operating_point : tuple of (float, float), default=None
        Share handed over and system accuracy of the routes really taken.
    name : str, default=None
        Of the system, in the legend.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where it was drawn.
    line_, expert_line_ : matplotlib Line2D
        The system's accuracy, and the experts'.
    model_line_, random_line_, oracle_line_ : matplotlib Line2D or None
        The comparisons; None with ``plot(reference=False)``.
    expert_alone_lines_ : list of Line2D
        One per expert; the best one's alone if there are more than six.
    point_ : matplotlib Line2D or None
        The operating point.

    See Also
    --------
    skdefer.metrics.deferral_curve : The numbers.
    skdefer.metrics.aursac_score : The area under the system's curve.

    References
    ----------
    Strong et al., "Expert-Agnostic Learning to Defer", 2025, arXiv:2502.10533.

    Examples
    --------
    Without ``ax`` a figure is opened; here one is made that needs no screen.

    >>> from matplotlib.figure import Figure
    >>> from skdefer.displays import DeferralCurveDisplay
    >>> y_true, y_pred, expert = [0, 0, 1, 1], [0, 1, 1, 0], [1, 0, 0, 1]
    >>> display = DeferralCurveDisplay.from_predictions(
    ...     y_true, y_pred, expert, [0.1, 0.9, 0.2, 0.8], ax=Figure().subplots()
    ... )
    >>> display.figure_.savefig("deferral.png")  # doctest: +SKIP

    The figure gives back its data:

    >>> display.frame()[["deferral_rate", "system_accuracy"]]
       deferral_rate  system_accuracy
    0           0.00             0.50
    1           0.25             0.75
    2           0.50             1.00
    3           0.75             0.75
    4           1.00             0.50
    """

    def __init__(
        self,
        *,
        deferral_rate: np.ndarray,
        system_accuracy: np.ndarray,
        expert_accuracy: np.ndarray,
        random_accuracy: np.ndarray,
        oracle_accuracy: np.ndarray,
        expert_alone_accuracy: np.ndarray,
        expert_names: Sequence[str] | None = None,
        operating_point: tuple[float, float] | None = None,
        name: str | None = None,
    ):
        self.deferral_rate = deferral_rate
        self.system_accuracy = system_accuracy
        self.expert_accuracy = expert_accuracy
        self.random_accuracy = random_accuracy
        self.oracle_accuracy = oracle_accuracy
        self.expert_alone_accuracy = expert_alone_accuracy
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
        sample_weight: ArrayLike | None = None,
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> DeferralCurveDisplay:
        """Draw the curve of a fitted deferral estimator, and the point where it stands.

        Parameters
        ----------
        estimator : deferral estimator
            Fitted; its scores, routes and labels are taken.
        X : the rows
            As in the estimator's ``fit``; rows it has not seen.
        y : array-like of shape (n_rows,)
            The truth.
        expert_predictions : array-like or DataFrame, default=None
            Answers of shape (n_rows,) or (n_rows, n_experts). If None, every expert is
            asked about every row, which may cost money.
        sample_weight : array-like of shape (n_rows,), default=None
            How much each row counts.
        name : str, default=None
            Of the system, in the legend.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure if None.
        **kwargs : dict
            Further arguments of :meth:`plot`.

        Returns
        -------
        display : DeferralCurveDisplay
            Drawn.

        Raises
        ------
        TypeError
            If ``estimator`` is no deferral estimator.
        ExpertPredictionsMissingError
            If an expert can't be asked and its answers were not passed.
        ImportError
            If matplotlib is not installed.
        """
        cls._need_matplotlib()
        if not hasattr(estimator, "deferral_score"):
            raise TypeError(
                f"estimator is {type(estimator).__name__}, which has no deferral_score; expected "
                "a fitted DeferralClassifier or its kin. Use from_predictions for scores of "
                "your own."
            )
        score = estimator.deferral_score(X)
        names = estimator.routes_[1:]
        return cls.from_predictions(
            y,
            estimator.predict_model(X),
            _answers_of(estimator, X, expert_predictions),
            score,
            route=estimator.predict_route(X),
            expert_names=names,
            sample_weight=sample_weight,
            name=name,
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        expert_predictions: Any,
        deferral_score: ArrayLike,
        *,
        route: ArrayLike | None = None,
        expert_names: Sequence[str] | None = None,
        sample_weight: ArrayLike | None = None,
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> DeferralCurveDisplay:
        """Draw the curve of labels, answers and scores.

        Parameters
        ----------
        y_true, y_pred : array-like of shape (n_rows,)
            The truth, and the model's labels.
        expert_predictions : array-like or DataFrame of shape (n_rows,) or (n_rows, n_experts)
            The experts' answers; None, NaN, NA or masked where there is none.
        deferral_score : array-like of shape (n_rows,) or (n_rows, n_experts)
            The wish to defer each row to each expert; only its order counts.
        route : array-like of int of shape (n_rows,), default=None
            Who really answers, 0 the model, j expert j; marked by a point.
        expert_names : sequence of str, default=None
            One per expert; the columns' names of a DataFrame if None.
        sample_weight : array-like of shape (n_rows,), default=None
            How much each row counts.
        name : str, default=None
            Of the system, in the legend.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure if None.
        **kwargs : dict
            Further arguments of :meth:`plot`.

        Returns
        -------
        display : DeferralCurveDisplay
            Drawn.

        Raises
        ------
        ValueError
            As :func:`skdefer.metrics.deferral_curve`, and for a wrong number of names.
        ImportError
            If matplotlib is not installed.
        """
        cls._need_matplotlib()
        rows = check_rows(y_true, y_pred, expert_predictions)
        names = list(expert_names or rows.names or _default_names(rows.n_experts))
        if len(names) != rows.n_experts:
            raise ValueError(
                f"expert_names are {names}, but there are {rows.n_experts} experts. Pass a name "
                "for each."
            )

        def curve(score):
            return deferral_curve(
                y_true, y_pred, expert_predictions, score, sample_weight=sample_weight
            )

        def accuracy(route):
            return system_accuracy_score(
                y_true, y_pred, expert_predictions, route, sample_weight=sample_weight
            )

        rate, system, experts = curve(deferral_score)
        gain = rows.right[:, 1:].astype(float) - rows.right[:, :1]
        oracle_rate, oracle, _ = curve(gain)
        # Rows of no score are tied, so the curve is the expectation over random orders.
        random_rate, random, _ = curve(np.zeros_like(gain))
        point = None
        if route is not None:
            point = deferral_rate(route, sample_weight=sample_weight), accuracy(route)
        display = cls(
            deferral_rate=rate,
            system_accuracy=system,
            expert_accuracy=experts,
            random_accuracy=np.interp(rate, random_rate, random),
            oracle_accuracy=np.interp(rate, oracle_rate, oracle),
            expert_alone_accuracy=np.array(
                [accuracy(np.full(rows.n_rows, j + 1)) for j in range(rows.n_experts)]
            ),
            expert_names=names,
            operating_point=point,
            name=name,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(
        self,
        ax: Any = None,
        *,
        name: str | None = None,
        reference: bool = True,
        curve_kwargs: Mapping[str, Any] | None = None,
    ) -> DeferralCurveDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure if None.
        name : str, default=None
            Of the system, in the legend; the attribute ``name`` if None.
        reference : bool, default=True
            Whether to draw the model alone, the experts alone, random and the oracle; False
            for a second system on the same axes.
        curve_kwargs : mapping, default=None
            Arguments of matplotlib's ``plot`` for the system's line.

        Returns
        -------
        display : DeferralCurveDisplay
            Itself. Of more than 2,000 points 2,000 are drawn, and the experts' accuracy from
            5 % of the rows, or 50 of them, on; :meth:`frame` has all.
            The legend stands beside the axes in a figure of ``layout="constrained"``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        self._open_axes(ax)
        shown = thinned(len(self.deferral_rate))
        rate = self.deferral_rate[shown]
        named = name or self.name
        label = named or "model and experts"
        style = {"linewidth": 2.2, "zorder": 4, "label": label, **(curve_kwargs or {})}
        (self.line_,) = self.ax_.plot(rate, self.system_accuracy[shown], **style)
        colour = self.line_.get_color()
        n_rows = len(self.deferral_rate) - 1
        steady = shown[shown >= min(_FEW_ROWS, np.ceil(_FEW * n_rows))]
        (self.expert_line_,) = self.ax_.plot(
            self.deferral_rate[steady],
            self.expert_accuracy[steady],
            color=colour,
            linewidth=1.2,
            linestyle=(0, (6, 2)),
            alpha=0.75,
            label=f"{label}: its experts" if named else "experts, on what they get",
        )
        self.model_line_ = self.random_line_ = self.oracle_line_ = self.point_ = None
        self.expert_alone_lines_: list[Any] = []
        if reference:
            self._draw_reference(rate, shown)
        if self.operating_point is not None:
            share, accuracy = self.operating_point
            (self.point_,) = self.ax_.plot(
                share,
                accuracy,
                marker="o",
                markersize=8,
                markeredgecolor="white",
                color=colour,
                linestyle="none",
                zorder=5,
                label=f"{label if named else 'as used'}: {100 * share:.1f} % handed over",
            )
        in_percent(self.ax_.xaxis)
        in_percent(self.ax_.yaxis)
        self.ax_.set(xlabel="Share of rows handed to experts", ylabel="Accuracy")
        self.ax_.grid(alpha=0.25)
        self._place_legend()
        return self

    def _draw_reference(self, rate: np.ndarray, shown: np.ndarray) -> None:
        (self.oracle_line_,) = self.ax_.plot(
            rate, self.oracle_accuracy[shown], color="0.55", linewidth=1.2, label="oracle"
        )
        (self.random_line_,) = self.ax_.plot(
            rate,
            self.random_accuracy[shown],
            color="0.55",
            linewidth=1.2,
            linestyle=":",
            label="at random",
        )
        self.model_line_ = self._draw_level(self.system_accuracy[0], "black", "model alone")
        names = list(self.expert_names or _default_names(len(self.expert_alone_accuracy)))
        drawn = list(range(len(names)))
        if len(names) > _MOST_EXPERT_LINES:
            drawn = [int(np.argmax(self.expert_alone_accuracy))]
        self.expert_alone_lines_ = [
            # From the end of the colour cycle: its beginning is for systems.
            self._draw_level(self.expert_alone_accuracy[j], f"C{9 - i}", f"{names[j]} alone", i)
            for i, j in enumerate(drawn)
        ]

    def _draw_level(self, level: float, colour: str, label: str, i: int = 0) -> Any:
        dashes = (5 * i, (5, 3))  # shifted, so that equal levels are both seen
        (line,) = self.ax_.plot(
            [0, 1], [level, level], color=colour, linewidth=1.4, linestyle=dashes, label=label
        )
        return line

    def frame(self) -> pandas.DataFrame:
        """Give back the data of the figure.

        Returns
        -------
        frame : DataFrame of n_points rows
            ``deferral_rate``, ``system_accuracy``, ``expert_accuracy``, ``random_accuracy``
            and ``oracle_accuracy``; constant down the rows, ``accuracy_model`` and for each
            expert ``accuracy_NAME``, of it alone.
        """
        import pandas as pd

        names = list(self.expert_names or _default_names(len(self.expert_alone_accuracy)))
        alone = dict(zip(names, self.expert_alone_accuracy, strict=True))
        return pd.DataFrame(
            {
                "deferral_rate": self.deferral_rate,
                "system_accuracy": self.system_accuracy,
                "expert_accuracy": self.expert_accuracy,
                "random_accuracy": self.random_accuracy,
                "oracle_accuracy": self.oracle_accuracy,
                "accuracy_model": self.system_accuracy[0],
                **{f"accuracy_{name}": accuracy for name, accuracy in alone.items()},
            }
        )


def _default_names(n_experts: int) -> list[str]:
    return [f"expert_{j + 1}" for j in range(n_experts)]


def _answers_of(estimator: Any, X: Any, expert_predictions: Any) -> np.ndarray:
    """Take the answers at hand, or ask; a curve of experts who say nothing would be the model's."""
    names = estimator.routes_[1:]
    if expert_predictions is not None:
        answers = check_answers(expert_predictions, count_rows(X), names=names)[0]
        silent = names if is_missing(answers).all() else []
    else:
        answers = estimator.ask_experts(X)
        silent = [name for name, missing in zip(names, is_missing(answers).T) if missing.all()]
    if silent:
        raise ExpertPredictionsMissingError(
            f"The experts {silent} have no answer on these rows: they can't be asked, and "
            "expert_predictions brought none. Pass expert_predictions=, or use experts that can "
            "be asked (ColumnExpert, IndexExpert, a callable). Where there is no expert at all, "
            "use skdefer.metrics.risk_coverage_curve."
        )
    return answers
