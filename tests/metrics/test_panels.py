"""Panels: several experts answer a row, it is right if their vote is, and all are paid."""

import numpy as np
import pandas as pd
import pytest

from skdefer.displays import DeferralCurveDisplay
from skdefer.metrics import deferral_report, system_cost

from .cases import make_case


def make_panels(seed, n_experts=3):
    """A case, a panel per row, and a vote: the answer of the first member who has one."""
    case = make_case(seed, n_rows=12, n_experts=n_experts)
    rng = np.random.default_rng(seed)
    panel = rng.random((12, n_experts)) < 0.5
    panel[0], panel[1] = True, False
    answers = case["expert_predictions"]
    said = [
        next((a for a, asked in zip(row, members) if asked and a is not None), None)
        for row, members in zip(answers, panel)
    ]
    y_system = np.array(
        [model if a is None else a for a, model in zip(said, case["y_pred"])], dtype=object
    )
    return case, panel, y_system


def paid(case, panel, price):
    answered = np.not_equal(case["expert_predictions"], None)
    return (np.broadcast_to(price, panel.shape) * (panel & answered)).sum(axis=1)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("by_row", [False, True])
def test_a_row_costs_its_vote_and_the_prices_of_all(seed, by_row):
    case, panel, y_system = make_panels(seed)
    price = np.random.default_rng(seed).random((12, 3) if by_row else 3)
    arrays = case["y_true"], case["y_pred"], case["expert_predictions"]
    got = system_cost(*arrays, panel, cost=price, error_cost=2.0, y_system=y_system)
    wanted = 2.0 * (y_system != case["y_true"]) + paid(case, panel, price)
    assert got == pytest.approx(wanted.mean())
    matrix = np.random.default_rng(seed).random((3, 3)) + 1.0
    labels = [0, 1, 2]
    got = system_cost(
        *arrays, panel, cost=price, error_cost=matrix, labels=labels, y_system=y_system
    )
    errors = [
        matrix[t, a] if a in labels else matrix[t].max() for t, a in zip(case["y_true"], y_system)
    ]
    assert got == pytest.approx(np.mean(errors + paid(case, panel, price)))


@pytest.mark.parametrize("seed", range(8))
def test_a_panel_of_one_is_a_route(seed):
    case = make_case(seed, n_rows=12, n_experts=3)
    panel = case["route"][:, None] == [1, 2, 3]
    answers = case["expert_predictions"]
    arrays = case["y_true"], case["y_pred"], answers
    wanted = system_cost(*arrays, case["route"], cost=[0.1, 0.2, 0.3])
    assert system_cost(*arrays, panel, cost=[0.1, 0.2, 0.3]) == pytest.approx(wanted)
    said = np.where(panel.any(axis=1), answers[np.arange(12), case["route"] - 1], None)
    y_system = np.where(np.equal(said, None), case["y_pred"], said)
    got = system_cost(*arrays, panel, cost=[0.1, 0.2, 0.3], y_system=y_system)
    assert got == pytest.approx(wanted)
    arrays = *arrays, case["deferral_score"]
    options = {"cost": [0.1, 0.2, 0.3], "n_bootstrap": 50, "random_state": 0, "metrics": "f1_macro"}
    one = deferral_report(*arrays, case["route"], **options)
    other = deferral_report(*arrays, panel, y_system=y_system, **options)
    pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize("seed", range(8))
def test_the_report_of_panels(seed):
    case, panel, y_system = make_panels(seed)
    price = np.array([0.1, 0.2, 0.4])
    report = deferral_report(
        case["y_true"],
        case["y_pred"],
        case["expert_predictions"],
        case["deferral_score"],
        panel,
        y_system=y_system,
        cost=price,
        n_bootstrap=0,
        metrics={"share_of_1": lambda y_true, y_answered: np.mean(y_answered == 1)},
    )
    system = report.loc["system"]
    right = y_system == case["y_true"]
    assert system["accuracy"] == pytest.approx(right.mean())
    assert system["deferral_rate"] == pytest.approx(panel.any(axis=1).mean())
    assert system["cost"] == pytest.approx((~right + paid(case, panel, price)).mean())
    assert system["share_of_1"] == pytest.approx((y_system == 1).mean())
    answered = (panel & np.not_equal(case["expert_predictions"], None)).any(axis=1)
    assert system["deferred_accuracy"] == pytest.approx(right[answered].mean())
    kept = ~panel.any(axis=1)
    model_right = (case["y_pred"] == case["y_true"])[kept]
    assert system["kept_accuracy"] == pytest.approx(model_right.mean(), nan_ok=True)
    assert list(report.index[:5]) == [
        "model alone",
        *(f"expert_{j} alone" for j in (1, 2, 3)),
        "system",
    ]


def test_beyond_price_is_only_who_is_asked():
    arrays = [0, 1], [1, 0], [[0, 1], [1, 0]]
    got = system_cost(*arrays, [[1, 0], [0, 0]], cost=[0.5, np.inf], y_system=[0, 0])
    assert got == pytest.approx((0.5 + 1) / 2)


def test_the_curve_marks_the_panels():
    case, panel, y_system = make_panels(3)
    display = DeferralCurveDisplay.from_predictions(
        case["y_true"],
        case["y_pred"],
        case["expert_predictions"],
        case["deferral_score"],
        route=panel,
        y_system=y_system,
    )
    wanted = panel.any(axis=1).mean(), (y_system == case["y_true"]).mean()
    assert display.operating_point == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_system": None}, "rows with several experts, but y_system was not passed.*Pass y_sys"),
        ({"route": [0, 1]}, "y_system came with a route of one expert per row.*Leave it out"),
        ({"route": [[True], [True]]}, r"panel of shape \(2, 1\).*flags of shape \(2, 2\)"),
        ({"route": [[0, 2], [0, 1]]}, r"dtype int64; expected flags.*Pass predict_panel"),
        ({"y_system": [0, 1, 1]}, "y_system has 3 rows, but y_true has 2"),
    ],
)
def test_what_is_no_panel_is_refused(changes, message):
    arguments = {"route": [[True, True], [False, True]], "y_system": [0, 1]} | changes
    with pytest.raises(ValueError, match=message):
        system_cost([0, 1], [0, 0], [[0, 1], [1, 1]], **arguments)
