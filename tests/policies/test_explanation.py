"""Why each row is kept or handed over: the numbers that decided, and a sentence that fits them."""

import numpy as np
import pandas as pd
import pytest

from skdefer.policies._explanation import explain_routes

LOSS = np.array([[0.4, 0.1, 0.3], [0.1, 0.3, 0.2], [0.4, 0.3, 0.5]])
COST = np.array([[0.0, 0.05]] * 3)
SCORE = LOSS[:, :1] - LOSS[:, 1:] - COST


@pytest.fixture
def table():
    return explain_routes(
        np.array([[1, 0], [0, 0], [0, 0]], dtype=bool),
        np.array([[0.6, 0.4], [0.1, 0.9], [0.4, 0.6]]),
        LOSS,
        np.full((3, 2), 0.07),
        COST,
        SCORE,
        answers=np.array([0, 1, 1]),
        classes=np.array(["no", "yes"]),
        names=["nurse", "doctor"],
        index=pd.Index(["a", "b", "c"]),
    )


def test_the_numbers_are_those_that_decided(table):
    assert table.index.tolist() == ["a", "b", "c"]
    assert table["route"].tolist() == ["nurse", "model", "model"]
    assert table["model_answer"].tolist() == ["no", "yes", "yes"]
    assert table["model_confidence"].tolist() == [0.6, 0.9, 0.6]
    for j, name in enumerate(["model", "nurse", "doctor"]):
        np.testing.assert_array_equal(table[f"expected_loss_{name}"], LOSS[:, j])
    for j, name in enumerate(["nurse", "doctor"]):
        np.testing.assert_array_equal(table[f"score_{name}"], SCORE[:, j])
        np.testing.assert_array_equal(table[f"cost_{name}"], COST[:, j])
        assert (table[f"uncertainty_{name}"] == 0.07).all()
    assert table.columns.is_unique


def test_the_reason_names_who_was_closest_and_what_it_would_cost(table):
    assert table["reason"].tolist() == [
        "Handed to nurse: nurse's expected loss 0.1 is below the model's expected loss 0.4.",
        "Kept: the model's expected loss 0.1 is not above doctor's expected loss 0.2 plus its cost "
        "0.05.",
        "Kept: nurse's expected loss 0.3 is below the model's expected loss 0.4, but outside the "
        "policy's limit.",
    ]


@pytest.mark.parametrize(
    ("n_asked", "calibrated", "reason"),
    [
        (
            2,
            True,
            "Handed to doctor and nurse: doctor's expected loss 0.1 plus its cost 0.05 and nurse's "
            "expected loss 0.2 are each below the model's expected loss 0.5.",
        ),
        (
            3,
            True,
            "Handed to doctor, nurse and desk: doctor's expected loss 0.1 plus its cost 0.05, "
            "nurse's expected loss 0.2 and desk's expected loss 0.4 are each below the model's "
            "expected loss 0.5.",
        ),
        (1, False, "Handed to doctor, whose score is 0.35."),
        (3, False, "Handed to doctor, nurse and desk, whose scores are 0.35, 0.3 and 0.1."),
        (0, False, "Kept: doctor's score 0.35, the best, is outside the policy's limit."),
    ],
)
def test_the_reason_names_all_who_are_asked_the_best_first(n_asked, calibrated, reason):
    loss, cost = np.array([[0.5, 0.2, 0.1, 0.4]]), np.array([[0.0, 0.05, 0.0]])
    score = loss[:, :1] - loss[:, 1:] - cost
    panel = np.zeros((1, 3), dtype=bool)
    panel[0, [1, 0, 2][:n_asked]] = True
    table = explain_routes(
        panel,
        np.array([[0.5, 0.5]]),
        loss,
        np.full((1, 3), 0.07),
        cost,
        score,
        answers=np.array([0]),
        classes=np.array(["no", "yes"]),
        names=["nurse", "doctor", "desk"],
        calibrated=calibrated,
    )
    assert table["route"].tolist() == ["doctor" if n_asked else "model"]
    assert table["reason"].tolist() == [reason]
