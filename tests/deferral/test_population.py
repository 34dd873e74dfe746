"""L2D-Pop and its baselines: contexts, experts never seen, and what a network owes its user."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.special import expit, softmax

from skdefer import ExpertProfile, PopulationDeferralClassifier
from skdefer.deferral import _neural
from skdefer.deferral._past_answers import (
    RecordSampler,
    by_content,
    first_rows,
    keep_records,
    most_frequent,
    pad_records,
)
from skdefer.exceptions import UncalibratedScoreWarning
from skdefer.experts import ColumnExpert, simulate_expert_predictions
from skdefer.metrics import aursac_score
from skdefer.policies import BudgetPolicy
from tests.discovery import make

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

K = 4
READERS = ["attention", "mean"]
ALL = [*READERS, "none", "mode"]
SMALL = {
    "embedding_size": 8,
    "context_hidden_layer_sizes": (16,),
    "n_heads": 2,
    "max_iter": 5,
    "random_state": 0,
}


def made(n, seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(K, size=n)
    centers = np.array([[0, 0], [1.5, 1.5], [3, 0], [1.5, -1.5]])
    return centers[y] + rng.normal(size=(n, 2)), y


def answers_of(y, oracles, seed=0):
    return simulate_expert_predictions(
        y, oracle_classes=oracles, n_experts=len(oracles), classes=range(K), random_state=seed
    )


X, Y = made(200, seed=0)
X_NEW, Y_NEW = made(150, seed=1)
SAID = answers_of(Y, [[0], [1], [2]])
PAST_X, PAST_Y = made(30, seed=2)
PAST_SAID = answers_of(PAST_Y, [[3]], seed=3)[:, 0]
CONTEXT = (PAST_SAID, PAST_Y, PAST_X)


def zeros(X):
    return np.zeros(len(X), dtype=int)


NEW = {"new": zeros}


def new(**params):
    return make(PopulationDeferralClassifier, **{**SMALL, **params})


@pytest.fixture(scope="module", params=ALL)
def fitted(request):
    with sklearn.config_context():
        return new(representation=request.param).fit(X, Y, expert_predictions=SAID)


@pytest.fixture(scope="module", params=READERS)
def reader(request):
    with sklearn.config_context():
        return new(representation=request.param).fit(X, Y, expert_predictions=SAID)


# -- past answers ---------------------------------------------------------------------


def test_first_rows_are_those_that_are_free():
    free = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 1, 0]], dtype=bool)
    rows, mask = first_rows(free, np.array([2, 3, 3]))
    np.testing.assert_array_equal(mask, [[1, 1, 0], [1, 1, 1], [0, 0, 0]])
    np.testing.assert_array_equal(rows, [[0, 1, 0], [1, 2, 3], [0, 0, 0]])
    nobody = first_rows(free[:, 2:], 3)
    assert [part.shape for part in nobody] == [(1, 1), (1, 1)], "padded to one at least"
    assert not nobody[1].any()


def some_codes(n=60, seed=0):
    """Expert 0 answers all, 1 one row in three, 2 four rows, 3 none."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(K, size=(n, 4))
    codes[rng.random(n) > 1 / 3, 1] = -1
    codes[4:, 2] = -1
    codes[:, 3] = -1
    return codes


def test_draws_are_answered_rows_outside_the_batch_at_sizes_from_none_to_all():
    codes, query = some_codes(), np.arange(10, 30)
    sampler = RecordSampler(codes, 12, seed=0)
    sizes, seen = [], np.zeros((60, 4), dtype=int)
    for _ in range(400):
        rows, mask = sampler.draw(query)
        sizes.append(mask.sum(axis=1))
        for j in range(4):
            mine = rows[j, mask[j]]
            assert len(set(mine)) == len(mine)
            assert not set(mine) & set(query)
            assert (codes[mine, j] != -1).all()
            seen[mine, j] += 1
    sizes = np.array(sizes)
    assert set(sizes[:, 0]) == set(range(13))
    assert set(sizes[:, 2]) == set(range(5)), "an expert with four answers has no more"
    assert not sizes[:, 3].any()
    assert sizes[:, 0].mean() == pytest.approx(6, abs=0.6)
    often = seen[np.r_[:10, 30:60], 0]  # 400 draws of 6 rows out of 40, on average
    assert often.mean() == pytest.approx(60, abs=6)
    assert often.min() > 60 - 4 * np.sqrt(60)


def test_draws_look_among_few_rows_of_a_long_record(monkeypatch):
    monkeypatch.setattr("skdefer.deferral._past_answers._POOL", 2)
    monkeypatch.setattr("skdefer.deferral._past_answers._REFILL", 3)
    codes = np.zeros((5000, 1), dtype=int)
    sampler = RecordSampler(codes, 10, seed=0)
    pools = []
    for _ in range(7):
        rows, mask = sampler.draw(np.arange(5))
        assert set(rows[mask]) <= set(sampler._pool)
        pools.append(tuple(sampler._pool))
    assert {len(pool) for pool in pools} == {20}
    assert [len(set(pools[i : i + 3])) for i in (0, 3)] == [1, 1]
    assert len(set(pools)) == 3


def test_nothing_to_draw_from():
    rows, mask = RecordSampler(np.full((9, 2), -1), 5, seed=0).draw(np.arange(3))
    assert rows.shape == mask.shape == (2, 1)
    assert not mask.any()


def test_what_is_kept_is_a_bounded_part_of_each_record():
    codes = some_codes()
    rows, y = np.arange(120.0).reshape(60, 2), np.arange(60) % K
    records = keep_records(rows, y, codes, 7, np.random.default_rng(0))
    sizes = [len(record.rows) for record in records]
    assert sizes == [7, 7, 4, 0]
    assert all(record.X is records[0].X for record in records)
    for j, record in enumerate(records):
        at = (record.X[record.rows, 0] / 2).astype(int)
        np.testing.assert_array_equal(record.y, y[at])
        np.testing.assert_array_equal(record.codes, codes[at, j])
    padded = pad_records([*records, records[0]], K, (2,))
    assert [part.shape for part in padded] == [(len(records[0].X), 2)] + [(5, 7)] * 4
    X_, at, truth, said, mask = padded
    assert mask.sum(axis=1).tolist() == [*sizes, 7]
    np.testing.assert_array_equal(X_[at[0], 0] / 2 % K, truth[0])
    np.testing.assert_array_equal(said[4], said[0])


def test_the_most_frequent_answer():
    codes = np.array([[0, 0, 1], [2, -1, -1], [-1, -1, -1], [-2, -1, -1], [-2, 3, -1]])
    rng = np.random.default_rng(0)
    assert most_frequent(codes, K, rng).tolist() == [0, 2, -1, -2, 3]
    ties = most_frequent(np.tile([1, 3, 3, 1, 2], (2000, 1)), K, rng)
    assert set(ties) == {1, 3}
    assert 900 < (ties == 1).sum() < 1100
    turned = [most_frequent(c, K, np.random.default_rng(1)) for c in (codes, codes[:, ::-1])]
    np.testing.assert_array_equal(*turned)


def test_experts_are_ordered_by_what_they_said():
    codes = some_codes()
    turned = codes[:, [2, 0, 3, 1]]
    np.testing.assert_array_equal(codes[:, by_content(codes)], turned[:, by_content(turned)])


# -- training -------------------------------------------------------------------------


@pytest.mark.parametrize("representation", READERS)
def test_no_context_has_a_row_of_the_batch(representation, monkeypatch):
    from skdefer.neural._population import ContextDrawer

    drawn = []
    original = ContextDrawer.__call__

    def spy(self, query):
        drawn.append((self.X[query], original(self, query)))
        return drawn[-1][1]

    monkeypatch.setattr(ContextDrawer, "__call__", spy)
    new(representation=representation, batch_size=60, max_iter=4, context_size=9).fit(
        X, Y, expert_predictions=SAID
    )
    assert len(drawn) == 16
    for query, past in drawn:
        assert not {tuple(r) for r in query.tolist()} & {tuple(r) for r in past.X.tolist()}
        assert past.mask.sum(1).max() <= 9
    sizes = torch.cat([past.mask.sum(1) for _, past in drawn])
    assert len(set(sizes.tolist())) > 5, "contexts have all sizes"
    assert len({past.X[past.rows][past.mask].sum().item() for _, past in drawn}) > 10


@pytest.mark.parametrize("batch_size", [30, len(X)])
@pytest.mark.parametrize("representation", ["mean", "attention"])
def test_a_batch_never_takes_all_rows_from_the_contexts(representation, batch_size):
    """Perfect and hopeless strangers are told apart, however large the batch is."""
    clf = new(
        representation=representation, batch_size=batch_size, max_iter=60, learning_rate_init=0.005
    )
    half = np.where(np.arange(len(X)) % 2 == 0, Y, (Y + 1) % K)
    record = np.column_stack([Y, (Y + 1) % K, half])
    clf = clf.fit(X, Y, expert_predictions=record)
    contexts = [(PAST_Y, PAST_Y, PAST_X), ((PAST_Y + 1) % K, PAST_Y, PAST_X)]
    both = clf.with_experts([("good", len), ("bad", len)], profiles=contexts)
    good, bad = both.deferral_score(X_NEW).mean(axis=0)
    assert good - bad > 0.5


@pytest.mark.parametrize("representation", ALL)
def test_rows_without_answer_count_for_the_classes_alone(representation, monkeypatch):
    sparse = SAID.astype(object)
    sparse[np.random.default_rng(0).random(SAID.shape) < 0.7] = None
    sparse[:20] = None
    from skdefer.neural import _population

    counted = []
    original = _population.population_loss

    def spy(surrogate, scores, defer, y, codes, missing):
        losses = original(surrogate, scores, defer, y, codes, missing)
        alone = missing.all(1)
        torch.testing.assert_close(
            losses[alone], torch.nn.functional.cross_entropy(scores, y, reduction="none")[alone]
        )
        counted.append(alone.sum().item())
        return losses

    monkeypatch.setattr(_population, "population_loss", spy)
    clf = new(representation=representation, max_iter=1).fit(X, Y, expert_predictions=sparse)
    nobody = int((sparse == None).all(axis=1).sum())  # noqa: E711
    assert sum(counted) == nobody
    assert nobody >= 20
    assert np.isfinite(clf.deferral_score(X_NEW)).all()


def test_what_an_expert_keeps_is_its_context(reader):
    """Serving an expert of fit as a stranger, with the rows that were kept, changes nothing."""
    for j, record in enumerate(reader._records):
        assert len(record.rows) == 50
        context = (record.codes, record.y, record.X[record.rows])
        served = reader.with_experts(NEW, profiles=context)
        np.testing.assert_allclose(
            served.deferral_score(X_NEW)[:, 0], reader.deferral_score(X_NEW)[:, j], atol=1e-9
        )


@pytest.mark.parametrize("loss", ["lce", "ova"])
@pytest.mark.parametrize("representation", ALL)
def test_the_score_is_the_gain_in_accuracy(representation, loss):
    clf = new(representation=representation, loss=loss).fit(X, Y, expert_predictions=SAID)
    with torch.no_grad():
        rows = torch.from_numpy(X_NEW)
        scores, defer = clf.module_(rows, clf.module_.encode(clf._contexts(rows)))
    scores, defer = scores.numpy(), defer.numpy().T
    if loss == "lce":
        proba = softmax(scores, axis=1)
        accuracy = np.minimum(np.exp(defer) / np.exp(scores).sum(axis=1, keepdims=True), 1)
    else:
        proba = expit(scores) / expit(scores).sum(axis=1, keepdims=True)
        accuracy = expit(defer)
    np.testing.assert_allclose(clf.predict_proba(X_NEW), proba)
    wanted = np.broadcast_to(accuracy - proba.max(axis=1, keepdims=True), (len(X_NEW), 3))
    np.testing.assert_allclose(clf.deferral_score(X_NEW), wanted, atol=1e-9)
    if representation in ("none", "mode"):
        assert np.ptp(clf.deferral_score(X_NEW), axis=1).max() == 0, "nobody is told apart"
    else:
        assert np.ptp(clf.deferral_score(X_NEW), axis=1).min() > 0


def test_only_a_vote_is_no_price(fitted):
    votes = fitted.representation == "mode"
    assert fitted.score_is_calibrated is not votes
    other = copy.copy(fitted).set_params(cost=0.1)
    if votes:
        with pytest.warns(UncalibratedScoreWarning, match="PopulationDeferralClassifier"):
            other.deferral_score(X_NEW)
    else:
        np.testing.assert_allclose(
            other.deferral_score(X_NEW), fitted.deferral_score(X_NEW) - 0.1, atol=1e-12
        )
    assert new(representation="mode", max_iter=1).fit(X, Y).score_is_calibrated, "Chow's rule"


@pytest.mark.parametrize("representation", ALL)
def test_the_order_of_the_experts_makes_no_difference(representation):
    order = [2, 0, 1]
    one = new(representation=representation, batch_size=64).fit(X, Y, expert_predictions=SAID)
    two = new(representation=representation, batch_size=64).fit(
        X, Y, expert_predictions=SAID[:, order]
    )
    np.testing.assert_allclose(
        two.deferral_score(X_NEW), one.deferral_score(X_NEW)[:, order], atol=1e-12
    )


def accuracy_by_context(clf, sizes, n_classes):
    """Mean AURSAC over unseen experts, each of whom knows one class, by size of the context."""
    past_x, past_y = made(200, seed=5)
    model = clf.predict_model(X_NEW)
    areas = []
    for size in sizes:
        at = slice(size)
        of_one = []
        for k in range(n_classes):
            said, past = (answers_of(y, [[k]], seed=9)[:, 0] for y in (Y_NEW, past_y))
            served = clf.with_experts(NEW, profiles=(past[at], past_y[at], past_x[at]))
            score = served.deferral_score(X_NEW)[:, 0]
            of_one.append(aursac_score(Y_NEW, model, said, score))
        areas.append(np.mean(of_one))
    return areas


@pytest.mark.parametrize("representation", READERS)
def test_more_context_of_an_unseen_expert_is_worth_more(representation):
    rows, y = made(500, seed=0)
    said = answers_of(y, [[k] for k in range(K)] * 2, seed=1)
    clf = new(representation=representation, max_iter=40, learning_rate_init=0.005, batch_size=64)
    clf.set_params(embedding_size=16, context_hidden_layer_sizes=(32,))
    clf.fit(rows, y, expert_predictions=said)
    nothing, few, many = accuracy_by_context(clf, (0, 8, 100), K)
    assert many > few + 0.005 > nothing + 0.01, (nothing, few, many)


def test_early_stopping_watches_the_area():
    clf = new(early_stopping=True, n_iter_no_change=3, max_iter=60, tol=1e-3)
    clf.fit(X, Y, expert_predictions=SAID)
    assert len(clf.validation_scores_) == clf.n_iter_ < 60
    assert 0.3 < max(clf.validation_scores_) < 1


@pytest.mark.parametrize("representation", ["attention", "none"])
def test_a_threshold_and_a_policy_are_learned_on_rows_held_out(representation, monkeypatch):
    split = {}
    original = _neural.hold_out

    def spy(*args):
        split["taught"], split["held_out"] = original(*args)
        return split["taught"], split["held_out"]

    monkeypatch.setattr(_neural, "hold_out", spy)
    clf = new(
        representation=representation,
        threshold="tuned",
        calibration="temperature",
        policy=BudgetPolicy(0.2),
        validation_fraction=0.3,
        context_size=1000,
    ).fit(X, Y, expert_predictions=SAID)
    assert clf.policy_.deferral_rate_ <= 0.2
    assert clf.calibrator_ is not None
    if representation == "attention":
        kept = {tuple(row) for row in clf._records[0].X}
        assert kept == {tuple(row) for row in X[split["taught"]]}, "no row that was held out"


# -- experts never seen ---------------------------------------------------------------


def test_an_unseen_expert_is_served_without_a_refit(fitted):
    served = fitted.with_experts(NEW, profiles=[CONTEXT])
    assert served.module_ is fitted.module_
    assert served.routes_ == ["model", "new"]
    assert served.deferral_score(X_NEW).shape == (150, 1)
    assert fitted.deferral_score(X_NEW).shape == (150, 3), "the original is as it was"
    np.testing.assert_allclose(
        served.profiles_[0].mean_, ExpertProfile(classes=range(K)).fit(*CONTEXT[:2]).mean_
    )
    two = fitted.with_experts({"b": len, **NEW}, profiles={"new": CONTEXT, "b": ([], [])})
    np.testing.assert_allclose(
        two.deferral_score(X_NEW)[:, 1], served.deferral_score(X_NEW)[:, 0], atol=1e-9
    )
    assert served.predict(X_NEW).shape == (150,)


def test_experts_of_fit_keep_their_context_beside_new_ones(reader):
    both = reader.with_experts({"expert_2": len, **NEW}, profiles={"new": CONTEXT})
    np.testing.assert_allclose(
        both.deferral_score(X_NEW)[:, 0], reader.deferral_score(X_NEW)[:, 1], atol=1e-9
    )
    again = both.with_experts({"new": len, "expert_2": len})
    np.testing.assert_allclose(
        again.deferral_score(X_NEW)[:, ::-1], both.deferral_score(X_NEW), atol=1e-9
    )


def test_what_counts_of_a_context(reader):
    score = reader.with_experts(NEW, profiles=[CONTEXT]).deferral_score(X_NEW)
    order = np.random.default_rng(0).permutation(30)
    turned = tuple(part[order] for part in CONTEXT)
    np.testing.assert_allclose(
        reader.with_experts(NEW, profiles=[turned]).deferral_score(X_NEW), score, atol=1e-9
    )
    gaps = PAST_SAID.astype(object)
    gaps[10:] = None
    some = tuple(part[:10] for part in CONTEXT)
    scores = [
        reader.with_experts(NEW, profiles=[c]).deferral_score(X_NEW)
        for c in ((gaps, PAST_Y, PAST_X), some)
    ]
    np.testing.assert_allclose(*scores, atol=1e-9)
    assert np.abs(scores[0] - score).max() > 1e-6
    elsewhere = reader.with_experts(NEW, profiles=[(PAST_SAID, PAST_Y, PAST_X + 1.0)])
    assert np.abs(elsewhere.deferral_score(X_NEW) - score).max() > 1e-6, "rows are read"


def test_an_expert_of_whom_nothing_is_known(reader):
    silent = np.full(30, None, dtype=object)
    scores = [
        reader.with_experts(NEW, profiles=[given]).deferral_score(X_NEW)
        for given in (
            ([], []),
            ([], [], PAST_X[:0]),
            (silent, PAST_Y, PAST_X),
            ExpertProfile(classes=range(K)).fit([], []),
        )
    ]
    for score in scores[1:]:
        np.testing.assert_array_equal(score, scores[0])
    with torch.no_grad():
        features = reader.module_.backbone(torch.from_numpy(X_NEW))
        psi = torch.zeros(len(X_NEW), SMALL["embedding_size"], dtype=features.dtype)
        defer = reader.module_.rejector(torch.cat([features, psi], 1)).numpy()
        logits = reader.module_.classifier(features).numpy()
    accuracy = np.minimum(np.exp(defer) / np.exp(logits).sum(axis=1, keepdims=True), 1)
    wanted = accuracy - reader.predict_proba(X_NEW).max(axis=1, keepdims=True)
    np.testing.assert_allclose(scores[0], wanted, atol=1e-9)


PROFILE = ExpertProfile(classes=range(K)).fit(PAST_SAID, PAST_Y)
NEEDS_ROWS = r"'new' came without their rows, which representation='\w+' reads.*profiles=\[\(exp"


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ((PAST_SAID, PAST_Y), NEEDS_ROWS),
        ((PAST_SAID, PAST_Y, None), NEEDS_ROWS),
        (PROFILE, NEEDS_ROWS),
        ((PAST_SAID, PAST_Y, PAST_X[:, :1]), "expert 'new': X has 1 features, but"),
        ((PAST_SAID, PAST_Y, PAST_X[:9]), "expert 'new': X has 9 rows, but y has 30"),
        ((PAST_SAID, np.where(PAST_Y == 0, 7, PAST_Y), PAST_X), r"'new': y has the labels \['7'\]"),
        ((PAST_SAID[:5], PAST_Y, PAST_X), "expert 'new': .* 5 answers, but y has 30"),
        ((PAST_SAID, PAST_Y, np.full_like(PAST_X, np.nan)), "expert 'new': .*contains NaN"),
    ],
)
def test_contexts_that_do_not_fit(reader, context, message):
    with pytest.raises(ValueError, match=message):
        reader.with_experts(NEW, profiles=[context])


@pytest.mark.parametrize("representation", ["none", "mode"])
def test_where_nobody_is_told_apart_rows_are_not_needed(representation):
    clf = new(representation=representation).fit(X, Y, expert_predictions=SAID)
    for given in (PROFILE, (PAST_SAID, PAST_Y), ([], [])):
        served = clf.with_experts(NEW, profiles=[given])
        np.testing.assert_array_equal(
            served.deferral_score(X_NEW), clf.deferral_score(X_NEW)[:, :1]
        )


@pytest.mark.parametrize("representation", ALL)
def test_fitted_without_experts_it_serves_none(representation):
    clf = new(representation=representation, max_iter=1).fit(X, Y)
    with pytest.raises(ValueError, match="fitted without experts.*Fit it with experts"):
        clf.with_experts(NEW, profiles=[CONTEXT])


def test_a_column_that_only_an_expert_sees_is_no_feature():
    frame = pd.DataFrame(X, columns=["age", "dose"]).assign(nurse=SAID[:, 0])
    clf = new(experts=[ColumnExpert("nurse")]).fit(frame, Y)
    assert list(clf.feature_names_in_) == ["age", "dose"]
    past = pd.DataFrame(PAST_X, columns=["age", "dose"])
    wanted = clf.with_experts(NEW, profiles=[(PAST_SAID, PAST_Y, past)])
    with_column = past.assign(nurse=PAST_SAID)
    for rows in (past, with_column):
        served = clf.with_experts(NEW, profiles=[(PAST_SAID, PAST_Y, rows)])
        np.testing.assert_array_equal(
            served.deferral_score(frame[:9]), wanted.deferral_score(frame[:9])
        )


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


@pytest.mark.parametrize("representation", READERS)
def test_a_backbone_reads_images_of_contexts_too(representation):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(129, 1, 4, 4)).astype(np.float32)
    clf = new(representation=representation, backbone=Eye(), max_iter=2)
    clf.fit(rows, Y[:129], expert_predictions=SAID[:129])
    served = clf.with_experts(NEW, profiles=[(PAST_SAID, PAST_Y, rows[:30])])
    assert np.isfinite(served.deferral_score(rows)).all()
    with pytest.raises(
        ValueError, match=r"'new': X has rows of shape \(1, 5, 4\); expected \(1, 4"
    ):
        served.with_experts(NEW, profiles=[(PAST_SAID, PAST_Y, rng.normal(size=(30, 1, 5, 4)))])


def test_copies_come_back_equal(fitted):
    served = fitted.with_experts(NEW, profiles=[CONTEXT])
    for clf in (fitted, served):
        for again in (pickle.loads(pickle.dumps(clf)), copy.deepcopy(clf)):
            assert again.module_ is not clf.module_
            np.testing.assert_array_equal(again.deferral_score(X_NEW), clf.deferral_score(X_NEW))


def test_a_pickle_has_the_rows_once(reader):
    many = new(representation=reader.representation, max_iter=1).fit(
        X, Y, expert_predictions=np.hstack([SAID] * 4)
    )
    again = pickle.loads(pickle.dumps(many))
    assert len({id(record.X) for record in again._records}) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_computes_in_the_precision_of_the_rows(dtype):
    clf = new(max_iter=1).fit(X.astype(dtype), Y, expert_predictions=SAID)
    weights = next(clf.module_.parameters())
    assert weights.dtype == {np.float32: torch.float32, np.float64: torch.float64}[dtype]
    served = clf.with_experts(NEW, profiles=[CONTEXT])  # of the other precision, perhaps
    assert served.deferral_score(X_NEW).dtype == np.float64


def test_a_warm_start_goes_on():
    clf = new(warm_start=True).fit(X, Y, expert_predictions=SAID)
    first = clf.loss_curve_
    clf.fit(X, Y, expert_predictions=SAID)
    assert clf.loss_curve_[0] < first[0]


def test_rows_of_no_weight_are_nobodys_context():
    weight = np.ones(len(X))
    weight[:120] = 0
    clf = new(context_size=100).fit(X, Y, expert_predictions=SAID, sample_weight=weight)
    assert [len(record.rows) for record in clf._records] == [80] * 3
    assert {tuple(r) for r in clf._records[0].X} == {tuple(r) for r in X[120:]}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"embedding_size": 10, "n_heads": 4}, "embedding_size=10 is not a multiple of n_heads=4"),
        ({"representation": "median"}, "'representation' parameter"),
        ({"loss": "hinge"}, "'loss' parameter"),
        ({"context_size": 0}, "'context_size' parameter"),
        ({"threshold": "best"}, "'threshold' parameter"),
        ({"device": "cuda:7"}, "device='cuda:7' is not there"),
        ({"error_cost": np.ones((K, K)) - np.eye(K)}, "error_cost is a matrix"),
    ],
)
def test_parameters_that_do_not_fit(params, message):
    with pytest.raises(ValueError, match=message):
        new(**params).fit(X, Y, expert_predictions=SAID)


def test_profiles_alone_are_nothing_to_learn_from():
    with pytest.raises(ValueError, match=r"experts \['a'\] gave no answer to any row of X"):
        new(experts=[("a", PROFILE)]).fit(X, Y)
