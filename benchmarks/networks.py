"""What the deferral networks cost beyond the classifier alone, in seconds per epoch.

A bare torch loop over the same tensors stands beside them. Each case is timed in one process,
taking turns, and the median of the ratios is reported.

    python benchmarks/networks.py
"""

from __future__ import annotations

import os
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import torch
from common import table, write
from torch import nn

from skdefer import ExpertAgnosticDeferralClassifier, PopulationDeferralClassifier
from skdefer.experts import simulate_expert_predictions
from skdefer.neural import MLP

K, EXPERTS, EPOCHS, TURNS = 10, 10, 3, 3


class Eye(nn.Module):
    """A small convolutional network for images of 3 x 32 x 32."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
        )  # fmt: skip

    def forward(self, images):
        return self.layers(images)


CASES = {
    "images 3 x 32 x 32, 1,000 rows, convolutions": ((1_000, 3, 32, 32), Eye),
    "5,000 rows x 200, layers 1024, 1024": ((5_000, 200), lambda: MLP(200, (1024, 1024))),
    "5,000 rows x 50, layer 64": ((5_000, 50), lambda: MLP(50, (64,))),
}


def bare_loop(X, y, backbone):
    """Cross-entropy alone, by hand."""
    torch.manual_seed(0)
    backbone = backbone()
    n_features = backbone(torch.from_numpy(X[:2])).shape[1]
    module = nn.Sequential(backbone, nn.Linear(n_features, K))
    optimizer = torch.optim.Adam(module.parameters(), fused=True)
    rows, labels = torch.from_numpy(X), torch.from_numpy(y)
    start = time.perf_counter()
    for _ in range(EPOCHS):
        order = torch.randperm(len(rows))
        for batch in order.split(128):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(rows[batch]), labels[batch]).backward()
            optimizer.step()
    return (time.perf_counter() - start) / EPOCHS


def fitted(clf, X, y, **given):
    start = time.perf_counter()
    clf.fit(X, y, **given)
    return (time.perf_counter() - start) / EPOCHS


def study(name):
    shape, backbone = CASES[name]
    rng = np.random.default_rng(0)
    y = rng.integers(K, size=shape[0])
    X = rng.normal(size=shape) + y.reshape(-1, *[1] * (len(shape) - 1)) / K
    X = X.astype(np.float32)
    past = rng.integers(K, size=500)
    said = simulate_expert_predictions(past, n_experts=EXPERTS, classes=range(K), random_state=0)
    contexts = [(a, past) for a in said.T]
    record = simulate_expert_predictions(y, n_experts=EXPERTS, classes=range(K), random_state=0)
    common = {
        "backbone": backbone(), "max_iter": EPOCHS, "n_iter_no_change": EPOCHS + 1,
        "threshold": 0.0, "device": "cpu", "random_state": 0,
    }  # fmt: skip
    small = {"rejector_hidden_layer_sizes": (64, 64)}
    routes = {
        "bare loop, classifier alone": lambda: bare_loop(X, y, backbone),
        "classifier alone": lambda: fitted(ExpertAgnosticDeferralClassifier(**common), X, y),
        "EA-L2D, rejector 6 x 256": lambda: fitted(
            ExpertAgnosticDeferralClassifier(**common), X, y, contexts=contexts
        ),
        "EA-L2D, rejector 2 x 64": lambda: fitted(
            ExpertAgnosticDeferralClassifier(**common, **small), X, y, contexts=contexts
        ),
        "L2D-Pop, mean": lambda: fitted(
            PopulationDeferralClassifier(**common, representation="mean"),
            X, y, expert_predictions=record,
        ),
        "L2D-Pop, attention": lambda: fitted(
            PopulationDeferralClassifier(**common), X, y, expert_predictions=record
        ),
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        routes["classifier alone"]()  # what is loaded once
        seconds = {route: [] for route in routes}
        for _ in range(TURNS):
            for route, run in routes.items():
                seconds[route].append(run())
    alone = np.array(seconds["classifier alone"])
    return [
        {
            "case": name,
            "network": route,
            "s per epoch": f"{np.median(taken):.3f}",
            "over the classifier alone": f"{np.median(np.array(taken) / alone):.2f}",
        }
        for route, taken in seconds.items()
    ]


def main():
    rows = [row for name in CASES for row in study(name)]
    print(table(rows, list(rows[0])))
    write("networks", rows=rows)


if __name__ == "__main__":
    main()
