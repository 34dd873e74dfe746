"""The command line: ``python -m skdefer demo`` and ``python -m skdefer evaluate``."""

from skdefer.cli._main import main

__all__ = ["main"]
