"""Prices: of asking an expert, and of a wrong answer."""

from __future__ import annotations

import functools
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def resolve_cost(
    cost: Any,
    names: Sequence[str],
    own: Sequence[float],
    X: Any,
    n_rows: int,
    *,
    what: str = "cost",
) -> np.ndarray:
    """Bring the price of asking to one number per expert, or per row and expert.

    Parameters
    ----------
    cost : None, float, sequence, mapping, callable or CostModel
        None: each expert's own price. A number: of every expert. A sequence: one per
        expert. A mapping or a pandas Series: by name, every expert. A callable of X:
        shape ``(n_rows,)`` or ``(n_rows, n_experts)``. A :class:`CostModel`: its total.
    names : sequence of str
        The experts.
    own : sequence of float
        The experts' own prices.
    X : the rows, without the columns of column experts
        Passed to a callable.
    n_rows : int
        The number of rows.
    what : str, default="cost"
        What it is called in errors.

    Returns
    -------
    cost : ndarray of shape (n_experts,) or (n_rows, n_experts)
        In the unit of ``error_cost``.

    Raises
    ------
    ValueError
        For a wrong length, unknown names, negative prices or NaN.
    """
    J = len(names)
    if cost is None:
        return np.asarray(own, dtype=float)
    if isinstance(cost, CostModel):
        return cost.total(names, X, n_rows)
    if callable(cost):
        prices = as_prices(cost(X), f"{what}(X)")
        if prices.shape == (n_rows,):
            prices = np.repeat(prices[:, None], J, axis=1)
        if prices.shape != (n_rows, J):
            raise ValueError(
                f"{what}(X) returned shape {prices.shape} for {n_rows} rows and {J} experts; "
                f"expected ({n_rows},) or ({n_rows}, {J})."
            )
        return prices
    if hasattr(cost, "to_dict"):  # a Series: its index says whose prices they are
        cost = cost.to_dict()
    if isinstance(cost, Mapping):
        if set(cost) != set(names):
            raise ValueError(
                f"{what} has prices for {sorted(map(str, cost))}, but the experts are "
                f"{list(names)}. Give a price for each of them."
            )
        cost = [cost[name] for name in names]
    prices = as_prices(cost, what)
    if prices.ndim == 0:
        return np.full(J, float(prices))
    if prices.shape != (J,):
        raise ValueError(
            f"{what} has shape {prices.shape}, but there are {J} experts: {list(names)}. Pass "
            f"{_COSTS}."
        )
    return prices


_COSTS = "a number, one per expert, a mapping by name, a callable of X, or a CostModel"


def as_prices(values: Any, what: str, forms: str = _COSTS) -> np.ndarray:
    """Bring prices to a float array, none negative or NaN; ``forms`` says what was expected."""
    try:
        prices = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} is {values!r}; expected prices: {forms}.") from error
    if np.isnan(prices).any() or (prices < 0).any():
        raise ValueError(
            f"{what} has negative prices or NaN; expected numbers >= 0 in the unit of error_cost."
        )
    return prices


#: What a :class:`CostModel` counts, in this order everywhere.
RESOURCES = ("money", "seconds", "minutes")


class CostModel:
    """What asking takes, in money, seconds and human minutes, and what that is worth together.

    Pass it wherever a ``cost`` goes. Decisions read the sum,
    ``money_rate * money + second_rate * seconds + minute_rate * minutes``; reports
    (:func:`~skdefer.metrics.deferral_report`, :func:`~skdefer.metrics.cost_report`) show the three
    apart as well.

    What is not given is unknown, not free: reports show NaN for it, and an expert whose price is
    unknown is refused where a decision needs it.

    Parameters
    ----------
    money, seconds, minutes : float, sequence, mapping or callable, default=None
        Of one answer: how much is paid, how long it takes to come, and how long a person works on
        it. One for every expert, one per expert, by name, or a callable of X that gives shape
        (n_rows,) or (n_rows, n_experts). In a mapping None is unknown, and ``"model"`` may say
        what the model takes: it is spent on every row, so it changes no decision. None: not known
        of anybody, and left out of the sum.
    money_rate : float, default=1.0
        What a unit of money is worth, in the unit of ``error_cost``.
    second_rate, minute_rate : float, default=None
        Likewise of a second and of a minute; 0 for what is to be reported alone. Needed with
        ``seconds`` and ``minutes``.

    Examples
    --------
    An error costs 50, a minute of a reader's time 2:

    >>> from skdefer import CostModel
    >>> model = CostModel(
    ...     money={"reader": 0.0, "llm": 0.02},
    ...     minutes={"reader": 3.0, "llm": 0.0},
    ...     seconds={"reader": 5400, "llm": 2.5, "model": 0.1},
    ...     minute_rate=2.0,
    ...     second_rate=0.0,
    ... )
    >>> model.total(["reader", "llm"])
    array([6.  , 0.02])
    """

    def __init__(
        self,
        *,
        money: Any = None,
        seconds: Any = None,
        minutes: Any = None,
        money_rate: float = 1.0,
        second_rate: float | None = None,
        minute_rate: float | None = None,
    ):
        self.money, self.seconds, self.minutes = money, seconds, minutes
        self.money_rate, self.second_rate, self.minute_rate = money_rate, second_rate, minute_rate
        if money is seconds is minutes is None:
            raise ValueError(
                "CostModel knows no price: money, seconds and minutes are all None. Pass one of "
                "them; 0 for what is free."
            )
        for resource, rate in self._rates().items():
            given = getattr(self, resource) is not None
            if given and (rate is None or not 0 <= rate < np.inf):
                name = f"{resource.removesuffix('s')}_rate"
                raise ValueError(
                    f"{resource} came with {name}={rate!r}; expected a finite number >= 0, what "
                    f"one of them is worth in the unit of error_cost. Pass {name}=0 to report "
                    f"{resource} without counting them."
                )

    def _rates(self) -> dict[str, float | None]:
        return dict(
            zip(RESOURCES, (self.money_rate, self.second_rate, self.minute_rate), strict=True)
        )

    def amounts(
        self, names: Sequence[str], X: Any = None, n_rows: int = 0
    ) -> dict[str, np.ndarray | None]:
        """Say how much of each resource an answer takes.

        Parameters
        ----------
        names : sequence of str
            The experts.
        X : the rows, default=None
            Passed to callables.
        n_rows : int, default=0
            The number of rows.

        Returns
        -------
        amounts : dict of str to ndarray of shape (n_experts,) or (n_rows, n_experts), or None
            By the names of ``RESOURCES``; NaN where unknown, None where not known of anybody.
        """
        return {r: _amount(getattr(self, r), r, names, X, n_rows) for r in RESOURCES}

    def of_model(self) -> dict[str, float]:
        """Say how much of each resource the model takes on a row, NaN where unknown."""
        found = {}
        for resource in RESOURCES:
            given = getattr(self, resource)
            of_model = given.get("model") if isinstance(given, Mapping) else None
            found[resource] = float("nan") if of_model is None else float(of_model)
        return found

    def weigh(self, amounts: Mapping[str, np.ndarray | None]) -> np.ndarray:
        """Bring amounts to one unit and sum them, NaN where one of them is unknown.

        Parameters
        ----------
        amounts : dict of str to ndarray, or None
            As :meth:`amounts` gives them.

        Returns
        -------
        total : ndarray
            Of their shape.
        """
        rates = self._rates()
        # What counts for nothing stays so where it is infinite, or unknown.
        known = [
            rates[r] * a if rates[r] else np.zeros_like(a)
            for r, a in amounts.items()
            if a is not None
        ]
        return functools.reduce(np.add, known)

    def total(self, names: Sequence[str], X: Any = None, n_rows: int = 0) -> np.ndarray:
        """What asking costs in one unit: the price that decides.

        Parameters
        ----------
        names, X, n_rows
            As in :meth:`amounts`.

        Returns
        -------
        total : ndarray of shape (n_experts,) or (n_rows, n_experts)

        Raises
        ------
        ValueError
            If an expert's price is unknown.
        """
        total = self.weigh(self.amounts(names, X, n_rows))
        bad = np.isnan(np.atleast_2d(total)).any(axis=0)
        if bad.any():
            raise ValueError(
                f"The cost of asking {[n for n, b in zip(names, bad) if b]} is unknown: the "
                "CostModel has None for them. Say what they take, 0 if nothing, or leave them out."
            )
        return total

    def _fields(self) -> tuple[Any, ...]:
        return tuple(vars(self).items())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CostModel) and same_prices(self._fields(), other._fields())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        given = {k: v for k, v in vars(self).items() if v is not None}
        if given["money_rate"] == 1:
            del given["money_rate"]
        return f"CostModel({', '.join(f'{k}={v!r}' for k, v in given.items())})"


def reads_rows(cost: Any) -> bool:
    """Tell whether prices depend on the rows, so that they are unknown without them."""
    if isinstance(cost, CostModel):
        return any(callable(getattr(cost, resource)) for resource in RESOURCES)
    return callable(cost)


def _amount(
    given: Any, resource: str, names: Sequence[str], X: Any, n_rows: int
) -> np.ndarray | None:
    """Bring one resource to an array, NaN where it is unknown."""
    if given is None:
        return None
    unknown = np.zeros(len(names), dtype=bool)
    if hasattr(given, "to_dict"):
        given = given.to_dict()
    if isinstance(given, Mapping):
        unknown = np.array([name in given and given[name] is None for name in names])
        given = {n: 0.0 if v is None else v for n, v in given.items() if n != "model"}
        nan = [n for n, v in given.items() if isinstance(v, numbers.Real) and np.isnan(float(v))]
        if nan:
            raise ValueError(
                f"{resource} is NaN for {nan}; expected numbers >= 0, or None for what is unknown. "
                "Pass a dict with None for them."
            )
    amount = resolve_cost(given, names, (), X, n_rows, what=resource)
    return np.where(unknown, np.nan, amount) if unknown.any() else amount


def resolve_error_cost(error_cost: Any, classes: np.ndarray) -> tuple[float, np.ndarray | None]:
    """Bring the price of a wrong answer to a number and, where it has one, a matrix.

    Parameters
    ----------
    error_cost : float, array-like of shape (n_classes, n_classes) or DataFrame
        A number, or the price of each (true, answered) pair: an array in the order of
        ``classes``, or a DataFrame labelled by class.
    classes : ndarray of shape (n_classes,)
        The classes.

    Returns
    -------
    unit : float
        What an error costs; 1 with a matrix, whose entries are prices already.
    matrix : ndarray of shape (n_classes, n_classes) or None
        Rows are the truth, columns the answer.

    Raises
    ------
    ValueError
        For a wrong shape, unknown labels, negative prices, NaN or infinity.
    """
    if error_cost is None:
        return 1.0, None
    K = len(classes)
    forms = f"a number, or ({K}, {K}) of them by [true, answered]"
    if hasattr(error_cost, "columns"):
        labels = classes.tolist()
        if not hasattr(error_cost, "reindex"):
            raise ValueError(
                f"error_cost is a {type(error_cost).__module__} DataFrame, whose rows have no "
                f"labels; expected the classes {labels} by rows too. Pass a pandas DataFrame with "
                "an index, or an array in the order of the classes."
            )
        rows, columns = list(error_cost.index), list(error_cost.columns)
        if not len(rows) == len(columns) == K or not set(rows) == set(columns) == set(labels):
            raise ValueError(
                f"error_cost is labelled {rows} by {columns}, but the classes are {labels}. "
                "Label both rows (truth) and columns (answer) by class."
            )
        # Not .loc, to which labels that are True and False are a mask.
        error_cost = error_cost.reindex(index=labels, columns=labels).to_numpy()
    values = as_prices(error_cost, "error_cost", forms)
    if not np.isfinite(values).all():
        raise ValueError("error_cost has infinity; expected finite prices.")
    if values.ndim == 0:
        return float(values), None
    if values.shape != (K, K):
        raise ValueError(
            f"error_cost has shape {values.shape}; expected a number or ({K}, {K}), the price of "
            f"each [true, answered] pair of the classes {classes.tolist()}."
        )
    return 1.0, values


def least_cost_answer(proba: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
    """Pick the class of least expected cost on each row.

    Parameters
    ----------
    proba : ndarray of shape (n_rows, n_classes)
        Class probabilities.
    matrix : ndarray of shape (n_classes, n_classes) or None
        Price of each (true, answered) pair; None: the most probable class.

    Returns
    -------
    answer : ndarray of int of shape (n_rows,)
        Positions of classes.
    """
    if matrix is None:
        return proba.argmax(axis=1)
    return (proba @ matrix).argmin(axis=1)


def error_unit(error_cost: Any, fitted: np.ndarray | None, classes: np.ndarray) -> float:
    """Say what an error costs now; a matrix can't change after ``fit``.

    Parameters
    ----------
    error_cost : float, array-like of shape (n_classes, n_classes) or DataFrame
        The parameter as it is.
    fitted : ndarray of shape (n_classes, n_classes) or None
        The matrix that the rejector was fitted to; None: plain errors.
    classes : ndarray of shape (n_classes,)
        The classes.

    Returns
    -------
    unit : float
        What losses are multiplied by.

    Raises
    ------
    ValueError
        If the rejector was fitted to another matrix, or to none.
    """
    unit, matrix = resolve_error_cost(error_cost, classes)
    if matrix is None and fitted is None:
        return unit
    if matrix is None or fitted is None or not np.array_equal(matrix, fitted):
        was = "plain errors" if fitted is None else "another matrix"
        raise ValueError(
            f"error_cost was changed after fit, but the rejector was fitted to {was}. Call fit "
            "again; with memory= the estimator is not fitted again."
        )
    return 1.0


def same_prices(one: Any, other: Any) -> bool:
    """Compare prices of any kind; what can't be compared is the same only if it is itself."""
    if one is other:
        return True
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(same_prices, one, other))
    try:
        return bool(np.all(np.asarray(one == other)))
    except Exception:  # frames with other labels, arrays of other shapes
        return False
