"""What holds for every loss; a new one is found by its name."""

import inspect

import pytest
import torch
from torch.autograd import gradcheck

import skdefer.losses
from skdefer.losses import expert_agnostic_loss, surrogate_names
from skdefer.neural import seeded

NAMES = [name for name in skdefer.losses.__all__ if name.endswith("_loss")]
BY_ANSWERS = [f"{name}_loss" for name in surrogate_names()]
K, J, N = 4, 3, 12


def rows(loss, dtype=torch.float64, scale=1.0, seed=0, missing=True):
    with seeded(seed):
        scores = scale * torch.randn(N, K + J, dtype=dtype)
        y = torch.randint(K, (N,))
        correct = torch.randint(2, (N, J)).to(dtype)
        if missing and masks(loss):
            correct[torch.rand(N, J) < 0.3] = torch.nan
            correct[0] = torch.nan
    return scores, y, correct


def masks(loss):
    """Whether a missing answer is left out; else it is refused."""
    try:
        loss(torch.zeros(1, 3), torch.zeros(1, dtype=torch.int64), torch.full((1, 1), torch.nan))
    except ValueError:
        return False
    return True


def knows_the_batch(loss):
    return "budget" in inspect.signature(loss).parameters


@pytest.fixture(params=BY_ANSWERS)
def loss(request):
    return getattr(skdefer.losses, request.param)


def test_every_loss_is_of_a_known_form():
    assert set(NAMES) - set(BY_ANSWERS) == {"expert_agnostic_loss"}


def test_which_losses_mask():
    """Those whose terms for the experts are separate, or stay so in a smaller softmax."""
    found = {name for name in BY_ANSWERS if masks(getattr(skdefer.losses, name))}
    assert found == {"lce_loss", "ova_loss", "asymmetric_softmax_loss"}


def test_a_missing_answer_that_cannot_be_left_out_is_refused_with_the_reason(loss):
    scores, y, correct = rows(loss, missing=False)
    correct[3, 1] = torch.nan
    if masks(loss):
        assert loss(scores, y, correct).isfinite().all()
        return
    with pytest.raises(ValueError, match="can't leave them out: .*AnswerCompletion"):
        loss(scores, y, correct)


def test_one_number_per_row_in_the_dtype_of_the_scores(loss):
    for dtype in (torch.float32, torch.float64):
        values = loss(*rows(loss, dtype))
        assert values.shape == (N,)
        assert values.dtype == dtype
        assert (values >= 0).all()


def test_the_gradient_is_that_of_finite_differences(loss):
    scores, y, correct = rows(loss)
    assert gradcheck(lambda s: loss(s, y, correct), scores.requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_scores_give_finite_losses_and_gradients(loss, dtype):
    for seed in range(20):
        scores, y, correct = rows(loss, dtype, seed=seed)
        scores = (100 * scores.sign()).requires_grad_()
        values = loss(scores, y, correct)
        values.sum().backward()
        assert values.isfinite().all()
        assert scores.grad.isfinite().all()
        assert (scores.grad != 0).any()


def test_rows_do_not_know_of_each_other(loss):
    if knows_the_batch(loss):
        return  # the filter of triage ranks the batch
    scores, y, correct = rows(loss)
    values = loss(scores, y, correct)
    for i in range(N):
        part = slice(i, i + 1)
        torch.testing.assert_close(loss(scores[part], y[part], correct[part]), values[part])


def test_renaming_classes_changes_nothing(loss):
    scores, y, correct = rows(loss)
    order = torch.tensor([2, 0, 3, 1])
    renamed = torch.cat([scores[:, :K][:, order], scores[:, K:]], 1)
    values = loss(renamed, order.argsort()[y], correct)
    torch.testing.assert_close(values, loss(scores, y, correct))


def test_renaming_experts_changes_nothing(loss):
    scores, y, correct = rows(loss)
    order = torch.tensor([2, 0, 1])
    renamed = torch.cat([scores[:, :K], scores[:, K:][:, order]], 1)
    torch.testing.assert_close(loss(renamed, y, correct[:, order]), loss(scores, y, correct))


def test_an_expert_who_never_answers_might_as_well_not_be_there(loss):
    if not masks(loss):
        return  # refused, see above
    scores, y, correct = rows(loss)
    correct[:, -1] = torch.nan
    values = loss(scores, y, correct)
    torch.testing.assert_close(values, loss(scores[:, :-1], y, correct[:, :-1]))


def test_a_missing_answer_teaches_nothing_of_the_expert(loss):
    if not masks(loss):
        return  # refused, see above
    scores, y, correct = rows(loss)
    scores.requires_grad_()
    loss(scores, y, correct).sum().backward()
    of_experts = scores.grad[:, K:]
    assert (of_experts[correct.isnan()] == 0).all()
    assert (of_experts[~correct.isnan()] != 0).all()


@pytest.mark.parametrize("n_experts", [1, J])
@pytest.mark.parametrize("right", [0.0, 1.0])
def test_handing_over_to_who_is_always_right_or_always_wrong(loss, n_experts, right):
    """Beside a classifier that is rather sure, and right."""
    if knows_the_batch(loss):
        return  # hands a share over, however right the expert is
    y = torch.arange(K)
    correct = torch.full((K, n_experts), right, dtype=torch.float64)
    sure = torch.cat([3.0 * torch.eye(K), torch.zeros(K, n_experts)], 1).to(torch.float64)
    handed, kept = sure.clone(), sure.clone()
    handed[:, K:], kept[:, K:] = 20.0, -20.0
    by_handing, by_keeping = loss(handed, y, correct).mean(), loss(kept, y, correct).mean()
    assert (by_handing < by_keeping) == bool(right)


def test_leading_axes_broadcast(loss):
    scores, y, correct = rows(loss)
    more = torch.stack([rows(loss, seed=s)[0] for s in range(5)])
    answers = torch.stack([rows(loss, seed=s)[2] for s in range(5)])
    values = loss(more, y, answers)
    assert values.shape == (5, N)
    for e in range(5):
        torch.testing.assert_close(values[e], loss(more[e], y, answers[e]))
    by_answers = loss(scores, y, answers)
    torch.testing.assert_close(by_answers[3], loss(scores, y, answers[3]))
    torch.testing.assert_close(loss(more, y, correct)[2], loss(more[2], y, correct))


@pytest.mark.parametrize(
    ("scores", "y", "correct", "message"),
    [
        ((5, 4), (5,), (5,), r"expert_correct\[:, None\]"),
        ((5, 4), (5,), (5, 4), "n_classes"),
        ((5, 4), (5,), (5, 0), "n_experts"),
        ((5, 4), (6,), (5, 1), r"\(n_rows,\) in all"),
        ((5, 4), (5,), (1, 1), r"\(n_rows,\) in all"),
        ((4,), (5,), (5, 1), r"\(n_rows,\) in all"),
        ((2, 5, 4), (5,), (3, 5, 1), "leading axes"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(loss, scores, y, correct, message):
    with pytest.raises(ValueError, match=message):
        loss(torch.zeros(scores), torch.zeros(y, dtype=torch.int64), torch.zeros(correct))


def test_a_label_that_is_no_class_is_not_taken_for_an_expert(loss):
    with pytest.raises((RuntimeError, IndexError)):
        loss(torch.zeros(2, 4), torch.tensor([0, 3]), torch.zeros(2, 1))


# -- the one that needs no answers ----------------------------------------------------


def agnostic_rows(dtype=torch.float64, seed=0):
    with seeded(seed):
        scores = torch.randn(N, K + 1, dtype=dtype)
        y, knows = torch.randint(K, (2, N))
        weight = torch.rand(N, dtype=dtype)
    return scores, y, knows, weight


def test_agnostic_gradient_is_that_of_finite_differences():
    scores, y, knows, weight = agnostic_rows()
    assert (y == knows).any()
    inputs = (scores.requires_grad_(), weight.requires_grad_())
    assert gradcheck(lambda s, w: expert_agnostic_loss(s, y, knows, w), inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_agnostic_loss_is_finite_at_extreme_scores(dtype):
    for seed in range(20):
        scores, y, knows, weight = agnostic_rows(dtype, seed)
        scores = (100 * scores.sign()).requires_grad_()
        values = expert_agnostic_loss(scores, y, knows, weight)
        values.sum().backward()
        assert values.dtype == dtype
        assert values.isfinite().all()
        assert scores.grad.isfinite().all()


def test_agnostic_loss_does_not_depend_on_names_of_classes():
    scores, y, knows, weight = agnostic_rows()
    order = torch.tensor([2, 0, 3, 1, 4])
    rank = order[:K].argsort()
    values = expert_agnostic_loss(scores[:, order], rank[y], rank[knows], weight)
    torch.testing.assert_close(values, expert_agnostic_loss(scores, y, knows, weight))


def test_agnostic_loss_of_several_experts_is_that_of_each():
    y = agnostic_rows()[1]
    scores, _, knows, weight = (
        torch.stack(parts) for parts in zip(*(agnostic_rows(seed=s) for s in range(5)), strict=True)
    )
    values = expert_agnostic_loss(scores, y, knows, weight)
    assert values.shape == (5, N)
    for e in range(5):
        alone = expert_agnostic_loss(scores[e], y, knows[e], weight[e])
        torch.testing.assert_close(values[e], alone)


@pytest.mark.parametrize(
    ("scores", "other", "message"),
    [((5,), (5,), "n_classes"), ((5, 1), (5,), "n_classes"), ((5, 4), (6,), r"\(n_rows,\) in all")],
)
def test_agnostic_shapes_that_do_not_fit_are_refused(scores, other, message):
    y = torch.zeros(other, dtype=torch.int64)
    with pytest.raises(ValueError, match=message):
        expert_agnostic_loss(torch.zeros(scores), y, y, torch.zeros(other))
