"""What the deferral networks share: checks, held-out rows, calibration, scores, pickling."""

from __future__ import annotations

import copy
import numbers
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import validate_data

from skdefer.costs import resolve_cost, resolve_error_cost
from skdefer.deferral._held_out import HeldOutMixin, Rows
from skdefer.deferral._out_of_fold import check_groups
from skdefer.deferral._record import buy_answers, check_classes, read_record
from skdefer.experts._base import Expert
from skdefer.experts._panel import learn_profiles, visible
from skdefer.experts._profile import ExpertProfile, always_right
from skdefer.neural._held_out import check_enough_to_calibrate, hold_out
from skdefer.neural._temperature import check_temperature, fit_temperature
from skdefer.policies import CostPolicy
from skdefer.policies._base import warn_of_capacities
from skdefer.utils._optional import import_optional
from skdefer.utils._rows import check_rows
from skdefer.utils._validation import (
    check_target,
    check_weights,
    encode_answers,
)

_BATCH_ROWS = 4096  # rows per batch where nothing is learned
# Parameters that a network can't change once it is made.
_ARCHITECTURE = {
    "hidden_layer_sizes",
    "rejector_hidden_layer_sizes",
    "context_hidden_layer_sizes",
    "embedding_size",
    "n_heads",
    "representation",
}


class NeuralDeferralMixin(HeldOutMixin):
    """The part of a deferral network that does not depend on how it is trained.

    A subclass reads its experts, calls ``_fit_network`` and writes ``_new_module(X)``,
    ``_objective(rows, seed)``, ``_scores(X)`` and ``_priority(scores, proba)``.
    """

    _parameter_constraints: dict = {
        "experts": "no_validation",
        "hidden_layer_sizes": ["array-like", Interval(numbers.Integral, 1, None, closed="left")],
        "backbone": [HasMethods(["forward", "parameters"]), None],
        "threshold": [StrOptions({"tuned"}), Interval(numbers.Real, -1, 1, closed="both")],
        "calibration": [StrOptions({"temperature"}), None],
        "policy": [HasMethods(["fit", "route"]), None],
        "cost": "no_validation",
        "error_cost": "no_validation",
        "on_missing": [StrOptions({"raise", "model", "next"})],
        "memory": [str, HasMethods(["cache"]), None],
        "learning_rate_init": [Interval(numbers.Real, 0, None, closed="neither")],
        "weight_decay": [Interval(numbers.Real, 0, None, closed="left")],
        "batch_size": [Interval(numbers.Integral, 1, None, closed="left")],
        "max_iter": [Interval(numbers.Integral, 1, None, closed="left")],
        "tol": [Interval(numbers.Real, 0, None, closed="left")],
        "n_iter_no_change": [Interval(numbers.Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(numbers.Real, 0, 1, closed="neither")],
        "warm_start": ["boolean"],
        "device": "no_validation",
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    # -- fit ----------------------------------------------------------------------------

    def _start(
        self, X: Any, y: Any, sample_weight: Any, groups: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Check what needs no expert; returns labels and weights."""
        self._validate_params()
        import_optional("torch", needed_for=type(self).__name__)
        if self.calibration:
            check_temperature()
        n_rows = check_rows(X)
        y = check_target(y, n_rows)
        if groups is not None:
            check_groups(groups, n_rows)
        weight = check_weights(sample_weight, n_rows)
        if not weight.any():
            raise ValueError("Every sample_weight is zero; expected one weight above 0 at least.")
        check_classes(y[weight > 0])
        self.classes_ = check_classes(y)
        if resolve_error_cost(self.error_cost, self.classes_)[1] is not None:
            raise ValueError(
                f"error_cost is a matrix; {type(self).__name__} learns from errors that all cost "
                "the same and takes a number. DeferralClassifier takes a matrix."
            )
        self.error_cost_ = None
        return y, weight

    def _read_answers(
        self, X: Any, expert_predictions: Any
    ) -> tuple[dict[str, Expert], np.ndarray | None]:
        """Name the experts and find their answers, on record or by asking."""
        panel, answers = read_record(self.experts, X, expert_predictions, self.classes_)
        self._set_panel(panel)
        if self._rejects_only:
            return panel, None
        return panel, buy_answers(
            panel,
            X,
            answers,
            self.classes_,
            np.ones(len(answers), dtype=bool),
            store=self._store(),
            random_state=self.random_state,
        )

    def _fit_network(
        self,
        X: Any,
        y: np.ndarray,
        answers: np.ndarray | None,
        weight: np.ndarray,
        panel: dict[str, Expert],
        groups: Any,
        profiles: list[ExpertProfile] | None = None,
    ) -> None:
        from skdefer.neural import resolve_device, seeded, train

        self._set_panel(panel)
        self._from_contexts = profiles
        seen = visible(X, panel)
        codes = None if answers is None else encode_answers(answers, self.classes_)
        y_codes = np.searchsorted(self.classes_, y)
        policy = self._checked_policy(panel)
        whole = Rows(self._check_X(seen, reset=True), y_codes, weight, answers, codes, seen)
        rng = check_random_state(self.random_state)
        counted = np.flatnonzero(weight > 0)
        taught, held_out = counted, counted[:0]
        tunes = self.threshold == "tuned" and not self._rejects_only
        if self.early_stopping or self.calibration or tunes or policy.learns:
            taught, held_out = hold_out(whole.y, groups, counted, self.validation_fraction, rng)
        if self.calibration:
            check_enough_to_calibrate(held_out)
        rows, held = whole.take(taught), whole.take(held_out)

        self.device_ = str(resolve_device(self.device))
        seeds = rng.randint(2**31 - 1, size=3)
        with seeded(int(seeds[0])):
            module = self.module_ = self._initial_module(rows.X)
        self.threshold_, self.calibrator_ = 0.0, None
        self.profiles_ = self._learn_profiles(rows)
        loss, tensors = self._objective(rows, int(seeds[1]))
        history = train(
            module,
            loss,
            tensors,
            sample_weight=rows.weight,
            lengths=self._lengths(rows.X),
            solver=getattr(self, "solver", "adam"),
            max_iter=self.max_iter,
            batch_size=self._batch_size(len(rows.y)),
            learning_rate_init=self.learning_rate_init,
            weight_decay=self.weight_decay,
            tol=self.tol,
            n_iter_no_change=self.n_iter_no_change,
            validate=(lambda: self._validation_score(held)) if self.early_stopping else None,
            random_state=int(seeds[2]),
            device=self.device_,
            verbose=self.verbose,
        )
        self.n_iter_, self.loss_curve_ = history.n_iter, history.loss_curve
        self.validation_scores_ = history.validation_scores
        if self.calibration:
            logits = self._class_logits(self._scores(held.X))
            self.calibrator_ = fit_temperature(logits, held.y, held.weight)
        if tunes:
            self.threshold_ = self._tune_threshold(held)
        elif self.threshold != "tuned":
            self.threshold_ = float(self.threshold)
        if policy.learns:  # before the profiles learn the answers of held-out rows
            self._fit_policy(policy, held)
        self.profiles_ = self._learn_profiles(whole)
        del self._from_contexts
        self._set_policy(policy)

    def _checked_policy(self, panel: dict[str, Expert]) -> Any:
        """Make the policy, and look at prices, before anything is trained."""
        policy = CostPolicy() if self.policy is None else clone(self.policy)
        if hasattr(policy, "_validate_params"):
            policy._validate_params()
        warn_of_capacities(policy, panel)
        if not callable(self.cost):
            resolve_cost(self.cost, list(panel), [e.cost for e in panel.values()], None, 0)
        return policy

    def _learn_profiles(self, rows: Rows) -> list[ExpertProfile]:
        if self._rejects_only:
            return [always_right(self.classes_, "expert")]
        if rows.answers is None:
            return self._from_contexts or []
        known = [e.profile or ExpertProfile(name=name) for name, e in self._panel.items()]
        labels = self.classes_[rows.y]
        return learn_profiles(known, rows.answers, labels, rows.weight, self.classes_)

    def _batch_size(self, n_rows: int) -> int:
        return self.batch_size

    def _check_X(self, X: Any, *, reset: bool) -> np.ndarray:
        backbone = self.backbone if reset else self.module_.backbone
        if hasattr(backbone, "encode"):  # it reads rows as they came, such as texts
            from skdefer.neural._backbone import encode_rows

            return encode_rows(backbone, X)
        try:
            X = validate_data(
                self,
                X,
                reset=reset,
                dtype=[np.float64, np.float32],
                allow_nd=True,
                ensure_2d=self.backbone is None,
            )
        except ValueError as error:
            if "could not convert string" not in str(error):
                raise
            raise ValueError(
                f"{error}. A network reads numbers: encode the columns before it. For texts pass "
                "backbone=skdefer.neural.TransformerBackbone(...)."
            ) from error
        if X.ndim > 2 and self.backbone is None:
            raise ValueError(
                f"X has shape {X.shape}; expected (n_rows, n_features), which is what an MLP "
                "reads. Pass backbone=, a torch module that turns such rows into features, or "
                "flatten them."
            )
        return X if X.flags.writeable else X.copy()  # torch shares memory, and warns of this

    def _initial_module(self, X: np.ndarray) -> Any:
        """Make the network, or take the one of the last fit for a warm start."""
        import torch

        from skdefer.neural._backbone import prepare_backbone

        sizes = {k: v for k, v in self.get_params(deep=False).items() if k in _ARCHITECTURE}
        sizes.update(self._outputs())
        network = (X.shape[1:], self.classes_.tolist(), self.backbone is None, str(sizes))
        if self.warm_start and hasattr(self, "module_"):
            if network != self._network:
                raise ValueError(
                    f"warm_start goes on with a network for rows of shape {self._network[0]}, the "
                    f"classes {self._network[1]} and the layers of the last fit; these are rows of "
                    f"shape {network[0]}, classes {network[1]} and {sizes}. Pass warm_start=False "
                    "for a new network."
                )
            return copy.deepcopy(self.module_)  # copies that serve other experts have the old one
        self._network: tuple[Any, ...] = network
        dtype = torch.from_numpy(X[:1]).dtype
        on_cpu = self.device_ == "cpu"
        if not (on_cpu and dtype.is_floating_point):  # double is slow elsewhere, or missing
            dtype = torch.float32
        layers = np.atleast_1d(self.hidden_layer_sizes).tolist()
        backbone, n_features, dtype = prepare_backbone(self.backbone, layers, X[:2], dtype)
        return self._new_module(backbone, n_features).to(dtype)

    def _outputs(self) -> dict[str, Any]:
        """What, beside layers and classes, the network can't change once it is made."""
        return {}

    def _tensors(self, *arrays: np.ndarray) -> tuple[Any, ...]:
        """Bring arrays to tensors of the network's dtype; integers stay integers."""
        import torch

        dtype = next(self.module_.parameters()).dtype
        tensors = (torch.from_numpy(np.ascontiguousarray(a)) for a in arrays)
        return tuple(t.to(dtype) if t.is_floating_point() else t for t in tensors)

    def _lengths(self, X: np.ndarray) -> np.ndarray | None:
        """Sizes of the rows, where the backbone says that they matter."""
        find = getattr(self.module_.backbone, "row_lengths", None)
        return None if find is None else find(X)

    # -- what the contract asks for ---------------------------------------------------------

    @property
    def score_is_calibrated(self):
        """Whether scores are in errors, so that costs can be subtracted."""
        return hasattr(self, "experts_") and self._rejects_only

    def _proba_of(self, scores: np.ndarray) -> np.ndarray:
        logits = self._class_logits(scores)
        if self.calibrator_ is not None:
            return self.calibrator_.predict_proba(logits)
        return softmax(logits, axis=1)

    def _class_logits(self, scores: np.ndarray) -> np.ndarray:
        """Numbers whose softmax are the class probabilities, shape (n_rows, n_classes)."""
        return scores[:, : len(self.classes_)]

    def _model_proba(self, X):
        return self._proba_of(self._scores(self._check_X(X, reset=False), classes_only=True))

    def _route_losses(self, proba, X):
        return self._proba_and_losses(X)[1]

    def _proba_and_losses(self, X):
        return self._read_network(self._check_X(X, reset=False))

    def _read_network(self, X):
        """Class probabilities and expected losses of rows that are checked already."""
        # One pass through the network, whatever X is: it may be the costly part.
        scores = self._scores(X, classes_only=self._rejects_only)
        proba = self._proba_of(scores)
        kept = 1.0 - proba.max(axis=1, keepdims=True)
        if self._rejects_only:
            return proba, np.hstack([kept, np.zeros_like(kept)])
        return proba, np.hstack([kept, kept - self._priority(scores, proba) + self.threshold_])

    def _serve_profiles(self, profiles, met):
        if self._rejects_only:
            raise ValueError(
                f"This {type(self).__name__} was fitted without experts, so it has not learned "
                "when one is worth asking. Fit it with experts, or with what some have answered."
            )
        self.profiles_ = list(profiles)

    def _uncertainty(self, proba, X):
        return np.column_stack([profile.uncertainty(proba) for profile in self._served])

    def _in_batches(self, function: Any, *arrays: np.ndarray) -> np.ndarray:
        """Apply the network to rows, a batch at a time."""
        from skdefer.neural import predict_in_batches, resolve_device

        try:
            device = resolve_device(self.device)
        except ValueError:  # fitted elsewhere: weights serve on whatever is here
            device = resolve_device("auto")
        self.module_.to(device)
        lengths = self._lengths(arrays[0])
        # Long rows take their room in a backbone, which training has shown to be there.
        batch = max(_BATCH_ROWS // self.n_experts_, 64) if lengths is None else self.batch_size
        scores = predict_in_batches(
            function, *self._tensors(*arrays), batch_size=batch, device=device, lengths=lengths
        )
        return scores.astype(np.float64, copy=False)

    def __copy__(self):
        # Not through __getstate__: a copy that serves other experts shares the network.
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def __getstate__(self):
        from skdefer.neural import portable_state

        return portable_state(super().__getstate__())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        reads_raw = hasattr(self.backbone, "encode")
        tags.input_tags.string = reads_raw
        tags.input_tags.two_d_array = not reads_raw
        tags.input_tags.three_d_array = self.backbone is not None and not reads_raw
        return tags
