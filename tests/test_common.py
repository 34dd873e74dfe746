"""scikit-learn's own checks on every public deferral estimator, metadata routing off and on.

A new estimator is found by discovery. There are no expected failures.
"""

import numpy as np
import pytest
import sklearn
from sklearn.utils.estimator_checks import parametrize_with_checks

from skdefer import DeferralClassifier
from skdefer.policies import BudgetPolicy, TopKPolicy
from skdefer.rejectors import (
    ConfidenceRejector,
    LearnedRejector,
    ProfileRejector,
    TwoStageRejector,
)
from tests.discovery import deferral_estimators, make


def first_label(X):
    """Answer 0 or 1 by the sign of the first column: an expert for any array."""
    values = X.toarray() if hasattr(X, "toarray") else np.asarray(X, dtype=float)
    return (values[:, 0] > 0).astype(int)


# Besides the default instance of each estimator: other parts, which take other paths.
VARIANTS = [
    DeferralClassifier(policy=BudgetPolicy(0.2)),
    DeferralClassifier(rejector=LearnedRejector()),
    DeferralClassifier(rejector=ProfileRejector(), policy=BudgetPolicy(0.2)),
    DeferralClassifier(rejector=ConfidenceRejector(), cost=0.1, error_cost=2.0),
    DeferralClassifier(rejector=TwoStageRejector(), policy=TopKPolicy()),
]


@pytest.mark.filterwarnings("ignore")  # the checks fit far fewer rows than folds like
@pytest.mark.parametrize("routing", [False, True], ids=["routing_off", "routing_on"])
@parametrize_with_checks([make(cls) for cls in deferral_estimators()] + VARIANTS)
def test_scikit_learn_checks(estimator, check, routing):
    with sklearn.config_context(enable_metadata_routing=routing):
        check(estimator)


def test_discovery_finds_the_estimators():
    assert DeferralClassifier in deferral_estimators()
