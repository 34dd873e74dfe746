"""Joint training: what its scores mean, what each loss allows, and what is refused."""

import pickle
import warnings
from functools import partial

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from torch import nn

from skdefer import ColumnExpert, ExpertProfile, JointDeferralClassifier
from skdefer.exceptions import (
    SilentExpertWarning,
    TrainingDivergedWarning,
    UncalibratedScoreWarning,
)
from skdefer.experts import AnswerCompletion
from skdefer.losses import Surrogate, lce_loss, ova_loss, rl2d_loss, surrogate_names
from skdefer.policies import BudgetPolicy
from tests.conftest import make_data

CALIBRATED = ["asymmetric_softmax", "lce", "ova"]
UNCALIBRATED = sorted({*surrogate_names()} - {*CALIBRATED})

X, Y = make_data(300)
RNG = np.random.default_rng(0)
ANSWERS = np.column_stack(
    [np.where(Y == "eel", "cat", Y), np.where(RNG.random(300) < 0.7, Y, "dog")]
)


def joint(loss="asymmetric_softmax", **params):
    return JointDeferralClassifier(loss=loss, **{"solver": "lbfgs", "device": "cpu", **params})


def fit(loss="asymmetric_softmax", answers=ANSWERS, **params):
    return joint(loss, **params).fit(X, Y, expert_predictions=answers)


def table(n_rows=6000, seed=0, answered=1.0):
    """Three kinds of rows as indicators: a linear model can say anything of them."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(3, size=n_rows)
    eta = np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0.05, 0.15, 0.8]])
    y = (rng.random(n_rows)[:, None] > eta.cumsum(1)[kind]).sum(1)
    right = rng.random((n_rows, 2)) < np.array([[0.9, 0.5], [0.2, 0.6], [0.97, 0.3]])[kind]
    said = np.where(right, y[:, None], (y[:, None] + 1) % 3).astype(float)
    said[rng.random(said.shape) > answered] = np.nan
    return np.eye(3)[kind], kind, y, said


# -- what the scores mean -----------------------------------------------------------------


@pytest.mark.parametrize("answered", [1.0, 0.4], ids=["all answers", "some answers"])
@pytest.mark.parametrize("loss", CALIBRATED)
def test_a_calibrated_score_is_the_experts_accuracy_less_the_models(loss, answered):
    """Against counting: on indicators the minimiser is known, missing answers or not."""
    rows, kind, y, said = table(answered=answered)
    clf = joint(loss, tol=1e-8, max_iter=50).fit(rows, y, expert_predictions=said)
    proba, score = clf.predict_proba(np.eye(3)), clf.deferral_score(np.eye(3))
    assert clf.score_is_calibrated
    for k in range(3):
        here = kind == k
        share = np.bincount(y[here], minlength=3) / here.sum()
        np.testing.assert_allclose(proba[k], share, atol=0.02 if answered < 1 else 1e-3)
        right = np.where(np.isnan(said), np.nan, said == y[:, None])[here]
        gain = np.nanmean(right, axis=0) - share.max()
        # In one softmax, who happened to answer which class moves the classes a little.
        chance = 0.02 if loss == "lce" and answered < 1 else 1e-3
        np.testing.assert_allclose(score[k], gain, atol=chance)


@pytest.mark.parametrize("loss", UNCALIBRATED)
def test_other_scores_order_rows_and_say_so(loss):
    clf = fit(loss)
    assert not clf.score_is_calibrated
    clf.set_params(cost=0.1)
    with pytest.warns(UncalibratedScoreWarning, match="not in units of the cost"):
        clf.predict_route(X)


def test_a_calibrated_score_takes_costs_without_a_word():
    fit("ova", cost=0.1).predict_route(X)
    with pytest.warns(UncalibratedScoreWarning):
        fit("lce", alpha=0.5, cost=0.1).predict_route(X)


@pytest.mark.parametrize("loss", surrogate_names())
def test_every_loss_gains_over_model_and_experts(loss):
    """A model that knows two kinds of rows, an expert who knows the third."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3000, 3))
    known = rows[:, 0] < 0.5
    y = np.where(known, rows[:, 1] > 0, rng.random(3000) < 0.5).astype(int)
    said = np.where(known & (rng.random(3000) < 0.4), 1 - y, y)
    train, test = slice(0, 2000), slice(2000, None)
    clf = joint(loss, random_state=0, threshold="tuned").fit(
        rows[train], y[train], expert_predictions=said[train]
    )
    system = clf.score(rows[test], y[test], expert_predictions=said[test])
    alone = (clf.predict_model(rows[test]) == y[test]).mean()
    assert system > max(alone, (said[test] == y[test]).mean()) + 0.03


@pytest.mark.parametrize("loss", surrogate_names())
def test_one_expert_is_a_column_of_one(loss):
    one = fit(loss, ANSWERS[:, 0]).deferral_score(X)
    np.testing.assert_array_equal(fit(loss, ANSWERS[:, :1]).deferral_score(X), one)


@pytest.mark.parametrize("loss", surrogate_names())
def test_the_order_of_experts_and_the_names_of_classes_do_not_matter(loss):
    straight = fit(loss, tol=1e-7)
    turned = fit(loss, ANSWERS[:, ::-1], tol=1e-7)
    np.testing.assert_allclose(
        turned.deferral_score(X)[:, ::-1], straight.deferral_score(X), atol=1e-3
    )
    # The asymmetric softmax has kinks where two classes are as likely; all start there.
    near = 5e-3 if loss == "asymmetric_softmax" else 1e-3
    names = {"cat": "z", "dog": "y", "eel": "x"}
    rename = np.vectorize(names.get)
    renamed = joint(loss, tol=1e-7).fit(X, rename(Y), expert_predictions=rename(ANSWERS))
    np.testing.assert_allclose(
        renamed.predict_proba(X)[:, ::-1], straight.predict_proba(X), atol=near
    )
    np.testing.assert_allclose(renamed.deferral_score(X), straight.deferral_score(X), atol=near)


@pytest.mark.parametrize("loss", surrogate_names())
def test_an_expert_who_is_always_right_or_always_wrong(loss):
    wrong = np.where(Y == "cat", "dog", "cat")
    clf = fit(loss, np.column_stack([Y, wrong]))
    score = clf.deferral_score(X)
    assert np.isfinite(score).all()
    assert (score[:, 0] > score[:, 1]).mean() > 0.99
    if loss != "differentiable_triage":  # which hands a share over, however right the expert is
        assert (clf.predict_route(X) == 1).mean() > 0.7


def test_nobody_to_ask_is_the_same_network_whatever_the_loss():
    alike = [joint(loss, cost=0.3).fit(X, Y) for loss in surrogate_names()]
    for clf in alike[1:]:
        np.testing.assert_array_equal(clf.predict_proba(X), alike[0].predict_proba(X))
    assert alike[0].score_is_calibrated
    np.testing.assert_array_equal(
        alike[0].predict_defer(X), alike[0].predict_proba(X).max(axis=1) < 0.7
    )


def test_the_budget_of_triage_is_kept_by_a_policy():
    loss = partial(surrogate("differentiable_triage"), budget=0.3)
    clf = fit(loss, threshold=-1.0, policy=BudgetPolicy(0.3, scope="batch"))
    assert clf.predict_defer(X).mean() == pytest.approx(0.3)


def surrogate(name):
    import skdefer.losses

    return getattr(skdefer.losses, f"{name}_loss")


# -- missing answers ------------------------------------------------------------------------


@pytest.mark.parametrize("loss", surrogate_names())
def test_missing_answers_are_left_out_refused_or_completed(loss):
    some = ANSWERS.astype(object)
    some[RNG.random(some.shape) < 0.3] = None
    if loss in CALIBRATED:
        assert np.isfinite(fit(loss, some).deferral_score(X)).all()
    else:
        with pytest.raises(ValueError, match="can't leave them out: .*AnswerCompletion"):
            fit(loss, some)
    completed = fit(loss, some, completion=AnswerCompletion("em", random_state=0))
    assert np.isfinite(completed.deferral_score(X)).all()
    assert (completed.profiles_[0].n_context_.sum()) == sum(a is not None for a in some[:, 0])


def test_a_completed_answer_teaches():
    some = ANSWERS.astype(object)
    some[RNG.random(some.shape) < 0.7] = None
    completion = AnswerCompletion(random_state=0)
    whole = completion.complete(some, Y, X=X)
    expected = fit("realizable", whole).deferral_score(X)
    found = fit("realizable", some, completion=AnswerCompletion(random_state=0))
    np.testing.assert_allclose(found.deferral_score(X), expected)


def test_a_completion_without_a_seed_takes_that_of_the_estimator():
    some = ANSWERS.astype(object)
    some[RNG.random(some.shape) < 0.7] = None
    scores = [
        fit("ova", some, completion=AnswerCompletion(), random_state=s).deferral_score(X)
        for s in (0, 0, 1)
    ]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert (scores[0] != scores[2]).any()


def test_an_expert_without_any_answer_is_weighed_by_the_prior():
    silent = np.column_stack([ANSWERS[:, 0], np.full(len(Y), None)])
    prior = ExpertProfile(prior_accuracy=0.9, prior_confidence=1.0)
    for loss in CALIBRATED:
        clf = joint(loss, experts=[("nurse", len), ("late", prior)])
        clf = clf.fit(X, Y, expert_predictions=silent)
        gain = clf.profiles_[1].predict(clf.predict_proba(X)) - clf.predict_proba(X).max(axis=1)
        np.testing.assert_allclose(clf.deferral_score(X)[:, 1], gain)
    with pytest.warns(SilentExpertWarning, match="expert_2"):
        fit("ova", silent)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_silent_expert_leaves_the_others_as_they_are():
    """Also where the loss can't leave single answers out: there is nothing of it to learn."""
    silent = np.column_stack([ANSWERS[:, 0], np.full(len(Y), None)])
    prior = ExpertProfile(prior_accuracy=0.9, prior_confidence=1.0)
    for loss in surrogate_names():
        for solver in ("lbfgs", "adam"):
            params = {"solver": solver, "max_iter": 5, "tol": 1.0, "random_state": 0}
            clf = joint(loss, experts=[("nurse", len), ("late", prior)], **params)
            score = clf.fit(X, Y, expert_predictions=silent).deferral_score(X)
            alone = fit(loss, ANSWERS[:, 0], **params).deferral_score(X)
            np.testing.assert_allclose(score[:, 0], alone[:, 0], atol=1e-9)


def test_no_answer_at_all_is_refused():
    with pytest.raises(ValueError, match="gave no answer"):
        fit(answers=np.full((len(Y), 2), None))


def test_an_answer_outside_the_classes_is_a_wrong_one():
    odd, wrong = ANSWERS.copy(), ANSWERS.copy()
    odd[:5, 0] = "owl"
    wrong[:5, 0] = np.where(Y[:5] == "cat", "dog", "cat")
    with pytest.warns(UserWarning, match="owl|outside"):
        found = fit("ova", odd).deferral_score(X)
    np.testing.assert_allclose(found[:, 0], fit("ova", wrong).deferral_score(X)[:, 0])


# -- losses of the user's --------------------------------------------------------------------


def test_a_function_of_the_users():
    def halved(scores, y, expert_correct):
        return 0.5 * ova_loss(scores, y, expert_correct)

    clf = fit(halved, tol=1e-7)
    assert not clf.score_is_calibrated
    whole = fit(Surrogate(halved, *readings("ova")), tol=1e-7)
    assert whole.score_is_calibrated
    expected = fit("ova", tol=1e-7)
    np.testing.assert_allclose(whole.deferral_score(X), expected.deferral_score(X), atol=1e-3)
    np.testing.assert_allclose(clf.module_.head.bias.tolist(), whole.module_.head.bias.tolist())


def readings(name):
    import skdefer.losses

    return [getattr(skdefer.losses, f"{name}_{r}") for r in ("class_proba", "expert_accuracy")]


def test_options_of_a_loss():
    np.testing.assert_array_equal(
        fit("lce", alpha=0.5).deferral_score(X),
        fit(partial(lce_loss, alpha=0.5)).deferral_score(X),
    )
    robust = fit(partial(rl2d_loss, q=0.7))
    assert (robust.deferral_score(X) != fit("rl2d").deferral_score(X)).any()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"loss": "lse"}, "'lse' is no loss; expected one of .*'realizable'"),
        ({"loss": "ova", "alpha": 0.5}, "alpha=0.5, but the loss takes no alpha"),
        ({"alpha": 1.5, "loss": "lce"}, "'alpha' parameter"),
        ({"solver": "sgd"}, "'solver' parameter"),
        ({"device": "cuda:99"}, r"device='cuda:99' is not there; expected 'auto' or one of"),
        ({"loss": lambda s, y, e: s.sum()}, r"expected a tensor of shape \(300,\), a number per"),
        ({"loss": lambda s, y, e: [0.0]}, r"gives <class 'list'> for 300 rows"),
        ({"loss": lambda s, y, e: s[:, 0] / 0}, "not finite on 300 of 300 rows where all scores"),
        ({"error_cost": np.ones((3, 3))}, "error_cost is a matrix"),
        ({"loss": lambda s, y: s[:, 0]}, r"can't be called with \(scores, y, expert_correct\)"),
        ({"loss": lambda s, y, e: s.detach()[:, 0]}, "has no gradient"),
        ({"backbone": nn.Flatten}, "expected a torch Module. Make one"),
        ({"cost": [0.1, 0.2, 0.3]}, r"cost has shape \(3,\), but there are 2 experts"),
        ({"policy": BudgetPolicy(10)}, "'budget' parameter"),
    ],
)
def test_what_is_refused(params, message):
    with pytest.raises(ValueError, match=message):
        fit(**params)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rows_that_are_no_numbers_are_refused(value):
    rows = X.copy()
    rows[3, 1] = value
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        joint().fit(rows, Y, expert_predictions=ANSWERS)
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        fit().predict_route(rows)


def test_a_loss_that_turns_nan_leaves_the_last_good_weights():
    calls = []

    def breaks(scores, y, expert_correct):
        calls.extend([1] * (len(scores) == 100))  # a batch, not all rows before training
        return ova_loss(scores, y, expert_correct) * (1.0 if len(calls) < 8 else torch.nan)

    with pytest.warns(TrainingDivergedWarning, match="Lower learning_rate_init, scale X"):
        clf = fit(breaks, solver="adam", batch_size=100, max_iter=50)
    assert clf.n_iter_ == 2
    assert np.isfinite(clf.deferral_score(X)).all()
    assert clf.module_.head.weight.abs().sum() > 0


# -- training ----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("params", [{}, {"hidden_layer_sizes": (8,)}, {"solver": "adam"}])
def test_same_seed_same_result(params):
    params = {"random_state": 3, "max_iter": 5, "tol": 1.0, **params}
    once, twice = fit(**params), fit(**params)
    np.testing.assert_array_equal(once.deferral_score(X), twice.deferral_score(X))


def test_a_linear_network_by_lbfgs_has_no_chance_in_it():
    np.testing.assert_array_equal(
        fit(random_state=0).deferral_score(X), fit(random_state=1).deferral_score(X)
    )


def test_one_epoch_is_a_fitted_model():
    for solver in ("adam", "lbfgs"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            clf = fit(solver=solver, max_iter=1, tol=0.0)
        assert clf.n_iter_ == 1
        assert clf.module_.head.weight.abs().min() > 0
        assert len(np.unique(clf.deferral_score(X))) > len(X)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_lbfgs_ends_below_adam():
    quick = fit(max_iter=50, tol=1e-6)
    slow = fit(solver="adam", max_iter=50, tol=0.0, n_iter_no_change=51, batch_size=32)
    assert quick.loss_curve_[-1] <= slow.loss_curve_[-1]


@pytest.mark.parametrize("loss", sorted({*surrogate_names()} - {"differentiable_triage"}))
def test_a_weight_is_that_many_rows(loss):
    weight = np.random.default_rng(1).integers(3, size=len(Y))
    rows = np.repeat(np.arange(len(Y)), weight)
    weighted = joint(loss, tol=1e-6).fit(
        X, Y, expert_predictions=ANSWERS, sample_weight=weight.astype(float)
    )
    repeated = joint(loss, tol=1e-6).fit(X[rows], Y[rows], expert_predictions=ANSWERS[rows])
    np.testing.assert_allclose(weighted.deferral_score(X), repeated.deferral_score(X), atol=1e-3)


def test_a_penalty_shrinks_the_weights():
    free, bound = fit(), fit(weight_decay=1.0)
    assert bound.module_.head.weight.norm() < 0.5 * free.module_.head.weight.norm()


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU())

    def forward(self, rows):
        return self.layers(rows)


class Narrowing(nn.Module):
    def forward(self, rows):
        return rows.float()


def test_a_backbone_in_another_precision():
    clf = joint(backbone=Narrowing()).fit(X, Y, expert_predictions=ANSWERS)
    assert next(clf.module_.parameters()).dtype == torch.float32
    np.testing.assert_allclose(clf.deferral_score(X), fit().deferral_score(X), atol=0.02)

    class Whole(nn.Module):
        def forward(self, rows):
            return rows.long()

    with pytest.raises(ValueError, match="features of torch.int64; expected floats"):
        joint(backbone=Whole()).fit(X, Y, expert_predictions=ANSWERS)


class Halving(nn.Module):
    """Reads raw rows, and would read its own output as readily."""

    def encode(self, rows):
        return np.asarray(rows, dtype=float) / 2

    def forward(self, rows):
        return rows


def test_held_out_rows_are_encoded_once():
    policy = BudgetPolicy(0.2)
    found = joint(backbone=Halving(), policy=policy, random_state=0)
    found.fit(2 * X, Y, expert_predictions=ANSWERS)
    wanted = joint(policy=policy, random_state=0).fit(X, Y, expert_predictions=ANSWERS)
    assert found.policy_.threshold_ == pytest.approx(wanted.policy_.threshold_)
    assert found.policy_.system_accuracy_ == wanted.policy_.system_accuracy_


def test_a_policy_that_learns_knows_the_names_of_columns():
    import pandas as pd

    frame = pd.DataFrame(X, columns=list("abcd"))
    joint(policy=BudgetPolicy(0.2)).fit(frame, Y, expert_predictions=ANSWERS).predict_route(frame)


def test_texts_without_a_backbone_are_refused_with_the_way_out():
    with pytest.raises(ValueError, match="could not convert string.*TransformerBackbone"):
        joint().fit([["a"], ["b"]] * 10, ["x", "y"] * 10, expert_predictions=["x", "y"] * 10)


def test_a_last_batch_of_one_row():
    clf = joint(solver="adam", backbone=Normed(), batch_size=50, max_iter=3, tol=1.0)
    clf = clf.set_params(n_iter_no_change=2).fit(X[:251], Y[:251], expert_predictions=ANSWERS[:251])
    assert np.isfinite(clf.deferral_score(X)).all()


def test_a_class_that_only_held_out_rows_have():
    rare = Y.copy()
    rare[rare == "eel"] = "cat"
    rare[:4] = "eel"
    groups = np.where(rare == "eel", 0, np.arange(len(Y)) % 3)
    for seed in range(6):  # the group of the rare class is held out for some of them
        clf = joint(early_stopping=True, validation_fraction=0.3, random_state=seed)
        clf = clf.fit(X, rare, expert_predictions=ANSWERS, groups=groups)
        assert clf.predict_proba(X).shape == (len(Y), 3)
        assert np.isfinite(clf.deferral_score(X)).all()


def test_a_threshold_moves_the_score_and_can_be_tuned():
    plain, shifted = fit(), fit(threshold=0.2)
    np.testing.assert_allclose(shifted.deferral_score(X), plain.deferral_score(X) - 0.2)
    for loss in surrogate_names():
        tuned = fit(loss, threshold="tuned", random_state=0)
        assert -1 <= tuned.threshold_ <= 1


def test_a_tuned_threshold_pays_where_the_losses_own_rule_does_not():
    """Triage learned with a budget of a fifth, where half of the rows are the expert's."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(4000, 2))
    hard = rows[:, 1] > 0
    y = np.where(hard, rng.random(4000) < 0.5, rows[:, 0] > 0).astype(int)
    said = np.where(hard | (rng.random(4000) < 0.5), y, 1 - y)
    half = slice(0, 2000), slice(2000, None)
    scores = {}
    for threshold in (0.0, "tuned"):
        clf = joint("differentiable_triage", threshold=threshold, random_state=0)
        clf.fit(rows[half[0]], y[half[0]], expert_predictions=said[half[0]])
        scores[threshold] = clf.score(rows[half[1]], y[half[1]], expert_predictions=said[half[1]])
    assert scores["tuned"] > scores[0.0] + 0.1


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_early_stopping_watches_the_whole_system():
    clf = fit(early_stopping=True, random_state=0, solver="adam", max_iter=20, n_iter_no_change=20)
    assert len(clf.validation_scores_) == clf.n_iter_
    assert all(0 <= score <= 1 for score in clf.validation_scores_)


def test_a_warm_start_goes_on_with_the_same_experts_alone():
    clf = joint(warm_start=True).fit(X, Y, expert_predictions=ANSWERS)
    first = clf.loss_curve_[-1]
    again = clf.fit(X, Y, expert_predictions=ANSWERS)
    assert again.loss_curve_[-1] <= first + 1e-9
    with pytest.raises(ValueError, match="warm_start goes on with a network for"):
        clf.fit(X, Y, expert_predictions=ANSWERS[:, :1])


# -- the object ----------------------------------------------------------------------------------


def test_weights_survive(tmp_path):
    clf = fit(partial(rl2d_loss, q=0.7))
    joblib.dump(clf, tmp_path / "clf.joblib")
    for other in (pickle.loads(pickle.dumps(clf)), joblib.load(tmp_path / "clf.joblib")):
        np.testing.assert_array_equal(other.deferral_score(X), clf.deferral_score(X))
    assert not hasattr(clone(clf), "module_")


def test_some_of_the_experts_in_another_order():
    clf = fit(loss="ova")
    score = clf.deferral_score(X)
    second = {"expert_2": lambda rows: ["dog"] * len(rows)}
    alone = clf.with_experts(second)
    np.testing.assert_array_equal(alone.deferral_score(X), score[:, [1]])
    turned = clf.with_experts({**second, "expert_1": lambda rows: ["cat"] * len(rows)})
    np.testing.assert_array_equal(turned.deferral_score(X), score[:, ::-1])
    np.testing.assert_array_equal(clf.deferral_score(X), score)
    back = turned.with_experts({"expert_1": lambda rows: ["cat"] * len(rows)})
    np.testing.assert_array_equal(back.deferral_score(X), score[:, [0]])


def test_strangers_are_refused():
    profile = ExpertProfile(name="new").fit(Y, Y)
    with pytest.raises(ValueError, match="has learned its experts one by one"):
        fit().with_experts([("new", len)], profiles=[profile])


def test_searches_and_cross_validation():
    import pandas as pd

    frame = pd.DataFrame(X, columns=list("abcd")).assign(nurse=ANSWERS[:, 0])
    clf = joint("realizable", experts=ColumnExpert("nurse"))
    grid = {"alpha": [0.1, 0.5, 1.0], "loss": ["realizable", "lce"]}
    search = GridSearchCV(clf, grid, cv=3).fit(frame, Y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert cross_val_score(search.best_estimator_, frame, Y, cv=3).min() > 0.4


def test_training_begins_at_the_frequencies_of_the_classes():
    steps = {"solver": "adam", "max_iter": 1, "learning_rate_init": 1e-9}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        alone = joint(**steps).fit(X, Y)
        with_experts = fit(**steps)
    frequency = np.unique(Y, return_counts=True)[1] / len(Y)
    np.testing.assert_allclose(alone.predict_proba(X[:1])[0], frequency, atol=1e-3)
    np.testing.assert_allclose(with_experts.predict_proba(X[:1])[0], frequency, atol=1e-2)
