"""What all displays share: the axes, an axis in percent, and a legend beside the lines."""

from __future__ import annotations

from typing import Any

import numpy as np

from skdefer.exceptions import ExpertPredictionsMissingError
from skdefer.metrics._inputs import numbered as numbered  # for displays
from skdefer.metrics._reading import read_answers
from skdefer.utils._optional import import_optional
from skdefer.utils._validation import is_missing

_MOST_POINTS = 2000


class Display:
    """A figure that keeps its data; subclasses store arrays, draw them and give them back."""

    ax_: Any
    figure_: Any

    @classmethod
    def _need_matplotlib(cls) -> None:
        """Refuse before anything is computed, or an expert is asked, for nothing."""
        import_optional("matplotlib", needed_for=cls.__name__)

    def _open_axes(self, ax: Any) -> None:
        if ax is None:
            pyplot = import_optional("matplotlib.pyplot", needed_for=type(self).__name__)
            _, ax = pyplot.subplots(figsize=(7.6, 4.4), layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure

    def _place_legend(self) -> None:
        """Put the legend beside the axes if the figure makes room, else where lines are few."""
        if type(self.figure_.get_layout_engine()).__name__ == "ConstrainedLayoutEngine":
            self.ax_.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
        else:
            self.ax_.legend(loc="best", fontsize="small")


def in_percent(axis: Any) -> None:
    """Label an axis of shares in percent, with the decimals that a tick needs and no more.

    Parameters
    ----------
    axis : matplotlib Axis
        ``ax.xaxis`` or ``ax.yaxis``.
    """
    axis.set_major_formatter(lambda share, _: f"{100 * share:.4g} %")


def thinned(n_points: int) -> np.ndarray:
    """Choose the points of a line that are drawn: more can't be seen, and make a file large.

    Parameters
    ----------
    n_points : int
        Points of the line.

    Returns
    -------
    positions : ndarray of int
        At most 2,000, evenly spread, the first and the last among them.
    """
    return np.unique(np.linspace(0, n_points - 1, min(n_points, _MOST_POINTS)).round().astype(int))


def answers_of(estimator: Any, X: Any, expert_predictions: Any) -> np.ndarray:
    """Take the answers at hand, or ask everybody about every row.

    Parameters
    ----------
    estimator : deferral estimator
        Fitted.
    X : the rows
        As in its ``fit``.
    expert_predictions : array-like or DataFrame of shape (n_rows, n_experts), or None
        The answers at hand.

    Returns
    -------
    answers : ndarray of shape (n_rows, n_experts)
        In the order of the estimator's experts.

    Raises
    ------
    ExpertPredictionsMissingError
        If an expert says nothing: its figure would be the model's.
    """
    answers = read_answers(estimator, X, expert_predictions, what="The curve")
    silent = [
        name
        for name, missing in zip(estimator.routes_[1:], is_missing(answers).T, strict=True)
        if missing.all()
    ]
    if silent and expert_predictions is None:
        raise ExpertPredictionsMissingError(
            f"The experts {silent} have no answer on these rows, though they were asked, and "
            "their figure would be the model's. Pass expert_predictions=, or use experts that can "
            "be asked (ColumnExpert, IndexExpert, a callable)."
        )
    return answers
