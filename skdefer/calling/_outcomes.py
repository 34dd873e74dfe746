"""What can become of one call to somebody who is paid for it, and what a reply holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Outcome(str, Enum):
    """What became of one call. A failure is never a label.

    Five mean that a reply came: it was paid for, is kept, and the row is not asked about again.
    The others are failures of the way there: the row may be asked about again.
    """

    OK = "ok"
    REFUSED = "refused"  #: the service would not answer this row
    TRUNCATED = "truncated"  #: the reply, or the question, was longer than allowed
    UNPARSABLE = "unparsable"  #: a reply came that nothing can be read from
    OUT_OF_LABELS = "out_of_labels"  #: an answer, but none of the options
    RATE_LIMITED = "rate_limited"
    QUOTA = "quota"  #: the account is used up
    TIMEOUT = "timeout"
    SERVER_ERROR = "server_error"  #: broken, unreachable, or no such service
    AUTH = "auth"
    BAD_REQUEST = "bad_request"  #: the service says that the request itself is wrong

    def __str__(self) -> str:
        return self.value

    @property
    def replied(self) -> bool:
        """Whether a reply came, which was paid for and is kept."""
        return self in _REPLIED

    @property
    def worth_retrying(self) -> bool:
        """Whether the same call may succeed a little later."""
        return self in _RETRIED

    @property
    def stops(self) -> bool:
        """Whether every further call would fail in the same way."""
        return self in (Outcome.QUOTA, Outcome.AUTH)


_REPLIED = (
    Outcome.OK,
    Outcome.REFUSED,
    Outcome.TRUNCATED,
    Outcome.UNPARSABLE,
    Outcome.OUT_OF_LABELS,
)
_RETRIED = (Outcome.RATE_LIMITED, Outcome.TIMEOUT, Outcome.SERVER_ERROR)


def no_answers(outcomes: str | Iterable[str] = ()) -> list[Outcome]:
    """Read names of outcomes that are kept though they are no answers; none: all of them.

    Raises
    ------
    ValueError
        If one is "ok", or no such outcome.
    """
    kept: list[Outcome] = [o for o in Outcome if o.replied and o != Outcome.OK]
    named = [outcomes] if isinstance(outcomes, str) else list(outcomes)
    if Outcome.OK in named:
        raise ValueError("Answers are never forgotten. Give the expert another version.")
    if strangers := [name for name in named if name not in kept]:
        raise ValueError(
            f"outcomes has {str(strangers[0])!r}; expected some of {[*map(str, kept)]}, which are "
            "kept though they are no answers."
        )
    return [Outcome(name) for name in named] or kept


@dataclass(frozen=True)
class Reply:
    """What came of one call.

    Parameters
    ----------
    outcome : Outcome
        What became of it.
    answer : object, default=None
        The label; None unless the outcome is ok.
    probabilities : dict of object to float, default=None
        Label -> probability, where the service gives them.
    text : str, default=""
        What the service wrote, or why the call failed. Never holds a key.
    input_tokens, output_tokens : int, default=None
        What the service counted; None: it did not say.
    price : float, default=None
        What the call cost, in the unit of the expert's ``price``; None: unknown.
    seconds : float, default=0.0
        How long it took.
    retry_after : float, default=None
        Seconds after which the service wants to be asked again.
    status : int, default=None
        The HTTP status of a failure, or the one that would have been right.
    """

    outcome: Outcome
    answer: Any = None
    probabilities: dict[Any, float] | None = None
    text: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    price: float | None = None
    seconds: float = 0.0
    retry_after: float | None = None
    status: int | None = None
