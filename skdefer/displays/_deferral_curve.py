"""System and expert accuracy against the share of rows handed over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from skdefer.displays._base import Display, answers_of, in_percent, numbered, thinned
from skdefer.metrics import deferral_curve, deferral_rate, system_accuracy_score
from skdefer.metrics._inputs import check_rows
from skdefer.metrics._panels import with_panels
from skdefer.metrics._reading import read_system

if TYPE_CHECKING:
    import pandas

# From the end of the colour cycle, without the grey: its beginning is for systems.
_EXPERT_COLOURS = ["C9", "C8", "C6", "C5", "C4", "C3"]
# The experts' accuracy on fewer rows, or on a smaller share, jumps: it is not drawn.
_FEW_ROWS, _FEW = 50, 0.05


class DeferralCurveDisplay(Display):
    """Shows what the system gains at each share of rows handed over.

    Draws what :func:`skdefer.metrics.deferral_curve` computes (its source is named there):
    the accuracy of model and experts together, and of the experts on the rows they get. For
    comparison: the model alone, each expert alone, rows and experts picked at random, and an
    oracle who knows who is right. Make one by :meth:`from_estimator` or
    :meth:`from_predictions`; the parameters are stored as attributes.

    Parameters
    ----------
    deferral_rate : ndarray of shape (n_points,)
        Share of rows handed over, rising from 0 to 1.
    system_accuracy, expert_accuracy : ndarray of shape (n_points,)
        Of model and experts together, and of the experts on what they got (NaN where that
        is nothing).
    random_accuracy, oracle_accuracy : ndarray of shape (n_points,)
        Of the system if rows and experts are picked at random, and by the oracle.
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
        name, ax, **kwargs
            As in :meth:`plot`.

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
        answers = answers_of(estimator, X, expert_predictions)
        route, y_system = read_system(estimator, X, answers)
        return cls.from_predictions(
            y,
            estimator.predict_model(X),
            answers,
            score,
            route=route,
            y_system=y_system,
            expert_names=estimator.routes_[1:],
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
        y_system: ArrayLike | None = None,
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
        route : array-like of int (n_rows,), or of bool (n_rows, n_experts), default=None
            Who really answers, 0 the model, j expert j; marked by a point. Several of a row:
            a panel, True for each of them.
        y_system : array-like of shape (n_rows,), default=None
            The labels of the system; with a panel of several experts only.
        expert_names : sequence of str, default=None
            One per expert; the columns' names of a DataFrame if None.
        sample_weight : array-like of shape (n_rows,), default=None
            How much each row counts.
        name, ax, **kwargs
            As in :meth:`plot`.

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
        names = list(expert_names or rows.names or numbered(rows.n_experts))
        if len(names) != rows.n_experts:
            raise ValueError(
                f"expert_names are {names}, but there are {rows.n_experts} experts. Pass a name "
                "for each."
            )

        def curve(score):
            return deferral_curve(
                y_true, y_pred, expert_predictions, score, sample_weight=sample_weight
            )

        def accuracy(route, answers=expert_predictions):
            return system_accuracy_score(
                y_true, y_pred, answers, route, sample_weight=sample_weight
            )

        rate, system, experts = curve(deferral_score)
        gain = rows.right[:, 1:].astype(float) - rows.right[:, :1]
        oracle_rate, oracle, _ = curve(gain)
        # Rows of no score are tied, so the curve is the expectation over random orders.
        random_rate, random, _ = curve(np.zeros_like(gain))
        point = None
        if route is not None:
            asked, route, _ = with_panels(rows, route, np.zeros(rows.answers.shape), y_system)
            rate_taken = deferral_rate(route, sample_weight=sample_weight)
            point = rate_taken, accuracy(route, asked.answers)
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
        given = name or self.name
        label = given or "model and experts"
        shown = thinned(len(self.deferral_rate))
        steady = shown[shown >= min(_FEW_ROWS, np.ceil(_FEW * (len(self.deferral_rate) - 1)))]
        style = {"linewidth": 2.2, "zorder": 4, "label": label, **(curve_kwargs or {})}
        self.line_ = self._draw(self.system_accuracy, shown, **style)
        colour = self.line_.get_color()
        self.expert_line_ = self._draw(
            self.expert_accuracy,
            steady,
            color=colour,
            linestyle=(0, (6, 2)),
            alpha=0.75,
            label=f"{label}: its experts" if given else "experts, on what they get",
        )
        self.model_line_ = self.random_line_ = self.oracle_line_ = self.point_ = None
        self.expert_alone_lines_: list[Any] = []
        if reference:
            self._draw_reference(shown)
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
                label=f"{given or 'as used'}: {100 * share:.1f} % handed over",
            )
        self.ax_.set(xlabel="Share of rows handed to experts", ylabel="Accuracy")
        self.ax_.set_xlim(-0.01, 1.01)
        in_percent(self.ax_.xaxis)
        in_percent(self.ax_.yaxis)
        self.ax_.grid(alpha=0.25)
        self._place_legend()
        return self

    def _draw_reference(self, shown: np.ndarray) -> None:
        grey = {"color": "0.55"}
        self.oracle_line_ = self._draw(self.oracle_accuracy, shown, label="oracle", **grey)
        self.random_line_ = self._draw(
            self.random_accuracy, shown, label="at random", linestyle=":", **grey
        )
        ends = np.array([0, -1])

        def level(accuracy, label, colour, i=0):
            dashes = (5 * i, (5, 3))  # shifted, so that equal levels are both seen
            height = np.full_like(self.deferral_rate, accuracy)
            return self._draw(height, ends, label=label, color=colour, linestyle=dashes)

        self.model_line_ = level(self.system_accuracy[0], "model alone", "black")
        labels = [f"{name} alone" for name in self._names()]
        alone = list(zip(self.expert_alone_accuracy, labels, strict=True))
        if len(alone) > len(_EXPERT_COLOURS):
            best = int(np.argmax(self.expert_alone_accuracy))
            alone = [(self.expert_alone_accuracy[best], f"best expert: {labels[best]}")]
        self.expert_alone_lines_ = [
            level(*one, colour, i) for i, (one, colour) in enumerate(zip(alone, _EXPERT_COLOURS))
        ]

    def _draw(self, accuracy: np.ndarray, points: np.ndarray, **style: Any) -> Any:
        style = {"linewidth": 1.3, **style}
        (line,) = self.ax_.plot(self.deferral_rate[points], accuracy[points], **style)
        return line

    def _names(self) -> list[str]:
        return list(self.expert_names or numbered(len(self.expert_alone_accuracy)))

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

        alone = dict(zip(self._names(), self.expert_alone_accuracy, strict=True))
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
