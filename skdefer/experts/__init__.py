"""Experts: who can be asked, what is known of them, and how they are asked."""

from skdefer.experts._base import (
    CallableExpert,
    ClassifierExpert,
    Expert,
    RecordedExpert,
    as_expert,
)
from skdefer.experts._profile import ExpertProfile
from skdefer.experts._recorded import ColumnExpert, IndexExpert

__all__ = [
    "CallableExpert",
    "ClassifierExpert",
    "ColumnExpert",
    "Expert",
    "ExpertProfile",
    "IndexExpert",
    "RecordedExpert",
    "as_expert",
]
