"""Policies: whether what an expert would gain is worth handing the row over."""

from skdefer.policies._base import BasePolicy
from skdefer.policies._budget import BudgetPolicy
from skdefer.policies._cost import CostPolicy

__all__ = ["BasePolicy", "BudgetPolicy", "CostPolicy"]
