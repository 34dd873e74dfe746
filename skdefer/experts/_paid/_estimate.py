"""What asking about some rows will cost, before anybody is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skdefer.calling._outcomes import Outcome, Reply
from skdefer.calling._till import Till

if TYPE_CHECKING:
    from skdefer.experts._paid._expert import PaidExpert

CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class CallEstimate:
    """What it takes to get answers to some rows.

    Parameters
    ----------
    n_rows : int
        The rows.
    n_known : int
        Those of which the store has a reply.
    n_not_asked : int
        Those that are empty, or longer than ``max_characters``: they get no answer.
    n_calls : int
        Calls to make for the others; identical rows are one call.
    input_tokens : int
        About how many tokens the calls send, four characters each.
    output_tokens : int or None
        The most tokens that the replies can have; None: there is no limit.
    price : float or None
        What the calls cost, in the unit of the expert's ``price``: so many input tokens and the
        longest replies. None: unknown, which is not 0. Calls that are made again after a failure
        are not in it.
    left : float or None
        What is left of ``max_cost``; None: there is no limit.
    """

    n_rows: int
    n_known: int
    n_not_asked: int
    n_calls: int
    input_tokens: int
    output_tokens: int | None
    price: float | None
    left: float | None

    def __str__(self) -> str:
        replies = (
            "replies of any length"
            if self.output_tokens is None
            else f"at most {self.output_tokens:,} output tokens"
        )
        parts = [
            f"{self.n_rows:,} rows: {self.n_known:,} known, {self.n_calls:,} calls to make",
            f"about {self.input_tokens:,} input tokens, {replies}",
            "price unknown" if self.price is None else f"price about {self.price:.4g}",
        ]
        if self.n_not_asked:
            parts.insert(1, f"not asked (empty or too long): {self.n_not_asked:,}")
        if self.left is not None:
            parts.append(f"{self.left:.4g} left of max_cost")
        return "; ".join(parts)


def estimate_calls(expert: PaidExpert, X: Sequence) -> CallEstimate:
    """Find out what is known of rows and what the others will cost; see ``PaidExpert.estimate``."""
    options = expert._options()
    key = expert._key(options)
    questions = expert._questions(X, options)
    asked = [question for question in questions if not isinstance(question, Reply)]
    known = expert.store.replies(key, {question.digest for question in asked})
    new = {q.digest: q for q in asked if q.digest not in known}
    most = expert._most_output()
    n_input = sum(expert._n_bytes(q) // CHARACTERS_PER_TOKEN + 1 for q in new.values())
    n_output = None if most is None else most * len(new)
    price = expert._price()
    cost = None if price.per_call is None else price.per_call * len(new)
    if price.per_call is None:
        cost = price.of(Reply(Outcome.OK, input_tokens=n_input, output_tokens=n_output))
    with Till(expert.store, key, max_cost=expert.max_cost) as till:
        left = till.balance().left
    n_known = sum(question.digest in known for question in asked)
    return CallEstimate(
        len(questions),
        n_known,
        len(questions) - len(asked),
        len(new),
        n_input,
        n_output,
        cost,
        left,
    )
