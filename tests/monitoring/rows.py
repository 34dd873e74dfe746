"""Rows of a system with known rates, and monitors of it."""

import numpy as np

from skdefer.monitoring import DeferralMonitor

NAMES = ["nurse", "doctor"]


def make_rows(n, rng, *, kept_error=0.1, nurse=0.8, handed=0.3, shift=0.0, silent=0.05):
    """Rows of a system of two experts with known rates."""
    route = np.where(rng.random(n) < handed, 1 + (rng.random(n) < 0.5), 0)
    y = rng.integers(2, size=n)
    skill = np.array([nurse, 0.95])
    answers = np.where(rng.random((n, 2)) < skill, y[:, None], 1 - y[:, None]).astype(object)
    answers[rng.random(n) < silent] = None
    model = np.where(rng.random(n) < 1 - kept_error, y, 1 - y)
    y_pred = model.astype(object)
    for j in range(2):
        rows = (route == j + 1) & (answers[:, j] != None)  # noqa: E711
        y_pred[rows] = answers[rows, j]
    return {
        "score": rng.normal(shift, 1, size=(n, 2)),
        "panel": route,
        "y_pred": y_pred,
        "y": y,
        "expert_predictions": answers,
    }


def started(seed=0, n=2000, **params):
    rows = make_rows(n, np.random.default_rng(seed))
    return DeferralMonitor(**{"random_state": 0, **params}).fit(**rows, names=NAMES)


def rows_of(batch, rows):
    return {k: v[rows] for k, v in batch.items()}


def state_of(monitor):
    """Everything it knows, as plain numbers."""
    watches = {
        name: (
            w.n,
            w.total,
            *(
                None if s is None else [np.asarray(v).tolist() for v in vars(s).values()]
                for s in (w.rising, w.falling)
            ),
        )
        for name, w in monitor._watches.items()
    }
    return watches, monitor.alarms_, monitor.n_decided_, monitor.n_checked_, monitor.n_unchecked_
