"""An expert behind an OpenAI-compatible chat endpoint."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from skdefer.calling._outcomes import Outcome, Reply
from skdefer.calling._rate import RateLimiter
from skdefer.calling._store import ReplyKey
from skdefer.calling._till import Call
from skdefer.exceptions import ExpertStoppedError
from skdefer.experts._options import Options, check_letters
from skdefer.experts._paid._expert import PaidExpert, Question
from skdefer.experts._paid._prompt import Prompt
from skdefer.experts._paid._reading import lists_tokens, read_chat
from skdefer.experts._paid._service import call_service

_AS_JSON = 'Answer with one of the options only, as JSON: {"answer": "..."}'
_AS_LETTER = "Answer with the letter of one option only."
_TOP = 20  # the most that services list
_STRUCTURED = ("auto", True, False)


class ChatExpert(PaidExpert):
    """A large language model, asked for one of the options about each row.

    Any host that speaks OpenAI's chat completions: a company's, a vendor's, or one of your own
    (vLLM, llama.cpp, Ollama, ``transformers serve``). Every reply is kept in a store before it is
    used, so nothing is paid for twice; see :ref:`paid_experts`.

    Parameters
    ----------
    model : str
        The model's name, as the service knows it.
    base_url : str
        Where the service is, such as ``"https://host.example/v1"``; ``/v1`` is added if there is
        no path.
    prompt : str
        What is asked about a row, with placeholders: ``{text}`` for rows that are one text each,
        names of columns for frames, ``{options}`` where the options are to be listed (else they
        follow the prompt). Literal braces are written ``{{`` and ``}}``.
    system : str, default=None
        A system message before it.
    classes : sequence of str, int, bool or float, default=None
        The options, in the order in which they are shown. None: the classes of the deferral
        estimator, or of ``fit``, sorted.
    descriptions : mapping of class to str, default=None
        What classes mean, shown beside them.
    probabilities : bool, default=False
        Whether to read a probability for each option from the service's ``logprobs``: options are
        shown with letters, and the first token of the reply is read. An option whose letter is
        not among the tokens listed (20) gets what it can have at the most: the share of the last
        one listed, or an equal part of what the list leaves. Needs at most 26 classes. Only then
        there are ``predict`` and ``predict_proba``.
    structured : {"auto", True, False}, default="auto"
        Whether to demand JSON with one of the options (``response_format``). "auto": yes, unless
        the service says that it can't. What comes back is checked in any case. Not used with
        ``probabilities``.
    temperature : float, default=0.0
        How freely the model draws its words. None: as the service likes.
    max_tokens : int, default=64
        The longest reply. Models that think before they answer need hundreds. None: no limit of
        ours (``extra_body={"max_completion_tokens": 500}`` for services that call it so).
    key_variable : str, default=None
        The NAME of the environment variable that holds the key. The key itself is read for each
        call and kept nowhere.
    extra_body, extra_headers : dict, default=None
        More of the request's body, and more headers. Not the key: they are shown and pickled.
    allow_plain_http : bool, default=False
        Whether a key may go over http to another machine.
    rotate_options : bool, default=False
        Whether each row sees the options from another start on, drawn from its content, so that
        no option is always the first.
    max_characters : int, default=100000
        Longer rows are not asked (outcome truncated).
    name : str, default=None
        The expert's name, by which money is counted; the model's if None.
    version : str, default=None
        Changes whenever the model answers differently; the model's name if None.
    cost : float, default=None
        Price of one answer in the unit of ``error_cost``, by which rows are routed. None:
        ``price`` where that is a number, else 0.
    capacity, max_queries
        As in :class:`Expert`. In ``fit`` either ``max_queries`` or ``max_cost`` is needed, unless
        calls are free.
    price : float or (float, float), default=None
        The price of a call, or of a million tokens in and out. None: unknown, which is not 0.
    max_cost : float, default=None
        The most that the expert (by name) may ever cost in its store, over all runs, in the unit
        of ``price``. A call is made only if it fits even at its dearest.
    store : str, path-like or AnswerStore, default=None
        Where replies are kept. None: in memory, for the life of the expert and its copies in this
        process.
    n_workers : int, default=8
        The most calls at a time.
    rate_limiter : RateLimiter, default=None
        Limits of calls and tokens per minute, to be shared by experts of one account.
    max_retries : int, default=5
        How often a call is made again that failed for a reason that may pass.
    deadline : float, default=60.0
        Seconds for a call.
    verbose : int, default=0
        Above 0, progress and money spent are written to standard error.

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
    >>> from skdefer.experts import ChatExpert
    >>> expert = ChatExpert("some-model", base_url="https://host.example/v1",
    ...                     prompt="Does the report mention a fracture? {text}",
    ...                     classes=["no", "yes"], key_variable="HOST_KEY", price=0.002)
    >>> print(expert.estimate(["Wrist broken in two places.", "Lungs are clear.", ""]))
    3 rows: 0 known, 2 calls to make; not asked (empty or too long): 1;
    about 257 input tokens, at most 128 output tokens; price about 0.004
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str,
        prompt: str,
        system: str | None = None,
        classes: Any = None,
        descriptions: Mapping[Any, str] | None = None,
        probabilities: bool = False,
        structured: bool | str = "auto",
        temperature: float | None = 0.0,
        max_tokens: int | None = 64,
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
        self.system = system
        self.probabilities = probabilities
        self.structured = structured
        self.temperature = temperature
        self.max_tokens = max_tokens
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

    def _check(self) -> None:
        if not isinstance(self.model, str) or not self.model:
            raise TypeError(f"model is {self.model!r}; expected the name of a model, a string.")
        if self.base_url is None:
            raise ValueError("base_url is None; expected the address of a service.")
        if self.structured not in _STRUCTURED:
            raise ValueError(
                f"structured is {self.structured!r}; expected one of {list(_STRUCTURED)}."
            )
        if self.max_tokens is not None and not (
            isinstance(self.max_tokens, int) and self.max_tokens >= 1
        ):
            raise ValueError(f"max_tokens is {self.max_tokens!r}; expected an integer >= 1.")
        Prompt(self.prompt)  # type: ignore[arg-type]
        super()._check()

    def _check_options(self, options: Options) -> None:
        if self.probabilities:
            check_letters(len(options), "probabilities=True")

    def _gives_probabilities(self) -> bool:
        return bool(self.probabilities)

    def _most_output(self) -> int | None:
        limits = [self.max_tokens, (self.extra_body or {}).get("max_completion_tokens")]
        return max((limit for limit in limits if isinstance(limit, int)), default=None)

    # -- questions -----------------------------------------------------------------------

    def _read(self, X: Any) -> list[tuple[str, ...]]:
        return Prompt(self.prompt).read(X)  # type: ignore[arg-type]

    def _asked(self, options: Options) -> list[Any]:
        return [
            "chat",
            self.prompt,
            self.system,
            options.listed(letters=self.probabilities),
            _AS_LETTER if self.probabilities else [_AS_JSON, self.structured],
            self.temperature,
            self.max_tokens,
            self.extra_body,
            self.rotate_options,
        ]

    def _body(self, question: Question, *, structured: bool = True) -> dict[str, Any]:
        prompt, options = Prompt(self.prompt), question.options  # type: ignore[arg-type]
        listed = options.listed(letters=self.probabilities)
        text = prompt.render(question.content, listed)
        if not prompt.shows_options:
            text += f"\n\nOptions:\n{listed}"
        text += f"\n\n{_AS_LETTER if self.probabilities else _AS_JSON}"
        messages = [{"role": "system", "content": self.system}] if self.system else []
        body = {
            "model": self.model,
            "messages": [*messages, {"role": "user", "content": text}],
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }
        body = {name: value for name, value in body.items() if value is not None}
        if self.probabilities:
            body |= {"logprobs": True, "top_logprobs": _TOP}
        elif structured and self.structured:
            body["response_format"] = _schema(options)
        return body | (self.extra_body or {})

    # -- one call ------------------------------------------------------------------------

    def _send(self, question: Question, deadline: float) -> Reply:
        if self.probabilities or self.structured != "auto":
            return self._chat(question, deadline)
        # Some services refuse response_format: then the same call goes out without.
        service = ("structured", self.base_url, self.model)
        able = self._live.abilities.get(service)
        start = time.monotonic()
        reply = self._chat(question, deadline, structured=able is not False)
        if able is None and reply.outcome is Outcome.OK:
            self._live.abilities[service] = True
        refused = reply.outcome is Outcome.BAD_REQUEST and reply.status in (400, 422)
        complaint = ("plain", self.base_url, self.model, reply.text)
        left = deadline - (time.monotonic() - start)
        if able is not None or not refused or left <= 0 or complaint in self._live.abilities:
            return reply
        plain = self._chat(question, left, structured=False)
        if plain.outcome.replied:
            self._live.abilities[service] = False
        elif plain.text == reply.text:  # so it is not response_format that it complains of
            self._live.abilities[complaint] = False
        return plain

    def _chat(self, question: Question, deadline: float, *, structured: bool = True) -> Reply:
        def read(data: Any) -> Reply:
            able = lists_tokens(data) if self.probabilities else None
            if able is not None:
                self._live.abilities["logprobs", self.base_url, self.model] = able
            return read_chat(data, question.options, letters=self.probabilities, model=self.model)

        body = self._body(question, structured=structured)
        return call_service(self, "chat/completions", body, read, deadline)

    def _try_out(self, key: ReplyKey, calls: list[Call]) -> None:
        service = ("logprobs", self.base_url, self.model)
        if not self.probabilities or self._live.abilities.get(service):
            return
        (reply,) = self._buy(key, calls[:1])
        why = "its reply had none, but is kept"
        if reply.outcome is Outcome.BAD_REQUEST:
            why = f"it said: {reply.text}"
        elif self._live.abilities.get(service) is not False:  # it has some, or failed otherwise
            return
        raise ExpertStoppedError(
            f"Expert {self.name!r} was stopped after one call: with probabilities=True it reads "
            f"logprobs, and the service gives none of this model ({why}). Set probabilities=False, "
            "or use a model or service that gives them (top_logprobs of chat completions)."
        )


def _schema(options: Options) -> dict[str, Any]:
    """Describe the answer for services that hold to a description."""
    answer = {"type": "string", "enum": options.texts}
    schema = {
        "type": "object",
        "properties": {"answer": answer},
        "required": ["answer"],
        "additionalProperties": False,
    }
    return {
        "type": "json_schema",
        "json_schema": {"name": "answer", "strict": True, "schema": schema},
    }
