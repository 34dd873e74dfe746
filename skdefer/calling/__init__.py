"""Calls that cost money: outcomes, retries, limits, and the store where answers are kept."""

__all__: list[str] = []
