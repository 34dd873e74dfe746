"""The only training loop of the package: Adam or L-BFGS, with an end that can be trusted."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, Options, StrOptions, validate_params
from torch import nn

from skdefer.exceptions import TrainingDivergedWarning
from skdefer.neural._batches import RowBatches
from skdefer.neural._device import flushing_denormals, resolve_device, seeded
from skdefer.neural._lbfgs import LBFGS
from skdefer.neural._prediction import evaluating


@dataclass
class TrainingHistory:
    """What happened while a network was trained.

    Parameters
    ----------
    n_iter : int
        Epochs that were finished, those after the best one too.
    loss_curve : list of float
        Weighted mean loss of the rows during each epoch.
    validation_scores : list of float or None
        What ``validate`` gave after each epoch; None without it.
    best_iter : int
        Epoch, counted from 1, whose weights the network has. Training that was interrupted
        may have gone a little further.
    best_validation_score : float or None
        The score of that epoch; None without ``validate``.
    converged : bool
        Whether training ended because it no longer helped.

    Examples
    --------
    >>> from skdefer.neural import TrainingHistory
    >>> TrainingHistory(n_iter=2, loss_curve=[0.7, 0.5], best_iter=2).converged
    False
    """

    n_iter: int = 0
    loss_curve: list[float] = field(default_factory=list)
    validation_scores: list[float] | None = None
    best_iter: int = 0
    best_validation_score: float | None = None
    converged: bool = False


@validate_params(
    {
        "module": [nn.Module],
        "loss": [callable],
        "solver": [StrOptions({"adam", "lbfgs"})],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "warmup": [Interval(Real, 0, 1, closed="left"), None],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "validate": [callable, None],
        "verbose": ["verbose"],
    },
    prefer_skip_nested_validation=True,
)
def train(
    module: nn.Module,
    loss: Callable[..., torch.Tensor],
    data: Any,
    *,
    sample_weight: Any = None,
    lengths: Any = None,
    solver: str = "adam",
    max_iter: int = 200,
    batch_size: int = 128,
    learning_rate_init: float = 1e-3,
    warmup: float | None = None,
    weight_decay: float = 0.0,
    tol: float = 1e-4,
    n_iter_no_change: float = 10,
    validate: Callable[[], float] | None = None,
    random_state: Any = None,
    device: Any = "cpu",
    verbose: int = 0,
) -> TrainingHistory:
    """Train a network in place on the weighted mean of a loss per row.

    It starts from the weights that the network has, so a second call goes on where the first
    one ended (with new moments), and it ends with weights that are known to be good: those of
    the best epoch with ``validate``, else the last ones that gave finite numbers.

    Parameters
    ----------
    module : nn.Module
        The network; it ends in evaluation mode, on ``device``.
    loss : callable ``loss(module, *batch) -> tensor of shape (n_batch,)``
        The loss of each row. It may draw random numbers.
    data : tuple of tensors of equal length, or Dataset
        The rows. Tensors are moved to the device once, whole. A map-style
        :class:`torch.utils.data.Dataset`, whose items are tuples, is read batch by batch
        (with its ``__getitems__``, where it has one): for data too large for the device.
    sample_weight : array-like of shape (n_rows,), default=None
        Weights of the rows. Rows of weight 0 are left out.
    lengths : array-like of shape (n_rows,), default=None
        Sizes of the rows, in tokens say. Batches are then made of rows of similar size, for a
        network that works as long on each row of a batch as on its longest.
    solver : {"adam", "lbfgs"}, default="adam"
        "adam": a step per batch. "lbfgs": all rows at once, no learning rate, and no chance in it
        but that of the network (dropout misleads it): many times faster for linear models whose
        rows fit in memory.
    max_iter : int, default=200
        Most epochs; of L-BFGS, rounds of 20 iterations.
    batch_size : int, default=128
        Rows per step. Where it holds all rows, they are not shuffled, and a weight of 2 is the
        same as two rows. A last batch of a single row joins the one before. Not read by "lbfgs".
    learning_rate_init : float, default=1e-3
        Step size of Adam. Not read by "lbfgs".
    warmup : float, default=None
        Share of all steps of ``max_iter`` epochs in which the step size rises to
        ``learning_rate_init``; then it falls to 0, both along a line. None: it stays as it is.
        Not read by "lbfgs".
    weight_decay : float, default=0.0
        Weight of the squared norm of all weights, halved, that is added to the loss.
    tol : float, default=1e-4
        An epoch has improved the loss (or the score of ``validate``) if it beats the best so
        far by more than this. "lbfgs" also ends where no gradient is greater.
    n_iter_no_change : int or inf, default=10
        Training ends after so many epochs in a row without improvement; with inf, after
        ``max_iter`` epochs.
    validate : callable ``validate() -> float``, default=None
        Score on held-out rows, better when higher; called after each epoch, in evaluation
        mode and without gradients.
    random_state : int, RandomState or None, default=None
        Seeds the order of the rows, dropout and what ``loss`` and ``validate`` draw from torch;
        see :func:`seeded`.
    device : as in :func:`resolve_device`, default="cpu"
        Where to train.
    verbose : int, default=0
        Above 0: a line per epoch.

    Returns
    -------
    history : TrainingHistory
        The curves, and how it ended.

    Raises
    ------
    ValueError
        For data that are no rows, weights that do not match, a loss that is not one number
        per row, nothing to train, or numbers that are not finite in the very first epoch.

    Warns
    -----
    ConvergenceWarning
        If ``max_iter`` ended the training (unless ``n_iter_no_change`` is inf, or ``warmup`` makes
        it the plan), or the user did, by an interrupt.
    TrainingDivergedWarning
        If losses, gradients or scores were no longer finite. The last good weights (the best,
        with ``validate``) are back.

    Examples
    --------
    >>> import torch
    >>> from torch.nn.functional import cross_entropy
    >>> from skdefer.neural import MLP, predict_in_batches, seeded, train
    >>> with seeded(0):
    ...     X = torch.randn(200, 2)
    ...     network = MLP(2, (16,), 2)
    >>> y = (X[:, 0] > 0).long()
    >>> def loss(network, X, y):
    ...     return cross_entropy(network(X), y, reduction="none")
    >>> history = train(
    ...     network, loss, (X, y), max_iter=50, n_iter_no_change=float("inf"),
    ...     learning_rate_init=0.01, random_state=0,
    ... )
    >>> answers = predict_in_batches(network, X).argmax(axis=1)
    >>> bool((answers == y.numpy()).mean() > 0.9)
    True
    """
    device = resolve_device(device)
    module.to(device)
    weights = [p for p in module.parameters() if p.requires_grad]
    if not weights:
        raise ValueError(
            f"{type(module).__name__} has no weight that requires a gradient; expected something "
            "to train. Unfreeze a layer, or use the network as it is."
        )
    optimizer: torch.optim.Optimizer
    if solver == "lbfgs":
        batch_size = np.iinfo(np.int64).max
        optimizer = LBFGS(weights, tolerance_grad=tol, weight_decay=weight_decay)
    else:
        optimizer = _make_adam(weights, lr=learning_rate_init, weight_decay=weight_decay)
    batches = RowBatches(data, sample_weight, batch_size, device, weights[0].dtype, lengths)
    schedule = None
    if warmup is not None and solver == "adam":
        schedule = _rise_and_fall(optimizer, warmup, max_iter * len(batches.sizes))
    history = TrainingHistory(validation_scores=None if validate is None else [])
    best = _BestWeights(module)
    ended = ""
    try:
        with seeded(random_state), torch.enable_grad(), flushing_denormals():
            history.converged = _run(
                module, loss, batches, optimizer, schedule, history, best,
                max_iter=max_iter, tol=tol, n_iter_no_change=n_iter_no_change,
                validate=validate, verbose=verbose,
            )  # fmt: skip
    except KeyboardInterrupt:
        ended = "interrupted"
    except _NotFiniteError as error:
        ended = str(error)
    finally:
        optimizer.zero_grad(set_to_none=True)  # gradients take as much memory as the weights
        module.eval()
    # An interrupt leaves weights that are newer than the last epoch's, and as good, but
    # for those that L-BFGS was only trying.
    newer = ended == "interrupted" and solver != "lbfgs" and _are_finite(weights)
    if validate is not None or not newer:
        best.restore()
    planned = n_iter_no_change == np.inf or schedule is not None
    _warn_of_the_end(ended, history, max_iter, planned)
    return history


def _make_adam(weights: list[nn.Parameter], **options: Any) -> torch.optim.Adam:
    try:  # one pass over each weight: on small networks much of the time
        return torch.optim.Adam(weights, fused=True, **options)
    except RuntimeError:  # not on this device, or not in this version
        return torch.optim.Adam(weights, **options)


def _rise_and_fall(
    optimizer: torch.optim.Optimizer, warmup: float, n_steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    rising = warmup * n_steps

    def share(step: int) -> float:  # of the step size; above 0 at the first and the last step
        return min((step + 1) / (rising + 1), (n_steps - step) / (n_steps - rising))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, share)


class _NotFiniteError(ArithmeticError):
    """Losses, gradients or scores were no longer finite; says which."""


def _run(
    module, loss, batches, optimizer, schedule, history, best,
    *, max_iter, tol, n_iter_no_change, validate, verbose,
):  # fmt: skip
    """Run epochs until nothing improves (True) or ``max_iter`` is reached (False)."""
    best_score, n_without = -np.inf, 0
    module.train()
    for epoch in range(1, max_iter + 1):
        mean_loss = _run_epoch(module, loss, batches, optimizer, schedule)
        score = -mean_loss
        if validate is not None:
            with evaluating(module):
                score = float(validate())
            if np.isnan(score):
                raise _NotFiniteError("The validation score")
            history.validation_scores.append(score)
        history.n_iter = epoch
        history.loss_curve.append(mean_loss)
        if verbose:
            said = "" if validate is None else f", validation score = {score:.6f}"
            print(f"Epoch {epoch}, loss = {mean_loss:.8f}{said}")
        n_without = 0 if score > best_score + tol else n_without + 1
        if validate is None or score > best_score or not history.best_iter:
            history.best_iter = epoch
            history.best_validation_score = None if validate is None else score
            best.keep()
        best_score = max(score, best_score)
        if n_without >= n_iter_no_change or getattr(optimizer, "arrived", False):
            return True
    return False


def _run_epoch(module, loss, batches, optimizer, schedule):
    """Take one step per batch; return the mean loss over all rows."""
    means = []
    for batch, weight in batches.epoch():
        n_batch = len(batch[0])

        def closure(batch=batch, weight=weight, n_batch=n_batch):
            optimizer.zero_grad()
            losses = loss(module, *batch)
            if losses.shape != (n_batch,):
                raise ValueError(
                    f"The loss of {n_batch} rows has shape {tuple(losses.shape)}; expected "
                    f"({n_batch},), a number per row. Don't reduce it (reduction='none')."
                )
            mean = losses.mean() if weight is None else (losses * weight).mean()
            mean.backward()
            return mean

        means.append(optimizer.step(closure).detach() * n_batch)
        if schedule is not None:
            schedule.step()
    # Looked at once per epoch: each look waits for the device.
    mean_loss = sum(torch.stack(means).tolist()) / batches.n_rows
    if not math.isfinite(mean_loss):
        raise _NotFiniteError("The loss")
    # A gradient that was ever NaN, infinite or too large to be squared stays in the moments.
    squares = [s["exp_avg_sq"] for s in optimizer.state.values() if "exp_avg_sq" in s]
    if not _are_finite([*squares, *optimizer.param_groups[0]["params"]]):
        raise _NotFiniteError("A gradient")
    return mean_loss


def _are_finite(tensors: Sequence[torch.Tensor]) -> bool:
    with torch.no_grad():
        return math.isfinite(sum(torch.stack([tensor.sum() for tensor in tensors]).tolist()))


class _BestWeights:
    """A copy of the weights and buffers of a network at its best epoch."""

    def __init__(self, module: nn.Module):
        self.tensors = [t.detach() for t in (*module.parameters(), *module.buffers())]
        self.copies: list[torch.Tensor] | None = None

    def keep(self) -> None:
        if self.copies is None:
            self.copies = [tensor.clone() for tensor in self.tensors]
            return
        for copy, tensor in zip(self.copies, self.tensors, strict=True):
            copy.copy_(tensor)

    def restore(self) -> None:
        for copy, tensor in zip(self.copies or (), self.tensors, strict=False):
            tensor.copy_(copy)


def _warn_of_the_end(ended, history, max_iter, planned):
    category: type[Warning] = ConvergenceWarning
    if ended == "interrupted":
        which = "so far"
        if history.best_validation_score is not None:
            which = f"of epoch {history.best_iter}, the best one,"
        message = (
            f"Training was interrupted in epoch {history.n_iter + 1}. The weights {which} are kept."
        )
    elif ended:
        category = TrainingDivergedWarning
        message = (
            f"{ended} was no longer finite in epoch {history.n_iter + 1}. Lower "
            "learning_rate_init, scale X (with StandardScaler, say), and look for NaN in it."
        )
        if not history.best_iter:
            raise ValueError(f"{message} There is no epoch to go back to.")
        message += f" The weights of epoch {history.best_iter} are back."
    elif history.converged or planned:
        return
    else:
        what = "training loss" if history.validation_scores is None else "validation score"
        message = (
            f"Training ended after max_iter={max_iter} epochs, while the {what} was still "
            "improving. Raise max_iter, learning_rate_init or tol, or scale X."
        )
    # The caller of train, which scikit-learn's check of parameters wraps.
    warnings.warn(message, category, stacklevel=4)
