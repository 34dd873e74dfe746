"""Profiles of experts against brute force, the two propositions, and what must not matter."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skdefer.experts import ExpertProfile, PopulationPrior

LABELS = ["cat", "dog", "eel"]


def make_record(n_rows=120, seed=0, labels=LABELS):
    """Answers of an expert who is right on .9, .6 and .3 of the classes' rows; some missing."""
    rng = np.random.default_rng(seed)
    y = rng.integers(len(labels), size=n_rows)
    right = rng.random(n_rows) < np.linspace(0.9, 0.3, len(labels))[y]
    said = np.where(right, y, rng.integers(len(labels), size=n_rows))
    answers = np.array(labels, dtype=object)[said]
    answers[rng.random(n_rows) < 0.2] = None
    return answers, np.array(labels)[y]


ANSWERS, Y = make_record()
PROBA = np.random.default_rng(1).dirichlet(np.ones(3), size=50)
FITTED = ("alpha_", "beta_", "mean_", "variance_", "confusion_", "n_context_")


def assert_same(one, other, **tolerance):
    assert one.classes_.tolist() == other.classes_.tolist()
    for name in FITTED:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), **tolerance)
    assert one.expertise_class_ == other.expertise_class_


# -- the posterior, by brute force --------------------------------------------------

PRIORS = [
    ({}, np.ones(3), np.ones(3)),
    ({"prior_accuracy": 0.8}, np.full(3, 9.0), np.full(3, 3.0)),
    ({"prior_accuracy": 1.0, "prior_strength": 0.0}, np.ones(3), np.ones(3)),
    ({"prior_accuracy": 0.8, "prior_confidence": 0.5}, np.full(3, 5.0), np.full(3, 2.0)),
    (
        {"prior_accuracy": [0.9, 0.5, 0.0], "prior_confidence": 1, "prior_strength": 4},
        [4.6, 3.0, 1.0],
        [1.4, 3.0, 5.0],
    ),
    (
        {
            "prior_accuracy": {"eel": 0.0, "cat": 0.9, "dog": 0.5},
            "prior_confidence": {"dog": 0.0, "cat": 1.0, "eel": 0.5},
        },
        [10.0, 1.0, 1.0],
        [2.0, 1.0, 6.0],
    ),
    (
        {"prior_accuracy": pd.Series([0.0, 0.9, 0.5], index=["eel", "cat", "dog"])},
        [10.0, 6.0, 1.0],
        [2.0, 6.0, 11.0],
    ),
]


@pytest.mark.parametrize(("prior", "a0", "b0"), PRIORS)
def test_posterior_by_counting(prior, a0, b0):
    profile = ExpertProfile(**prior).fit(ANSWERS, Y)
    assert profile.classes_.tolist() == LABELS
    for k, label in enumerate(LABELS):
        said = [a for a, truth in zip(ANSWERS, Y) if truth == label and a is not None]
        right = sum(a == label for a in said)
        posterior = stats.beta(a0[k] + right, b0[k] + len(said) - right)
        assert profile.n_context_[k] == len(said)
        assert profile.alpha_[k] == pytest.approx(posterior.args[0])
        assert profile.beta_[k] == pytest.approx(posterior.args[1])
        assert profile.mean_[k] == pytest.approx(posterior.mean())
        assert profile.variance_[k] == pytest.approx(posterior.var())
        bound = max(0.0, posterior.mean() - 2 * posterior.std())
        assert profile.lower_bound(pessimism=2)[k] == pytest.approx(bound)
        np.testing.assert_allclose(profile.interval(0.9)[k], posterior.interval(0.9))
        np.testing.assert_allclose(profile.interval()[k], posterior.interval(0.95))
    assert profile.expertise_class_ == LABELS[int(np.argmax(profile.mean_))]


def test_the_bound_is_never_below_zero():
    profile = ExpertProfile().fit(["dog"] * 4, ["cat"] * 4)
    assert profile.lower_bound(pessimism=50).tolist() == [0.0]


@pytest.mark.parametrize(("prior", "a0", "b0"), PRIORS)
def test_confusion_is_a_dirichlet_mean(prior, a0, b0):
    answers = ANSWERS.copy()
    answers[:3] = "owl"  # outside the classes: wrong, in no known way
    profile = ExpertProfile(**prior).fit(answers, Y)
    expected = np.empty((3, 3))
    for k, label in enumerate(LABELS):
        said = answers[np.flatnonzero(np.equal(Y, label))]
        prior_row = [a0[k] if a == k else b0[k] / 2 for a in range(3)]
        counts = [(said == a).sum() + (a != label) * (said == "owl").sum() / 2 for a in LABELS]
        expected[k] = np.add(prior_row, counts) / np.add(prior_row, counts).sum()
    np.testing.assert_allclose(profile.confusion_, expected)
    np.testing.assert_allclose(profile.confusion_.sum(axis=1), 1.0)
    np.testing.assert_allclose(profile.confusion_.diagonal(), profile.mean_)


def test_one_class_alone():
    profile = ExpertProfile().fit([1, 1, 0], [1, 1, 1])
    assert profile.mean_ == pytest.approx([3 / 5])
    assert profile.predict([[1.0]]) == pytest.approx([3 / 5])


def test_expected_accuracy_and_its_uncertainty_are_those_of_the_posterior():
    profile = ExpertProfile().fit(ANSWERS, Y)
    draws = np.random.default_rng(0).beta(profile.alpha_, profile.beta_, size=(40_000, 3))
    sums = draws @ PROBA[:10].T
    np.testing.assert_allclose(profile.predict(PROBA[:10]), sums.mean(axis=0), atol=2e-3)
    np.testing.assert_allclose(profile.uncertainty(PROBA[:10]), sums.std(axis=0), rtol=0.03)


@pytest.mark.parametrize("pessimism", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("cost", [0.0, 0.2])
def test_the_decision_takes_the_bound_of_the_sum(cost, pessimism):
    profile = ExpertProfile().fit(ANSWERS, Y)
    got = profile.predict_defer(PROBA, cost=cost, pessimism=pessimism)
    assert got.dtype == bool
    for p, defer in zip(PROBA, got):
        bound = sum(p * profile.mean_) - pessimism * np.sqrt(sum(p**2 * profile.variance_))
        assert defer == (bound - cost > max(p))


def test_the_bound_of_the_sum_is_less_timid_than_the_sum_of_bounds():
    profile = ExpertProfile(prior_accuracy=0.85, classes=LABELS).fit([], [])
    even = np.full((1, 3), 1 / 3)
    top = float(profile.predict(even)[0] - 2 * profile.uncertainty(even)[0])
    assert top > float((even @ profile.lower_bound(2))[0])


# -- the propositions, by simulation ------------------------------------------------


def most_failures(n_runs, delta):
    """As many failures of probability delta as 999 of 1,000 tests would see at most."""
    return stats.binom.ppf(0.999, n_runs, delta)


@pytest.mark.parametrize(
    ("accuracy", "delta"),
    [([0.8, 0.5, 0.5, 0.5], 0.1), ([0.1, 0.6, 0.25, 0.2], 0.05), ([0.35, 0.05], 0.2)],
)
def test_proposition_1_the_best_class_is_found(accuracy, delta):
    accuracy, n_runs = np.array(accuracy), 400
    margin = np.diff(np.sort(accuracy))[-1]
    n_classes = len(accuracy)
    n = ExpertProfile(classes=range(n_classes)).required_context(margin, delta)
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(n_classes), n)
    failures = 0
    for _ in range(n_runs):
        right = rng.random(len(y)) < accuracy[y]
        profile = ExpertProfile().fit(np.where(right, y, (y + 1) % n_classes), y)
        failures += profile.expertise_class_ != accuracy.argmax()
    assert failures <= most_failures(n_runs, delta)


@pytest.mark.parametrize(
    ("prior", "truth", "tolerance", "delta"),
    [
        ({"prior_accuracy": 0.95, "prior_strength": 60}, 0.3, 0.1, 0.1),
        ({"prior_accuracy": 0.1, "prior_strength": 10}, 0.9, 0.12, 0.2),
        ({}, 0.5, 0.1, 0.1),
    ],
)
def test_proposition_2_a_wrong_prior_is_overcome(prior, truth, tolerance, delta):
    n_runs = 300
    unfitted = ExpertProfile(classes=[0, 1], **prior)
    n = unfitted.required_to_correct(truth, tolerance, delta)
    assert n.shape == (2,)
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], n)
    failures = np.zeros(2)
    for _ in range(n_runs):
        right = rng.random(len(y)) < truth
        profile = ExpertProfile(**prior).fit(np.where(right, y, 1 - y), y)
        failures += np.abs(profile.mean_ - truth) > tolerance
    assert (failures <= most_failures(n_runs, delta)).all()


def test_published_sample_sizes():
    seven = ExpertProfile(classes=range(7))
    assert seven.required_context(0.5, 0.05) == 46
    assert seven.required_context(0.3, 0.05) == 126
    # Two things to overcome, the prior's pull s (2 |mu0 - theta| / eps - 1) and the noise.
    weak = ExpertProfile(classes=[0, 1], prior_accuracy=0.9)
    assert weak.required_to_correct(0.3, 0.1, 0.9).tolist() == [160, 160]  # 2 ln(2 / .9) / .01
    strong = ExpertProfile(classes=[0, 1], prior_accuracy=0.9, prior_strength=98)
    pull = 100 * (2 * abs((1 + 98 * 0.9) / 100 - 0.3) / 0.1 - 1)
    assert strong.required_to_correct(0.3, 0.1, 0.5).tolist() == [np.ceil(pull)] * 2


def test_sample_sizes_of_each_class():
    profile = ExpertProfile(prior_accuracy={0: 0.9, 1: 0.2}, prior_strength=500).fit([0, 1], [0, 1])
    n = profile.required_to_correct([0.9, 0.9], 0.2)
    assert n[0] < n[1]
    unfitted = clone(profile).set_params(classes=[0, 1])
    assert unfitted.required_to_correct([0.9, 0.9], 0.2).tolist() == n.tolist()
    assert not hasattr(unfitted, "classes_"), "planning does not fit"


# -- what comes later, and what is forgotten ----------------------------------------

small_records = st.lists(
    st.tuples(st.sampled_from([*LABELS, "owl", None]), st.sampled_from(LABELS)),
    min_size=1,
    max_size=30,
)


@given(
    small_records,
    st.lists(st.integers(0, 30), max_size=4),
    st.sampled_from([1.0, 0.9, 0.3]),
)
@settings(deadline=None, max_examples=40)
def test_chunks_are_the_same_as_the_whole(record, cuts, decay):
    answers, y = (np.array(column, dtype=object) for column in zip(*record))
    weight = np.random.default_rng(0).random(len(y))
    whole = ExpertProfile(decay=decay, classes=LABELS).fit(answers, y, weight)
    chunked = ExpertProfile(decay=decay, classes=LABELS)
    for rows in np.split(np.arange(len(y)), sorted(min(c, len(y)) for c in cuts)):
        chunked.partial_fit(answers[rows], y[rows], weight[rows])
    assert_same(whole, chunked, rtol=1e-9)


def test_decay_by_hand():
    profile = ExpertProfile(decay=0.5).fit([0, 1, None, 1, 0], [0, 0, 0, 1, 0])
    # Four answers, the last one whole: weights 1/8 (right), 1/4 (wrong), 1/2 (right), 1 (right).
    np.testing.assert_allclose(profile.alpha_, [1 + 1 / 8 + 1, 1 + 1 / 2])
    np.testing.assert_allclose(profile.beta_, [1 + 1 / 4, 1])
    np.testing.assert_allclose(profile.n_context_, [1 / 8 + 1 / 4 + 1, 1 / 2])
    profile.partial_fit([1], [1])
    np.testing.assert_allclose(profile.n_context_, [(1 / 8 + 1 / 4 + 1) / 2, 1 / 2 / 2 + 1])


def test_a_drifting_expert_is_followed_by_decay():
    y = np.zeros(400, dtype=int)
    answers = np.r_[np.zeros(200), np.ones(200)]  # right at first, then never
    kept = ExpertProfile(classes=[0, 1]).fit(answers, y).mean_[0]
    drift = ExpertProfile(decay=0.95, classes=[0, 1]).fit(answers, y)
    assert drift.mean_[0] < 0.1 < kept
    assert drift.n_context_[0] == pytest.approx(1 / (1 - 0.95), rel=1e-6)


def test_missing_answers_do_not_age_the_others():
    with_holes = ExpertProfile(decay=0.7).fit([0, None, 1, None], [0, 1, 1, 0])
    assert_same(with_holes, ExpertProfile(decay=0.7).fit([0, 1], [0, 1]))


def test_no_rows_change_nothing():
    profile = ExpertProfile(decay=0.5).fit(ANSWERS, Y)
    before = clone(profile).fit(ANSWERS, Y)
    assert_same(before, profile.partial_fit([], []))
    assert_same(before, profile.partial_fit([None, None], ["cat", "dog"]))


def test_fit_forgets_and_partial_fit_does_not():
    profile = ExpertProfile().fit(ANSWERS, Y)
    once = profile.n_context_.sum()
    assert profile.fit(ANSWERS, Y).n_context_.sum() == once
    assert profile.partial_fit(ANSWERS, Y).n_context_.sum() == 2 * once


# -- what must not matter -----------------------------------------------------------


@given(small_records, st.permutations(range(3)), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=40)
def test_names_of_classes_and_order_of_rows_do_not_matter(record, order, random):
    answers, y = (np.array(column, dtype=object) for column in zip(*record))
    rename = {label: order[k] * 10 for k, label in enumerate(LABELS)}
    rename |= {"owl": 99, None: None}
    belief = {"cat": 0.9, "dog": 0.2, "eel": 0.5}
    one = ExpertProfile(classes=LABELS, prior_accuracy=belief).fit(answers, y)
    rows = random.sample(range(len(y)), len(y))
    renamed_answers = np.array([rename[a] for a in answers[rows]], dtype=object)
    renamed_y = np.array([rename[label] for label in y[rows]])
    other = ExpertProfile(
        classes=[0, 10, 20], prior_accuracy={rename[c]: v for c, v in belief.items()}
    ).fit(renamed_answers, renamed_y)
    for name in ("mean_", "variance_", "n_context_"):
        np.testing.assert_allclose(getattr(other, name)[list(order)], getattr(one, name))
    moved = other.confusion_[np.ix_(list(order), list(order))]
    np.testing.assert_allclose(moved, one.confusion_)
    proba = PROBA[:, np.argsort(order)]
    np.testing.assert_array_equal(one.predict_defer(PROBA), other.predict_defer(proba))


@pytest.mark.parametrize("hole", [None, np.nan, pd.NA])
def test_missing_answers_are_skipped(hole):
    answers = np.where([a is None for a in ANSWERS], hole, ANSWERS)
    answered = np.array([a is not None for a in ANSWERS])
    wanted = ExpertProfile().fit(ANSWERS[answered], Y[answered])
    assert_same(ExpertProfile().fit(answers, Y), wanted)
    assert_same(ExpertProfile().fit(answers.tolist(), Y.tolist()), wanted)
    assert_same(ExpertProfile().fit(answers[:, None], Y[:, None]), wanted)


def test_every_container_teaches_the_same():
    wanted = ExpertProfile().fit(ANSWERS, Y)
    holes = np.array([a is None for a in ANSWERS])
    text = np.where(holes, "cat", ANSWERS).astype(str)
    containers = [
        np.ma.array(text, mask=holes),
        pd.Series(ANSWERS),
        pd.Series(ANSWERS, dtype="category"),
        pd.DataFrame({"dr. b": ANSWERS}),
        pl.Series(ANSWERS.tolist()),
    ]
    for answers in containers:
        assert_same(ExpertProfile().fit(answers, Y), wanted)
    codes = np.searchsorted(LABELS, text)
    numbers = ExpertProfile().fit(np.where(holes, np.nan, codes), np.searchsorted(LABELS, Y))
    np.testing.assert_allclose(numbers.mean_, wanted.mean_)
    masked = ExpertProfile().fit(np.ma.array(codes, mask=holes), np.searchsorted(LABELS, Y))
    np.testing.assert_allclose(masked.mean_, wanted.mean_)


def test_answers_outside_the_classes_are_wrong():
    odd = ExpertProfile().fit(["cat", "owl", "dog"], ["cat", "cat", "dog"])
    assert odd.beta_.tolist() == [2, 1]
    assert odd.n_context_.tolist() == [2, 1]


@pytest.mark.parametrize("decay", [1.0, 0.8])
def test_weights_of_zero_leave_rows_out(decay):
    weight = (np.arange(len(Y)) % 3 > 0).astype(float)
    kept = weight > 0
    assert_same(
        ExpertProfile(decay=decay).fit(ANSWERS, Y, weight),
        ExpertProfile(decay=decay).fit(ANSWERS[kept], Y[kept]),
    )


def test_whole_weights_repeat_rows():
    weight = np.random.default_rng(0).integers(0, 4, size=len(Y))
    assert_same(
        ExpertProfile().fit(ANSWERS, Y, weight),
        ExpertProfile().fit(np.repeat(ANSWERS, weight), np.repeat(Y, weight)),
    )


def test_inputs_are_left_alone():
    answers, y, weight = ANSWERS.copy(), Y.copy(), np.ones(len(Y))
    ExpertProfile(decay=0.5).fit(answers, y, weight).partial_fit(answers, y, weight)
    assert answers.tolist() == ANSWERS.tolist()
    assert y.tolist() == Y.tolist()
    assert weight.tolist() == [1.0] * len(Y)


# -- no answer yet ------------------------------------------------------------------


def test_no_answer_leaves_the_prior():
    profile = ExpertProfile(classes=LABELS, prior_accuracy=0.7).fit([], [])
    np.testing.assert_allclose(profile.mean_, 8 / 12)
    assert profile.n_context_.tolist() == [0, 0, 0]
    silent = ExpertProfile(classes=LABELS, prior_accuracy=0.7).fit([None] * 3, LABELS)
    assert_same(silent, profile)


def test_classes_may_hold_more_than_the_truth():
    profile = ExpertProfile(classes=["eel", "dog", "cat"]).fit(["cat", "dog"], ["cat", "cat"])
    assert profile.classes_.tolist() == LABELS
    np.testing.assert_allclose(profile.mean_, [2 / 4, 1 / 2, 1 / 2])


def test_a_profile_of_a_partial_fit_alone():
    assert_same(ExpertProfile().partial_fit(ANSWERS, Y), ExpertProfile().fit(ANSWERS, Y))


# -- other classes ------------------------------------------------------------------


def test_aligned_to_the_same_classes_it_is_itself():
    profile = ExpertProfile().fit(ANSWERS, Y)
    assert profile.align(LABELS) is profile
    assert profile.align(LABELS[::-1]) is profile


@pytest.mark.parametrize(
    "prior",
    [{}, {"prior_accuracy": 0.9}, {"prior_accuracy": 0.9, "prior_confidence": [0.5, 0.1, 0.0]}],
)
def test_a_new_class_has_the_prior(prior):
    profile = ExpertProfile(name="b", **prior).fit(ANSWERS, Y)
    wider = profile.align(["ant", "cat", "dog", "eel", "owl"])
    assert wider.classes_.tolist() == ["ant", "cat", "dog", "eel", "owl"]
    assert wider.name == "b"
    by_class = "prior_confidence" in prior
    expected = 0.5 if by_class or not prior else 10 / 12
    np.testing.assert_allclose(wider.mean_[[0, 4]], expected)
    np.testing.assert_allclose(wider.mean_[1:4], profile.mean_)
    np.testing.assert_allclose(wider.variance_[1:4], profile.variance_)
    assert wider.n_context_.tolist() == [0, *profile.n_context_, 0]
    np.testing.assert_allclose(wider.confusion_.sum(axis=1), 1.0)
    assert profile.classes_.tolist() == LABELS, "the profile itself is left alone"


def test_a_mapping_may_know_the_new_class():
    belief = {"cat": 0.9, "dog": 0.8, "eel": 0.7, "owl": 0.1}
    profile = ExpertProfile(prior_accuracy=belief).fit(ANSWERS, Y)
    assert profile.align([*LABELS, "owl"]).mean_[3] == pytest.approx(2 / 12)


@pytest.mark.parametrize("prior_accuracy", [None, 0.5, [0.9, 0.8, 0.7], dict.fromkeys(LABELS, 0.9)])
def test_a_class_that_is_gone(prior_accuracy):
    profile = ExpertProfile(prior_accuracy=prior_accuracy).fit(ANSWERS, Y)
    fewer = profile.align(["cat", "eel"])
    np.testing.assert_allclose(fewer.mean_, profile.mean_[[0, 2]])
    np.testing.assert_allclose(fewer.n_context_, profile.n_context_[[0, 2]])
    np.testing.assert_allclose(fewer.confusion_.sum(axis=1), 1.0)


def test_alignment_does_not_depend_on_the_order_given():
    profile = ExpertProfile().fit(ANSWERS, Y)
    assert_same(profile.align(["owl", "eel", "cat", "dog"]), profile.align([*LABELS, "owl"]))


def test_alignment_before_or_after_more_answers_is_the_same():
    wider = [*LABELS, "owl"]
    early = ExpertProfile().fit(ANSWERS[:60], Y[:60]).align(wider).partial_fit(ANSWERS[60:], Y[60:])
    assert_same(early, ExpertProfile().fit(ANSWERS, Y).align(wider))


# -- scikit-learn's manners ---------------------------------------------------------


def test_clone_parameters_and_pickle():
    profile = ExpertProfile(name="dr. b", prior_accuracy={"cat": 0.9, "dog": 0.5, "eel": 0.1})
    assert set(profile.get_params()) == {
        "name", "prior_accuracy", "prior_confidence", "prior_strength", "decay", "classes",
    }  # fmt: skip
    profile.fit(ANSWERS, Y)
    fresh = clone(profile)
    assert fresh.get_params() == profile.get_params()
    assert not hasattr(fresh, "mean_")
    copy = pickle.loads(pickle.dumps(profile))
    assert_same(copy, profile)
    assert_same(copy.partial_fit(ANSWERS, Y), profile.partial_fit(ANSWERS, Y))
    assert "dr. b" in repr(profile)


@pytest.mark.parametrize(
    "call",
    [
        lambda p: p.predict(PROBA),
        lambda p: p.predict_defer(PROBA),
        lambda p: p.uncertainty(PROBA),
        lambda p: p.lower_bound(),
        lambda p: p.interval(),
        lambda p: p.align(LABELS),
        lambda p: p.with_prior(PopulationPrior()),
    ],
)
def test_reading_needs_a_fit(call):
    with pytest.raises(NotFittedError):
        call(ExpertProfile(classes=LABELS))


# -- what is refused ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"prior_accuracy": 1.5}, "prior_accuracy.*range"),
        ({"prior_accuracy": [0.1, 0.2]}, r"prior_accuracy has shape \(2,\); expected.*3 classes"),
        ({"prior_accuracy": [0.1, 0.2, 1.2]}, r"prior_accuracy is .*expected probabilities"),
        ({"prior_accuracy": [0.1, 0.2, np.nan]}, r"prior_accuracy is .*expected probabilities"),
        ({"prior_accuracy": {"cat": 1}}, r"no value for the classes \['dog', 'eel'\]. Give one"),
        ({"prior_confidence": 0.5}, "without prior_accuracy.*Pass prior_accuracy too"),
        ({"prior_accuracy": 0.5, "prior_confidence": -1}, "prior_confidence.*range"),
        ({"prior_strength": -1}, "prior_strength"),
        ({"prior_strength": np.inf}, "prior_strength"),
        ({"decay": 0.0}, "decay"),
        ({"decay": 1.1}, "decay"),
        (
            {"prior_accuracy": [0.1, 0.2, 0.3], "classes": LABELS[::-1]},
            "one value per class, but classes are not in sorted order.*Pass a mapping",
        ),
        ({"classes": ["cat", "dog"]}, r"y has the labels \['eel'\].*\['cat', 'dog'\].*Pass"),
        ({"name": 7}, "name"),
    ],
)
def test_bad_parameters_are_refused_in_fit(parameters, message):
    profile = ExpertProfile(**parameters)  # never in __init__
    with pytest.raises(ValueError, match=message):
        profile.fit(ANSWERS, Y)


@pytest.mark.parametrize(
    ("answers", "y", "weight", "message"),
    [
        ([], [], None, "the classes are not known. Pass ExpertProfile"),
        (["cat"], ["cat", "dog"], None, "expected|pass one answer per label"),
        ([["cat", "dog"]], ["cat"], None, "2 columns; a profile is of one expert. Fit one"),
        ([0, 1], [0.0, np.nan], None, r"y is missing .* on 1 of 2 rows; expected.*Leave"),
        (["a", "b"], np.array(["a", None], dtype=object), None, "y is missing"),
        ([0, 1], [[0, 1], [1, 0]], None, "1d array"),
        ([0, 1], [0, 1], [1.0, -1.0], "sample_weight has negative"),
        ([0, 1], [0, 1], [1.0], "sample_weight has shape"),
        ({"a": [0, 1]}, [0], None, "is a dict"),
    ],
)
def test_bad_records_are_refused(answers, y, weight, message):
    with pytest.raises(ValueError, match=message):
        ExpertProfile().fit(answers, y, weight)


def test_a_label_that_comes_too_late_is_refused():
    with pytest.raises(
        ValueError, match=r"y has the labels \['owl'\].*Pass ExpertProfile\(classes"
    ):
        ExpertProfile().fit(ANSWERS, Y).partial_fit(["owl"], ["owl"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: p.predict(PROBA[:, :2]), r"proba has shape \(50, 2\); expected \(n_rows, 3\)"),
        (lambda p: p.predict(PROBA[0]), r"proba has shape \(3,\)"),
        (lambda p: p.interval(1.0), r"level is 1.0; expected a probability in \(0, 1\)"),
        (lambda p: p.required_context(0.0), "margin is 0.0; expected"),
        (lambda p: p.required_context(1.1), "margin is 1.1; expected"),
        (lambda p: p.required_context(0.5, 0.0), "delta is 0.0; expected"),
        (lambda p: p.required_to_correct(0.5, 0.0), "tolerance is 0.0; expected"),
        (lambda p: p.required_to_correct(0.5, 0.1, 1.0), "delta is 1.0; expected"),
        (lambda p: p.required_to_correct(1.5, 0.1), "true_accuracy is 1.5; expected"),
        (lambda p: p.required_to_correct([0.5, 0.5], 0.1), "true_accuracy .*each of the 3 classes"),
    ],
)
def test_bad_questions_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(ExpertProfile().fit(ANSWERS, Y))


def test_planning_needs_the_classes():
    with pytest.raises(ValueError, match=r"Pass ExpertProfile\(classes"):
        ExpertProfile().required_context(0.5)
    with pytest.raises(ValueError, match=r"Pass ExpertProfile\(classes"):
        ExpertProfile(classes=[]).required_to_correct(0.5, 0.1)
