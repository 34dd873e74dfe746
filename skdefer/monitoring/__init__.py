"""A system at work: whether it has changed, and what was decided."""

from skdefer.monitoring._alarm import Alarm
from skdefer.monitoring._log import DecisionLog, read_decisions
from skdefer.monitoring._monitor import DeferralMonitor
from skdefer.monitoring._observe import observe

__all__ = ["Alarm", "DecisionLog", "DeferralMonitor", "observe", "read_decisions"]
