"""Figures of deferral systems; each gives back its data, as ``frame()``."""

from skdefer.displays._deferral_curve import DeferralCurveDisplay
from skdefer.displays._expert_profile import ExpertProfileDisplay

__all__ = ["DeferralCurveDisplay", "ExpertProfileDisplay"]
