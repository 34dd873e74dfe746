"""ExpertAgnosticRejector: the published loss as weighted classification, and one rule for all."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.tree import DecisionTreeClassifier

import skdefer.rejectors._expert_agnostic as module
from skdefer import DeferralClassifier
from skdefer.exceptions import UncalibratedScoreWarning
from skdefer.experts import ExpertProfile, simulate_expert_predictions
from skdefer.experts._six_numbers import expertise_class, six_numbers
from skdefer.policies import BudgetPolicy
from skdefer.rejectors import ExpertAgnosticRejector, ProfileRejector
from skdefer.rejectors._expert_agnostic import _Record
from skdefer.utils._validation import MISSING, OUT_OF_LABELS

K = 4


def rows(n, seed=0):
    """Calibrated probabilities, and the truth."""
    rng = np.random.default_rng(seed)
    proba = rng.dirichlet(np.full(K, 0.5), size=n)
    y = (rng.random((n, 1)) > proba.cumsum(axis=1)).sum(axis=1).clip(max=K - 1)
    return proba, y


def specialists(y, n_experts, seed, p_out=0.3):
    return simulate_expert_predictions(
        y, n_experts=n_experts, p_out=p_out, classes=range(K), random_state=seed
    )


def few(answers, y, per_class):
    """Keep the first answers on each class."""
    kept = np.full(answers.shape, None, dtype=object)
    for k in range(K):
        first = np.flatnonzero(y == k)[:per_class]
        kept[first] = answers[first]
    return kept


def whole_record(monkeypatch):
    """Every context is the whole record, so that the loss can be written down row by row."""

    def draw(self):
        return self.profile, self.rows

    monkeypatch.setattr(_Record, "draw", draw)


# -- the published loss -------------------------------------------------------------


@pytest.mark.parametrize("pessimism", [0.0, 1.0])
def test_the_weighted_classification_minimises_the_published_loss(monkeypatch, pessimism):
    """The softmax over K + 1 logits, class probabilities given, cell by cell."""
    whole_record(monkeypatch)
    rng = np.random.default_rng(0)
    kinds = rng.dirichlet(np.ones(K), size=3)
    kind = rng.integers(3, size=900)
    proba = kinds[kind]
    y = (rng.random((900, 1)) > proba.cumsum(axis=1)).sum(axis=1)
    answers = specialists(y, 2, seed=1)
    rejector = ExpertAgnosticRejector(
        DecisionTreeClassifier(), target="published", pessimism=pessimism, n_contexts=1
    ).fit(proba, y, answers)
    score = rejector.expected_loss(kinds)
    score = score[:, :1] - score[:, 1:]
    found = []
    for j, profile in enumerate(rejector.profiles_):
        best = expertise_class(profile.mean_, kinds, profile.variance_)
        weight = profile.lower_bound(pessimism)
        for cell in range(3):
            logits = np.log(kinds[cell])
            known = np.bincount(y[kind == cell], minlength=K)

            def loss(g, logits=logits, known=known, weight=weight, k=best[cell]):
                log_p = log_softmax(np.r_[logits, g])
                return -(known @ log_p[:K]) - weight[k] * known[k] * log_p[K]

            g = minimize_scalar(loss, bounds=(-15, 5), method="bounded", options={"xatol": 1e-9}).x
            six = six_numbers(kinds[[cell]], profile.mean_, profile.variance_)
            q = rejector.learned_.predict(six, None)[0]
            assert q / (1 - q) == pytest.approx(np.exp(g), rel=1e-3, abs=1e-5)
            found.append(q / (1 - q))
            p = softmax(np.r_[logits, g])
            assert score[cell, j] == pytest.approx(p[K] - p[:K].max(), abs=1e-3)
    assert sum(odds > 0.1 for odds in found) > 1, "a check of odds that are not all about 0"


def test_the_published_default_starts_from_the_closed_form():
    """With calibrated probabilities the odds are the lower bound times p at the best class."""
    proba, y = rows(4000)
    rejector = ExpertAgnosticRejector(target="published", random_state=0)
    rejector.fit(proba, y, specialists(y, 6, seed=1))
    new, _ = rows(500, seed=2)
    loss = rejector.expected_loss(new)
    sure = new.max(axis=1)
    np.testing.assert_allclose(loss[:, 0], 1 - sure)
    score = loss[:, :1] - loss[:, 1:]
    for j, profile in enumerate(rejector.profiles_):
        best = expertise_class(profile.mean_, new, profile.variance_)
        odds = profile.lower_bound()[best] * new[np.arange(500), best]
        closed = (odds - sure) / (1 + odds)
        assert np.abs(score[:, j] - closed).mean() < 0.02
    assert score.max() < 0.1, "never far above 0: not meant as a gain"


def test_published_scores_rank_and_are_no_gains():
    proba, y = rows(400)
    answers = specialists(y, 2, seed=1)
    published = ExpertAgnosticRejector(target="published", random_state=0)
    assert published.score_is_calibrated is False
    assert ExpertAgnosticRejector().score_is_calibrated is True
    clf = DeferralClassifier(LogisticRegression(), rejector=published, policy=BudgetPolicy(0.2))
    clf.fit(proba, y, expert_predictions=answers)
    assert clf.predict_defer(proba).mean() == pytest.approx(0.2, abs=0.06)
    with pytest.warns(UncalibratedScoreWarning):
        clf.set_params(cost=0.1).deferral_score(proba)
    with pytest.raises(ValueError, match="error_cost came with target='published'"):
        published.fit(proba, y, answers, error_cost=1 - np.eye(K))


def test_the_published_loss_reads_no_answer_of_the_row(monkeypatch):
    """Only profiles: other answers of equal tallies teach the same."""
    whole_record(monkeypatch)
    proba, y = rows(300)
    answers = specialists(y, 1, seed=1)[:, 0]
    swapped = answers.copy()
    for k in range(K):
        of_class = np.flatnonzero(y == k)
        swapped[of_class] = answers[of_class][::-1]
    assert (swapped != answers).any()
    one, other = (
        ExpertAgnosticRejector(target="published", random_state=0).fit(proba, y, said)
        for said in (answers, swapped)
    )
    np.testing.assert_allclose(one.expected_loss(proba), other.expected_loss(proba))


# -- what must not matter -----------------------------------------------------------


@pytest.mark.parametrize("target", ["answers", "published"])
def test_a_stranger_scores_as_a_known_expert_of_the_same_profile(target):
    """Proposition 3: identical, not only close."""
    proba, y = rows(500)
    answers = specialists(y, 3, seed=1)
    rejector = ExpertAgnosticRejector(target=target, random_state=0).fit(proba, y, answers)
    twin = ExpertProfile(name="stranger", classes=range(K)).fit(answers[:, 1], y)
    new, _ = rows(200, seed=2)
    before = rejector.expected_loss(new)
    served = rejector.with_profiles([twin]).expected_loss(new)
    np.testing.assert_array_equal(served[:, 1], before[:, 2])
    np.testing.assert_array_equal(rejector.expected_loss(new), before)


@pytest.mark.parametrize("target", ["answers", "published"])
def test_renaming_classes_changes_nothing(target):
    proba, y = rows(500)
    answers = specialists(y, 3, seed=1)
    answers[::7] = (y[::7, None] + 1) % K
    order = np.array([2, 0, 3, 1])  # class k is called order[k]
    turned = np.empty_like(proba)
    turned[:, order] = proba
    one, two = (
        ExpertAgnosticRejector(target=target, random_state=0).fit(*data).expected_loss(data[0])
        for data in ((proba, y, answers), (turned, order[y], order[answers]))
    )
    np.testing.assert_allclose(one, two, atol=1e-8)


def test_one_seed_one_result_whatever_the_order_of_experts():
    proba, y = rows(300)
    answers = specialists(y, 5, seed=1)
    in_order = SGDClassifier(loss="log_loss", max_iter=5, tol=None, random_state=0)
    for estimator in (None, in_order):
        rejector = ExpertAgnosticRejector(estimator, random_state=3)
        first = rejector.fit(proba, y, answers).expected_loss(proba)
        again = rejector.fit(proba, y, answers).expected_loss(proba)
        np.testing.assert_array_equal(first, again)
        turned = rejector.fit(proba, y, answers[:, ::-1]).expected_loss(proba)
        np.testing.assert_allclose(turned[:, :0:-1], first[:, 1:], atol=1e-12)
    other = rejector.set_params(random_state=4).fit(proba, y, answers).expected_loss(proba)
    assert (other[:, 1:] != first[:, 1:]).any()


def test_blocks_of_rows_are_weighed_alike(monkeypatch):
    proba, y = rows(100)
    rejector = ExpertAgnosticRejector(random_state=0).fit(proba, y, specialists(y, 2, seed=1))
    whole = rejector.expected_loss(proba)
    monkeypatch.setattr(module, "_BLOCK", 7)
    np.testing.assert_allclose(rejector.expected_loss(proba), whole)


def test_a_matrix_of_equal_prices_is_plain_errors():
    proba, y = rows(300)
    answers = specialists(y, 2, seed=1)
    plain, priced = (
        ExpertAgnosticRejector(random_state=0)
        .fit(proba, y, answers, error_cost=matrix)
        .expected_loss(proba)
        for matrix in (None, 3.0 * (1 - np.eye(K)))
    )
    np.testing.assert_allclose(priced, 3.0 * plain)


# -- contexts -----------------------------------------------------------------------


@pytest.mark.parametrize("decay", [1.0, 0.9])
def test_a_context_is_a_part_of_the_record(decay):
    """The profile is that of the rows inside, and the others stay outside."""
    rng = np.random.default_rng(0)
    y = rng.integers(K, size=60)
    said = np.where(rng.random(60) < 0.6, y, rng.integers(K, size=60))
    said[:5], said[5:9] = MISSING, OUT_OF_LABELS
    weight = rng.random(60) + 0.5
    labels = np.where(said == OUT_OF_LABELS, "?", said.astype(str)).astype(object)
    labels[said == MISSING] = None
    classes = np.arange(K).astype(str)
    blank = ExpertProfile(decay=decay, classes=classes)
    profile = ExpertProfile(decay=decay, classes=classes).fit(labels, y.astype(str), weight)
    record = _Record(profile, y, said, weight, seed=0)
    sizes = []
    for _ in range(200):
        context, outside = record.draw()
        assert np.isin(outside, np.flatnonzero(said != MISSING)).all()
        inside = np.setdiff1d(np.flatnonzero(said != MISSING), outside)
        blank.fit(labels[inside], y[inside].astype(str), weight[inside])
        for name in ("counts_", "mean_", "variance_", "confusion_"):
            np.testing.assert_allclose(getattr(context, name), getattr(blank, name), err_msg=name)
        sizes.append(len(inside))
    assert min(sizes) < 5, "small contexts are met"
    assert max(sizes) > 50, "large ones too"
    assert profile.n_context_.sum() > 0, "the profile itself is left alone"


def test_earlier_answers_are_part_of_contexts():
    """A profile that was fitted before has no rows, but counts that are thinned with the rest."""
    proba, y = rows(200)
    known = ExpertProfile(classes=range(K)).fit(np.repeat(range(K), 50), np.repeat(range(K), 50))
    answers = np.full((200, 1), None)
    record = _Record(known, y, np.full(200, MISSING), np.ones(200), seed=0)
    sizes = [record.draw()[0].n_context_.sum() for _ in range(100)]
    assert min(sizes) < 20
    assert max(sizes) > 180
    assert known.n_context_.sum() == 200
    rule = ProfileRejector().fit(proba, y, answers, profiles=[known]).expected_loss(proba)
    for target in ("answers", "published"):
        rejector = ExpertAgnosticRejector(target=target, random_state=0)
        rejector.fit(proba, y, answers, profiles=[known])
        if target == "answers":  # none on a row: nothing to learn from
            assert rejector.learned_weight_ == 0
            np.testing.assert_allclose(rejector.expected_loss(proba)[:, 1], rule[:, 1])
        else:
            assert rejector.learned_ is not None


class Counter(ClassifierMixin, BaseEstimator):
    """Remembers what it was shown."""

    def fit(self, X, y, sample_weight):
        Counter.shown, Counter.weight = X, sample_weight
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return np.full((len(X), 2), 0.5)


@pytest.mark.parametrize("target", ["answers", "published"])
def test_the_estimator_is_shown_six_numbers_of_a_bounded_number_of_triples(target):
    proba, y = rows(400)
    answers = specialists(y, 3, seed=1).astype(object)
    answers[100:, 2] = None
    for max_rows in (120, 100_000):
        ExpertAgnosticRejector(
            Counter(), target=target, max_rows=max_rows, n_contexts=4, random_state=0
        ).fit(proba, y, answers)
        shown, weight = Counter.shown, Counter.weight
        assert shown.shape[1] == 6
        keep = len(np.unique(shown, axis=0))
        assert keep <= (max_rows if max_rows == 120 else 3 * 400 * 4)
        assert keep > 60
        assert (shown[:, 0] >= 1 / K).all()
        assert (weight > 0).all()


def test_rows_of_no_weight_and_no_rows_at_all_teach_nothing():
    proba, y = rows(300)
    answers = specialists(y, 2, seed=1)
    rule = ProfileRejector().fit(proba, y, answers, sample_weight=np.zeros(300))
    nothing = ExpertAgnosticRejector().fit(proba, y, answers, sample_weight=np.zeros(300))
    wanted = rule.expected_loss(proba)[:, 1:]
    np.testing.assert_allclose(nothing.expected_loss(proba)[:, 1:], wanted)
    half = np.arange(300) < 150
    with_weights = ExpertAgnosticRejector(random_state=0).fit(
        proba, y, answers, sample_weight=half.astype(float)
    )
    without = ExpertAgnosticRejector(random_state=0).fit(proba[half], y[half], answers[half])
    np.testing.assert_allclose(with_weights.expected_loss(proba), without.expected_loss(proba))


# -- what it is good for ------------------------------------------------------------


def test_it_learns_from_known_experts_what_a_strangers_few_answers_mean():
    """All experts know one class of four; three answers per class show which."""
    proba, y = rows(3000)
    known = few(specialists(y, 40, seed=1), y, 12)
    rejectors = [
        rejector.fit(proba, y, known)
        for rejector in (ProfileRejector(), ExpertAgnosticRejector(random_state=0))
    ]
    new, truth = rows(4000, seed=2)
    strangers = specialists(truth, 20, seed=3)
    record = few(strangers, truth, 3)
    profiles = [ExpertProfile(classes=range(K)).fit(r, truth) for r in record.T]
    unseen = np.equal(record, None).all(axis=1)
    wrong = (strangers != truth[:, None])[unseen]
    rule, learned = (
        r.with_profiles(profiles).expected_loss(new)[unseen, 1:].clip(1e-9, 1 - 1e-9)
        for r in rejectors
    )

    def surprise(loss):
        return -np.where(wrong, np.log(loss), np.log1p(-loss)).mean()

    assert surprise(learned) < surprise(rule) - 0.01
    assert abs(learned.mean() - wrong.mean()) < 0.02


def test_it_sees_that_experts_fail_where_the_model_fails():
    """A rule that no profile shows, learned from some experts, holds for others."""
    proba, y = rows(3000)
    new, truth = rows(2000, seed=5)
    rng = np.random.default_rng(6)
    sure, sure_new = proba.max(axis=1), new.max(axis=1)
    right = rng.random((3000, 12)) < 0.3 + 0.65 * sure[:, None]
    answers = np.where(right, y[:, None], (y[:, None] + 1) % K)
    stranger = np.where(rng.random(2000) < 0.3 + 0.65 * sure_new, truth, (truth + 1) % K)
    profile = ExpertProfile(classes=range(K)).fit(stranger[:200], truth[:200])
    wanted = 1 - (0.3 + 0.65 * sure_new)
    errors = []
    for rejector in (ProfileRejector(), ExpertAgnosticRejector(random_state=0)):
        fitted = rejector.fit(proba, y, answers).with_profiles([profile])
        errors.append(np.abs(fitted.expected_loss(new)[:, 1] - wanted).mean())
    assert errors[1] < 0.5 * errors[0]


def test_one_expert_teaches_little_however_many_the_answers():
    proba, y = rows(3000)
    right = np.random.default_rng(1).random((3000, 8)) < 0.8
    answers = np.where(right, y[:, None], (y[:, None] + 1) % K)
    one = ExpertAgnosticRejector(random_state=0).fit(proba, y, answers[:, :1])
    many = ExpertAgnosticRejector(random_state=0).fit(proba, y, answers)
    assert one.learned_weight_ < 2 / 3 < many.learned_weight_


@pytest.mark.parametrize("target", ["answers", "published"])
@pytest.mark.parametrize(
    "estimator",
    [LogisticRegression(), HistGradientBoostingClassifier(max_iter=10, random_state=0)],
    ids=lambda e: type(e).__name__,
)
def test_any_probabilistic_classifier(estimator, target):
    proba, y = rows(1000)
    answers = specialists(y, 4, seed=1, p_out=0.0)
    rejector = ExpertAgnosticRejector(estimator, target=target, random_state=0)
    score = rejector.fit(proba, y, answers).expected_loss(proba)
    score = score[:, :1] - score[:, 1:]
    best = np.array([np.argmax(profile.mean_) for profile in rejector.profiles_])
    assert len(set(best)) == K, "each expert knows a class of its own"
    assert np.isfinite(score).all()
    unsure = np.flatnonzero(proba.max(axis=1) < 0.6)
    asked = best[score[unsure].argmax(axis=1)]
    assert (asked == proba[unsure].argmax(axis=1)).mean() > 0.7


def test_with_experts_serves_a_newcomer_without_a_refit():
    proba, y = rows(900)
    answers = specialists(y, 4, seed=1, p_out=0.0)
    clf = DeferralClassifier(
        LogisticRegression(), rejector=ExpertAgnosticRejector(), random_state=0
    ).fit(proba[:600], y[:600], expert_predictions=answers[:600])
    late = y[600:700]
    good, bad = (
        ExpertProfile(name="new", classes=range(K)).fit(said, late)
        for said in (late, (late + 1) % K)
    )
    other = clf.with_experts([good])
    assert other.estimator_ is clf.estimator_
    assert other.rejector_.learned_ is clf.rejector_.learned_
    assert other.routes_ == ["model", "new"]
    assert other.predict_defer(proba[700:]).mean() > 0.8
    assert clf.with_experts([bad]).predict_defer(proba[700:]).mean() < 0.05


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("target", "six"),
        ("pessimism", -1.0),
        ("n_contexts", 0),
        ("shrinkage", -1.0),
        ("max_rows", 0),
        ("estimator", "mlp"),
    ],
)
def test_parameters_out_of_range_are_refused(name, value):
    proba, y = rows(20)
    with pytest.raises(ValueError, match=f"'{name}' parameter"):
        ExpertAgnosticRejector(**{name: value}).fit(proba, y, y)
