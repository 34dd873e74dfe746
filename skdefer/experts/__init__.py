"""Experts: who can be asked, what is known of them, and how they are asked."""

from skdefer.calling._rate import RateLimiter
from skdefer.calling._store import AnswerStore
from skdefer.experts._base import (
    CallableExpert,
    ClassifierExpert,
    Expert,
    RecordedExpert,
    as_expert,
)
from skdefer.experts._completion import AnswerCompletion
from skdefer.experts._paid._chat import ChatExpert
from skdefer.experts._paid._decision import DecisionExpert
from skdefer.experts._priors import PopulationPrior
from skdefer.experts._profile import ExpertProfile
from skdefer.experts._queue._expert import QueueExpert
from skdefer.experts._recorded import ColumnExpert, IndexExpert
from skdefer.experts._simulated import SimulatedExpert, simulate_expert_predictions

__all__ = [
    "AnswerCompletion",
    "AnswerStore",
    "CallableExpert",
    "ChatExpert",
    "ClassifierExpert",
    "ColumnExpert",
    "DecisionExpert",
    "Expert",
    "ExpertProfile",
    "IndexExpert",
    "PopulationPrior",
    "QueueExpert",
    "RateLimiter",
    "RecordedExpert",
    "SimulatedExpert",
    "as_expert",
    "simulate_expert_predictions",
]
