"""What an expert is, and how a callable or a fitted classifier becomes one."""

from __future__ import annotations

import inspect
import numbers
from hashlib import blake2b
from types import CodeType
from typing import Any

import joblib
import numpy as np
from sklearn.utils.validation import check_is_fitted

from skdefer.experts._profile import ExpertProfile
from skdefer.utils._rows import count_rows


class Expert:
    """Whoever can be asked for the label of a row.

    Subclass it and write ``answers``, or pass a plain callable or a fitted classifier
    to the estimator, which wraps it.

    Parameters
    ----------
    name : str, default=None
        How routes, reports and explanations call the expert; ``expert_1``, ... if None.
    version : str, default=None
        Changes whenever the expert would answer differently. Part of the key under which
        answers are kept.
    cost : float, default=0.0
        Price of one answer, in the unit of ``error_cost``. Used where the estimator's own
        ``cost`` is None.
    capacity : int, default=None
        The most rows the expert may get in one batch, for policies that hold it, and for
        ``on_missing="next"``. None: no limit.
    max_queries : int, default=None
        The most rows that ``fit`` may ask the expert for. None: no limit.

    Examples
    --------
    >>> from skdefer.experts import Expert
    >>> class Oracle(Expert):
    ...     def answers(self, X, explanation=None):
    ...         return ["yes"] * len(X)
    >>> Oracle(name="oracle", version="1", cost=0.1).answers([[0.0], [1.0]])
    ['yes', 'yes']
    """

    #: False for an expert that is known only by a record or a profile.
    can_answer: bool = True
    #: True for an expert whose answers are on record: none is bought, so none is kept.
    recorded: bool = False
    #: True for an expert with a store of its own: ``memory=`` keeps none of its answers.
    keeps_answers: bool = False
    #: True for an expert whose answers cost money: ``fit`` asks it only within a limit.
    paid: bool = False
    #: The parameters that limit what ``fit`` may ask a paid expert.
    limits: tuple[str, ...] = ("max_queries", "max_cost")
    #: True for an expert that holds its ``capacity`` itself, whatever the policy.
    holds_capacity: bool = False
    #: The most that a paid expert may ever cost, None for no limit.
    max_cost: float | None = None
    #: True for an expert that shows why a row was handed over: see ``answers``.
    reads_explanation: bool = False
    #: The column of X that only this expert sees, None for most.
    column: str | None = None
    #: What is known of the expert beforehand, None for most.
    profile: ExpertProfile | None = None

    def __init__(
        self,
        *,
        name: str | None = None,
        version: str | None = None,
        cost: float = 0.0,
        capacity: int | None = None,
        max_queries: int | None = None,
    ):
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name is {name!r}; expected a string or None.")
        self.name = name
        self.version = version
        self.cost = _check_price(cost)
        for limit, value in (("capacity", capacity), ("max_queries", max_queries)):
            if not _is_limit(value):
                raise ValueError(f"{limit} is {value!r}; expected an integer >= 0 or None.")
        self.capacity = capacity
        self.max_queries = max_queries

    def answers(self, X: Any, explanation: Any = None) -> np.ndarray:
        """Answer every row.

        Parameters
        ----------
        X : the rows as the user passed them
            Only the rows that the expert is asked for.
        explanation : DataFrame of length n_rows, default=None
            Why each row was handed over, as ``explain_defer`` tells it. Passed by ``predict``
            alone, and only to experts whose ``reads_explanation`` is True.

        Returns
        -------
        answers : array-like of shape (n_rows,)
            A label per row, None where there is no answer.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement answers(X).")

    def check_rows(self, X: Any) -> None:
        """Refuse rows that the expert can't read; called by ``fit`` before anything is fitted.

        By default every row is welcome. A subclass looks for what all rows share, such as the
        columns, and not at what stands in this one: ``fit`` may not ask about it.

        Parameters
        ----------
        X : the rows as the user passed them
            The first row alone.

        Raises
        ------
        ValueError
            If rows like this can't be read.
        """

    def for_classes(self, classes: np.ndarray) -> Expert:
        """Learn which answers there are; called by ``fit`` and ``with_experts``.

        Parameters
        ----------
        classes : ndarray of shape (n_classes,)
            The classes of the estimator.

        Returns
        -------
        expert : Expert
            Who is asked from now on: ``self``, or a copy that knows the classes and shares what
            is live. ``self`` stays as it is, since it may serve other estimators too.
        """
        return self

    def cache_key(self) -> str | None:
        """Name what answers depend on besides the row; None: answers must not be kept.

        Returns
        -------
        key : str or None
            By default the ``version``.
        """
        return self.version

    @property
    def why_silent(self) -> str:
        """A sentence for ``fit`` to say where the expert gave no answer at all."""
        return "IndexExpert finds rows by index or content: was X transformed?"

    def __sklearn_clone__(self) -> Expert:
        # Experts are the world, not parameters: a search over experts= must not copy them.
        return self

    def __repr__(self) -> str:
        price = f", cost={self.cost:g}" if self.cost else ""
        return f"{type(self).__name__}(name={self.name!r}{price})"


class CallableExpert(Expert):
    """An expert behind a function ``f(X) -> labels``.

    Parameters
    ----------
    function : callable
        Takes the rows that were handed over, as the user passed them (text, frame,
        array), and returns one label per row, None where it has none.
    name, version, cost, capacity, max_queries
        As in :class:`Expert`.

    Examples
    --------
    >>> import numpy as np
    >>> from skdefer.experts import CallableExpert
    >>> desk = CallableExpert(lambda X: X[:, 0] > 0, name="review desk", cost=0.1)
    >>> desk.answers(np.array([[1.0], [-1.0]]))
    array([ True, False])
    """

    def __init__(self, function: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.function = function

    def answers(self, X: Any, explanation: Any = None) -> np.ndarray:
        """Call the function with the rows; see :meth:`Expert.answers`."""
        return self.function(X)

    def cache_key(self) -> str | None:
        """Name the version, or a module-level function with its code; None for the rest.

        Global variables and functions that the function calls are not looked into: a change
        there needs a new ``version``.
        """
        if self.version is not None:
            return self.version
        f = self.function
        # A lambda, a closure or a method depends on more than its name and code tell.
        if not inspect.isfunction(f) or f.__closure__ or "<" in f.__qualname__:
            return None
        content = repr((_describe_code(f.__code__), f.__defaults__, f.__kwdefaults__))
        digest = blake2b(content.encode(), digest_size=8).hexdigest()
        return f"{f.__module__}.{f.__qualname__}:{digest}"


def _describe_code(code: CodeType) -> tuple:
    """Take what a function does out of its code, the same in every process."""
    constants = [
        _describe_code(c)
        if isinstance(c, CodeType)
        else sorted(map(repr, c))
        if isinstance(c, frozenset)
        else c
        for c in code.co_consts
    ]
    return code.co_code, code.co_names, constants


class ClassifierExpert(Expert):
    """A fitted classifier as an expert; it is used as it is and never fitted again.

    Parameters
    ----------
    classifier : fitted classifier
        Anything with ``predict``, a whole Pipeline too.
    name, version, cost, capacity, max_queries
        As in :class:`Expert`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skdefer.experts import ClassifierExpert
    >>> X, y = np.array([[0.0], [1.0]]), np.array(["no", "yes"])
    >>> big = ClassifierExpert(LogisticRegression().fit(X, y), name="big model", cost=0.02)
    >>> big.answers(X)
    array(['no', 'yes'], dtype='<U3')
    """

    def __init__(self, classifier: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.classifier = classifier

    def answers(self, X: Any, explanation: Any = None) -> np.ndarray:
        """Predict the rows; see :meth:`Expert.answers`."""
        return self.classifier.predict(X)

    def cache_key(self) -> str | None:
        """Name the version, or the fitted classifier by its content."""
        return self.version or joblib.hash(self.classifier)


class RecordedExpert(Expert):
    """An expert known by a record or a profile alone: can be weighed, can't be asked.

    Parameters
    ----------
    profile : ExpertProfile, default=None
        How often the expert is right on each class; built from the record if None.
    name, cost, capacity
        As in :class:`Expert`.

    Examples
    --------
    >>> from skdefer.experts import ExpertProfile, RecordedExpert
    >>> profile = ExpertProfile(prior_accuracy=0.9, classes=["ill", "well"])
    >>> RecordedExpert(profile, name="dr. b").can_answer
    False
    """

    can_answer = False
    recorded = True

    def __init__(self, profile: ExpertProfile | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.profile = profile

    def answers(self, X: Any, explanation: Any = None) -> np.ndarray:
        """Give no answer to any row; see :meth:`Expert.answers`."""
        return np.full(count_rows(X), None, dtype=object)


class AbsentExpert(RecordedExpert):
    """The expert who is always right and never there: rejection by Chow's rule."""


def as_expert(expert: Any) -> Expert:
    """Make an :class:`Expert` of a callable, a fitted classifier or a profile.

    Parameters
    ----------
    expert : Expert, ExpertProfile, fitted classifier or callable
        Whoever is to be asked.

    Returns
    -------
    expert : Expert
        ``expert`` itself if it is one already.

    Raises
    ------
    TypeError
        If it is none of these.
    sklearn.exceptions.NotFittedError
        If it is a classifier that was not fitted.

    Examples
    --------
    >>> from skdefer.experts import as_expert
    >>> as_expert(lambda X: [0] * len(X))
    CallableExpert(name=None)
    """
    if isinstance(expert, Expert):
        return expert
    if isinstance(expert, ExpertProfile):
        return RecordedExpert(expert, name=expert.name)
    if not inspect.isclass(expert):
        if hasattr(expert, "predict"):
            if hasattr(expert, "fit"):
                check_is_fitted(
                    expert,
                    msg="The expert %(name)s is not fitted, and skdefer never fits an expert. "
                    "Fit it on rows of its own first.",
                )
            return ClassifierExpert(expert)
        if callable(expert):
            return CallableExpert(expert)
    raise TypeError(
        f"{expert!r} can't be an expert; expected a callable f(X) -> labels, a fitted "
        "classifier, an ExpertProfile or an Expert. If it names a column of X, "
        "pass ColumnExpert(name)."
    )


def _check_price(cost: Any) -> float:
    if isinstance(cost, numbers.Real) and 0 <= float(cost) < np.inf:
        return float(cost)
    raise ValueError(
        f"cost of an expert is {cost!r}; expected a finite number >= 0, the price of one answer in "
        "the unit of error_cost."
    )


def _is_limit(value: Any) -> bool:
    return value is None or (isinstance(value, numbers.Integral) and int(value) >= 0)
