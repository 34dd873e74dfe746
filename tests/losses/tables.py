"""A world of a few discrete rows, in which what a loss should find is known exactly."""

import itertools

import torch

from skdefer.neural import seeded

ETA = torch.tensor(
    [[0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0.05, 0.15, 0.8], [0.34, 0.33, 0.33]], dtype=torch.float64
)  # (n_x, n_classes): P(y | x)
# (n_x, n_classes, n_experts): P(expert right | x, y)
RIGHT = torch.tensor(
    [
        [[0.9, 0.5], [0.8, 0.9], [0.1, 0.3]],
        [[0.2, 0.6], [0.5, 0.6], [0.7, 0.6]],
        [[0.99, 0.1], [0.97, 0.2], [0.98, 0.05]],
        [[0.4, 1.0], [0.6, 0.9], [0.5, 0.95]],
    ],
    dtype=torch.float64,
)
ANSWERED = torch.tensor([[1.0, 0.3], [0.5, 0.9], [0.2, 0.6], [0.7, 0.4]], dtype=torch.float64)
ACCURACY = (ETA.unsqueeze(-1) * RIGHT).sum(1)  # (n_x, n_experts)
ALWAYS = torch.ones_like(ANSWERED)


def outcomes(answered=ALWAYS):
    """(x, y, expert_correct, probability) of all that can happen; each x is as likely."""
    n_x, n_classes, n_experts = RIGHT.shape
    rows = []
    for x, y in itertools.product(range(n_x), range(n_classes)):
        for correct in itertools.product([0.0, 1.0, torch.nan], repeat=n_experts):
            probability = ETA[x, y] / n_x
            for j, c in enumerate(correct):
                right = RIGHT[x, y, j] if c == 1 else 1 - RIGHT[x, y, j]
                said = answered[x, j]
                probability = probability * (1 - said if c != c else said * right)
            if probability > 0:
                rows.append((x, y, correct, float(probability)))
    xs, ys, corrects, probabilities = zip(*rows, strict=True)
    return (
        torch.tensor(xs),
        torch.tensor(ys),
        torch.tensor(corrects, dtype=torch.float64),
        torch.tensor(probabilities, dtype=torch.float64),
    )


def minimise(expected_loss, n_columns):
    """Scores of each x, shape (n_x, n_columns), where a function of them is least."""
    with seeded(0):
        scores = torch.randn(len(ETA), n_columns, dtype=torch.float64).requires_grad_()
    solver = torch.optim.LBFGS(
        [scores], max_iter=2000, tolerance_grad=1e-10, tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure():
        solver.zero_grad()
        value = expected_loss(scores)
        value.backward()
        return value

    solver.step(closure)
    return scores.detach()
