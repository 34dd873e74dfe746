"""Experts that are not there: answers drawn from a known skill, one draw a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import joblib
import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit
from sklearn.exceptions import NotFittedError
from sklearn.metrics import euclidean_distances
from sklearn.utils import check_array, check_random_state, column_or_1d

from skdefer.experts._base import Expert
from skdefer.utils._rows import count_rows, row_keys
from skdefer.utils._validation import MISSING, decode_answers, encode_answers, is_missing

_KINDS = ("oracle", "confusion", "features", "prototypes")


def simulate_expert_predictions(
    y: Any,
    X: Any = None,
    *,
    kind: str = "oracle",
    n_experts: int | None = None,
    classes: Sequence[Any] | None = None,
    oracle_classes: Sequence[Any] | None = None,
    p_in: Any = 1.0,
    p_out: Any = 0.2,
    confusion: Any = None,
    error_rate: Any = 0.2,
    slope: float = 2.0,
    weights: Any = None,
    n_relevant: int | None = None,
    n_prototypes: int = 3,
    shared: float = 0.0,
    missing_rate: float = 0.0,
    one_per_row: bool = False,
    random_state: Any = None,
) -> np.ndarray:
    """Draw what experts of a known skill would answer.

    It answers: what would deferral gain if experts were like this? Each kind fixes
    P(right) of an expert on a row, and then draws:

    - ``"oracle"`` (Tailor et al. 2024): right with ``p_in`` on its own classes; elsewhere
      right with ``p_out``, else any of the K classes with equal probability, so that the
      accuracy there is p_out + (1 - p_out) / K;
    - ``"confusion"``: P(answer a | truth k) = ``confusion[k, a]``;
    - ``"features"`` (OpenL2D 2024): P(wrong) = sigmoid(b + slope * w.x / |w|) on standardised
      columns, with b solved so that the mean over the rows is ``error_rate``;
    - ``"prototypes"``: the same with the standardised distance from the nearest of the
      rows that the expert knows in place of w.x / |w|.

    Where nothing else is said, a wrong answer is any other class with equal probability.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
        The truth; no label may be missing.
    X : array-like of shape (n_rows, n_features), default=None
        Numbers, for the kinds "features" and "prototypes".
    kind : {"oracle", "confusion", "features", "prototypes"}, default="oracle"
        What the experts' skill depends on.
    n_experts : int, default=None
        How many experts; None: one, and a result of shape ``(n_rows,)``.
    classes : sequence, default=None
        All labels, where ``y`` may lack some; None: those of ``y``.
    oracle_classes : sequence of labels, default=None
        What an oracle knows; with ``n_experts`` one sequence per expert. None: one class each,
        drawn at random, all classes in turn before any comes twice.
    p_in, p_out : float or sequence of float, default=1.0 and 0.2
        For every oracle, or one number per expert.
    confusion : array-like of shape (n_classes, n_classes), default=None
        Rows are the sorted true labels and sum to 1; or one matrix per expert.
    error_rate : float or sequence of float, default=0.2
        For the kinds "features" and "prototypes".
    slope : float, default=2.0
        How much of the log-odds of an error one standard deviation makes.
    weights : array-like of shape (n_features,), default=None
        w of the kind "features"; or one row per expert. None: normal on ``n_relevant``
        random features, 0 on the others.
    n_relevant : int, default=None
        None: a third of the features, at least one.
    n_prototypes : int, default=3
        How many rows an expert knows.
    shared : float in [0, 1], default=0.0
        Shared difficulty. On this share of the rows one uniform number decides for all
        experts, so that whoever is more skilled is right whenever a less skilled one is. No
        expert's accuracy changes; the correlation of errors grows linearly.
    missing_rate : float in [0, 1], default=0.0
        Share of the answers that are missing, at random.
    one_per_row : bool, default=False
        Each row is shown to one expert only, drawn at random.
    random_state : int, RandomState instance or None, default=None
        Fixes skills and draws.

    Returns
    -------
    answers : ndarray of shape (n_rows,) or (n_rows, n_experts)
        Labels, in the dtype of the labels. With ``missing_rate`` above 0 or ``one_per_row`` of
        dtype object, None where there is no answer.

    Raises
    ------
    ValueError
        For a parameter outside its range, a shape that doesn't fit, missing labels, or a
        kind that needs X without one.

    See Also
    --------
    SimulatedExpert : one such expert, who can be asked.

    References
    ----------
    Tailor et al. (2024), Learning to defer to a population (arXiv 2403.02683). Alves et al.
    (2024), OpenL2D.

    Examples
    --------
    >>> import numpy as np
    >>> from skdefer.experts._simulated import simulate_expert_predictions
    >>> y = np.repeat(["cat", "dog"], 500)
    >>> answers = simulate_expert_predictions(y, oracle_classes=["cat"], random_state=0)
    >>> bool((answers == y)[:500].all()), round(float((answers == y)[500:].mean()), 1)
    (True, 0.6)
    """
    skill = _Skill(
        kind, oracle_classes, p_in, p_out, confusion, error_rate, slope, weights, n_relevant,
        n_prototypes,
    )  # fmt: skip
    if n_experts is not None:
        _check_count("n_experts", n_experts)
    for name, value in (("shared", shared), ("missing_rate", missing_rate)):
        _check_share(name, value)
    known, truth = _check_labels(y, classes)
    rng = check_random_state(random_state)
    n, J = len(truth), n_experts or 1
    accuracy, confused = skill.resolve(truth, X, known, n_experts, rng)
    luck = rng.uniform(size=(n, J))
    luck = np.where(rng.uniform(size=(n, 1)) < shared, rng.uniform(size=(n, 1)), luck)
    codes = draw_answers(truth, accuracy, luck, rng.uniform(size=(n, J)), len(known), confused)
    if one_per_row:
        codes[rng.randint(J, size=n)[:, None] != np.arange(J)] = MISSING
    codes[rng.uniform(size=(n, J)) < missing_rate] = MISSING
    codes = codes[:, 0] if n_experts is None else codes
    return decode_answers(codes, known) if one_per_row or missing_rate > 0 else known[codes]


class SimulatedExpert(Expert):
    """An expert of a known skill who can be asked, and always says the same of the same row.

    ``fit`` shows it the truth of all rows that it may ever be asked for. Its luck on a row is a
    function of the row's content and the seed alone: batch, order and process do not matter, and
    an "oracle" or "confusion" expert fitted on more rows answers the old ones as before. Rows
    that it was not shown have no answer (None).

    Parameters
    ----------
    kind : {"oracle", "confusion", "features", "prototypes"}, default="oracle"
        What its skill depends on; see :func:`simulate_expert_predictions`, also for the
        parameters that follow.
    classes, oracle_classes, p_in, p_out, confusion, error_rate, slope, weights, n_relevant, \
n_prototypes
        Its skill, of one expert.
    shared : float in [0, 1], default=0.0
        On this share of the rows, the expert's luck is that of all experts with the same
        ``shared_seed``: rows that are hard for one are hard for all.
    shared_seed : int, default=0
        Which rows these are, and how hard.
    missing_rate : float in [0, 1], default=0.0
        Share of the rows that it doesn't answer, at random.
    random_state : int, default=0
        Seed of its skill and of its luck. Give each expert its own.
    name, version, cost, capacity, max_queries
        As in :class:`Expert`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels it knows of.

    Notes
    -----
    Rows of equal content are one row to it; where their labels differ, the first counts.

    Examples
    --------
    >>> import numpy as np
    >>> from skdefer.experts._simulated import SimulatedExpert
    >>> X, y = np.arange(6.0).reshape(6, 1), np.array([0, 0, 0, 1, 1, 1])
    >>> expert = SimulatedExpert(oracle_classes=[1], p_out=0.0, name="dr. b").fit(X, y)
    >>> expert.answers(X[3:])
    array([1, 1, 1], dtype=object)
    >>> expert.answers([[99.0]])
    array([None], dtype=object)
    """

    def __init__(
        self,
        kind: str = "oracle",
        *,
        classes: Sequence[Any] | None = None,
        oracle_classes: Sequence[Any] | None = None,
        p_in: float = 1.0,
        p_out: float = 0.2,
        confusion: Any = None,
        error_rate: float = 0.2,
        slope: float = 2.0,
        weights: Any = None,
        n_relevant: int | None = None,
        n_prototypes: int = 3,
        shared: float = 0.0,
        shared_seed: int = 0,
        missing_rate: float = 0.0,
        random_state: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        for name, value in (("shared", shared), ("missing_rate", missing_rate)):
            _check_share(name, value)
        for name, seed in (("shared_seed", shared_seed), ("random_state", random_state)):
            _check_count(name, seed, least=0)
        self.classes = classes
        self.shared = shared
        self.shared_seed = shared_seed
        self.missing_rate = missing_rate
        self.random_state = random_state
        self._skill = _Skill(
            kind, oracle_classes, p_in, p_out, confusion, error_rate, slope, weights, n_relevant,
            n_prototypes,
        )  # fmt: skip

    def fit(self, X: Any, y: Any) -> SimulatedExpert:
        """Show the truth, and draw an answer to each row.

        Parameters
        ----------
        X : array, sparse matrix, DataFrame or list of length n_rows
            Every row that may be asked for, as it will be asked for.
        y : array-like of shape (n_rows,)
            The truth.

        Returns
        -------
        self : SimulatedExpert
            Can be asked from now on.

        Raises
        ------
        ValueError
            For a skill that doesn't fit the data; see :func:`simulate_expert_predictions`.
        """
        self.classes_, truth = _check_labels(y, self.classes)
        if count_rows(X) != len(truth):
            raise ValueError(
                f"X has {count_rows(X)} rows, y has {len(truth)}; pass one label per row."
            )
        rng = check_random_state(self.random_state)
        accuracy, confused = self._skill.resolve(truth, X, self.classes_, None, rng)
        luck, slip = _uniforms(X, f"a{self.random_state}")
        if self.shared > 0:
            common, switch = _uniforms(X, f"s{self.shared_seed}")
            luck = np.where(switch < self.shared, common, luck)
        codes = draw_answers(
            truth, accuracy, luck[:, None], slip[:, None], len(self.classes_), confused
        )[:, 0]
        if self.missing_rate > 0:
            codes[_uniforms(X, f"m{self.random_state}")[0] < self.missing_rate] = MISSING
        self._keys, first = np.unique(row_keys(X), return_index=True)
        self._codes = codes[first]
        return self

    def answers(self, X: Any, explanation: Any = None) -> np.ndarray:
        """Look the rows up; see :meth:`Expert.answers`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If ``fit`` was not called.
        """
        if not hasattr(self, "_keys"):
            raise NotFittedError(
                f"{self!r} has not seen the truth that its answers are drawn from. Call "
                "fit(X, y) with all rows that it may be asked for."
            )
        keys = row_keys(X)
        if not len(self._keys):
            return np.full(len(keys), None, dtype=object)
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        codes = np.where(self._keys[at] == keys, self._codes[at], MISSING)
        return decode_answers(codes, self.classes_)

    def cache_key(self) -> str | None:
        """Name the version, or the drawn answers by their content."""
        if self.version is not None or not hasattr(self, "_keys"):
            return self.version
        return joblib.hash((self._keys, self._codes, self.classes_))

    def __repr__(self) -> str:
        return f"SimulatedExpert(kind={self._skill.kind!r}, name={self.name!r})"


@dataclass(frozen=True, eq=False)
class _Skill:
    """How experts are right and wrong, before the labels are known."""

    kind: str
    oracle_classes: Any
    p_in: Any
    p_out: Any
    confusion: Any
    error_rate: Any
    slope: float
    weights: Any
    n_relevant: int | None
    n_prototypes: int

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ValueError(f"kind is {self.kind!r}; expected one of {list(_KINDS)}.")
        for name in ("p_in", "p_out", "error_rate"):
            _check_share(name, getattr(self, name))
        if not np.isfinite(self.slope):
            raise ValueError(f"slope is {self.slope!r}; expected a finite number.")
        _check_count("n_prototypes", self.n_prototypes)
        if self.n_relevant is not None:
            _check_count("n_relevant", self.n_relevant)
        if self.kind == "confusion" and self.confusion is None:
            raise ValueError(
                "kind='confusion' needs confusion=, a matrix of P(answer | truth) whose rows sum "
                "to 1."
            )

    def resolve(
        self, truth: np.ndarray, X: Any, classes: np.ndarray, n_experts: int | None, rng: Any
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Give P(right) of shape (n_rows, J), and P(answer | truth) of shape (J, K, K) if any."""
        J = n_experts or 1
        if self.kind == "oracle":
            confused = self._oracle_confusion(classes, n_experts, rng)
        elif self.kind == "confusion":
            confused = self._given_confusion(len(classes), J)
        else:
            return 1 - self._error_by_features(X, len(truth), J, rng), None
        return confused[:, truth, truth].T, confused

    def _oracle_confusion(self, classes: np.ndarray, n_experts: int | None, rng: Any) -> np.ndarray:
        K, J = len(classes), n_experts or 1
        if self.oracle_classes is None:
            order = rng.permutation(K)
            own = [[classes[order[j % K]]] for j in range(J)]
        else:
            own = [self.oracle_classes] if n_experts is None else list(self.oracle_classes)
        if len(own) != J or any(np.ndim(labels) != 1 for labels in own):
            raise ValueError(
                f"oracle_classes is {self.oracle_classes!r}; expected "
                + ("a sequence of labels." if n_experts is None else f"{J} sequences of labels.")
            )
        known = np.zeros((J, K, 1), dtype=bool)
        for j, labels in enumerate(own):
            codes = encode_answers(np.asarray(labels), classes)
            if (codes < 0).any():
                raise ValueError(
                    f"oracle_classes has {list(labels)}, but the classes are {classes.tolist()}. "
                    "Name some of these, or pass classes=."
                )
            known[j, codes] = True
        p_in, p_out = (
            _per_expert(n, getattr(self, n), J)[:, None, None] for n in ("p_in", "p_out")
        )
        inside = np.where(np.eye(K, dtype=bool), p_in, (1 - p_in) / max(K - 1, 1))
        outside = np.eye(K) * p_out + (1 - p_out) / K
        return np.where(known, inside, outside)

    def _given_confusion(self, K: int, J: int) -> np.ndarray:
        given = np.asarray(self.confusion, dtype=float)
        if given.shape not in ((K, K), (J, K, K)):
            raise ValueError(
                f"confusion has shape {given.shape}; expected ({K}, {K}), or ({J}, {K}, {K}) for "
                f"{J} experts: a row per true class, a column per answer."
            )
        if not ((given >= 0).all() and np.allclose(given.sum(axis=-1), 1)):
            raise ValueError(
                "confusion has negative entries, NaN, or rows that do not sum to 1; expected "
                "P(answer | truth). Divide each row by its sum."
            )
        return np.broadcast_to(given, (J, K, K))

    def _error_by_features(self, X: Any, n_rows: int, J: int, rng: Any) -> np.ndarray:
        if X is None:
            raise ValueError(f"kind={self.kind!r} needs X, numbers of shape (n_rows, n_features).")
        X = check_array(X, dtype=np.float64, input_name="X")
        if len(X) != n_rows:
            raise ValueError(f"X has {len(X)} rows, y has {n_rows}; pass one label per row.")
        Z = _standardise(X)
        by_features = self.kind == "features"
        signals = self._projections(Z, J, rng) if by_features else self._distances(Z, J, rng)
        rates = _per_expert("error_rate", self.error_rate, J)
        return np.column_stack(
            [error_probability(z, rate, self.slope) for z, rate in zip(signals, rates)]
        )

    def _projections(self, Z: np.ndarray, J: int, rng: Any) -> np.ndarray:
        p = Z.shape[1]
        if self.weights is not None:
            w = np.asarray(self.weights, dtype=float)
            if w.shape not in ((p,), (J, p)) or not np.isfinite(w).all():
                raise ValueError(
                    f"weights has shape {w.shape}; expected finite numbers of shape ({p},) or "
                    f"({J}, {p}), one per feature."
                )
            w = np.broadcast_to(w, (J, p))
        else:
            relevant = min(p, self.n_relevant or max(1, round(p / 3)))
            w = np.zeros((J, p))
            for j in range(J):
                w[j, rng.permutation(p)[:relevant]] = rng.normal(size=relevant)
        length = np.linalg.norm(w, axis=1, keepdims=True)
        return np.divide(w, length, out=np.zeros((J, p)), where=length > 0) @ Z.T

    def _distances(self, Z: np.ndarray, J: int, rng: Any) -> np.ndarray:
        m = min(self.n_prototypes, len(Z))
        known = [Z[rng.permutation(len(Z))[:m]] for _ in range(J)]
        return _standardise(np.array([euclidean_distances(Z, k).min(axis=1) for k in known]).T).T


def error_probability(
    signal: np.ndarray, error_rate: float, slope: float, mass: np.ndarray | None = None
) -> np.ndarray:
    """Solve b in P(wrong) = sigmoid(b + slope * signal) so that its mean is ``error_rate``.

    Parameters
    ----------
    signal : ndarray of shape (n,)
        What makes errors likely.
    error_rate : float in [0, 1]
        Mean to hit; 0 and 1 leave the signal no say.
    slope : float
        Log-odds per unit of the signal.
    mass : ndarray of shape (n,), default=None
        Weights of the mean; equal if None.

    Returns
    -------
    p_wrong : ndarray of shape (n,)
        In [0, 1].
    """
    if error_rate in (0, 1) or not len(signal):
        return np.full(len(signal), float(error_rate))
    pull = slope * signal
    reach = np.abs(pull).max() + 1e-9
    middle = logit(error_rate)
    b = brentq(
        lambda b: np.average(expit(b + pull), weights=mass) - error_rate,
        middle - reach,
        middle + reach,
        xtol=1e-12,
    )
    return expit(b + pull)


def draw_answers(
    truth: np.ndarray,
    accuracy: np.ndarray,
    luck: np.ndarray,
    slip: np.ndarray,
    n_classes: int,
    confused: np.ndarray | None = None,
) -> np.ndarray:
    """Turn uniform numbers into answers.

    Parameters
    ----------
    truth : ndarray of int of shape (n_rows,)
        Positions of classes.
    accuracy : ndarray of shape (n_rows, n_experts)
        P(right).
    luck, slip : ndarray of shape (n_rows, n_experts)
        In [0, 1): an answer is right where luck < accuracy; slip picks the wrong one.
    n_classes : int
        K.
    confused : ndarray of shape (n_experts, n_classes, n_classes), default=None
        P(answer | truth), for the wrong ones; None: all alike.

    Returns
    -------
    codes : ndarray of int of shape (n_rows, n_experts)
        Positions of classes.
    """
    if confused is None:
        wrong = (truth[:, None] + 1 + (slip * (n_classes - 1)).astype(np.intp)) % n_classes
    else:
        up_to = np.where(np.eye(n_classes, dtype=bool), 0.0, confused).cumsum(axis=2)
        wrong = np.column_stack(
            [(u[:, None] * c[truth, -1:] >= c[truth]).sum(axis=1) for u, c in zip(slip.T, up_to)]
        )
        wrong = np.minimum(wrong, n_classes - 1)
    return np.where(luck < accuracy, truth[:, None], wrong)


def _uniforms(X: Any, salt: str) -> tuple[np.ndarray, np.ndarray]:
    """Make two independent uniform numbers of the content of each row."""
    digests = row_keys(X, salt=salt).tobytes().decode()
    bits = np.frombuffer(bytes.fromhex(digests), dtype="<u8").reshape(-1, 2)
    return tuple((bits >> np.uint64(11)).T * 2.0**-53)  # type: ignore[return-value]


def _standardise(X: np.ndarray) -> np.ndarray:
    spread = X.std(axis=0)
    return (X - X.mean(axis=0)) / np.where(spread > 0, spread, 1.0)


def _check_labels(y: Any, classes: Sequence[Any] | None) -> tuple[np.ndarray, np.ndarray]:
    """Give the sorted classes, and the truth as positions in them."""
    y = column_or_1d(y)
    if is_missing(y).any():
        raise ValueError(
            f"y lacks {int(is_missing(y).sum())} of {len(y)} labels; answers are drawn from the "
            "truth. Drop these rows."
        )
    known = np.unique(y if classes is None else np.asarray(classes))
    truth = encode_answers(y, known)
    if (truth < 0).any():
        raise ValueError(
            f"y has labels that are not in classes, {known.tolist()}: "
            f"{np.unique(y[truth < 0]).tolist()}. Add them to classes=, or leave it out."
        )
    return known, truth


def _check_share(name: str, value: Any) -> None:
    numbers = np.asarray(value)
    if numbers.dtype.kind not in "iuf" or not ((numbers >= 0) & (numbers <= 1)).all():
        raise ValueError(f"{name} is {value!r}; expected a number in [0, 1], or one per expert.")


def _check_count(name: str, value: Any, least: int = 1) -> None:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} is {value!r}; expected an integer >= {least}.")


def _per_expert(name: str, value: Any, n_experts: int) -> np.ndarray:
    numbers = np.asarray(value, dtype=float)
    if numbers.shape not in ((), (n_experts,)):
        raise ValueError(
            f"{name} has shape {numbers.shape}; expected a number, or one for each of {n_experts} "
            "experts."
        )
    return np.broadcast_to(numbers, (n_experts,))
