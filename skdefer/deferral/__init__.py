"""Deferral estimators: the whole system behind scikit-learn's interface."""

from skdefer.deferral._expert_agnostic import ExpertAgnosticDeferralClassifier
from skdefer.deferral._joint import JointDeferralClassifier
from skdefer.deferral._population import PopulationDeferralClassifier
from skdefer.deferral._post_hoc import DeferralClassifier
from skdefer.deferral._risk_controlled import RiskControlledDeferralClassifier
from skdefer.deferral._tuned import TunedDeferralClassifierCV

__all__ = [
    "DeferralClassifier",
    "ExpertAgnosticDeferralClassifier",
    "JointDeferralClassifier",
    "PopulationDeferralClassifier",
    "RiskControlledDeferralClassifier",
    "TunedDeferralClassifierCV",
]
