"""Learning to defer as an ordinary scikit-learn step.

A model answers what it answers well and hands the other rows to whoever is worth their
price there: a clinician, a review desk, a second model, an LLM.
"""

from skdefer.costs import CostModel
from skdefer.deferral import (
    DeferralClassifier,
    ExpertAgnosticDeferralClassifier,
    JointDeferralClassifier,
    PopulationDeferralClassifier,
    RiskControlledDeferralClassifier,
    TunedDeferralClassifierCV,
)
from skdefer.experts import (
    ChatExpert,
    ColumnExpert,
    DecisionExpert,
    Expert,
    ExpertProfile,
    IndexExpert,
)

__version__ = "0.1.0.dev0"

__all__ = [
    "ChatExpert",
    "ColumnExpert",
    "CostModel",
    "DecisionExpert",
    "DeferralClassifier",
    "Expert",
    "ExpertAgnosticDeferralClassifier",
    "ExpertProfile",
    "IndexExpert",
    "JointDeferralClassifier",
    "PopulationDeferralClassifier",
    "RiskControlledDeferralClassifier",
    "TunedDeferralClassifierCV",
]
