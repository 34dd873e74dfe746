"""Contexts drawn afresh are random subsets of the contexts they are drawn from."""

import numpy as np
import pytest
from scipy import stats

from skdefer.experts import ExpertProfile
from skdefer.experts._contexts import ContextSampler, beta_moments


def profile(right, total, **params):
    """An expert who was right on so many rows of each class."""
    y = np.repeat(np.arange(len(total)), total)
    said = np.concatenate([[k] * r + [(k + 1) % len(total)] * (n - r)
                           for k, (r, n) in enumerate(zip(right, total))])  # fmt: skip
    return ExpertProfile(classes=list(range(len(total))), **params).fit(said, y)


def draws(profiles, n, seed=0):
    sampler = ContextSampler(profiles, seed)
    return np.array([sampler.draw() for _ in range(n)])  # (n, 2, E, K)


def test_a_draw_never_exceeds_the_context_and_keeps_the_prior():
    whole = profile([3, 0, 5], [4, 2, 9], prior_accuracy=0.9, prior_strength=4.0)
    alpha, beta = draws([whole], 500).swapaxes(0, 1)
    assert (alpha >= whole.prior_alpha_).all()
    assert (alpha <= whole.alpha_).all()
    assert (beta >= whole.prior_beta_).all()
    assert (beta <= whole.beta_).all()
    assert (alpha == whole.alpha_).any()
    assert (alpha[:, 0] == whole.prior_alpha_).all(axis=1).any(), "the empty context is met, too"


def test_every_answer_is_kept_with_one_probability_uniform_in_0_1():
    """Then the number kept of n answers is uniform on 0..n, and right and wrong ones alike."""
    whole = profile([8, 0], [8, 4])
    right, wrong = draws([whole], 20_000).swapaxes(0, 1)[:, :, 0] - 1
    counts = np.bincount(right[:, 0].astype(int), minlength=9)
    assert stats.chisquare(counts).pvalue > 1e-3
    counts = np.bincount(wrong[:, 1].astype(int), minlength=5)
    assert stats.chisquare(counts).pvalue > 1e-3
    # One probability for the whole context: classes are kept together.
    assert np.corrcoef(right[:, 0], wrong[:, 1])[0, 1] > 0.5


def test_fractional_counts_are_right_on_average():
    whole = profile([3, 4], [5, 6])
    whole.counts_ = whole.counts_ * 0.77
    mean = draws([whole], 20_000).mean(axis=0)[:, 0]
    expected = whole.counts_.diagonal() / 2, (whole.counts_.sum(1) - whole.counts_.diagonal()) / 2
    np.testing.assert_allclose(mean - 1, expected, atol=0.05)


def test_the_order_of_the_experts_makes_no_difference():
    one, other = profile([3, 0], [9, 2]), profile([1, 7], [2, 8])
    np.testing.assert_array_equal(draws([one, other], 100), draws([other, one], 100)[:, :, ::-1])
    assert (draws([one], 100, seed=1) != draws([one], 100, seed=2)).any()


@pytest.mark.parametrize(("a", "b"), [(1, 1), (0.3, 7), (40, 2)])
def test_moments_of_a_beta(a, b):
    mean, variance = beta_moments(np.array([a]), np.array([b]))
    assert mean[0] == pytest.approx(stats.beta.mean(a, b))
    assert variance[0] == pytest.approx(stats.beta.var(a, b))
