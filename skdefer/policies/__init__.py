"""Policies: whether what an expert would gain is worth handing the row over."""

from skdefer.policies._assign import assign, assignment_prices
from skdefer.policies._base import BasePolicy
from skdefer.policies._budget import BudgetPolicy
from skdefer.policies._capacity import CapacityPolicy
from skdefer.policies._cost import CostPolicy
from skdefer.policies._fair import FairPolicy
from skdefer.policies._scoring import ScoringPolicy
from skdefer.policies._threshold import ThresholdPolicy
from skdefer.policies._top_k import TopKPolicy

__all__ = [
    "BasePolicy",
    "BudgetPolicy",
    "CapacityPolicy",
    "CostPolicy",
    "FairPolicy",
    "ScoringPolicy",
    "ThresholdPolicy",
    "TopKPolicy",
    "assign",
    "assignment_prices",
]
