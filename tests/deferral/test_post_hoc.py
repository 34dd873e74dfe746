"""DeferralClassifier: fits, containers, costs, weights, and what it refuses."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GroupKFold,
    PredefinedSplit,
    RepeatedStratifiedKFold,
    ShuffleSplit,
    StratifiedKFold,
    TunedThresholdClassifierCV,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from skdefer import ColumnExpert, DeferralClassifier, ExpertProfile, IndexExpert
from skdefer.exceptions import (
    CapacityWarning,
    ExpertAnswerError,
    ModelDisagreementWarning,
    OutOfLabelsWarning,
    SilentExpertWarning,
    StaleThresholdWarning,
    UncalibratedScoreWarning,
    UnseenClassWarning,
)
from skdefer.experts import CallableExpert
from skdefer.policies import BudgetPolicy
from skdefer.rejectors import ConfidenceRejector, LearnedRejector, ProfileRejector
from tests.conftest import CountingExpert, make_data

X, Y = make_data(300)
RECORD = np.where(Y == "eel", "cat", Y)


class Recorder(ClassifierMixin, BaseEstimator):
    """A classifier that remembers, on the class, what its fits were given."""

    fits = []

    def fit(self, X, y, sample_weight=None):
        self.fits.append((X, y, sample_weight))
        self.inner_ = LogisticRegression().fit(X, y, sample_weight)
        self.classes_ = self.inner_.classes_
        return self

    def predict_proba(self, X):
        return self.inner_.predict_proba(X)

    def predict(self, X):
        return self.inner_.predict(X)


@pytest.fixture
def recorder():
    Recorder.fits = []
    return Recorder()


# -- the fit ------------------------------------------------------------------------


def test_fit_is_one_pass_over_the_folds_and_a_refit(recorder):
    clf = DeferralClassifier(recorder, cv=4).fit(X, Y, expert_predictions=RECORD)
    assert [len(y) for _, y, _ in recorder.fits] == [225] * 4 + [300]
    alone = LogisticRegression().fit(X, Y)
    np.testing.assert_allclose(clf.predict_proba(X), alone.predict_proba(X))


@pytest.mark.parametrize("rejector", [ProfileRejector(), ConfidenceRejector()])
def test_rules_that_read_no_probabilities_fit_once(recorder, rejector):
    DeferralClassifier(recorder, rejector=rejector).fit(X, Y, expert_predictions=RECORD)
    assert len(recorder.fits) == 1
    recorder.fits.clear()
    DeferralClassifier(recorder, rejector=rejector, policy=BudgetPolicy()).fit(
        X, Y, expert_predictions=RECORD
    )
    assert len(recorder.fits) == 6


def test_nobody_to_ask_needs_no_out_of_fold_pass(recorder):
    DeferralClassifier(recorder, cost=0.1).fit(X, Y)
    assert len(recorder.fits) == 1


def test_a_frozen_estimator_is_never_fitted(recorder):
    model = recorder.fit(X[:150], Y[:150])
    recorder.fits.clear()
    clf = DeferralClassifier(FrozenEstimator(model)).fit(
        X[150:], Y[150:], expert_predictions=RECORD[150:]
    )
    assert not recorder.fits
    np.testing.assert_array_equal(clf.predict_proba(X), model.predict_proba(X))


def test_a_frozen_estimator_keeps_its_classes():
    model = LogisticRegression().fit(X[:150], Y[:150])
    two = Y[150:] != "eel"
    clf = DeferralClassifier(FrozenEstimator(model)).fit(
        X[150:][two], Y[150:][two], expert_predictions=RECORD[150:][two]
    )
    assert list(clf.classes_) == ["cat", "dog", "eel"]
    other = np.where(Y == "eel", "ant", Y)
    with pytest.raises(ValueError, match=r"y has the labels \['ant'\], which the frozen"):
        DeferralClassifier(FrozenEstimator(model)).fit(X, other, expert_predictions=RECORD)


def test_groups_share_a_fold_with_an_integer_cv(recorder):
    groups = np.arange(300) // 3
    frame = pd.DataFrame(X, columns=list("abcd")).assign(group=groups / 100)
    DeferralClassifier(recorder, cv=3).fit(frame, Y, expert_predictions=RECORD, groups=groups)
    for seen, _, _ in recorder.fits[:-1]:
        counts = seen["group"].value_counts()
        assert (counts == 3).all()


@pytest.mark.parametrize(
    "cv",
    [
        StratifiedKFold(3, shuffle=True, random_state=0),
        RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=0),
        ShuffleSplit(n_splits=1, test_size=0.4, random_state=0),
        PredefinedSplit(np.where(np.arange(300) % 2, 0, -1)),
        list(GroupKFold(4).split(X, Y, np.arange(300) // 2)),
    ],
    ids=lambda cv: type(cv).__name__,
)
@pytest.mark.parametrize("policy", [None, BudgetPolicy(0.2)], ids=["cost", "budget"])
def test_any_splitter(cv, policy):
    clf = DeferralClassifier(cv=cv, policy=policy).fit(X, Y, expert_predictions=RECORD)
    assert clf.deferral_score(X).shape == (300, 1)


def test_rows_outside_the_test_folds_teach_the_model_alone():
    asked = CountingExpert(X, Y)
    test = np.arange(300) % 2 == 1
    DeferralClassifier(experts=asked, cv=PredefinedSplit(np.where(test, 0, -1))).fit(X, Y)
    assert asked.batches == [[tuple(row) for row in X[test]]]


def test_a_class_that_a_fold_never_sees():
    y = Y.copy()
    y[0] = "owl"
    cv = [(np.arange(150, 300), np.arange(150)), (np.arange(150), np.arange(150, 300))]
    with pytest.warns(UnseenClassWarning, match=r"lack the classes \['owl'\]") as caught:
        clf = DeferralClassifier(cv=cv).fit(X, y, expert_predictions=y)
    assert len([w for w in caught if w.category is UnseenClassWarning]) == 1
    assert clf.predict_proba(X).shape == (300, 4)


def test_a_thresholded_model_is_warned_of():
    y = (Y == "eel").astype(int)
    tuned = TunedThresholdClassifierCV(LogisticRegression(), scoring="recall", cv=2)
    with pytest.warns(ModelDisagreementWarning, match="error_cost="):
        DeferralClassifier(tuned).fit(X, y, expert_predictions=y)


def test_verbose_and_n_jobs_change_nothing(capfd):
    one = DeferralClassifier().fit(X, Y, expert_predictions=RECORD)
    two = DeferralClassifier(n_jobs=2, verbose=1).fit(X, Y, expert_predictions=RECORD)
    np.testing.assert_allclose(one.deferral_score(X), two.deferral_score(X))


# -- whom fit asks ------------------------------------------------------------------


def test_fit_asks_an_expert_without_a_record_once_for_every_row():
    asked = CountingExpert(X, Y)
    DeferralClassifier(experts=asked).fit(X, Y)
    assert len(asked.batches) == 1
    assert asked.n_rows_asked == 300


def test_a_record_is_never_completed_by_asking():
    asked = CountingExpert(X, Y)
    sparse_record = np.where(np.arange(300) < 50, Y, None)
    DeferralClassifier(experts=asked).fit(X, Y, expert_predictions=sparse_record)
    assert not asked.batches


def test_max_queries_takes_the_same_rows_whatever_their_order():
    chosen = []
    for order in (np.arange(300), np.random.default_rng(1).permutation(300)):
        asked = CountingExpert(X, Y)
        expert = CallableExpert(asked, max_queries=20)
        DeferralClassifier(experts=expert, random_state=3).fit(X[order], Y[order])
        assert asked.n_rows_asked == 20
        chosen.append(set(asked.batches[0]))
    assert chosen[0] == chosen[1]
    other = CountingExpert(X, Y)
    DeferralClassifier(experts=CallableExpert(other, max_queries=20), random_state=4).fit(X, Y)
    assert set(other.batches[0]) != chosen[0]


def test_a_profile_alone_can_be_weighed():
    profile = ExpertProfile(name="dr. b").fit(RECORD, Y)
    clf = DeferralClassifier(experts=profile, on_missing="model").fit(X, Y)
    assert clf.routes_ == ["model", "dr. b"]
    np.testing.assert_allclose(clf.profiles_[0].mean_, profile.mean_)
    assert clf.predict_defer(X).any()


def test_a_given_profile_is_the_prior_of_a_record():
    sure = ExpertProfile(name="a", prior_accuracy=0.99, prior_strength=1000)
    clf = DeferralClassifier(experts=sure).fit(X, Y, expert_predictions=RECORD)
    assert (clf.profiles_[0].mean_ > 0.85).all()


# -- containers ---------------------------------------------------------------------


def test_dataframes_and_column_experts():
    frame = pd.DataFrame(X, columns=list("abcd")).assign(reader=RECORD)
    clf = DeferralClassifier(
        make_pipeline(StandardScaler(), LogisticRegression()), ColumnExpert("reader")
    )
    clf.fit(frame, Y)
    assert list(clf.feature_names_in_) == list("abcd")
    assert clf.n_features_in_ == 4
    labels, route = clf.predict(frame, return_route=True)
    np.testing.assert_array_equal(labels[route == 1], RECORD[route == 1])
    without = frame.drop(columns="reader")
    np.testing.assert_array_equal(clf.predict_route(without), clf.predict_route(frame))
    with pytest.raises(ExpertAnswerError, match="column 'reader', which X lacks"):
        clf.predict(without)
    clf.set_params(cost=10.0)
    np.testing.assert_array_equal(clf.predict(without), clf.predict_model(without))
    shuffled = clf.explain_defer(frame.sample(frac=1.0, random_state=0))
    assert not shuffled.index.equals(frame.index)


def test_polars_frames():
    frame = pl.DataFrame({**{c: X[:, i] for i, c in enumerate("abcd")}, "reader": RECORD})
    clf = DeferralClassifier(LogisticRegression(), ColumnExpert("reader")).fit(frame, Y)
    same = DeferralClassifier(LogisticRegression()).fit(X, Y, expert_predictions=RECORD)
    np.testing.assert_allclose(clf.deferral_score(frame), same.deferral_score(X))
    assert clf.score(frame, Y) > 0.5


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csc_matrix, sparse.coo_array])
def test_sparse_rows(kind):
    asked = []

    def expert(rows):
        asked.append(rows.shape[0])
        return ["cat"] * rows.shape[0]

    clf = DeferralClassifier(LogisticRegression(), expert).fit(kind(X), Y)
    dense = DeferralClassifier(LogisticRegression(), lambda rows: ["cat"] * len(rows)).fit(X, Y)
    np.testing.assert_allclose(clf.deferral_score(kind(X)), dense.deferral_score(X), atol=1e-6)
    clf.predict(kind(X))
    assert asked[0] == 300


@pytest.mark.parametrize("as_container", [list, np.array, pd.Series, lambda t: np.array(t, object)])
def test_texts_reach_the_experts_untouched(as_container):
    words = {"cat": "purr mew", "dog": "bark woof", "eel": "hiss"}
    texts = [words[label].split()[i % 2 if label != "eel" else 0] for i, label in enumerate(Y)]
    seen = []

    def reader(batch):
        seen.extend(batch)
        return ["cat"] * len(batch)

    pipe = make_pipeline(TfidfVectorizer(), LogisticRegression())
    clf = DeferralClassifier(pipe, reader).fit(as_container(texts), Y)
    assert seen == texts
    assert clf.predict(as_container(texts[:5])).shape == (5,)


def test_index_experts():
    frame = pd.DataFrame(X, index=[f"case {i}" for i in range(300)])
    frame.columns = frame.columns.astype(str)
    by_index = DeferralClassifier(
        experts=IndexExpert(pd.Series(RECORD, index=frame.index, name="r"))
    )
    by_content = DeferralClassifier(experts=IndexExpert(RECORD, X=frame, name="r"))
    scores = [c.fit(frame, Y).deferral_score(frame) for c in (by_index, by_content)]
    np.testing.assert_array_equal(*scores)
    assert by_index.routes_ == ["model", "r"]


def test_answers_of_every_container():
    wanted = DeferralClassifier().fit(X, Y, expert_predictions=RECORD).deferral_score(X)
    masked = np.ma.array(RECORD, mask=False)
    for answers in (list(RECORD), pd.Series(RECORD), RECORD[:, None], masked, pl.Series(RECORD)):
        got = DeferralClassifier().fit(X, Y, expert_predictions=answers).deferral_score(X)
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_missing_answers_teach_nothing(missing):
    few = RECORD.astype(object)
    few[::3] = missing
    clf = DeferralClassifier().fit(X, Y, expert_predictions=few)
    assert clf.profiles_[0].n_context_.sum() == 200


# -- costs --------------------------------------------------------------------------


def test_every_form_of_cost():
    two = np.column_stack([RECORD, Y])
    clf = DeferralClassifier().fit(X, Y, expert_predictions=two)
    free = clf.deferral_score(X)
    forms = [
        (0.1, [0.1, 0.1]),
        ([0.1, 0.2], [0.1, 0.2]),
        ({"expert_2": 0.2, "expert_1": 0.1}, [0.1, 0.2]),
        (lambda X: np.abs(X[:, 0]), np.abs(X[:, :1])),
        (lambda X: np.abs(X[:, :2]), np.abs(X[:, :2])),
    ]
    for cost, taken in forms:
        np.testing.assert_allclose(clf.set_params(cost=cost).deferral_score(X), free - taken)


def test_own_prices_of_the_experts():
    expert = CallableExpert(lambda X: ["cat"] * len(X), cost=0.3)
    clf = DeferralClassifier(experts=expert).fit(X, Y)
    free = clf.deferral_score(X) + 0.3
    np.testing.assert_allclose(clf.set_params(cost=0.0).deferral_score(X), free)


@pytest.mark.parametrize(
    ("cost", "message"),
    [
        ([0.1, 0.2], "cost has shape"),
        (-1.0, "negative"),
        (np.nan, "NaN"),
        ({"someone": 1.0}, "the experts are"),
        (lambda X: np.zeros((len(X), 7)), "returned shape"),
        ("cheap", "expected prices"),
    ],
)
def test_bad_costs_are_refused_in_fit(cost, message):
    with pytest.raises(ValueError, match=message):
        DeferralClassifier(cost=cost).fit(X, Y, expert_predictions=RECORD)


def test_error_cost_scales_the_gain():
    clf = DeferralClassifier().fit(X, Y, expert_predictions=RECORD)
    gain = clf.deferral_score(X)
    clf.set_params(error_cost=4.0, cost=0.5)
    np.testing.assert_allclose(clf.deferral_score(X), 4 * gain - 0.5)


MATRIX = np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [9.0, 9.0, 0.0]])


@pytest.mark.parametrize("rejector", [None, ProfileRejector(), ConfidenceRejector()])
def test_cost_matrix(rejector):
    labelled = pd.DataFrame(MATRIX, ["cat", "dog", "eel"], ["cat", "dog", "eel"])
    turned = labelled.loc[["eel", "cat", "dog"], ["dog", "eel", "cat"]]
    scores = []
    for error_cost in (MATRIX, labelled, turned):
        clf = DeferralClassifier(rejector=rejector, error_cost=error_cost)
        clf.fit(X, Y, expert_predictions=RECORD)
        scores.append(clf.deferral_score(X))
    np.testing.assert_array_equal(scores[0], scores[1])
    np.testing.assert_array_equal(scores[0], scores[2])
    expected = clf.classes_[(clf.predict_proba(X) @ MATRIX).argmin(axis=1)]
    np.testing.assert_array_equal(clf.predict_model(X), expected)
    # This expert never says eel, which is what costs most: asked less than with plain errors.
    plain = DeferralClassifier(rejector=rejector).fit(X, Y, expert_predictions=RECORD)
    assert clf.predict_defer(X).mean() <= plain.predict_defer(X).mean()


def test_another_matrix_needs_a_refit():
    clf = DeferralClassifier().fit(X, Y, expert_predictions=RECORD)
    with pytest.raises(ValueError, match="changed after fit.*fitted to plain errors"):
        clf.set_params(error_cost=MATRIX).deferral_score(X)
    clf.fit(X, Y, expert_predictions=RECORD)
    for changed in (2 * MATRIX, MATRIX.T, 40.0):
        with pytest.raises(ValueError, match="changed after fit.*fitted to another matrix"):
            clf.set_params(error_cost=changed).deferral_score(X)
    clf.set_params(error_cost=MATRIX.tolist()).deferral_score(X)


def test_a_threshold_learned_at_other_prices_is_warned_of():
    expert = CallableExpert(CountingExpert(X, Y), name="desk")
    clf = DeferralClassifier(experts=expert, policy=BudgetPolicy(0.2), cost=0.2).fit(X, Y)
    clf.predict_defer(X)
    with pytest.warns(StaleThresholdWarning, match="BudgetPolicy learned.*other prices"):
        clf.set_params(cost=0.0).predict_defer(X)
    other = clf.set_params(cost=0.2).with_experts(expert, profiles=(Y, Y))
    with pytest.warns(StaleThresholdWarning):
        other.predict_defer(X)
    batch = DeferralClassifier(experts=expert, policy=BudgetPolicy(0.2, scope="batch")).fit(X, Y)
    assert batch.set_params(cost=0.1).predict_defer(X).mean() <= 0.2


def test_answers_with_the_index_in_another_order_are_refused():
    frame = pd.DataFrame(X, columns=list("abcd"))
    answers = pd.Series(RECORD).sample(frac=1.0, random_state=0)
    with pytest.raises(ValueError, match="index of expert_predictions is that of X in another"):
        DeferralClassifier().fit(frame, Y, expert_predictions=answers)
    clf = DeferralClassifier().fit(frame, Y, expert_predictions=answers.loc[frame.index])
    with pytest.raises(ValueError, match="in another order"):
        clf.predict(frame, expert_predictions=answers)


def test_an_expert_who_never_answers():
    silent = ("silent", lambda rows: [None] * len(rows))
    with pytest.raises(ValueError, match=r"\['silent'\] gave no answer at all"):
        DeferralClassifier(experts=[silent]).fit(X, Y)
    with pytest.warns(SilentExpertWarning, match=r"\['silent'\] gave no answer at all"):
        DeferralClassifier(experts=[silent, ("desk", CountingExpert(X, Y))]).fit(X, Y)


def test_a_column_stays_hidden_when_its_expert_is_gone():
    frame = pd.DataFrame(X, columns=list("abcd")).assign(old=RECORD, new=RECORD)
    experts = [ColumnExpert("old"), ColumnExpert("new")]
    clf = DeferralClassifier(LogisticRegression(), experts).fit(frame, Y)
    seen = []

    def reader(rows):
        seen.extend(rows.columns)
        return ["cat"] * len(rows)

    other = clf.with_experts([ColumnExpert("new"), ("reader", reader)], profiles={"reader": (Y, Y)})
    other.predict(frame)
    assert set(seen) <= set("abcd")
    again = other.with_experts(ColumnExpert("old"), profiles=clf.profiles_[0])
    again.predict(frame)


@pytest.mark.parametrize("profiles", [(Y, Y), {"desk": (Y, Y)}, [(Y, Y)]])
def test_profiles_of_other_experts_in_every_form(profiles):
    clf = DeferralClassifier().fit(X, Y, expert_predictions=RECORD)
    other = clf.with_experts(("desk", CountingExpert(X, Y)), profiles=profiles)
    assert other.profiles_[0].n_context_.sum() == 300
    with pytest.raises(ValueError, match="profiles are given for"):
        clf.with_experts([("desk", CountingExpert(X, Y))], profiles={"dsek": (Y, Y)})


@pytest.mark.parametrize("error_cost", [np.ones((2, 2)), -1.0, np.nan, [[np.inf] * 3] * 3])
def test_bad_error_costs(error_cost):
    with pytest.raises(ValueError, match="error_cost"):
        DeferralClassifier(error_cost=error_cost).fit(X, Y, expert_predictions=RECORD)


# -- weights ------------------------------------------------------------------------


def test_weights_reach_estimator_and_rejector(recorder):
    weight = np.random.default_rng(0).random(300)
    DeferralClassifier(recorder, cv=3).fit(X, Y, expert_predictions=RECORD, sample_weight=weight)
    np.testing.assert_array_equal(recorder.fits[-1][2], weight)
    assert all(len(w) == len(y) for _, y, w in recorder.fits)
    none = DeferralClassifier(rejector=ProfileRejector()).fit(
        X, Y, expert_predictions=RECORD, sample_weight=(Y != "eel") + 1e-12
    )
    assert none.profiles_[0].mean_[2] == pytest.approx(0.5)


def test_weights_into_a_pipeline():
    pipe = make_pipeline(StandardScaler(), LogisticRegression())
    with pytest.raises(ValueError, match="enable_metadata_routing=True"):
        DeferralClassifier(pipe).fit(X, Y, expert_predictions=RECORD, sample_weight=np.ones(300))
    with sklearn.config_context(enable_metadata_routing=True):
        last = LogisticRegression().set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        clf = DeferralClassifier(make_pipeline(scaler, last)).fit(
            X, Y, expert_predictions=RECORD, sample_weight=np.r_[np.ones(150), np.zeros(150)]
        )
    alone = LogisticRegression().fit(StandardScaler().fit(X).transform(X[:150]), Y[:150])
    np.testing.assert_allclose(
        clf.predict_proba(X), alone.predict_proba(StandardScaler().fit(X).transform(X)), atol=1e-4
    )


@pytest.mark.parametrize("weight", [np.ones(7), -np.ones(300), np.full(300, np.nan)])
def test_bad_weights(weight):
    with pytest.raises(ValueError, match="sample_weight"):
        DeferralClassifier().fit(X, Y, expert_predictions=RECORD, sample_weight=weight)


# -- what is refused ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (RECORD[:10], "has 10 rows, but X has 300"),
        (np.column_stack([RECORD, RECORD]).T, "looks transposed"),
        ({"a": RECORD}, "is a dict"),
        (np.full(300, "owl"), "No answer of expert 'expert_1' is one of the classes"),
        (np.full(300, None), "gave no answer at all"),
        (np.zeros((300, 0)), "no column"),
    ],
)
def test_bad_answers(answers, message):
    with pytest.raises(ValueError, match=message):
        DeferralClassifier().fit(X, Y, expert_predictions=answers)


def test_a_scaled_column_is_refused():
    y = np.searchsorted(["cat", "dog", "eel"], Y)
    scaled = (y - y.mean()) / y.std()
    with pytest.raises(ValueError, match="a scaler"):
        DeferralClassifier().fit(X, y, expert_predictions=scaled)


def test_some_answers_outside_the_classes():
    odd = RECORD.copy().astype(object)
    odd[:4] = "owl"
    with pytest.warns(OutOfLabelsWarning, match=r"'expert_1': 4.*count as wrong in fit"):
        clf = DeferralClassifier(on_missing="model").fit(X, Y, expert_predictions=odd)
    assert clf.profiles_[0].n_context_.sum() == 300
    clf.set_params(cost=0.0, error_cost=100.0)
    odd[:] = "owl"
    odd[0] = "cat"
    with pytest.warns(OutOfLabelsWarning, match="missing answers"):
        _, route = clf.predict(X, expert_predictions=odd, return_route=True)
    assert not route[1:].any()


@pytest.mark.parametrize(
    ("experts", "message"),
    [
        ([("a", len), ("a", len)], "Two experts are named 'a'"),
        ([("model", len)], "named 'model'"),
        ([], "experts is empty"),
    ],
)
def test_bad_names(experts, message):
    with pytest.raises(ValueError, match=message):
        DeferralClassifier(experts=experts).fit(X, Y)


@pytest.mark.parametrize("expert", ["reader", 7, LogisticRegression])
def test_what_is_no_expert(expert):
    with pytest.raises(TypeError, match="can't be an expert; expected a callable"):
        DeferralClassifier(experts=expert).fit(X, Y)


def test_an_expert_that_was_not_fitted():
    with pytest.raises(NotFittedError, match="never fits an expert"):
        DeferralClassifier(experts=LogisticRegression()).fit(X, Y)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda X: 1 / 0, "'desk' failed on a batch of 300 rows: ZeroDivisionError"),
        (lambda X: ["cat"], r"shape \(1,\) for 300 rows"),
        (lambda X: None, "returned NoneType for 300 rows"),
        (lambda X: "cat", "returned str for 300 rows"),
    ],
)
def test_an_expert_that_misbehaves(answer, message):
    with pytest.raises(ExpertAnswerError, match=message):
        DeferralClassifier(experts=[("desk", answer)]).fit(X, Y)


def test_bought_answers_survive_the_failure_of_another_expert():
    def broken(X):
        raise TimeoutError("no line")

    with pytest.raises(ExpertAnswerError) as caught:
        DeferralClassifier(experts=[("a", CountingExpert(X, Y)), ("b", broken)]).fit(X, Y)
    np.testing.assert_array_equal(caught.value.answers[:, 0], Y)


def test_bad_targets():
    with pytest.raises(ValueError, match="y has one class only"):
        DeferralClassifier().fit(X, np.zeros(300))
    with pytest.raises(ValueError, match="y is missing .* on 1 of 300 rows"):
        DeferralClassifier().fit(X, np.where(np.arange(300) == 0, np.nan, 1.0))
    with pytest.raises(ValueError, match="y has 10 labels, but X has 300 rows"):
        DeferralClassifier().fit(X, Y[:10])
    with pytest.raises(ValueError, match="Unknown label type"):
        DeferralClassifier().fit(X, X[:, 0])


@pytest.mark.parametrize("budget", [-0.1, 1.5, "all"])
def test_bad_budgets_are_refused_before_anything_is_fitted(recorder, budget):
    with pytest.raises(ValueError, match="'budget' parameter of BudgetPolicy must be"):
        DeferralClassifier(recorder, policy=BudgetPolicy(budget)).fit(X, Y)
    assert not recorder.fits


def test_an_estimator_without_probabilities():
    with pytest.raises(ValueError, match="LinearSVC, which has no predict_proba.*Calibrated"):
        DeferralClassifier(LinearSVC()).fit(X, Y)


def test_other_columns_at_predict_than_at_fit():
    clf = DeferralClassifier().fit(X, Y, expert_predictions=RECORD)
    with pytest.raises(ValueError, match="features"):
        clf.predict_defer(X[:, :2])
    named = pd.DataFrame(X, columns=list("abcd"))
    clf = DeferralClassifier().fit(named, Y, expert_predictions=RECORD)
    with pytest.raises(ValueError, match="feature names"):
        clf.predict_defer(named.rename(columns={"a": "z"}))


def test_a_column_expert_needs_a_frame_with_its_column():
    with pytest.raises(ExpertAnswerError, match="without column names"):
        DeferralClassifier(experts=ColumnExpert("reader")).fit(X, Y)
    Recorder.fits = []
    with pytest.raises(ExpertAnswerError, match="^Expert 'raeder' reads .* which X lacks"):
        DeferralClassifier(Recorder(), ColumnExpert("raeder")).fit(pd.DataFrame(X), Y)
    assert not Recorder.fits


def test_groups_of_another_length():
    with pytest.raises(ValueError, match="groups has 2 entries, but X has 300 rows"):
        DeferralClassifier().fit(X, Y, expert_predictions=RECORD, groups=[1, 2])


def test_a_capacity_that_nobody_holds_is_warned_of():
    expert = CallableExpert(CountingExpert(X, Y), name="a", capacity=3)
    with pytest.warns(CapacityWarning, match="'a'.*CostPolicy does not hold"):
        DeferralClassifier(experts=expert).fit(X, Y)


class RankingRejector(ProfileRejector):
    """A rejector whose losses order rows and mean nothing else."""

    score_is_calibrated = False


def test_a_cost_on_a_ranking_is_warned_of():
    clf = DeferralClassifier(rejector=RankingRejector()).fit(X, Y, expert_predictions=RECORD)
    clf.predict_defer(X)
    with pytest.warns(UncalibratedScoreWarning, match="not in units of the cost"):
        clf.set_params(cost=0.1).predict_defer(X)


def test_the_html_view_of_a_fitted_estimator():
    clf = DeferralClassifier(experts=CallableExpert(CountingExpert(X, Y), name="desk")).fit(X, Y)
    assert "DeferralClassifier" in clf._repr_html_()
    assert "desk" in repr(clf)


def test_a_random_forest_of_parts():
    clf = DeferralClassifier(
        HistGradientBoostingClassifier(max_iter=5),
        rejector=LearnedRejector(),
        policy=BudgetPolicy(0.3, scope="batch"),
        random_state=0,
    ).fit(X, Y, expert_predictions=Y)
    assert clf.predict_defer(X).sum() <= 90
