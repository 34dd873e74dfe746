"""Rejectors: how much each route is expected to lose on each row."""

from skdefer.rejectors._base import BaseRejector
from skdefer.rejectors._confidence import ConfidenceRejector
from skdefer.rejectors._expert_agnostic import ExpertAgnosticRejector
from skdefer.rejectors._learned import LearnedRejector
from skdefer.rejectors._profile import ProfileRejector
from skdefer.rejectors._two_stage import TwoStageRejector

__all__ = [
    "BaseRejector",
    "ConfidenceRejector",
    "ExpertAgnosticRejector",
    "LearnedRejector",
    "ProfileRejector",
    "TwoStageRejector",
]
