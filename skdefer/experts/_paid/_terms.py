"""What was agreed with a paid expert: its parameters, what copies share, what a pickle holds."""

from __future__ import annotations

import copy
import re
import threading
import warnings
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from skdefer.calling._breaker import CircuitBreaker
from skdefer.calling._endpoint import check_url, check_variable
from skdefer.calling._price import CallPrice
from skdefer.calling._rate import RateLimiter
from skdefer.calling._store import AnswerStore
from skdefer.exceptions import OutOfLabelsWarning
from skdefer.experts._base import Expert
from skdefer.experts._options import Options

_SECRET = re.compile(r"auth|key|token|secret|cookie|password", re.IGNORECASE)
_OURS = ("model", "messages", "state", "questions", "stream", "n")


@dataclass
class Live:
    """What an expert and its copies share while they live; none of it is in a pickle."""

    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    lock: Any = field(default_factory=threading.Lock)
    #: What was learned of services by asking them: (what, address, model) -> whether they can.
    abilities: dict[Any, bool] = field(default_factory=dict)
    #: Models in this process.
    pipelines: dict[Any, Any] = field(default_factory=dict)


class Terms(Expert, BaseEstimator):
    """The parameters that all paid experts have; see :class:`ChatExpert`.

    ``name``, ``version``, ``cost`` and ``store`` are what is used, which may depend on other
    parameters; ``get_params`` tells what was passed.
    """

    keeps_answers = True

    def __init__(
        self,
        model: Any,
        *,
        base_url: str | None,
        prompt: str | None,
        classes: Any,
        descriptions: Any,
        key_variable: str | None,
        extra_body: dict[str, Any] | None,
        extra_headers: dict[str, str] | None,
        allow_plain_http: bool,
        rotate_options: bool,
        max_characters: int,
        name: str | None,
        version: str | None,
        cost: float | None,
        capacity: int | None,
        max_queries: int | None,
        price: Any,
        max_cost: float | None,
        store: Any,
        n_workers: int,
        rate_limiter: RateLimiter | None,
        max_retries: int,
        deadline: float,
        verbose: int,
    ):
        # What was passed, where what is used depends on other parameters too.
        self._given: dict[str, Any] = {}
        self._live = Live()
        self._bound: np.ndarray | None = None
        self.model = model
        self.price = price
        super().__init__(
            name=name,
            version=version,
            cost=0.0 if cost is None else cost,
            capacity=capacity,
            max_queries=max_queries,
        )
        self._given["cost"] = cost
        self.base_url = base_url
        self.prompt = prompt
        self.classes = classes
        self.descriptions = descriptions
        self.key_variable = key_variable
        self.extra_body = extra_body
        self.extra_headers = extra_headers
        self.allow_plain_http = allow_plain_http
        self.rotate_options = rotate_options
        self.max_characters = max_characters
        self.max_cost = max_cost
        self.store = store
        self.n_workers = n_workers
        self.rate_limiter = rate_limiter
        self.max_retries = max_retries
        self.deadline = deadline
        self.verbose = verbose
        self._check()

    # -- what a subclass says ------------------------------------------------------------

    def _default_name(self) -> str:
        return str(self.model)

    def _default_version(self) -> str:
        return str(self.model)

    def _check_options(self, options: Options) -> None:
        """Refuse options that can't be asked for."""

    def _most_output(self) -> int | None:
        """Tell the most tokens of a reply; None: there is no limit."""
        return 0

    # -- parameters ----------------------------------------------------------------------

    @property
    def name(self) -> str | None:
        """How routes and reports call the expert."""
        given = self._given.get("name")
        return self._default_name() if given is None else given

    @name.setter
    def name(self, value: str | None) -> None:
        self._given["name"] = value

    @property
    def version(self) -> str:
        """What answers depend on besides the question."""
        given = self._given.get("version")
        return self._default_version() if given is None else str(given)

    @version.setter
    def version(self, value: str | None) -> None:
        self._given["version"] = value

    @property
    def cost(self) -> float:
        """Price of one answer, in the unit of ``error_cost``."""
        given = self._given.get("cost")
        return (CallPrice.read(self.price).per_call or 0.0) if given is None else float(given)

    @cost.setter
    def cost(self, value: float | None) -> None:
        self._given["cost"] = value

    @property
    def store(self) -> AnswerStore:
        """Where answers are kept: ``to_frame()`` shows them, ``spent()`` what they cost."""
        return self._store

    @store.setter
    def store(self, value: Any) -> None:
        self._store = value if isinstance(value, AnswerStore) else AnswerStore(value)
        if value is not self._store and value is not None:
            # The same file for copies and pickles, whatever their working folder.
            value = str(self._store.path) if isinstance(value, str) else self._store.path
        self._given["store"] = value

    @property
    def key_variable(self) -> str | None:
        """The name of the environment variable that holds the key."""
        return self._given.get("key_variable")

    @key_variable.setter
    def key_variable(self, value: str | None) -> None:
        check_variable(value)  # before it can be shown
        self._given["key_variable"] = value

    @property
    def paid(self) -> bool:  # type: ignore[override]
        """Whether an answer may cost money."""
        price = self._price()
        return any((price.per_call, price.input, price.output)) or not price.known

    def _price(self) -> CallPrice:
        return CallPrice.read(self.price)

    # That of Expert is shorter than scikit-learn expects of a part of an estimator.
    __repr__ = BaseEstimator.__repr__

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters as they were passed.

        Parameters
        ----------
        deep : bool, default=True
            Whether those of parameters that are estimators belong to it.

        Returns
        -------
        params : dict of str to object
        """
        return {**super().get_params(deep), **self._given}

    def _check(self) -> None:
        """Refuse parameters that make no sense, before anything is asked."""
        limits = [("n_workers", 1), ("max_retries", 0), ("max_characters", 1)]
        for name, least in limits:
            value = getattr(self, name)
            if not isinstance(value, Integral) or value < least:
                raise ValueError(f"{name} is {value!r}; expected an integer >= {least}.")
        if not isinstance(self.deadline, Real) or not 0 < float(self.deadline) < np.inf:
            raise ValueError(f"deadline is {self.deadline!r}; expected seconds, a number > 0.")
        limiter = self.rate_limiter
        if limiter is not None and not hasattr(limiter, "wait_time"):
            raise TypeError(f"rate_limiter is {limiter!r}; expected a RateLimiter or None.")
        if self.base_url is not None:
            self._check_service()
        self._check_money()
        if self.classes is not None:
            self._check_options(Options(self.classes, self.descriptions))

    def _check_service(self) -> None:
        check_url(
            self.base_url,  # type: ignore[arg-type]
            has_key=self.key_variable is not None,
            allow_plain_http=self.allow_plain_http,
        )
        if "?" in str(self.base_url) or "#" in str(self.base_url):
            raise ValueError(
                "base_url has a part after '?' or '#'; expected the address that paths are added "
                "to, such as 'https://host.example/v1'."
            )
        for path in ("/chat/completions", "/systemone"):
            if (base := str(self.base_url).rstrip("/")).endswith(path):
                raise ValueError(
                    f"base_url ends in {path!r}, which is added to it. Pass "
                    f"{base.removesuffix(path)!r}."
                )
        for name in self.extra_headers or {}:
            if _SECRET.search(name):
                raise ValueError(
                    f"extra_headers has {name!r}; what stands there is shown and pickled. Put a "
                    "key into an environment variable, and its name into key_variable."
                )
        overridden = [name for name in _OURS if name in (self.extra_body or {})]
        if overridden:
            raise ValueError(f"extra_body has {overridden}, which the expert itself fills in.")

    def _check_money(self) -> None:
        price = self._price()
        if self.max_cost is None:
            return
        if not isinstance(self.max_cost, Real) or not 0 <= float(self.max_cost) < np.inf:
            raise ValueError(f"max_cost is {self.max_cost!r}; expected a finite number >= 0.")
        if not price.known:
            raise ValueError(
                "max_cost is given, but the price is unknown, so nobody could hold it. Pass "
                "price=, per call or as (input, output) per million tokens."
            )
        if price.at_most(0, self._most_output()) is None:
            raise ValueError(
                "max_cost is given, but a reply may have any length, so nobody could hold it. "
                "Pass max_tokens=."
            )

    # -- copies --------------------------------------------------------------------------

    def __sklearn_clone__(self) -> Terms:
        new = type(self)(**self.get_params(deep=False))
        new._live, new._store = self._live, self._store  # one account, one memory
        if hasattr(self, "_metadata_request"):
            new._metadata_request = copy.deepcopy(self._metadata_request)
        return new

    def __copy__(self) -> Terms:
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__, _given=dict(self._given))
        return new

    def __deepcopy__(self, memo: dict[int, Any]) -> Terms:
        return self.__copy__()  # a copy that had forgotten would pay again

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name not in ("_live", "_store")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._live = Live()
        self.store = self._given["store"]

    def for_classes(self, classes: np.ndarray) -> Terms:
        """Take the classes as options, unless ``classes`` names others.

        Parameters
        ----------
        classes : ndarray of shape (n_classes,)
            The classes of the estimator.

        Returns
        -------
        expert : expert
            A copy that shares the store, or the expert itself.

        Raises
        ------
        ValueError
            If none of the options is a class.

        Warns
        -----
        OutOfLabelsWarning
            If some are not.
        """
        if self.classes is not None:
            self._compare_options(np.asarray(classes).tolist())
            return self
        new = self.__sklearn_clone__()
        new._bound = np.asarray(classes)
        new._options()  # refuses what can't be told apart, before anything is asked
        return new

    def _compare_options(self, classes: list[Any]) -> None:
        """Refuse options that are no classes at all, and tell of some that are not."""
        options = Options(self.classes).labels
        strangers = [option for option in options if option not in classes]
        if len(strangers) == len(options):
            alike = {str(option) for option in options} & {str(label) for label in classes}
            types = sorted({type(label).__name__ for label in options})
            hint = f" They are written alike, but these are {', '.join(types)}." if alike else ""
            raise ValueError(
                f"classes={options[:5]} of expert {self.name!r} has none of the estimator's "
                f"classes, {classes[:5]}.{hint} Pass the estimator's, or none: then the expert is "
                "told."
            )
        if strangers:
            warnings.warn(
                f"classes= of expert {self.name!r} has {strangers[:5]}, which the estimator does "
                "not know: such answers count as wrong in fit and as missing in predict.",
                OutOfLabelsWarning,
                stacklevel=5,
            )

    def cache_key(self) -> str | None:
        """Name the version; the answers themselves are kept by ``store``."""
        return self.version

    def _options(self) -> Options:
        classes = self.classes
        classes = self._bound if classes is None else classes
        classes = getattr(self, "classes_", None) if classes is None else classes
        if classes is None:
            raise ValueError(
                f"Expert {self.name!r} does not know its options. Pass classes=, or use it in a "
                "deferral estimator, whose fit tells it the classes."
            )
        options = Options(classes, self.descriptions)
        self._check_options(options)
        return options
