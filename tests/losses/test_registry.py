"""Losses by name, by function, by partial; with readings, or with those of one softmax."""

from functools import partial

import pytest
import torch

from skdefer.losses import (
    Surrogate,
    get_surrogate,
    lce_class_proba,
    lce_loss,
    mixture_of_experts_priority,
    ova_class_proba,
    ova_expert_accuracy,
    ova_loss,
    realizable_loss,
    rl2d_loss,
    softmax_priority,
    surrogate_names,
)

CALIBRATED = {"asymmetric_softmax", "lce", "ova"}


@pytest.mark.parametrize("name", surrogate_names())
def test_every_name_gives_a_loss_with_its_readings(name):
    surrogate = get_surrogate(name)
    scores, y, correct = torch.randn(6, 5), torch.randint(3, (6,)), torch.ones(6, 2)
    assert surrogate.loss(scores, y, correct).shape == (6,)
    proba = surrogate.class_proba(scores, 3)
    torch.testing.assert_close(proba.sum(-1), torch.ones(6))
    assert surrogate.is_calibrated == (name in CALIBRATED)
    read = surrogate.expert_accuracy or surrogate.priority
    assert read(scores, 3).shape == (6, 2)


def test_a_function_or_a_partial_of_ours_has_the_readings_of_its_name():
    for loss in ("ova", ova_loss, partial(ova_loss)):
        found = get_surrogate(loss)
        assert found.class_proba is ova_class_proba
        assert found.expert_accuracy is ova_expert_accuracy
    assert get_surrogate("mixture_of_experts").priority is mixture_of_experts_priority


def test_readings_hold_for_the_default_options_alone():
    assert get_surrogate("lce", alpha=1.0).is_calibrated
    assert get_surrogate(partial(lce_loss, alpha=1.0)).is_calibrated
    assert not get_surrogate("lce", alpha=0.5).is_calibrated
    assert not get_surrogate(partial(lce_loss, alpha=0.5)).is_calibrated


def test_options_reach_the_loss():
    arguments = torch.randn(6, 5), torch.randint(3, (6,)), torch.ones(6, 2)
    half = get_surrogate("realizable", alpha=0.5).loss(*arguments)
    torch.testing.assert_close(half, realizable_loss(*arguments, alpha=0.5))
    inner = get_surrogate(partial(rl2d_loss, q=0.5)).loss(*arguments)
    torch.testing.assert_close(inner, rl2d_loss(*arguments, q=0.5))


def test_a_users_function_is_read_as_one_softmax_or_as_the_user_says():
    def mine(scores, y, expert_correct):
        return scores[:, 0] ** 2

    found = get_surrogate(mine)
    assert found.loss is mine
    assert not found.is_calibrated
    assert found.class_proba is lce_class_proba
    assert found.priority is softmax_priority
    whole = Surrogate(mine, ova_class_proba, ova_expert_accuracy)
    assert get_surrogate(whole) == whole


def test_unknown_names_and_options_are_refused():
    with pytest.raises(ValueError, match="'lse' is no loss; expected one of .*'lce'"):
        get_surrogate("lse")
    with pytest.raises(ValueError, match=r"alpha=0.5, .*of ours \['lce', 'realizable'\] do"):
        get_surrogate("ova", alpha=0.5)
    with pytest.raises(ValueError, match=r"partial with qq=, which rl2d_loss does not take; it"):
        get_surrogate(partial(rl2d_loss, qq=0.5))
    with pytest.raises(ValueError, match=r"the loss is a partial with alpha=0.7. Pass one of"):
        get_surrogate(partial(lce_loss, alpha=0.7), alpha=0.3)
    for nothing in (None, 3):
        with pytest.raises(ValueError, match="expected one of .*, a function .* or a Surrogate"):
            get_surrogate(nothing)
