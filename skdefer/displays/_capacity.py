"""How many rows each expert gets, of how many there is time for, and what one more would bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from skdefer.displays._base import Display, numbered
from skdefer.policies import assign, assignment_prices
from skdefer.policies._assign import check_limits

if TYPE_CHECKING:
    import pandas

_HEIGHT_OF_BAR = 0.45  # inches


class CapacityDisplay(Display):
    """Shows whose hours are short: loads within their limits, and the price of one row more.

    A bar is what an expert gets, a mark the most that there is time for; the price on the upper
    axis is what time for one row more would bring (:func:`skdefer.policies.assignment_prices`),
    0 where time is left. Make one by :meth:`from_estimator` or :meth:`from_predictions`; the
    parameters are stored as attributes.

    Parameters
    ----------
    load : ndarray of shape (n_experts,)
        Rows that each expert gets.
    capacity, minimum : ndarray of shape (n_experts,)
        The most and the least rows; inf and 0 for no limit.
    price : ndarray of shape (n_experts,)
        In the unit of the scores; inf without capacity.
    expert_names : sequence of str, default=None
        ``expert_1``, ... if None.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where it was drawn.
    price_ax_ : matplotlib Axes
        The upper axis.
    bars_ : matplotlib BarContainer
        The loads.
    capacity_marks_, minimum_marks_, price_marks_ : matplotlib Line2D
        The limits and prices that are finite (minima above 0).

    See Also
    --------
    skdefer.policies.CapacityPolicy : Holds the limits.

    Examples
    --------
    Without ``ax`` a figure is opened; here one is made that needs no screen.

    >>> from matplotlib.figure import Figure
    >>> from skdefer.displays import CapacityDisplay
    >>> score = [[0.5, 0.4], [0.6, 0.1], [0.3, -0.2]]
    >>> display = CapacityDisplay.from_predictions(
    ...     score, [1, None], expert_names=["dr. b", "dr. c"], ax=Figure().subplots()
    ... )
    >>> display.figure_.savefig("hours.png")  # doctest: +SKIP

    The figure gives back its data:

    >>> display.frame().round(2)
      expert  load  capacity  minimum  price
    0  dr. b     1       1.0      0.0    0.4
    1  dr. c     1       inf      0.0    0.0
    """

    def __init__(
        self,
        *,
        load: np.ndarray,
        capacity: np.ndarray,
        minimum: np.ndarray,
        price: np.ndarray,
        expert_names: Sequence[str] | None = None,
    ):
        self.load = load
        self.capacity = capacity
        self.minimum = minimum
        self.price = price
        self.expert_names = expert_names

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, ax: Any = None, **kwargs: Any
    ) -> CapacityDisplay:
        """Draw what a fitted deferral estimator with a ``CapacityPolicy`` does with a batch.

        Parameters
        ----------
        estimator : deferral estimator
            Fitted; no expert is asked.
        X : the rows
            As in the estimator's ``fit``. In a stream the limits are scaled to as many rows.
        ax, **kwargs
            As in :meth:`plot`.

        Returns
        -------
        display : CapacityDisplay
            Drawn.

        Raises
        ------
        TypeError
            If ``estimator`` has no policy that holds capacities.
        ImportError
            If matplotlib is not installed.
        """
        cls._need_matplotlib()
        policy: Any = getattr(estimator, "policy_", None)
        if not hasattr(policy, "limits_"):
            raise TypeError(
                f"{type(estimator).__name__} has no fitted CapacityPolicy; expected a deferral "
                "estimator with policy=CapacityPolicy(...), fitted. Or use from_predictions."
            )
        panel, limits = estimator.predict_panel(X), policy.limits_
        share = len(panel) / policy.batch_size_ if policy.scope == "stream" else 1.0
        display = cls(
            load=panel.sum(axis=0),
            capacity=limits.upper * share,
            minimum=limits.lower * share,
            price=policy.prices(estimator.deferral_score(X)),
            expert_names=estimator.routes_[1:],
        )
        return display.plot(ax=ax, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        deferral_score: ArrayLike,
        capacity: Any,
        minimum: Any = None,
        *,
        expert_names: Sequence[str] | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> CapacityDisplay:
        """Draw the best assignment of scores, :func:`skdefer.policies.assign`.

        Parameters
        ----------
        deferral_score : array-like of shape (n_rows, n_experts)
            What each expert gains over the model.
        capacity, minimum
            As in :func:`skdefer.policies.assign`.
        expert_names : sequence of str, default=None
            One per expert.
        ax, **kwargs
            As in :meth:`plot`.

        Returns
        -------
        display : CapacityDisplay
            Drawn.

        Raises
        ------
        ValueError
            As :func:`skdefer.policies.assign`, and for a wrong number of names.
        ImportError
            If matplotlib is not installed.
        """
        cls._need_matplotlib()
        price = assignment_prices(deferral_score, capacity, minimum)
        J = len(price)
        if expert_names is not None and len(expert_names) != J:
            raise ValueError(
                f"expert_names are {list(expert_names)}, but there are {J} experts. Pass a name "
                "for each."
            )
        route = assign(deferral_score, capacity, minimum)
        limits = check_limits(J, capacity, minimum)
        display = cls(
            load=np.bincount(route, minlength=J + 1)[1:],
            capacity=limits.upper,
            minimum=limits.lower,
            price=price,
            expert_names=expert_names,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(
        self, ax: Any = None, *, bar_kwargs: Mapping[str, Any] | None = None
    ) -> CapacityDisplay:
        """Draw: a row per expert, loads as bars, limits and prices as marks.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure if None.
        bar_kwargs : mapping, default=None
            Arguments of matplotlib's ``barh``.

        Returns
        -------
        display : CapacityDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        self._open_axes(ax)
        place = np.arange(len(self.load))
        if ax is None:
            self.figure_.set_figheight(1.6 + _HEIGHT_OF_BAR * len(place))
        style = {"height": 0.6, "color": "C0", "alpha": 0.6, "label": "rows", **(bar_kwargs or {})}
        self.bars_ = self.ax_.barh(place, self.load, **style)

        def mark(axes, values, shown, **style):
            (line,) = axes.plot(values[shown], place[shown], linestyle="", **style)
            return line

        tick = {"marker": "|", "markersize": 16, "markeredgewidth": 2}
        self.capacity_marks_ = mark(
            self.ax_, self.capacity, np.isfinite(self.capacity), color="k", label="capacity", **tick
        )
        self.minimum_marks_ = mark(
            self.ax_, self.minimum, self.minimum > 0, color="C2", label="minimum", **tick
        )
        self.ax_.set_yticks(place, self._names())
        self.ax_.set_ylim(len(place) - 0.5, -0.5)  # the first expert on top
        self.ax_.set_xlim(left=0)
        self.ax_.set(xlabel="Rows", ylabel="Expert")
        self.price_ax_ = self.ax_.twiny()
        self.price_marks_ = mark(
            self.price_ax_, self.price, np.isfinite(self.price), color="C1", marker="D"
        )
        # A legend lists what its own axes hold.
        self.ax_.plot([], [], linestyle="", color="C1", marker="D", label="price (upper axis)")
        self.price_ax_.set_xlabel("Price: gain of one row more", color="C1")
        self.price_ax_.tick_params(axis="x", colors="C1")
        self.price_ax_.axvline(0, color="C1", linewidth=0.8, linestyle=":")
        self._place_legend()
        return self

    def _names(self) -> list[str]:
        return list(self.expert_names or numbered(len(self.load)))

    def frame(self) -> pandas.DataFrame:
        """Give back the data of the figure.

        Returns
        -------
        frame : DataFrame
            A row per expert: ``expert``, ``load``, ``capacity``, ``minimum`` and ``price``.
        """
        import pandas as pd

        return pd.DataFrame(
            {
                "expert": np.asarray(self._names(), dtype=object),
                "load": self.load,
                "capacity": self.capacity,
                "minimum": self.minimum,
                "price": self.price,
            }
        )
