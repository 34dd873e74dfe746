"""Experts that are not there: answers drawn from a known skill, once for each row."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
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


def simulate_expert_predictions(
    y: Any,
    X: Any = None,
    *,
    kind: str = "oracle",
    n_experts: int | None = None,
    classes: Sequence[Any] | None = None,
    shared: float = 0.0,
    missing_rate: float = 0.0,
    one_per_row: bool = False,
    random_state: Any = None,
    **skill: Any,
) -> np.ndarray:
    r"""Draw what experts of a known skill would answer.

    It answers: what would deferral gain if experts were like this? Each kind fixes how likely
    an expert is right on a row; the parameters in brackets are passed by name, as one value
    for all experts or as one for each:

    - ``"oracle"`` (Tailor et al. 2024): right with ``p_in`` (1.0) on its ``oracle_classes``;
      elsewhere right with ``p_out`` (0.2), else any of the K classes with equal probability,
      so that the accuracy there is p_out + (1 - p_out) / K. ``oracle_classes`` is a sequence of
      labels, with ``n_experts`` one sequence per expert; None: one class each, drawn at random,
      all classes in turn before any comes twice.
    - ``"confusion"``: P(answer a | truth k) is ``confusion[k, a]``, classes sorted.
    - ``"features"`` (OpenL2D 2024): P(wrong) = sigmoid(b + ``slope`` w.x / \|w\|) on
      standardised columns of X, b solved so that its mean over the rows is ``error_rate`` (0.2).
      ``slope`` (2.0) is the log-odds that one standard deviation makes. w is ``weights``, or
      None: normal on ``n_relevant`` random features (None: a third), 0 on the others.
    - ``"prototypes"``: the same, with the standardised distance from the nearest of
      ``n_prototypes`` (3) random rows that the expert knows in place of w.x / \|w\|.

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
    shared : float in [0, 1], default=0.0
        Shared difficulty. On this share of the rows one uniform number decides for all
        experts, so that whoever is more skilled is right whenever a less skilled one is. No
        expert's accuracy changes; the correlation of their errors grows linearly.
    missing_rate : float in [0, 1], default=0.0
        Share of the answers that are missing, at random.
    one_per_row : bool, default=False
        Each row is shown to one expert only, drawn at random.
    random_state : int, RandomState instance or None, default=None
        Fixes skills and draws.
    **skill
        The parameters of the kind, as above.

    Returns
    -------
    answers : ndarray of shape (n_rows,) or (n_rows, n_experts)
        Labels, in their own dtype. With ``missing_rate`` above 0 or ``one_per_row`` of
        dtype object, None where there is no answer.

    Raises
    ------
    TypeError
        For a parameter that the kind doesn't have.
    ValueError
        For a parameter outside its range, a shape that doesn't fit, missing labels, or a
        kind that needs X without one.

    References
    ----------
    Tailor et al. (2024), Learning to defer to a population. Alves et al. (2024), OpenL2D.

    Examples
    --------
    >>> import numpy as np
    >>> from skdefer.experts import simulate_expert_predictions
    >>> y = np.repeat(["cat", "dog"], 500)
    >>> answers = simulate_expert_predictions(y, oracle_classes=["cat"], random_state=0)
    >>> bool((answers == y)[:500].all()), round(float((answers == y)[500:].mean()), 1)
    (True, 0.6)
    """
    _check_kind(kind, skill)
    J = 1 if n_experts is None else _check_count("n_experts", n_experts)
    _check_share("shared", shared)
    _check_share("missing_rate", missing_rate)
    known, truth = _check_labels(y, classes)
    rng = check_random_state(random_state)
    accuracy, confused = _KINDS[kind](_Rows(truth, X, known, n_experts, rng), **skill)
    shape = (len(truth), J)
    luck = rng.uniform(size=shape)
    luck = np.where(rng.uniform(size=(len(truth), 1)) < shared, luck[:, :1], luck)
    codes = draw_answers(truth, accuracy, luck, rng.uniform(size=shape), len(known), confused)
    if one_per_row:
        codes[rng.randint(J, size=(len(truth), 1)) != np.arange(J)] = MISSING
    codes[rng.uniform(size=shape) < missing_rate] = MISSING
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
        What its skill depends on; see :func:`simulate_expert_predictions`.
    classes : sequence, default=None
        All labels, where those of ``fit`` may lack some.
    shared : float in [0, 1], default=0.0
        On this share of the rows, its luck is that of all experts with the same
        ``shared_seed``: rows that are hard for one are hard for all.
    shared_seed : int, default=0
        Which rows these are, and how hard.
    missing_rate : float in [0, 1], default=0.0
        Share of the rows that it doesn't answer, at random.
    random_state : int, default=0
        Seed of its skill and of its luck. Give each expert its own.
    name, version, cost, capacity, max_queries
        As in :class:`Expert`.
    **skill
        The parameters of the kind; see :func:`simulate_expert_predictions`.

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
    >>> from skdefer.experts import SimulatedExpert
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
        shared: float = 0.0,
        shared_seed: int = 0,
        missing_rate: float = 0.0,
        random_state: int = 0,
        name: str | None = None,
        version: str | None = None,
        cost: float = 0.0,
        capacity: int | None = None,
        max_queries: int | None = None,
        **skill: Any,
    ):
        super().__init__(
            name=name, version=version, cost=cost, capacity=capacity, max_queries=max_queries
        )
        self.classes = classes
        self.shared = _check_share("shared", shared)
        self.shared_seed = _check_count("shared_seed", shared_seed, least=0)
        self.missing_rate = _check_share("missing_rate", missing_rate)
        self.random_state = _check_count("random_state", random_state, least=0)
        _check_kind(kind, skill)
        self.kind = kind
        self.skill = skill

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
        _check_length(count_rows(X), len(truth))
        rows = _Rows(truth, X, self.classes_, None, check_random_state(self.random_state))
        accuracy, confused = _KINDS[self.kind](rows, **self.skill)
        luck, slip = _uniforms(X, f"a{self.random_state}")
        if self.shared > 0:
            common, switch = _uniforms(X, f"s{self.shared_seed}")
            luck = np.where(switch < self.shared, common, luck)
        K = len(self.classes_)
        codes = draw_answers(truth, accuracy, luck[:, None], slip[:, None], K, confused)[:, 0]
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
        at = np.searchsorted(self._keys, keys) % max(len(self._keys), 1)
        return decode_answers(
            np.where(self._keys[at] == keys, self._codes[at], MISSING), self.classes_
        )

    def cache_key(self) -> str | None:
        """Name the version, or the drawn answers by their content; None before ``fit``."""
        if self.version is not None or not hasattr(self, "_keys"):
            return self.version
        return joblib.hash((self._keys, self._codes, self.classes_))


@dataclass(frozen=True, eq=False)
class _Rows:
    """What an expert's skill may depend on."""

    truth: np.ndarray
    X: Any
    classes: np.ndarray
    n_experts: int | None
    rng: np.random.RandomState

    def numbers(self) -> np.ndarray:
        """Give X with every column at mean 0 and standard deviation 1."""
        if self.X is None:
            raise ValueError(
                "An expert whose skill depends on the features needs X, numbers of shape "
                "(n_rows, n_features). Pass it."
            )
        X = check_array(self.X, dtype=np.float64, input_name="X")
        _check_length(len(X), len(self.truth))
        return _standardise(X)


def _oracle(
    rows: _Rows, *, oracle_classes: Any = None, p_in: Any = 1.0, p_out: Any = 0.2
) -> tuple[np.ndarray, None]:
    K, J = len(rows.classes), rows.n_experts or 1
    if oracle_classes is None:
        own = rows.rng.permutation(K)[np.arange(J) % K, None]
    else:
        own = [oracle_classes] if rows.n_experts is None else list(oracle_classes)
        if len(own) != J or any(np.ndim(labels) != 1 for labels in own):
            wanted = f"{J} sequences" if rows.n_experts else "a sequence"
            raise ValueError(f"oracle_classes is {oracle_classes!r}; expected {wanted} of labels.")
        own = [encode_answers(np.asarray(labels), rows.classes) for labels in own]
        if any((codes < 0).any() for codes in own):
            raise ValueError(
                f"oracle_classes is {oracle_classes!r}, but the classes are "
                f"{rows.classes.tolist()}. Name some of these, or pass classes=."
            )
    inside = np.column_stack([np.isin(rows.truth, codes) for codes in own])
    p_in, p_out = _shares("p_in", p_in, J), _shares("p_out", p_out, J)
    return np.where(inside, p_in, p_out + (1 - p_out) / K), None


def _confusion(rows: _Rows, *, confusion: Any = None) -> tuple[np.ndarray, np.ndarray]:
    K, J = len(rows.classes), rows.n_experts or 1
    given = np.asarray(confusion, dtype=float)
    shapes = [(K, K), (J, K, K)]
    if given.shape not in shapes or not np.allclose(given.sum(axis=-1), 1) or given.min() < 0:
        raise ValueError(
            f"confusion has shape {given.shape}; expected one of {shapes}, P(answer | truth) for "
            "each of the K classes, or J experts and K classes: no negative entry, each row sums "
            "to 1."
        )
    given = np.broadcast_to(given, (J, K, K))
    return given[:, rows.truth, rows.truth].T, given


def _features(
    rows: _Rows,
    *,
    error_rate: Any = 0.2,
    slope: float = 2.0,
    weights: Any = None,
    n_relevant: int | None = None,
) -> tuple[np.ndarray, None]:
    Z, J = rows.numbers(), rows.n_experts or 1
    p = Z.shape[1]
    if weights is None:
        relevant = max(1, round(p / 3)) if n_relevant is None else n_relevant
        _check_count("n_relevant", relevant)
        w = np.zeros((J, p))
        for row in w:
            chosen = rows.rng.permutation(p)[:relevant]
            row[chosen] = rows.rng.normal(size=len(chosen))
    else:
        w = np.asarray(weights, dtype=float)
        if w.shape not in ((p,), (J, p)) or not np.isfinite(w).all():
            raise ValueError(
                f"weights has shape {w.shape}; expected finite numbers of shape ({p},) or "
                f"({J}, {p}), one per feature."
            )
        w = np.broadcast_to(w, (J, p))
    length = np.linalg.norm(w, axis=1)
    return _by_signal(Z @ (w.T / np.where(length > 0, length, 1.0)), error_rate, slope), None


def _prototypes(
    rows: _Rows, *, error_rate: Any = 0.2, slope: float = 2.0, n_prototypes: int = 3
) -> tuple[np.ndarray, None]:
    Z, J = rows.numbers(), rows.n_experts or 1
    _check_count("n_prototypes", n_prototypes)
    known = [Z[rows.rng.permutation(len(Z))[:n_prototypes]] for _ in range(J)]
    far = np.column_stack([euclidean_distances(Z, k).min(axis=1) for k in known])
    return _by_signal(_standardise(far), error_rate, slope), None


def _by_signal(signal: np.ndarray, error_rate: Any, slope: float) -> np.ndarray:
    if not np.isfinite(slope):
        raise ValueError(f"slope is {slope!r}; expected a finite number.")
    rates = _shares("error_rate", error_rate, signal.shape[1])
    return 1 - np.column_stack(
        [error_probability(s, rate, slope) for s, rate in zip(signal.T, rates)]
    )


# kind -> P(right) of shape (n_rows, J), and P(answer | truth) where wrong answers differ
_KINDS: dict[str, Callable[..., tuple[np.ndarray, np.ndarray | None]]] = {
    "oracle": _oracle,
    "confusion": _confusion,
    "features": _features,
    "prototypes": _prototypes,
}


def _check_kind(kind: str, skill: dict[str, Any]) -> None:
    if kind not in _KINDS:
        raise ValueError(f"kind is {kind!r}; expected one of {list(_KINDS)}.")
    known = list(inspect.signature(_KINDS[kind]).parameters)[1:]
    if unknown := sorted(set(skill) - set(known)):
        raise TypeError(f"An expert of kind {kind!r} has no {unknown}; expected some of {known}.")


def error_probability(
    signal: np.ndarray, error_rate: float, slope: float, mass: np.ndarray | None = None
) -> np.ndarray:
    """Solve b in P(wrong) = sigmoid(b + slope signal) so that its mean is ``error_rate``.

    ``mass`` weighs the mean. A rate of 0 or 1 leaves the signal no say.
    """
    if error_rate in (0, 1):
        return np.full(len(signal), float(error_rate))
    pull = slope * signal
    middle, reach = logit(error_rate), np.abs(pull).max() + 1e-9

    def excess(b: float) -> float:
        return np.average(expit(b + pull), weights=mass) - error_rate

    return expit(brentq(excess, middle - reach, middle + reach, xtol=1e-12) + pull)


def draw_answers(
    truth: np.ndarray,
    accuracy: np.ndarray,
    luck: np.ndarray,
    slip: np.ndarray,
    n_classes: int,
    confused: np.ndarray | None = None,
) -> np.ndarray:
    """Turn uniform numbers into answers, as positions of classes of shape (n_rows, n_experts).

    An answer is right where ``luck < accuracy``; ``slip`` picks the wrong one, by
    ``confused`` (P(answer | truth), of shape (n_experts, n_classes, n_classes)) if given.
    """
    if confused is None:
        wrong = (truth[:, None] + 1 + (slip * (n_classes - 1)).astype(np.intp)) % n_classes
    else:
        up_to = np.where(np.eye(n_classes, dtype=bool), 0.0, confused).cumsum(axis=2)
        wrong = np.column_stack(
            [(u[:, None] * c[truth, -1:] >= c[truth]).sum(axis=1) for u, c in zip(slip.T, up_to)]
        )
        # Where nothing but the truth is ever answered, no column is picked.
        wrong = np.minimum(wrong, n_classes - 1)
    return np.where(luck < accuracy, truth[:, None], wrong)


def _uniforms(X: Any, salt: str) -> np.ndarray:
    """Make two independent uniform numbers of the content of each row, shape (2, n_rows)."""
    digests = row_keys(X, salt=salt).tobytes().decode()
    bits = np.frombuffer(bytes.fromhex(digests), dtype="<u8").reshape(-1, 2)
    return (bits >> np.uint64(11)).T * 2.0**-53


def _standardise(X: np.ndarray) -> np.ndarray:
    spread = X.std(axis=0)
    return (X - X.mean(axis=0)) / np.where(spread > 0, spread, 1.0)


def _check_labels(y: Any, classes: Sequence[Any] | None) -> tuple[np.ndarray, np.ndarray]:
    """Give the sorted classes, and the truth as positions in them."""
    y = column_or_1d(y)
    if is_missing(y).any() or not len(y):
        raise ValueError(
            f"y lacks {is_missing(y).sum()} of its {len(y)} labels; answers are drawn from the "
            "truth. Pass at least one row, and none without a label."
        )
    known = np.unique(y if classes is None else np.asarray(classes))
    truth = encode_answers(y, known)
    if (truth < 0).any():
        raise ValueError(
            f"y has labels {np.unique(y[truth < 0]).tolist()}, which are not in classes, "
            f"{known.tolist()}. Add them to classes=, or leave it out."
        )
    return known, truth


def _check_length(n_rows: int, n_labels: int) -> None:
    if n_rows != n_labels:
        raise ValueError(f"X has {n_rows} rows, y has {n_labels}; pass one label per row.")


def _check_count(name: str, value: Any, least: int = 1) -> int:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} is {value!r}; expected an integer >= {least}.")
    return int(value)


def _check_share(name: str, value: Any) -> float:
    return float(_shares(name, value, 1)[0])


def _shares(name: str, value: Any, n_experts: int) -> np.ndarray:
    """Bring a number in [0, 1], or one per expert, to shape (n_experts,)."""
    shares = np.asarray(value)
    fits = shares.dtype.kind in "iuf" and shares.shape in ((), (n_experts,))
    if not fits or not ((shares >= 0) & (shares <= 1)).all():
        wanted = f", or {n_experts} of them, one per expert" if n_experts > 1 else ""
        raise ValueError(f"{name} is {value!r}; expected a number in [0, 1]{wanted}.")
    return np.broadcast_to(shares.astype(float), (n_experts,))
