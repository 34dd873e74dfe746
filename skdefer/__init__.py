"""Learning to defer as an ordinary scikit-learn step."""

__version__ = "0.1.0.dev0"
