"""Experts that are not there: answers drawn from a known skill, once for each row."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, NamedTuple

import joblib
import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit
from sklearn.exceptions import NotFittedError
from sklearn.metrics import euclidean_distances
from sklearn.utils import check_array, check_random_state, check_scalar
from sklearn.utils.validation import check_consistent_length, column_or_1d

from skdefer.experts._base import Expert
from skdefer.experts._recorded import IndexExpert
from skdefer.utils._rows import array_of_rows, row_keys
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
    an expert is right on a row, by parameters of its own, one value for all experts or for each:

    - ``"oracle"`` (Tailor et al. 2024): right with ``p_in`` (1.0) on its ``oracle_classes``;
      elsewhere right with ``p_out`` (0.2), else any of the K classes with equal probability,
      so that the accuracy there is p_out + (1 - p_out) / K. ``oracle_classes`` is a sequence of
      labels, with ``n_experts`` one sequence per expert; None: one class each, drawn at random,
      all classes in turn before any comes twice.
    - ``"confusion"``: P(answer a | truth k) is ``confusion[k, a]``, classes sorted.
    - ``"features"`` (OpenL2D 2024): P(wrong) = sigmoid(b + ``slope`` w.x / \|w\|) on
      standardised columns of X, b solved so that its mean over the rows is ``error_rate`` (0.2).
      ``slope`` (2.0) is the log-odds that one standard deviation makes. w is ``weights``, or
      None: normal on a random third of the features, 0 on the others.
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
        Labels, in their own dtype. Where answers may be missing: objects, None if missing.

    Raises
    ------
    TypeError, ValueError
        For a parameter that the kind lacks, a value or shape that doesn't fit, missing labels.

    Examples
    --------
    >>> import numpy as np
    >>> from skdefer.experts import simulate_expert_predictions
    >>> y = np.repeat(["cat", "dog"], 500)
    >>> answers = simulate_expert_predictions(y, oracle_classes=["cat"], random_state=0)
    >>> bool((answers == y)[:500].all()), round(float((answers == y)[500:].mean()), 1)
    (True, 0.6)
    """
    names = _skill_names(kind)
    if unknown := sorted(set(skill) - set(names)):
        raise TypeError(f"An expert of kind {kind!r} has no {unknown}; expected some of {names}.")
    J = 1 if n_experts is None else check_scalar(n_experts, "n_experts", Integral, min_val=1)
    _per_expert("shared", shared)
    _per_expert("missing_rate", missing_rate)
    known, truth = _encode(X, y, classes)
    n, rng = len(truth), check_random_state(random_state)
    accuracy, confused = _KINDS[kind](_Rows(truth, X, known, n_experts, rng), **skill)
    luck, slip, lost = rng.uniform(size=(3, n, J))
    luck = np.where(rng.uniform(size=(n, 1)) < shared, luck[:, :1], luck)
    codes = draw_answers(truth, accuracy, luck, slip, len(known), confused)
    if one_per_row:
        codes[rng.randint(J, size=(n, 1)) != np.arange(J)] = MISSING
    codes[lost < missing_rate] = MISSING
    codes = codes[:, 0] if n_experts is None else codes
    return decode_answers(codes, known) if one_per_row or missing_rate > 0 else known[codes]


class SimulatedExpert(Expert):
    """An expert of a known skill who can be asked, and always says the same of the same row.

    ``fit`` shows it the truth of all rows that it may ever be asked for; other rows have no
    answer (None). Its luck on a row depends on the row's content and the seed alone, not on batch,
    order or process: fitted on more rows of the same classes, an "oracle" or "confusion" expert
    answers the old ones as before. Rows of equal content are one row, and its first label counts.

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
    **kwargs
        The kind's parameters, and ``name``, ``version``, ``cost``, ``capacity`` and
        ``max_queries`` of :class:`Expert`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels it knows of.

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
        **kwargs: Any,
    ):
        self.skill = {k: kwargs.pop(k) for k in _skill_names(kind) if k in kwargs}
        super().__init__(**kwargs)
        _per_expert("shared", shared)
        _per_expert("missing_rate", missing_rate)
        check_scalar(shared_seed, "shared_seed", Integral, min_val=0)
        check_scalar(random_state, "random_state", Integral, min_val=0)
        self.kind = kind
        self.classes = classes
        self.shared = shared
        self.shared_seed = shared_seed
        self.missing_rate = missing_rate
        self.random_state = random_state

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
            For a skill that doesn't fit the data.
        """
        self.classes_, truth = _encode(X, y, self.classes)
        _, first, row = np.unique(row_keys(X), return_index=True, return_inverse=True)
        truth = truth[first[row]]
        rows = _Rows(truth, X, self.classes_, None, check_random_state(self.random_state))
        accuracy, confused = _KINDS[self.kind](rows, **self.skill)
        luck, slip = _uniforms(X, f"a{self.random_state}")
        if self.shared > 0:
            common, switch = _uniforms(X, f"s{self.shared_seed}")
            luck = np.where(switch < self.shared, common, luck)
        K = len(self.classes_)
        codes = draw_answers(truth, accuracy, luck[:, None], slip[:, None], K, confused)[:, 0]
        codes[_uniforms(X, f"m{self.random_state}")[0] < self.missing_rate] = MISSING
        self._record = IndexExpert(decode_answers(codes, self.classes_), X)
        return self

    def answers(self, X: Any, explanation: Any = None) -> np.ndarray:
        """Look the rows up, NotFittedError before ``fit``; see :meth:`Expert.answers`."""
        if not hasattr(self, "_record"):
            raise NotFittedError(
                f"{self!r} has not seen the truth that its answers are drawn from. Call "
                "fit(X, y) with all rows that it may be asked for."
            )
        return self._record.answers(X)

    def cache_key(self) -> str | None:
        """Name the version, or the drawn answers by their content; None before ``fit``."""
        drawn = hasattr(self, "_record") and self.version is None
        return joblib.hash(self._record.table_) if drawn else self.version


class _Rows(NamedTuple):
    truth: np.ndarray
    X: Any
    classes: np.ndarray
    n_experts: int | None
    rng: np.random.RandomState

    def standardised(self) -> np.ndarray:
        if self.X is None:
            raise ValueError("This kind of expert needs X, numbers of shape (n_rows, n_features).")
        try:
            return _standardise(check_array(self.X, dtype=np.float64, input_name="X"))
        except ValueError as error:
            if not any(isinstance(cell, str) for cell in array_of_rows(self.X).ravel()):
                raise
            raise ValueError(
                "X has texts, but this kind of expert reads numbers of shape (n_rows, n_features). "
                "Pass numbers, such as TextStatistics().fit_transform(texts)."
            ) from error


def _oracle(
    rows: _Rows, *, oracle_classes: Any = None, p_in: Any = 1.0, p_out: Any = 0.2
) -> tuple[np.ndarray, None]:
    K, J = len(rows.classes), rows.n_experts or 1
    if oracle_classes is None:
        own = list(rows.rng.permutation(K)[np.arange(J) % K, None])
    else:
        named = [oracle_classes] if rows.n_experts is None else list(oracle_classes)
        own = [encode_answers(np.asarray(labels), rows.classes) for labels in named]
        if len(own) != J or any(codes.ndim != 1 or (codes < 0).any() for codes in own):
            raise ValueError(
                f"oracle_classes is {oracle_classes!r}; expected labels out of "
                f"{rows.classes.tolist()} in a sequence, or with n_experts in one sequence for "
                f"each of {J} experts. If y lacks one of the labels, pass classes=."
            )
    inside = np.column_stack([np.isin(rows.truth, codes) for codes in own])
    p_in, p_out = _per_expert("p_in", p_in, J), _per_expert("p_out", p_out, J)
    return np.where(inside, p_in, p_out + (1 - p_out) / K), None


def _confusion(rows: _Rows, *, confusion: Any = None) -> tuple[np.ndarray, np.ndarray]:
    K, J = len(rows.classes), rows.n_experts or 1
    given = np.asarray(confusion, dtype=float)
    shapes = [(K, K), (J, K, K)]
    if given.shape not in shapes or not np.allclose(given.sum(axis=-1), 1) or given.min() < 0:
        raise ValueError(
            f"confusion has shape {given.shape}; expected P(answer | truth) in one of the shapes "
            f"{shapes}: a row per true class that sums to 1, no negative entry."
        )
    given = np.broadcast_to(given, (J, K, K))
    return given[:, rows.truth, rows.truth].T, given


def _features(
    rows: _Rows, *, error_rate: Any = 0.2, slope: float = 2.0, weights: Any = None
) -> tuple[np.ndarray, None]:
    Z, J = rows.standardised(), rows.n_experts or 1
    p = Z.shape[1]
    w = rows.rng.normal(size=(J, p)) if weights is None else np.asarray(weights, dtype=float)
    if weights is None:
        rank = rows.rng.uniform(size=(J, p)).argsort(axis=1).argsort(axis=1)
        w[rank >= max(1, round(p / 3))] = 0
    if w.shape not in ((p,), (J, p)) or not np.isfinite(w).all():
        raise ValueError(
            f"weights has shape {w.shape}; expected one finite number per feature, shape ({p},) "
            f"or ({J}, {p})."
        )
    w = np.broadcast_to(w, (J, p)).T
    signal = Z @ (w / np.maximum(np.linalg.norm(w, axis=0), np.finfo(float).tiny))
    return 1 - error_probability(signal, error_rate, slope), None


def _prototypes(
    rows: _Rows, *, error_rate: Any = 0.2, slope: float = 2.0, n_prototypes: int = 3
) -> tuple[np.ndarray, None]:
    Z, J = rows.standardised(), rows.n_experts or 1
    check_scalar(n_prototypes, "n_prototypes", Integral, min_val=1)
    known = [Z[rows.rng.permutation(len(Z))[:n_prototypes]] for _ in range(J)]
    far = np.column_stack([euclidean_distances(Z, k).min(axis=1) for k in known])
    return 1 - error_probability(_standardise(far), error_rate, slope), None


# kind -> P(right) of shape (n_rows, J), and P(answer | truth) where wrong answers differ
_KINDS: dict[str, Callable[..., tuple[np.ndarray, np.ndarray | None]]] = {
    f.__name__[1:]: f for f in (_oracle, _confusion, _features, _prototypes)
}


def _skill_names(kind: str) -> list[str]:
    if kind not in _KINDS:
        raise ValueError(f"kind is {kind!r}; expected one of {list(_KINDS)}.")
    return list(inspect.signature(_KINDS[kind]).parameters)[1:]


def error_probability(
    signal: np.ndarray, error_rate: Any, slope: float, mass: np.ndarray | None = None
) -> np.ndarray:
    """Solve b in P(wrong) = sigmoid(b + slope signal) so that its mean is ``error_rate``.

    ``signal`` and the result have shape (n_rows, n_experts), ``error_rate`` is a number or one
    per expert, ``mass`` weighs the rows. A rate of 0 or 1 leaves the signal no say.
    """
    rates = _per_expert("error_rate", error_rate, signal.shape[1])
    if not np.isfinite(slope):
        raise ValueError(f"slope is {slope!r}; expected a finite number.")
    b, pull = logit(rates), slope * signal

    def excess(b: float, j: int) -> float:
        return np.average(expit(b + pull[:, j]), weights=mass) - rates[j]

    for j in np.flatnonzero(np.isfinite(b)):
        reach = np.abs(pull[:, j]).max() + 1e-9
        b[j] = brentq(excess, b[j] - reach, b[j] + reach, args=(j,))
    return expit(b + pull)


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
    likely = np.ones((slip.shape[1], n_classes, n_classes)) if confused is None else confused
    up_to = np.where(np.eye(n_classes, dtype=bool), 0.0, likely).cumsum(axis=2)
    wrong = [(u[:, None] * c[truth, -1:] >= c[truth]).sum(axis=1) for u, c in zip(slip.T, up_to)]
    # Where nothing but the truth is ever answered, no class is picked: luck never gets there.
    wrong = np.minimum(np.column_stack(wrong), n_classes - 1)
    return np.where(luck < accuracy, truth[:, None], wrong)


def _uniforms(X: Any, salt: str) -> np.ndarray:
    """Make two independent uniform numbers of the content of each row, shape (2, n_rows)."""
    digests = bytes.fromhex(row_keys(X, salt=salt).tobytes().decode())
    return (np.frombuffer(digests, dtype="<u8").reshape(-1, 2) >> np.uint64(11)).T * 2.0**-53


def _standardise(X: np.ndarray) -> np.ndarray:
    spread = X.std(axis=0)
    return (X - X.mean(axis=0)) / np.where(spread > 0, spread, 1.0)


def _encode(X: Any, y: Any, classes: Sequence[Any] | None) -> tuple[np.ndarray, np.ndarray]:
    """Give the sorted classes, and the truth as positions in them."""
    y = column_or_1d(y)
    check_consistent_length(X, y)
    known = np.unique(y[~is_missing(y)] if classes is None else np.asarray(classes))
    truth = encode_answers(y, known)
    if (truth < 0).any() or not len(y):
        raise ValueError(
            f"y has {len(y)} rows, of which {(truth < 0).sum()} have no label or none of "
            f"{known.tolist()}; answers are drawn from the truth. Drop those rows, or name all "
            "labels in classes=."
        )
    return known, truth


def _per_expert(name: str, value: Any, n_experts: int = 1) -> np.ndarray:
    """Bring a number in [0, 1], or one per expert, to shape (n_experts,)."""
    shares = np.asarray(value)
    fits = shares.dtype.kind in "iuf" and shares.shape in ((), (n_experts,))
    if not fits or not ((shares >= 0) & (shares <= 1)).all():
        raise ValueError(f"{name} is {value!r}; expected a number in [0, 1], or one per expert.")
    return np.broadcast_to(shares.astype(float), (n_experts,))
