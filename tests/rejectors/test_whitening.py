"""Whitening: no scale, no correlation, and no noise blown up."""

import numpy as np

from skdefer.rejectors._whitening import Whitening


def test_features_come_out_uncorrelated_and_of_variance_1():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(500, 4)) * [1, 10, 1e3, 1e-3] + 5.0
    features[:, 1] += 5 * features[:, 0]
    twin = features[:, 0] + 1e-3 * rng.normal(size=500)  # says nothing new
    features = np.column_stack([features, twin, np.full(500, 4.0)])
    weight = rng.integers(0, 3, size=500).astype(float)
    whitening = Whitening().fit(features, weight)
    white = whitening.transform(features)
    assert white.shape == (500, 4)
    np.testing.assert_allclose(np.average(white, axis=0, weights=weight), 0.0, atol=1e-9)
    covariance = np.cov(white.T, fweights=weight.astype(int), bias=True)
    np.testing.assert_allclose(covariance, np.eye(4), atol=1e-9)
    # A row on which the twins differ is not thrown far away.
    odd = features[:1] + [[0, 0, 0, 0, features[:, 0].std(), 0]]
    assert np.abs(whitening.transform(odd)).max() < 5


def test_scale_and_constants_do_not_matter():
    rng = np.random.default_rng(1)
    features, weight = rng.normal(size=(50, 3)), np.ones(50)
    wider = np.column_stack([features * [1e5, 1e-5, 3.0] + 7.0, np.full(50, 4.0)])
    one = Whitening().fit(features, weight).transform(features)
    other = Whitening().fit(wider, weight).transform(wider)
    np.testing.assert_allclose(one @ one.T, other @ other.T, atol=1e-9)
