"""An expert that gives a probability for each option: a decision model, here or over HTTP."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from skdefer.calling._outcomes import Reply
from skdefer.calling._price import CallPrice
from skdefer.calling._rate import RateLimiter
from skdefer.experts._options import Options, check_letters
from skdefer.experts._paid._expert import PaidExpert, Question
from skdefer.experts._paid._prompt import Prompt, read_states
from skdefer.experts._paid._reading import read_decision
from skdefer.experts._paid._service import call_service
from skdefer.utils._folders import find_folder, no_folder
from skdefer.utils._optional import import_optional


class DecisionExpert(PaidExpert):
    """A decision model, asked for the probability of each option about each row.

    In this process by transformers' ``pipeline("decision")``, or over HTTP by
    ``POST /v1/systemone`` (``transformers serve``). No text is generated: a model reads the
    question once, and the scores of the options are its answer. As ``estimator=`` of a deferral
    estimator it is a classifier that needs no training.

    Parameters
    ----------
    model : str, path-like or pipeline, default=None
        Without ``base_url``: the folder of a saved model, the name of one on a hub, or a pipeline
        already made. It is loaded at the first question, and is in no pickle unless you made it.
        With ``base_url``: its name there, None if the service has only one.
    base_url : str, default=None
        Where the service is; ``/v1`` is added if there is no path. None: in this process, where
        ``price=None`` means 0, and one question is asked at a time.
    prompt : str, default=None
        What is shown of a row, with placeholders as in :class:`ChatExpert`, but no
        ``{options}``, which go along by themselves. None: the row itself, a text, or the columns
        of a frame with their values.
    instructions : str, default=None
        The question, such as ``"Is this message spam?"``.
    classes : sequence of str, int, bool or float, default=None
        The options, at most 26. None: those of the deferral estimator, or of ``fit``.
    descriptions : mapping of class to str, default=None
        What classes mean.
    decision_config : str or DecisionConfig, default=None
        As in ``pipeline("decision")``: labels, temperatures, a template of one's own. Only in
        this process.
    key_variable, extra_body, extra_headers, allow_plain_http
        As in :class:`ChatExpert`.
    version : str, default=None
        Changes whenever the model answers differently; its name or folder if None. Another model
        in the same folder needs another version.
    rotate_options, max_characters, name, cost, capacity, max_queries
        As in :class:`ChatExpert`.
    price, max_cost, store, n_workers, rate_limiter, max_retries, deadline, verbose
        As in :class:`ChatExpert`.

    Attributes
    ----------
    store : AnswerStore
        The store: ``store.to_frame()`` shows every reply, ``store.spent(name)`` the money.
    classes_ : ndarray of shape (n_classes,)
        After ``fit`` alone.

    Raises
    ------
    TypeError, ValueError
        If parameters make no sense, before anything is asked.

    Examples
    --------
    Any function that answers as the pipeline does may stand in its place:

    >>> from skdefer.experts import DecisionExpert
    >>> def pipeline(request):
    ...     spam = 0.9 if "free" in request["state"] else 0.2
    ...     return {"answer": {"probabilities": {"ham": 1 - spam, "spam": spam}}}
    >>> expert = DecisionExpert(pipeline, instructions="Is it spam?", name="filter", version="1")
    >>> expert = expert.fit(["a free phone", "see you"], ["spam", "ham"])
    >>> expert.predict_proba(["a free lunch", "hello"]).round(2)
    array([[0.1, 0.9],
           [0.8, 0.2]])
    >>> expert.answers(["a free lunch", "hello"])
    array(['spam', 'ham'], dtype=object)
    """

    def __init__(
        self,
        model: Any = None,
        *,
        base_url: str | None = None,
        prompt: str | None = None,
        instructions: str | None = None,
        classes: Any = None,
        descriptions: Mapping[Any, str] | None = None,
        decision_config: Any = None,
        key_variable: str | None = None,
        extra_body: dict[str, Any] | None = None,
        extra_headers: dict[str, str] | None = None,
        allow_plain_http: bool = False,
        rotate_options: bool = False,
        max_characters: int = 100_000,
        name: str | None = None,
        version: str | None = None,
        cost: float | None = None,
        capacity: int | None = None,
        max_queries: int | None = None,
        price: Any = None,
        max_cost: float | None = None,
        store: Any = None,
        n_workers: int = 8,
        rate_limiter: RateLimiter | None = None,
        max_retries: int = 5,
        deadline: float = 60.0,
        verbose: int = 0,
    ):
        self.instructions = instructions
        self.decision_config = decision_config
        super().__init__(
            model,
            base_url=base_url,
            prompt=prompt,
            classes=classes,
            descriptions=descriptions,
            key_variable=key_variable,
            extra_body=extra_body,
            extra_headers=extra_headers,
            allow_plain_http=allow_plain_http,
            rotate_options=rotate_options,
            max_characters=max_characters,
            name=name,
            version=version,
            cost=cost,
            capacity=capacity,
            max_queries=max_queries,
            price=price,
            max_cost=max_cost,
            store=store,
            n_workers=n_workers,
            rate_limiter=rate_limiter,
            max_retries=max_retries,
            deadline=deadline,
            verbose=verbose,
        )

    @property
    def _here(self) -> bool:
        """Whether the model runs in this process."""
        return self.base_url is None

    def _default_name(self) -> str:
        if not isinstance(self.model, (str, os.PathLike)):
            return "decision"
        model = os.fspath(self.model)
        return os.path.basename(model.rstrip("/")) if self._here else model

    def _default_version(self) -> str:
        if isinstance(self.model, (str, os.PathLike)):
            return os.fspath(self.model)
        return str(getattr(getattr(self.model, "model", None), "name_or_path", "") or "")

    def _price(self) -> CallPrice:
        return CallPrice.read(0 if self.price is None and self._here else self.price)

    def _check(self) -> None:
        if self._here:
            self._check_model()
        elif not (self.model is None or isinstance(self.model, str)):
            raise TypeError(f"model is {self.model!r}; expected its name at {self.base_url}.")
        elif self.decision_config is not None:
            raise ValueError("decision_config is not sent over HTTP; the service has its own.")
        if self.prompt is not None and Prompt(self.prompt).shows_options:
            raise ValueError(
                "prompt has {options}, but a decision model gets its options by themselves. Leave "
                "them out; instructions= holds the question."
            )
        if not (self.instructions is None or isinstance(self.instructions, str)):
            raise TypeError(f"instructions is {self.instructions!r}; expected a text.")
        super()._check()

    def _check_model(self) -> None:
        if self.model is None:
            raise ValueError(
                "There is neither model nor base_url. Pass model=, a folder or name, to run it in "
                "this process, or base_url=, the address of a service."
            )
        if not (isinstance(self.model, (str, os.PathLike)) or callable(self.model)):
            raise TypeError(
                f"model is a {type(self.model).__name__}; expected a folder, the name of a model, "
                "or a pipeline('decision')."
            )
        sent = ("key_variable", "extra_body", "extra_headers", "rate_limiter")
        if unused := [name for name in sent if getattr(self, name) is not None]:
            raise ValueError(f"{unused} are of use with base_url alone; nothing is sent without.")
        if self._given.get("store") is not None and not self.version:
            raise ValueError(
                "model is an object without a name, so its answers in a store can't be told from "
                "another's. Pass version=."
            )

    def _check_options(self, options: Options) -> None:
        check_letters(len(options), "a decision model")

    def _workers(self) -> int:
        return 1 if self._here else self.n_workers

    # -- questions -----------------------------------------------------------------------

    def _read(self, X: Any) -> list[Any]:
        return read_states(X) if self.prompt is None else Prompt(self.prompt).read(X)

    def _asked(self, options: Options) -> list[Any]:
        kind = ["decision", self.prompt, self.instructions, options.texts, options.descriptions]
        return [*kind, self.decision_config, self.extra_body, self.rotate_options]

    def _body(self, question: Question) -> dict[str, Any]:
        state = question.content
        if self.prompt is not None:
            state = Prompt(self.prompt).render(state)
        options = question.options
        meanings = [meaning or None for meaning in options.descriptions]
        criteria = dict(zip(options.texts, meanings, strict=True))
        asked = {"type": "choice", "instructions": self.instructions, "criteria": criteria}
        body = {"state": state, "questions": {"answer": asked}}
        model = {} if self._here or self.model is None else {"model": self.model}
        return model | body | (self.extra_body or {})

    # -- one call ------------------------------------------------------------------------

    def _send(self, question: Question, deadline: float) -> Reply:
        body = self._body(question)
        if self._here:
            start = time.monotonic()
            with self._live.lock:  # torch works on one question with all cores
                answers = self._pipeline()(body)
            reply = read_decision({"answers": answers}, question.options)
            price = self._price().of(reply)
            return replace(reply, seconds=time.monotonic() - start, price=price)

        def read(data: Any) -> Reply:
            return read_decision(data, question.options)

        return call_service(self, "systemone", body, read, deadline)

    def _prepare(self) -> None:
        if self._here and not callable(self.model):
            find_folder("model", self.model)
        super()._prepare()

    def _pipeline(self) -> Any:
        """Load the model, once for all copies of the expert."""
        if callable(self.model):
            return self.model
        name = (find_folder("model", self.model), repr(self.decision_config))
        if name not in self._live.pipelines:
            transformers = import_optional("transformers", needed_for=type(self).__name__)
            try:
                self._live.pipelines[name] = transformers.pipeline(
                    "decision", model=name[0], decision_config=self.decision_config
                )
            except OSError as error:
                if os.path.isdir(name[0]):
                    raise
                raise FileNotFoundError(
                    f"model={name[0]!r}: {no_folder(name[0])}, and no model of that name that the "
                    "hub gives, or that was loaded from there before."
                ) from error
            except KeyError as error:
                if "decision" not in str(error):
                    raise
                raise ImportError(
                    "transformers is installed, but has no pipeline for decisions. Upgrade it, or "
                    "pass base_url=, the address of a service."
                ) from error
        return self._live.pipelines[name]
