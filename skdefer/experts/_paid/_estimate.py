"""What asking about some rows will cost, before anybody is asked."""

from __future__ import annotations

from dataclasses import dataclass


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
