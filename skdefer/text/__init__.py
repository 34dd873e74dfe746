"""Texts: embeddings of an encoder, and an encoder that is fine-tuned as a classifier.

torch and transformers are loaded when something is fitted.
"""

from skdefer.text._classifier import TransformerClassifier
from skdefer.text._embedding import TransformerEmbedder
from skdefer.text._statistics import TextStatistics

__all__ = ["TextStatistics", "TransformerClassifier", "TransformerEmbedder"]
