"""Figures of deferral systems; each gives back its data, as ``frame()``."""

from skdefer.displays._capacity import CapacityDisplay
from skdefer.displays._cost_curve import CostCurveDisplay
from skdefer.displays._deferral_curve import DeferralCurveDisplay
from skdefer.displays._expert_profile import ExpertProfileDisplay
from skdefer.displays._risk_control import RiskControlDisplay

__all__ = [
    "CapacityDisplay",
    "CostCurveDisplay",
    "DeferralCurveDisplay",
    "ExpertProfileDisplay",
    "RiskControlDisplay",
]
