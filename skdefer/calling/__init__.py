"""Calls that cost money: outcomes, retries, limits, and the store where answers are kept."""

from skdefer.calling._rate import RateLimiter
from skdefer.calling._store import AnswerStore

__all__ = ["AnswerStore", "RateLimiter"]
