"""What all tests share: no screen, small made data, experts that count their calls."""

from __future__ import annotations

import os
from pathlib import Path

# Before numpy loads: on data this small, threads that wait for each other cost more than
# they give, many times over on a busy machine.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np
import pytest


class CountingExpert:
    """A callable expert that knows the truth of some rows and remembers who asked what."""

    def __init__(self, X, y, *, wrong_on=()):
        self.truth = {tuple(row): label for row, label in zip(np.asarray(X), y, strict=True)}
        self.wrong_on = set(wrong_on)
        self.labels = sorted(set(y))
        self.batches = []

    def __call__(self, X):
        rows = [tuple(row) for row in np.asarray(X)]
        self.batches.append(rows)
        return [self._answer(row) for row in rows]

    def _answer(self, row):
        label = self.truth[row]
        if label in self.wrong_on:
            return self.labels[(self.labels.index(label) + 1) % len(self.labels)]
        return label

    @property
    def n_rows_asked(self):
        return sum(len(batch) for batch in self.batches)


def make_data(n_rows=240, n_classes=3, seed=0, labels=("cat", "dog", "eel")):
    """Overlapping Gaussian classes with string labels: the model is often wrong."""
    rng = np.random.default_rng(seed)
    y = np.array(labels[:n_classes])[rng.integers(n_classes, size=n_rows)]
    centers = rng.normal(scale=1.2, size=(n_classes, 4))
    X = centers[np.searchsorted(labels[:n_classes], y)] + rng.normal(size=(n_rows, 4))
    return X, y


@pytest.fixture
def data():
    return make_data()


@pytest.fixture
def data_home():
    """Folder of the real data sets; the test is skipped where there is none."""
    home = os.environ.get("SKDEFER_DATA")
    if not home or not Path(home).is_dir():
        pytest.skip("needs the real data sets: set SKDEFER_DATA to their folder")
    return Path(home)
