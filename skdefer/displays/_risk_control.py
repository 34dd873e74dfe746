"""A risk, and what can be promised of it, against the threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from skdefer.displays._base import Display, in_percent
from skdefer.guarantees import fixed_sequence, risk_curve

if TYPE_CHECKING:
    import pandas

_SHARES = {"system_error", "kept_error", "false_negative_rate", "deferral_rate"}


class RiskControlDisplay(Display):
    """Shows which thresholds keep a risk within its target, and which one was chosen.

    Draws the risk on the rows that tested it, the bound that each threshold alone would be found
    to keep, and the target. A threshold may be used where the bound is within the target, from
    the beginning of the sequence on. Make one by :meth:`from_estimator` or
    :meth:`from_predictions`; the parameters are stored as attributes.

    Parameters
    ----------
    threshold : ndarray of shape (n_thresholds,)
        Rising; a row is handed over if it scores more. The ends may be infinite: they are in
        :meth:`frame`, but not drawn.
    risk, upper : ndarray of shape (n_thresholds,)
        Mean loss, and its bound; NaN where nothing counts.
    target : float
        The most that the risk may be.
    valid : ndarray of bool of shape (n_thresholds,), default=None
        Where the target is proven to be kept, together with all others.
    chosen : float, default=None
        The threshold in use.
    name : str, default=None
        Of the risk.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where it was drawn.
    line_, bound_line_, target_line_ : matplotlib Line2D
        The risk, its bound and the target.
    chosen_line_ : matplotlib Line2D or None
        The threshold in use.

    See Also
    --------
    skdefer.guarantees.risk_curve : The numbers.

    Examples
    --------
    Without ``ax`` a figure is opened; here one is made that needs no screen.

    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from skdefer.displays import RiskControlDisplay
    >>> score, wrong = np.linspace(0, 1, 200), np.arange(200) % 20 < 2 * (np.arange(200) > 99)
    >>> thresholds = np.array([0.25, 0.5, 0.75, np.inf])
    >>> loss = wrong[:, None] & (score[:, None] <= thresholds)  # handed over, it is right
    >>> display = RiskControlDisplay.from_predictions(
    ...     thresholds, loss, target=0.06, ax=Figure().subplots()
    ... )
    >>> display.figure_.savefig("risk.png")  # doctest: +SKIP
    >>> display.chosen
    0.75

    The figure gives back its data:

    >>> display.frame()[["threshold", "risk", "upper", "valid"]].round(3)
       threshold  risk  upper  valid
    0       0.25  0.00  0.011   True
    1       0.50  0.00  0.011   True
    2       0.75  0.03  0.052   True
    3        inf  0.05  0.076  False
    """

    def __init__(
        self,
        *,
        threshold: np.ndarray,
        risk: np.ndarray,
        upper: np.ndarray,
        target: float,
        valid: np.ndarray | None = None,
        chosen: float | None = None,
        name: str | None = None,
    ):
        self.threshold = threshold
        self.risk = risk
        self.upper = upper
        self.target = target
        self.valid = valid
        self.chosen = chosen
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        risk: str | None = None,
        group: Any = None,
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> RiskControlDisplay:
        """Draw a risk of a calibrated estimator, on the rows that tested it.

        Parameters
        ----------
        estimator : RiskControlledDeferralClassifier
            Calibrated; its ``risk_table_`` is drawn.
        risk : str, default=None
            Which one; the first if None.
        group : label, default=None
            Of the groups in each of which it is kept, that one; the first if None.
        name, ax, **kwargs
            As in :meth:`plot`.

        Returns
        -------
        display : RiskControlDisplay
            Drawn.

        Raises
        ------
        TypeError
            If the estimator has no ``risk_table_``.
        ValueError
            If it has no such risk or group.
        ImportError
            If matplotlib is not installed.
        """
        cls._need_matplotlib()
        table = getattr(estimator, "risk_table_", None)
        if table is None:
            raise TypeError(
                f"estimator is {type(estimator).__name__}, which has no risk_table_; expected a "
                "calibrated RiskControlledDeferralClassifier. Call fit or calibrate first, or use "
                "from_predictions."
            )
        table = _rows_of(_rows_of(table, "risk", risk), "group", group)
        served = estimator.threshold_ if estimator.certified_ else None
        risk, group = table[["risk", "group"]].iloc[0]
        title = risk if group is None else f"{risk}, {group}"
        display = cls(
            threshold=table["threshold"].to_numpy(),
            risk=table["value"].to_numpy(),
            upper=table["upper"].to_numpy(),
            target=float(table["target"].iloc[0]),
            valid=table["valid"].to_numpy(dtype=bool),
            chosen=served,
            name=title,
        )
        return display.plot(ax=ax, name=name, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        threshold: ArrayLike,
        loss: ArrayLike,
        *,
        target: float,
        delta: float = 0.1,
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> RiskControlDisplay:
        """Draw a risk from the losses of rows, tested from the lowest threshold upwards.

        Parameters
        ----------
        threshold : array-like of shape (n_thresholds,)
            Rising, fixed before the rows were seen.
        loss : array-like of shape (n_rows, n_thresholds)
            Loss of each row under each threshold.
        target : float
            The most that the risk may be.
        delta : float, default=0.1
            The chance of a false claim.
        name, ax
            As in :meth:`plot`.
        **kwargs
            As in :func:`skdefer.guarantees.risk_curve`: ``counted``, ``groups``, ``bound``,
            ``binary``.

        Returns
        -------
        display : RiskControlDisplay
            Drawn. The highest of the proven thresholds is marked, which hands over least.

        Raises
        ------
        ValueError
            As ``risk_curve``, and for thresholds that don't rise or are not one per column.
        ImportError
            If matplotlib is not installed.
        """
        cls._need_matplotlib()
        threshold, loss = np.asarray(threshold, dtype=float), np.asarray(loss)
        if threshold.shape != loss.shape[1:] or (threshold[1:] <= threshold[:-1]).any():
            raise ValueError(
                f"threshold has shape {threshold.shape} and loss {loss.shape}; expected rising "
                "thresholds, one per column of loss. Sort them, and the columns with them."
            )
        curve = risk_curve(loss, target=target, delta=delta, **kwargs)
        valid = fixed_sequence(curve.p_value, delta)
        display = cls(
            threshold=threshold,
            risk=curve.risk,
            upper=curve.upper,
            target=target,
            valid=valid,
            chosen=float(threshold[valid][-1]) if valid.any() else None,
            name=name,
        )
        return display.plot(ax=ax)

    def plot(self, ax: Any = None, *, name: str | None = None) -> RiskControlDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure if None.
        name : str, default=None
            Of the risk; the attribute ``name`` if None.

        Returns
        -------
        display : RiskControlDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        self._open_axes(ax)
        title = name or self.name or "risk"
        shown = np.isfinite(self.threshold)
        x = self.threshold[shown]

        def draw(values: np.ndarray, label: str, **style: Any) -> Any:
            (line,) = self.ax_.plot(x, values[shown], label=label, **style)
            return line

        self.line_ = draw(self.risk, f"{title} on the rows that test", linewidth=2.2, zorder=4)
        self.bound_line_ = draw(
            self.upper,
            "what each threshold alone could promise",
            color=self.line_.get_color(),
            linestyle=(0, (6, 2)),
            alpha=0.75,
        )
        self.target_line_ = self.ax_.axhline(
            self.target, color="0.35", linewidth=1, label=f"target {self.target:g}"
        )
        self.chosen_line_ = None
        if self.chosen is not None and np.isfinite(self.chosen):
            self.chosen_line_ = self.ax_.axvline(
                self.chosen, color="C2", linewidth=1.6, label=f"in use: {self.chosen:.3g}"
            )
        self.ax_.set(xlabel="Threshold: rows that score more are handed over", ylabel=title)
        if title.partition(",")[0] in _SHARES:
            in_percent(self.ax_.yaxis)
        self._place_legend()
        return self

    def frame(self) -> pandas.DataFrame:
        """Give back the data of the figure.

        Returns
        -------
        frame : DataFrame of n_thresholds rows
            ``threshold``, ``risk``, ``upper``, ``target``, ``valid`` and ``chosen``.
        """
        import pandas as pd

        return pd.DataFrame(
            {
                "threshold": self.threshold,
                "risk": self.risk,
                "upper": self.upper,
                "target": self.target,
                "valid": self.valid,
                "chosen": self.threshold == self.chosen,
            }
        )


def _rows_of(table: pandas.DataFrame, column: str, value: Any) -> pandas.DataFrame:
    """Take the rows of a risk or a group; None: of the first one, which may be all rows."""
    known = list(dict.fromkeys(table[column]))
    if value is None and known and known[0] is None:
        return table
    if not known or (value is not None and value not in known):
        raise ValueError(
            f"{column} is {value!r}, but this promise has {known}; expected one of these, or None "
            "for the first."
        )
    return table[table[column] == (known[0] if value is None else value)]
