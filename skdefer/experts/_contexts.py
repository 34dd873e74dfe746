"""Contexts drawn afresh: what a profile would be, had fewer of the past answers been seen."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from skdefer.experts._profile import ExpertProfile


class ContextSampler:
    """Draws random subsets of every expert's context, as profiles.

    Each draw keeps each past answer of an expert with a probability that is itself uniform in
    [0, 1], so that contexts of all sizes are met. Answers of one class, right or wrong, are
    exchangeable, so counts are thinned and no row is touched.

    Parameters
    ----------
    profiles : sequence of fitted ExpertProfile
        One per expert.
    seed : int
        Of the draws. An expert's draws depend on it and on the expert's own counts, so the
        order of the experts makes no difference.
    """

    _AHEAD = 64  # draws made at once: a call to the generator costs more than its numbers

    def __init__(self, profiles: Sequence[ExpertProfile], seed: int):
        self.profiles = profiles
        self._generators = []
        for profile in profiles:
            content = np.round(np.column_stack([_right(profile), _wrong(profile)]), 9)
            key = zlib.crc32(np.ascontiguousarray(content).tobytes())
            self._generators.append(np.random.default_rng([seed, key]))
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Draw one subset per expert.

        Returns
        -------
        alpha, beta : ndarray of shape (n_experts, n_classes)
            Parameters of the Beta posteriors that the subsets leave.
        """
        if not self._waiting:
            drawn = [self._draw_expert(*pair) for pair in zip(self.profiles, self._generators)]
            alpha, beta = (np.stack(side, axis=1) for side in zip(*drawn))
            self._waiting = list(zip(alpha, beta))
        return self._waiting.pop()

    def _draw_expert(
        self, profile: ExpertProfile, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        share = rng.random((self._AHEAD, 1))
        sides = (_right(profile), profile.prior_alpha_), (_wrong(profile), profile.prior_beta_)
        alpha, beta = (prior + rng.binomial(_whole(n, share, rng), share) for n, prior in sides)
        return alpha, beta


def beta_moments(alpha: np.ndarray, beta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of Beta distributions."""
    strength = alpha + beta
    mean = alpha / strength
    return mean, mean * (beta / strength) / (strength + 1.0)


def _right(profile: ExpertProfile) -> np.ndarray:
    return profile.counts_.diagonal()


def _wrong(profile: ExpertProfile) -> np.ndarray:
    return np.maximum(profile.counts_.sum(axis=1) - profile.counts_.diagonal(), 0.0)


def _whole(counts: np.ndarray, share: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Round counts that decay or weights made fractional, up or down at random."""
    below = np.floor(counts)
    return (below + (rng.random((len(share), len(counts))) < counts - below)).astype(np.int64)
