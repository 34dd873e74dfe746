"""EA-L2D: contexts in, experts never seen served, and what a network owes its user."""

import copy
import io
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.special import log_softmax, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_validate

from skdefer import ExpertAgnosticDeferralClassifier, ExpertProfile
from skdefer.deferral import _neural
from skdefer.deferral._held_out import Rows
from skdefer.exceptions import CapacityWarning
from skdefer.experts import CallableExpert, simulate_expert_predictions
from skdefer.experts._contexts import beta_moments
from skdefer.experts._six_numbers import expertise_class, six_numbers
from skdefer.metrics import aursac_score
from skdefer.policies import BudgetPolicy
from tests.discovery import make

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

K = 4


def made(n, seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(K, size=n)
    centers = np.array([[0, 0], [1.5, 1.5], [3, 0], [1.5, -1.5]])
    return centers[y] + rng.normal(size=(n, 2)), y


X, Y = made(400, seed=0)
X_NEW, Y_NEW = made(300, seed=1)
PAST = np.repeat(np.arange(K), 12)
SAID = simulate_expert_predictions(
    PAST, oracle_classes=[[0], [1], [2]], n_experts=3, classes=range(K), random_state=0
)
CONTEXTS = [(SAID[:, j], PAST) for j in range(3)]


def new(**params):
    return make(ExpertAgnosticDeferralClassifier, **{"random_state": 0, **params})


@pytest.fixture(scope="module")
def fitted():
    with sklearn.config_context():
        return new(max_iter=30).fit(X, Y, contexts=CONTEXTS)


# -- contexts -------------------------------------------------------------------------


def test_contexts_are_profiles(fitted):
    assert fitted.routes_ == ["model", "expert_1", "expert_2", "expert_3"]
    for profile, (said, past) in zip(fitted.profiles_, CONTEXTS):
        wanted = ExpertProfile(classes=fitted.classes_).fit(said, past)
        np.testing.assert_allclose(profile.mean_, wanted.mean_)
    assert fitted.deferral_score(X_NEW).shape == (300, 3)


def test_all_forms_of_contexts_agree(fitted):
    wanted = fitted.deferral_score(X_NEW)
    profiles = [ExpertProfile(classes=range(K)).fit(*context) for context in CONTEXTS]
    named = {"c": CONTEXTS[2], "a": CONTEXTS[0], "b": CONTEXTS[1]}
    experts = [(name, lambda X: np.zeros(len(X), int)) for name in "abc"]
    with_rows = [(*context, np.zeros((len(PAST), 2))) for context in CONTEXTS]
    for contexts, given in ((profiles, None), (named, experts), (with_rows, None)):
        other = new(max_iter=30, experts=given).fit(X, Y, contexts=contexts)
        np.testing.assert_allclose(other.deferral_score(X_NEW), wanted)
    assert new(max_iter=1).fit(X, Y, contexts=named).routes_ == ["model", "c", "a", "b"]


def test_answers_on_the_rows_are_a_context():
    record = simulate_expert_predictions(Y, oracle_classes=[[0], [1]], n_experts=2, random_state=0)
    record = record.astype(object)
    record[100:] = None
    fitted = new(threshold=0.0, max_iter=5).fit(X, Y, expert_predictions=record)
    contexts = [(record[:100, j], Y[:100]) for j in range(2)]
    other = new(threshold=0.0, max_iter=5).fit(X, Y, contexts=contexts)
    np.testing.assert_allclose(fitted.deferral_score(X_NEW), other.deferral_score(X_NEW))


def test_an_experts_opinion_of_itself_is_its_prior():
    modest = ExpertProfile(name="modest", prior_accuracy=0.2, prior_confidence=0.5)
    clf = new(experts=[modest], max_iter=2).fit(X, Y, contexts=[CONTEXTS[0]])
    wanted = modest.set_params(classes=range(K)).fit(*CONTEXTS[0])
    np.testing.assert_allclose(clf.profiles_[0].mean_, wanted.mean_)
    assert clf.routes_ == ["model", "modest"]


def test_an_empty_context_and_a_class_without_a_row_leave_the_prior():
    some = PAST != 3
    clf = new(max_iter=2).fit(X, Y, contexts=[([], []), (SAID[some, 0], PAST[some])])
    np.testing.assert_allclose(clf.profiles_[0].mean_, 0.5)
    assert clf.profiles_[1].mean_[3] == 0.5
    assert np.isfinite(clf.deferral_score(X_NEW)).all()


@pytest.mark.parametrize(
    ("contexts", "message"),
    [
        (
            [(["a"], ["b"])],
            r"expert 'expert_1': y has the labels \['b'\], but the model",
        ),
        (
            [(["a"] * 30, Y[:30])],
            "expert 'expert_1': No answer .* is one of the classes",
        ),
        ([([0, 1], [0])], "context of expert 'expert_1': .* 2 answers, but y has 1"),
        ([(SAID, PAST)], "context of expert 'expert_1': .* 3 columns; a profile is of one expert"),
        ([3], "profile of expert 'expert_1' is a int; expected a fitted"),
        ([ExpertProfile()], "profile of expert 'expert_1' is not fitted. Fit it"),
        ([], "contexts is empty; expected past answers"),
    ],
)
def test_contexts_that_do_not_fit(contexts, message):
    with pytest.raises(ValueError, match=message):
        new().fit(X, Y, contexts=contexts)


def test_one_context_per_expert():
    experts = [("a", lambda X: X[:, 0]), ("b", lambda X: X[:, 0])]
    for contexts in (CONTEXTS, {"a": CONTEXTS[0], "c": CONTEXTS[1]}):
        with pytest.raises(ValueError, match=r"but the experts are \['a', 'b'\]; pass one context"):
            new(experts=experts).fit(X, Y, contexts=contexts)
    with pytest.raises(ValueError, match="Both contexts and expert_predictions"):
        new().fit(X, Y, contexts=CONTEXTS, expert_predictions=Y)


def test_contexts_are_metadata_of_fit():
    with sklearn.config_context(enable_metadata_routing=True):
        out = cross_validate(
            new(max_iter=2, on_missing="model"), X, Y, cv=2, params={"contexts": CONTEXTS},
            scoring=lambda clf, X, y: float(clf.predict_defer(X).mean()), return_estimator=True,
            error_score="raise",
        )  # fmt: skip
    assert [clf.n_experts_ for clf in out["estimator"]] == [3, 3]


# -- experts never seen ---------------------------------------------------------------


def test_an_unseen_expert_of_the_same_record_has_the_same_scores(fitted):
    """Proposition 3: no number says who the expert is."""
    served = fitted.with_experts({"new": lambda X: np.zeros(len(X), int)}, profiles=[CONTEXTS[1]])
    assert served.routes_ == ["model", "new"]
    np.testing.assert_array_equal(
        served.deferral_score(X_NEW)[:, 0], fitted.deferral_score(X_NEW)[:, 1]
    )
    assert served.module_ is fitted.module_


def test_without_experts_in_fit_there_is_nothing_to_serve_others_by():
    with pytest.raises(ValueError, match="was fitted without experts.*Fit it with experts"):
        new(max_iter=2).fit(X, Y).with_experts(("new", len), profiles=CONTEXTS[0])


def test_renaming_classes_renames_the_scores(fitted):
    """With the classifier's outputs in another order, hand-overs are scored the same."""
    order = [2, 0, 3, 1]
    module = fitted.module_
    other = copy.deepcopy(module)
    with torch.no_grad():
        other.classifier.weight.copy_(module.classifier.weight[order])
        other.classifier.bias.copy_(module.classifier.bias[order])
    moments = [
        np.stack([getattr(p, side) for p in fitted.profiles_]) for side in ("alpha_", "beta_")
    ]
    rows = torch.from_numpy(X_NEW)
    with torch.no_grad():
        scores, defer, expertise = module(rows, *fitted._moments(*moments, like=rows))
        turned = [m[:, order] for m in moments]
        scores2, defer2, expertise2 = other(rows, *fitted._moments(*turned, like=rows))
    torch.testing.assert_close(scores[:, order], scores2)
    torch.testing.assert_close(defer, defer2)
    np.testing.assert_array_equal(np.array(order)[expertise2], expertise)


def test_it_ranks_rows_by_what_the_expert_knows():
    clf = new(max_iter=60).fit(X, Y, contexts=CONTEXTS)
    past = np.repeat(np.arange(K), 30)
    gains = []
    for k in range(K):  # class 3 was no expert's in fit
        skill = {"oracle_classes": [k], "classes": range(K), "random_state": k}
        said = simulate_expert_predictions(Y_NEW, **skill)
        context = (simulate_expert_predictions(past, **skill), past)
        other = clf.with_experts({"new": len}, profiles=context)
        model = clf.predict_model(X_NEW)
        reached = aursac_score(Y_NEW, model, said, other.deferral_score(X_NEW)[:, 0])
        unsure = -clf.predict_proba(X_NEW).max(axis=1)
        gains.append(reached - aursac_score(Y_NEW, model, said, unsure))
    assert min(gains) > 0, gains
    assert np.mean(gains) > 0.01, gains


# -- the loss and the scores ----------------------------------------------------------


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("pessimism", [0.0, 1.0])
def test_the_loss_is_the_published_one(fitted, pessimism, weighted, monkeypatch):
    clf = copy.copy(fitted)
    clf.pessimism, clf.weighted = pessimism, weighted
    alpha = np.array([[3.0, 1.0, 2.0, 1.0], [1.0, 9.0, 1.0, 9.0]])
    beta = np.array([[1.0, 4.0, 2.0, 1.0], [2.0, 1.0, 2.0, 1.0]])
    monkeypatch.setattr(
        "skdefer.deferral._expert_agnostic.ContextSampler.draw", lambda self: (alpha, beta)
    )
    loss, (rows, y) = clf._objective(Rows(X[:20], Y[:20], np.ones(20), None, None), seed=0)
    with torch.no_grad():
        got = loss(clf.module_, rows, y).numpy()
        logits = clf.module_.class_scores(rows).numpy()
        proba = softmax(logits, axis=1)
        mean, variance = beta_moments(alpha, beta)
        wanted = np.zeros(20)
        for e in range(2):
            numbers = six_numbers(proba, mean[e], variance[e])
            defer = clf.module_.rejector(torch.from_numpy(numbers)).numpy()
            log_p = log_softmax(np.hstack([logits, defer]), axis=1)
            best = expertise_class(mean[e], proba)
            for i, k in enumerate(Y[:20]):
                bound = max(0.0, mean[e, k] - pessimism * np.sqrt(variance[e, k]))
                weight = bound if weighted else 1.0
                wanted[i] -= log_p[i, k] + weight * (k == best[i]) * log_p[i, K]
    np.testing.assert_allclose(got, wanted / 2, rtol=1e-6)


def test_the_score_is_the_published_priority_less_the_threshold(fitted):
    with torch.no_grad():
        logits = fitted.module_.class_scores(torch.from_numpy(X_NEW)).numpy()
        for j, profile in enumerate(fitted.profiles_):
            numbers = six_numbers(softmax(logits, axis=1), profile.mean_, profile.variance_)
            defer = fitted.module_.rejector(torch.from_numpy(numbers)).numpy()
            p = softmax(np.hstack([logits, defer]), axis=1)
            wanted = p[:, K] - p[:, :K].max(axis=1) - fitted.threshold_
            np.testing.assert_allclose(fitted.deferral_score(X_NEW)[:, j], wanted, atol=1e-9)


def test_a_threshold_of_your_own(fitted):
    published = new(max_iter=30, threshold=0.0).fit(X, Y, contexts=CONTEXTS)
    assert published.threshold_ == 0.0
    assert -1 <= fitted.threshold_ < 0, "the published rule hands over too little"
    assert fitted.predict_defer(X_NEW).mean() > published.predict_defer(X_NEW).mean()
    assert not fitted.score_is_calibrated


def test_early_stopping_watches_the_area_and_keeps_the_best_epoch(monkeypatch):
    record = simulate_expert_predictions(Y, oracle_classes=[[0], [1]], n_experts=2, random_state=0)
    held = {}
    original = ExpertAgnosticDeferralClassifier._validation_score

    def spy(self, rows):
        model = self.classes_[softmax(self._scores(rows.X)[:, :K], axis=1).argmax(axis=1)]
        priority = self._outcomes(rows, self._scores(rows.X))[0]
        held["area"] = np.mean(
            [aursac_score(rows.y, model, rows.codes[:, j], priority[:, j]) for j in range(2)]
        )
        held["score"] = original(self, rows)
        held["n"] = len(rows.y)
        return held["score"]

    monkeypatch.setattr(ExpertAgnosticDeferralClassifier, "_validation_score", spy)
    clf = new(early_stopping=True, validation_fraction=0.25, n_iter_no_change=5, max_iter=200)
    clf.fit(X, Y, expert_predictions=record)
    assert held["n"] == 100
    assert held["score"] == pytest.approx(held["area"])
    assert len(clf.validation_scores_) == clf.n_iter_ < 200


def test_temperature_scales_the_class_scores():
    plain = new(max_iter=60, validation_fraction=0.3).fit(X, Y, contexts=CONTEXTS)
    clf = new(max_iter=60, validation_fraction=0.3, calibration="temperature")
    clf.fit(X, Y, contexts=CONTEXTS)
    ratio = np.log(clf.predict_proba(X_NEW)) / np.log(plain.predict_proba(X_NEW))
    assert clf.calibrator_ is not None
    logits = [np.log(c.predict_proba(X_NEW)) for c in (clf, plain)]
    spread = [np.ptp(z, axis=1) for z in logits]
    np.testing.assert_allclose(spread[0] / spread[1], (spread[0] / spread[1])[0], rtol=1e-6)
    np.testing.assert_array_equal(clf.predict_model(X_NEW), plain.predict_model(X_NEW))
    assert not np.allclose(ratio, 1)


def test_temperature_needs_a_scikit_learn_that_has_it(monkeypatch):
    monkeypatch.setattr(sklearn, "__version__", "1.7.2")
    with pytest.raises(ValueError, match="needs scikit-learn 1.8; this is 1.7.2"):
        new(calibration="temperature").fit(X, Y)


@pytest.mark.parametrize("record", [True, False])
def test_a_budget_is_learned_on_held_out_rows(record):
    given = {"contexts": CONTEXTS}
    if record:
        given = {"expert_predictions": simulate_expert_predictions(Y, n_experts=3, random_state=0)}
    clf = new(policy=BudgetPolicy(0.2), max_iter=30, validation_fraction=0.4).fit(X, Y, **given)
    assert clf.policy_.deferral_rate_ <= 0.2
    assert 0 < clf.policy_.system_accuracy_ < 1
    assert abs(clf.predict_defer(X_NEW).mean() - 0.2) < 0.12


def test_groups_are_held_out_whole(monkeypatch):
    seen = {}
    original = _neural.hold_out

    def spy(*args):
        seen["split"] = original(*args)
        return seen["split"]

    monkeypatch.setattr(_neural, "hold_out", spy)
    groups = np.arange(400) // 10
    new(max_iter=1).fit(X, Y, contexts=CONTEXTS, groups=groups)
    taught, held_out = (set(groups[rows]) for rows in seen["split"])
    assert held_out
    assert not taught & held_out


# -- what a network owes its user -----------------------------------------------------


class Eye(torch.nn.Module):
    """Reads images of shape (1, 4, 4)."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Flatten()
        )

    def forward(self, images):
        return self.layers(images)


def images(n=129):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 1, 4, 4)).astype(np.float32), rng.integers(K, size=n)


def test_a_backbone_reads_images_and_stays_as_it_is():
    rows, y = images()  # batches of 128: one row is left over, which BatchNorm can't read alone
    eye = Eye()
    before = copy.deepcopy(eye.state_dict())
    clf = new(backbone=eye, max_iter=2, threshold=0.0).fit(rows, y, contexts=CONTEXTS)
    assert clf.predict_proba(rows).shape == (129, K)
    assert clf.deferral_score(rows).shape == (129, 3)
    for name, weights in eye.state_dict().items():
        torch.testing.assert_close(weights, before[name])


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (None, r"X has shape \(129, 1, 4, 4\); expected \(n_rows, n_features\).*Pass backbone="),
        (torch.nn.Linear(3, 2), r"a Linear, fails on rows of shape \(1, 4, 4\)"),
        (torch.nn.Conv2d(1, 2, 3), r"features of shape \(2, 2, 2, 2\) for 2 rows; expected"),
    ],
)
def test_a_backbone_that_does_not_fit(backbone, message):
    rows, y = images()
    with pytest.raises(ValueError, match=message):
        new(backbone=backbone).fit(rows, y, contexts=CONTEXTS)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"device": "cuda:7"}, "device='cuda:7' is not there; expected 'auto' or one of"),
        ({"error_cost": np.ones((K, K)) - np.eye(K)}, "error_cost is a matrix"),
        ({"pessimism": -1.0}, "'pessimism' parameter"),
        ({"threshold": "best"}, "'threshold' parameter"),
        ({"experts": ExpertProfile(prior_accuracy=1.5)}, "'prior_accuracy' parameter"),
    ],
)
def test_parameters_that_do_not_fit(params, message):
    with pytest.raises(ValueError, match=message):
        new(**params).fit(X, Y, contexts=CONTEXTS[:1])


def test_nan_is_refused():
    broken = X.copy()
    broken[3, 1] = np.nan
    with pytest.raises(ValueError, match="contains NaN"):
        new().fit(broken, Y, contexts=CONTEXTS)


def test_too_few_rows_to_hold_some_out():
    with pytest.raises(ValueError, match="X has 2 rows of weight > 0, too few to hold 2 out"):
        new(validation_fraction=0.9).fit(X[:2], [0, 1], contexts=[([0], [0])])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_computes_in_the_precision_of_the_rows(dtype):
    clf = new(max_iter=2).fit(X.astype(dtype), Y, contexts=CONTEXTS)
    weights = next(clf.module_.parameters())
    assert weights.dtype == {np.float32: torch.float32, np.float64: torch.float64}[dtype]
    assert clf.deferral_score(X.astype(dtype)).dtype == np.float64


def test_copies_come_back_equal(fitted):
    wanted = fitted.deferral_score(X_NEW)
    dumped = io.BytesIO()
    joblib.dump(fitted, dumped)
    dumped.seek(0)
    for again in (
        pickle.loads(pickle.dumps(fitted)), joblib.load(dumped), copy.deepcopy(fitted)
    ):  # fmt: skip
        assert again.module_ is not fitted.module_
        np.testing.assert_array_equal(again.deferral_score(X_NEW), wanted)


def test_a_fit_from_another_machine_serves_on_this_one(fitted):
    elsewhere = pickle.loads(pickle.dumps(fitted)).set_params(device="cuda:7")
    np.testing.assert_allclose(
        elsewhere.deferral_score(X_NEW), fitted.deferral_score(X_NEW), atol=1e-5
    )


def test_the_users_random_numbers_are_left_alone():
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    new(max_iter=1).fit(X, Y, contexts=CONTEXTS)
    torch.testing.assert_close(torch.rand(3), wanted)


def test_a_warm_start_goes_on():
    clf = new(max_iter=5, warm_start=True).fit(X, Y, contexts=CONTEXTS)
    first, module = clf.loss_curve_, clf.module_
    served = clf.with_experts(("new", len), profiles=CONTEXTS[0])
    wanted = served.deferral_score(X_NEW)
    assert served.module_ is module
    clf.fit(X, Y, contexts=CONTEXTS)
    assert clf.loss_curve_[0] < first[0]
    np.testing.assert_array_equal(served.deferral_score(X_NEW), wanted, "a copy has moved")
    with pytest.raises(ValueError, match="warm_start goes on with a network for rows of shape"):
        clf.fit(np.hstack([X, X]), Y, contexts=CONTEXTS)
    with pytest.raises(ValueError, match="warm_start goes on"):
        clf.set_params(hidden_layer_sizes=(50,)).fit(X, Y, contexts=CONTEXTS)


def test_one_epoch_is_a_fitted_model():
    one = new(max_iter=1).fit(X, Y, contexts=CONTEXTS)
    two = new(max_iter=1, learning_rate_init=1e-12).fit(X, Y, contexts=CONTEXTS)
    assert np.abs(one.predict_proba(X_NEW) - two.predict_proba(X_NEW)).max() > 1e-3


def test_it_says_when_it_has_not_converged():
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        new(max_iter=1).fit(X, Y, contexts=CONTEXTS)


def test_frames_keep_the_names_of_their_columns():
    frame = pd.DataFrame(X, columns=["age", "dose"])
    clf = new(max_iter=2).fit(frame, Y, contexts=CONTEXTS)
    assert list(clf.feature_names_in_) == ["age", "dose"]
    with pytest.raises(ValueError, match="feature names"):
        clf.predict_route(frame.rename(columns={"age": "weight"}))


def test_groups_that_do_not_fit():
    with pytest.raises(ValueError, match="groups has 3 entries, but X has 400 rows"):
        new(threshold=0.0).fit(X, Y, contexts=CONTEXTS, groups=[0, 1, 2])
    with pytest.raises(ValueError, match="All rows are of one group, so none can be held out"):
        new().fit(X, Y, contexts=CONTEXTS, groups=np.zeros(400))


def test_a_temperature_needs_rows():
    with pytest.raises(ValueError, match="2 rows are held out, too few to find a temperature"):
        new(calibration="temperature").fit(X[:20], Y[:20], contexts=CONTEXTS)


def test_nothing_is_handed_to_an_expert_who_is_always_wrong():
    clf = new(max_iter=20).fit(X, Y, expert_predictions=(Y + 1) % K)
    assert clf.threshold_ == 1.0
    assert not clf.predict_defer(X_NEW).any()


def test_a_capacity_that_no_policy_holds_is_said():
    with pytest.warns(CapacityWarning, match="'a'.*CostPolicy does not hold"):
        new(experts=[CallableExpert(len, name="a", capacity=3)]).fit(X, Y, contexts=CONTEXTS[:1])


def test_rows_that_can_not_be_written_to():
    frozen = X_NEW.copy()
    frozen.setflags(write=False)
    clf = new(max_iter=1).fit(frozen, Y_NEW, contexts=CONTEXTS)
    assert clf.predict_proba(frozen).shape == (300, K)


def test_reasons_speak_of_scores_not_of_losses(fitted):
    shown = fitted.explain_defer(X_NEW)
    handed = shown["route"] != "model"
    assert shown["reason"][handed].str.fullmatch(r"Handed to expert_\d, whose score is \S+\.").all()
    assert shown["reason"][~handed].str.endswith("the best, is not above 0.").all()


def test_answers_added_to_a_profile_count_when_it_is_served_again(fitted):
    served = fitted.with_experts(("new", len), profiles=CONTEXTS[1])
    before = served.deferral_score(X_NEW)
    served.profiles_[0].partial_fit((PAST + 1) % K, PAST)
    np.testing.assert_array_equal(served.deferral_score(X_NEW), before)
    again = served.with_experts(("new", len), profiles=served.profiles_)
    assert np.abs(again.deferral_score(X_NEW) - before).max() > 1e-3
