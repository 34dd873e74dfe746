"""Says in words what the numbers mean: whether deferral pays, and by how much."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.utils import check_random_state

from skdefer.cli._system import Decisions, Terms
from skdefer.metrics._bootstrap import Bootstrap
from skdefer.metrics._inputs import Rows, check_rows

_N_BOOTSTRAP = 1000
_LEVEL = 0.95


@dataclass
class Gain:
    """How much one strategy is better than another, with the ends of an interval."""

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> int:
        """1: better, -1: worse, 0: can't be told."""
        return int(self.low > 0) - int(self.high < 0)


def conclusion(decisions: Decisions, groups: np.ndarray | None) -> str:
    """Say whether the system is worth more than the model, and than the best expert, alone.

    Strategies are compared on the same rows, by a paired bootstrap.

    Parameters
    ----------
    decisions : Decisions
        Of systems on rows they had not seen.
    groups : ndarray of shape (n_rows,) or None
        Rows that are not independent of each other.

    Returns
    -------
    text : str
        A few sentences.
    """
    terms = decisions.terms
    rows = check_rows(decisions.y_true, decisions.y_pred, decisions.answers)
    spent = _spent(rows, terms)
    n = np.arange(rows.n_rows)
    system_right = rows.right[n, decisions.route].astype(float)
    system_spent = spent[n, decisions.route]
    best = 1 + int(spent[:, 1:].mean(axis=0).argmin())  # the cheapest expert alone
    differences = np.column_stack(
        [
            system_right - rows.right[:, 0],
            1000 * (spent[:, 0] - system_spent),
            1000 * (spent[:, best] - system_spent),
        ]
    )
    bootstrap = Bootstrap(rows.n_rows, groups, _N_BOOTSTRAP, _LEVEL, check_random_state(terms.seed))
    sums = bootstrap.sums(np.column_stack([differences, np.ones(rows.n_rows)]))
    ends = bootstrap.ends(sums[:, :-1] / sums[:, -1:])
    points, saved, beats_expert = (
        Gain(*three) for three in zip(differences.mean(axis=0), *ends, strict=True)
    )
    share = float((decisions.route > 0).mean())
    costs = 1000 * np.array([spent[:, 0].mean(), system_spent.mean(), spent[:, best].mean()])
    against_expert = _against_expert(terms.names[best - 1], costs, beats_expert, terms.budget)
    expert_is_better = beats_expert.verdict == -1 and terms.budget is None
    if share == 0:
        return f"{_nothing_handed_over(terms)} {against_expert}"
    accuracy = rows.right[:, 0].mean(), system_right.mean()
    return " ".join(
        [
            _against_model(share, accuracy, points, costs, saved, expert_is_better),
            against_expert,
            _worth_of_an_answer(points.value / share, decisions),
        ]
    )


def _spent(rows: Rows, terms: Terms) -> np.ndarray:
    """Cost of each row under each route, (n, 1 + J); a missing answer costs nothing."""
    spent = terms.error_cost * ~rows.right
    spent[:, 1:] += rows.answered * np.asarray(terms.prices)
    return spent


def _nothing_handed_over(terms: Terms) -> str:
    if terms.budget == 0:
        return "With a budget of 0 nothing is handed over: the system is the model alone."
    return (
        "Deferral does not pay here: no expert's answer is expected to be worth its price, so the "
        "system hands nothing over and is the model alone."
    )


def _against_model(
    share, accuracy, points: Gain, costs, saved: Gain, expert_is_better: bool
) -> str:
    opening = {
        1: "Deferral pays",
        0: "It can't be told from these rows whether deferral pays",
        -1: "Deferral does not pay here",
    }[saved.verdict]
    if saved.verdict == 1 and expert_is_better:
        opening = "Deferral is better than the model alone, but not the best choice here"
    change = "less" if saved.value >= 0 else "more"
    sign = 1 if saved.value >= 0 else -1
    low, high = sorted([sign * saved.low, sign * saved.high])
    return (
        f"{opening}: handing {_percent(share)} of the rows over takes the accuracy from "
        f"{_percent(accuracy[0])} to {_percent(accuracy[1])} ({100 * points.value:+.1f} points, "
        f"95 % interval {100 * points.low:+.1f} to {100 * points.high:+.1f}), and the cost of "
        f"1,000 rows, errors and prices together, from {_amount(costs[0])} to {_amount(costs[1])} "
        f"({_amount(abs(saved.value))} {change}, 95 % interval {_amount(low)} to {_amount(high)})."
    )


def _against_expert(name: str, costs, beats: Gain, budget: float | None) -> str:
    start = f"Giving every row to {name} would cost {_amount(costs[2])}"
    advice = f": ask {name} about everything" if budget is None else ", but beyond the budget"
    return {
        1: f"{start}, which is more.",
        0: f"{start}; the difference is within the noise.",
        -1: f"{start}, which is less than with the system{advice}.",
    }[beats.verdict]


def _worth_of_an_answer(errors_prevented: float, decisions: Decisions) -> str:
    terms = decisions.terms
    asked = decisions.route[decisions.route > 0] - 1
    price = float(np.asarray(terms.prices)[asked].mean())
    worth = terms.error_cost * errors_prevented
    return (
        f"On the rows handed over an answer is worth {_amount(worth)} on average, by the errors it "
        f"prevents, at a price of {_amount(price)}."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _amount(value: float) -> str:
    """Three digits that count, without an exponent."""
    return f"{float(f'{value:.3g}'):,.6g}" if abs(value) < 1000 else f"{value:,.0f}"
