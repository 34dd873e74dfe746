"""Policies: whether what an expert would gain is worth handing the row over."""

from skdefer.policies._base import BasePolicy
from skdefer.policies._budget import BudgetPolicy
from skdefer.policies._cost import CostPolicy
from skdefer.policies._top_k import TopKPolicy

__all__ = ["BasePolicy", "BudgetPolicy", "CostPolicy", "TopKPolicy"]
