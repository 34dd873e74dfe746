"""The contract of every rejector that the package exports; a new one is found by discovery."""

import inspect
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import skdefer.rejectors
from skdefer.experts import ExpertProfile
from skdefer.rejectors import BaseRejector


def rejectors():
    for name in skdefer.rejectors.__all__:
        cls = getattr(skdefer.rejectors, name)
        if inspect.isclass(cls) and issubclass(cls, BaseRejector) and not name.startswith("Base"):
            yield pytest.param(cls, id=name)


pytestmark = pytest.mark.parametrize("cls", list(rejectors()))

MATRIX = np.array([[0.0, 1.0, 4.0], [2.0, 0.0, 1.0], [7.0, 3.0, 0.0]])
K, N = 3, 150
CLASSES = np.array(["cat", "dog", "eel"])


def make_case(seed=0):
    rng = np.random.default_rng(seed)
    proba = rng.dirichlet(np.ones(K), size=N)
    codes = (rng.random((N, 1)) > proba.cumsum(axis=1)).sum(axis=1).clip(max=K - 1)
    right = (
        rng.random((N, 3)) < np.array([[0.95, 0.5, 0.7], [0.6, 0.9, 0.7], [0.3, 0.8, 0.7]])[codes]
    )
    said = np.where(right, codes[:, None], (codes[:, None] + rng.integers(1, K, size=(N, 3))) % K)
    answers = CLASSES.astype(object)[said]
    answers[rng.random((N, 3)) < 0.3] = None
    return {
        "proba": proba,
        "y": CLASSES[codes],
        "expert_predictions": answers,
        "X": rng.normal(size=(N, 2)),
    }


CASE, NEW = make_case(), make_case(seed=1)


def make(cls):
    rejector = cls()
    if "random_state" in rejector.get_params():
        rejector.set_params(random_state=0)
    return rejector


def fitted(cls, case=CASE, **changes):
    return make(cls).fit(**{**case, **changes})


def losses(rejector, case=NEW, rows=slice(None)):
    return rejector.expected_loss(case["proba"][rows], X=case["X"][rows])


# -- what comes out -----------------------------------------------------------------


@pytest.mark.parametrize("error_cost", [None, MATRIX], ids=["errors", "matrix"])
@pytest.mark.parametrize("n_experts", [1, 3])
def test_a_finite_loss_of_every_route_on_every_row(cls, n_experts, error_cost):
    answers = CASE["expert_predictions"][:, :n_experts]
    rejector = fitted(cls, expert_predictions=answers, error_cost=error_cost)
    loss = losses(rejector)
    assert isinstance(rejector, BaseRejector)
    assert loss.shape == (N, 1 + n_experts)
    assert loss.dtype == float
    assert np.isfinite(loss).all()
    if rejector.score_is_calibrated:
        assert loss.min() >= -1e-9
        assert loss.max() <= (1 if error_cost is None else MATRIX.max()) + 1e-9
    deviation = rejector.uncertainty(NEW["proba"])
    assert deviation.shape == (N, n_experts)
    assert (deviation > 0).all()


def test_it_says_what_it_is_and_shows_what_it_learned(cls):
    rejector = fitted(cls)
    facts = ("learns", "serves_unseen_experts", "reads_contexts", "score_is_calibrated")
    for fact in facts:
        assert isinstance(getattr(rejector, fact), bool), fact
    assert rejector.classes_.tolist() == CLASSES.tolist()
    assert [type(p) for p in rejector.profiles_] == [ExpertProfile] * 3
    for profile, answers in zip(rejector.profiles_, CASE["expert_predictions"].T):
        np.testing.assert_allclose(profile.mean_, ExpertProfile().fit(answers, CASE["y"]).mean_)
    for attribute in ("classes_", "profiles_"):
        assert attribute in inspect.getdoc(cls), attribute


def test_better_experts_have_smaller_losses(cls):
    y = CASE["y"]
    wrong = CLASSES[(np.searchsorted(CLASSES, y) + 1) % K]
    loss = losses(fitted(cls, expert_predictions=np.column_stack([y, wrong])))
    assert (loss[:, 1] < loss[:, 2]).all()


# -- what must not matter -----------------------------------------------------------


def test_rows_are_weighed_alone(cls):
    rejector = fitted(cls)
    whole = losses(rejector)
    for i in (0, 7, 70):
        np.testing.assert_allclose(losses(rejector, rows=[i])[0], whole[i], rtol=1e-6)
    np.testing.assert_allclose(losses(rejector, rows=slice(None, None, -1)), whole[::-1], rtol=1e-6)


def test_the_order_of_experts_orders_the_columns(cls):
    order = [2, 0, 1]
    turned = fitted(cls, expert_predictions=CASE["expert_predictions"][:, order])
    wanted = losses(fitted(cls))[:, [0, 3, 1, 2]]
    np.testing.assert_allclose(losses(turned), wanted, rtol=1e-5, atol=1e-8)


def test_names_of_classes_do_not_matter(cls):
    """Others in the same order: an int for each label."""
    as_int = {label: 10 * k for k, label in enumerate(CLASSES)} | {None: None}
    renamed = fitted(
        cls,
        y=np.array([as_int[label] for label in CASE["y"]]),
        expert_predictions=np.vectorize(as_int.get, otypes=[object])(CASE["expert_predictions"]),
    )
    np.testing.assert_allclose(losses(renamed), losses(fitted(cls)), rtol=1e-6)


def test_the_container_of_answers_does_not_matter(cls):
    wanted = losses(fitted(cls))
    answers = CASE["expert_predictions"]
    frame = pd.DataFrame(answers, columns=["a", "b", "c"])
    holes = np.array([[a is None for a in row] for row in answers])
    masked = np.ma.array(np.where(holes, "cat", answers).astype(str), mask=holes)
    for form in (frame, answers.tolist(), masked):
        np.testing.assert_allclose(losses(fitted(cls, expert_predictions=form)), wanted)
    alone = fitted(cls, expert_predictions=answers[:, 0])
    np.testing.assert_allclose(
        losses(alone), losses(fitted(cls, expert_predictions=answers[:, :1])), rtol=1e-6
    )


def test_single_precision_makes_no_difference(cls):
    """Nor do lists, up to what floats can hold."""
    rejector = fitted(cls)
    single = rejector.expected_loss(NEW["proba"].astype(np.float32), X=NEW["X"])
    np.testing.assert_allclose(single, losses(rejector), atol=1e-5)
    from_list = rejector.expected_loss(NEW["proba"].tolist(), X=NEW["X"])
    np.testing.assert_allclose(from_list, losses(rejector))


def test_whole_weights_repeat_rows(cls):
    weight = np.random.default_rng(0).integers(0, 3, size=N)
    repeated = {k: np.repeat(v, weight, axis=0) for k, v in CASE.items()}
    one, other = fitted(cls, sample_weight=weight), fitted(cls, case=repeated)
    for a, b in zip(one.profiles_, other.profiles_):
        np.testing.assert_allclose(a.mean_, b.mean_)
    if not one.learns:
        np.testing.assert_allclose(losses(one), losses(other))


def test_fit_and_loss_leave_their_inputs_alone(cls):
    case, new = make_case(), make_case(seed=1)
    rejector = make(cls)
    before = rejector.get_params()
    assert rejector.fit(**case, error_cost=MATRIX) is rejector
    losses(rejector, case=new)
    assert rejector.get_params() == before
    for name in CASE:
        np.testing.assert_array_equal(case[name], CASE[name], err_msg=name)
        np.testing.assert_array_equal(new[name], NEW[name], err_msg=name)


def test_clone_refit_and_pickle(cls):
    rejector = fitted(cls)
    wanted = losses(rejector)
    np.testing.assert_array_equal(losses(pickle.loads(pickle.dumps(rejector))), wanted)
    fresh = clone(rejector)
    assert not hasattr(fresh, "profiles_")
    np.testing.assert_allclose(losses(fresh.fit(**CASE)), wanted)
    fresh.fit(**NEW)
    np.testing.assert_allclose(losses(fresh.fit(**CASE)), wanted, err_msg="an earlier fit is left")


# -- few answers, or none -----------------------------------------------------------


def test_nobody_is_always_right(cls):
    loss = losses(fitted(cls, expert_predictions=None))
    assert loss.shape == (N, 2)
    np.testing.assert_allclose(loss[:, 1], 0.0, atol=1e-12)


def test_an_expert_without_an_answer_has_the_prior(cls):
    answers = np.column_stack([CASE["expert_predictions"][:, 0], np.full(N, None)])
    loss = losses(fitted(cls, expert_predictions=answers))
    np.testing.assert_allclose(loss[:, 2], 0.5)


@pytest.mark.parametrize("n_answers", [1, 2])
def test_hardly_any_answers(cls, n_answers):
    answers = np.full((N, 1), None)
    answers[:n_answers, 0] = CASE["y"][:n_answers]
    loss = losses(fitted(cls, expert_predictions=answers))
    assert np.isfinite(loss).all()
    assert (np.abs(loss[:, 1] - 0.5) < 0.3).all(), "few answers move the prior a little only"


def test_a_class_that_the_truth_lacks(cls):
    kept = CASE["y"] != "eel"
    case = {name: value[kept] for name, value in CASE.items()}
    rejector = fitted(cls, case=case, classes=CLASSES)
    assert losses(rejector).shape == (N, 4)
    assert rejector.profiles_[0].n_context_[2] == 0


# -- other experts ------------------------------------------------------------------


def test_other_experts_are_served_or_refused(cls):
    rejector = fitted(cls)
    stranger = ExpertProfile(name="new", prior_accuracy=0.99, prior_strength=500, classes=CLASSES)
    stranger.fit([], [])
    if not rejector.serves_unseen_experts:
        with pytest.raises(ValueError, match="has learned the experts of fit.*Fit it again"):
            rejector.with_profiles([stranger])
        return
    before = losses(rejector)
    other = rejector.with_profiles([stranger, rejector.profiles_[0]])
    assert type(other) is cls
    assert other.profiles_[0].name == "new"
    served = losses(other)
    assert served.shape == (N, 3)
    np.testing.assert_allclose(served[:, 0], before[:, 0])
    assert (served[:, 1] < 0.05).all()
    np.testing.assert_array_equal(losses(rejector), before)
    same = rejector.with_profiles(rejector.profiles_)
    np.testing.assert_allclose(losses(same), before)


def test_contexts_of_other_experts_are_read_or_left_alone(cls):
    rejector = fitted(cls)
    if not rejector.serves_unseen_experts:
        return
    stranger = ExpertProfile(classes=CLASSES).fit(NEW["y"], NEW["y"])
    served = rejector.with_profiles([stranger, rejector.profiles_[0]])
    before = losses(served)
    context = (NEW["proba"], NEW["y"], NEW["y"], NEW["X"])
    read = served.with_contexts([context, None])
    assert type(read) is cls
    np.testing.assert_array_equal(losses(served), before, err_msg="the original has changed")
    after = losses(read)
    np.testing.assert_array_equal(after[:, [0, 2]], before[:, [0, 2]])
    assert (after[:, 1] != before[:, 1]).any() == rejector.reads_contexts
    np.testing.assert_array_equal(losses(served.with_contexts([None, None])), before)


# -- what is refused ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"proba": CASE["proba"][:, :2]}, r"proba has shape \(150, 2\); expected \(n_rows, 3\)"),
        ({"proba": CASE["proba"][:, 0]}, r"proba has shape \(150,\)"),
        ({"proba": np.full((N, K), np.nan)}, "proba has NaN; expected class probabilities. Look"),
        ({"y": CASE["y"][:10]}, r"y has shape \(10,\) and proba \(150, 3\); expected one label"),
        ({"classes": ["cat", "dog", "owl"]}, "expected one label .* among the classes"),
        ({"expert_predictions": CASE["expert_predictions"][:10]}, "has 10 rows, but X has 150"),
        ({"expert_predictions": CASE["expert_predictions"].T}, "looks transposed"),
        ({"expert_predictions": {"a": CASE["y"]}}, "is a dict"),
        ({"sample_weight": np.ones(3)}, "sample_weight has shape"),
        ({"sample_weight": -np.ones(N)}, "sample_weight has negative"),
        ({"error_cost": MATRIX[:2]}, r"error_cost has shape \(2, 3\)"),
        ({"profiles": [ExpertProfile()]}, "1 profiles for 3 experts; pass one profile per expert"),
    ],
)
def test_what_does_not_fit_is_refused(cls, changes, message):
    with pytest.raises(ValueError, match=message):
        fitted(cls, **changes)


def test_other_probabilities_than_in_fit_are_refused(cls):
    with pytest.raises(ValueError, match=r"proba has shape \(150, 2\); expected \(n_rows, 3\)"):
        fitted(cls).expected_loss(NEW["proba"][:, :2], X=NEW["X"])


def test_losses_need_a_fit(cls):
    for call in (
        lambda r: r.expected_loss(NEW["proba"]),
        lambda r: r.uncertainty(NEW["proba"]),
        lambda r: r.with_profiles([]),
    ):
        with pytest.raises(NotFittedError):
            call(make(cls))
