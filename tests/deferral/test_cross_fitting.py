"""What cross-fitting promises: learned thresholds keep their word on rows never seen."""

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from skdefer import DeferralClassifier
from skdefer.policies import BudgetPolicy
from skdefer.rejectors import LearnedRejector, ProfileRejector

N_SEEDS, N_FIT, N_NEW = 20, 500, 4000
BUDGET = 0.10
BOOSTED = LearnedRejector(
    GradientBoostingClassifier(n_estimators=30, max_depth=4, random_state=0),
    features="passthrough",
    shrinkage=0.0,
)


def make(seed, n):
    """Two classes; the expert errs on rows of its own kind, and the model on others."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6))
    margin = X[:, 0] + 0.8 * X[:, 1] * X[:, 2] + 0.3 * rng.normal(size=n)
    y = (margin > 0).astype(int)
    right = rng.random(n) < np.where(X[:, 3] > 0, 0.95, 0.7)
    return X, y, np.where(right, y, 1 - y)


def promised_and_realised(rejector, seed):
    X, y, answers = make(seed, N_FIT + N_NEW)
    clf = DeferralClassifier(
        LogisticRegression(), rejector=rejector, policy=BudgetPolicy(BUDGET), random_state=seed
    ).fit(X[:N_FIT], y[:N_FIT], expert_predictions=answers[:N_FIT])
    new = slice(N_FIT, None)
    labels = clf.predict(X[new], expert_predictions=answers[new])
    rate = clf.predict_defer(X[new]).mean()
    return clf.policy_, rate, (labels == y[new]).mean()


@pytest.mark.parametrize(
    "rejector",
    [ProfileRejector(), LearnedRejector(), BOOSTED],
    ids=["profile", "learned", "boosted"],
)
def test_budget_and_accuracy_hold_on_new_rows(rejector):
    rates, gaps = [], []
    for seed in range(N_SEEDS):
        policy, rate, accuracy = promised_and_realised(rejector, seed)
        assert policy.deferral_rate_ <= BUDGET
        rates.append(rate)
        gaps.append(accuracy - policy.system_accuracy_)
    # The threshold is a quantile of N_FIT scores, so the rate it realises has a standard
    # deviation of about sqrt(b (1 - b) / N_FIT), the accuracy likewise; the mean over seeds
    # must lie within three standard errors of what was promised.
    rate_error = np.std(rates, ddof=1) / np.sqrt(N_SEEDS)
    assert np.std(rates, ddof=1) < 3 * np.sqrt(BUDGET * (1 - BUDGET) / N_FIT)
    assert abs(np.mean(rates) - BUDGET) < 3 * rate_error + 1 / N_FIT
    gap_error = np.std(gaps, ddof=1) / np.sqrt(N_SEEDS)
    # Models of the folds see four fifths of the rows, so the promise is a little modest.
    assert -3 * gap_error < np.mean(gaps) < 3 * gap_error + 0.01


def test_in_sample_scores_would_break_the_promise():
    """The reason for cross-fitting, so that nobody takes it out as too slow."""
    rates = []
    for seed in range(5):
        X, y, answers = make(seed, N_FIT + N_NEW)
        clf = DeferralClassifier(LogisticRegression(), rejector=BOOSTED, random_state=seed)
        clf.fit(X[:N_FIT], y[:N_FIT], expert_predictions=answers[:N_FIT])
        policy = BudgetPolicy(BUDGET).fit(
            clf.deferral_score(X[:N_FIT]), y[:N_FIT], clf.predict_model(X[:N_FIT]), answers[:N_FIT]
        )
        rates.append((policy.route(clf.deferral_score(X[N_FIT:])) > 0).mean())
    assert abs(np.mean(rates) - BUDGET) > 0.02
