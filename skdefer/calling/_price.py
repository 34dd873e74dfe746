"""What a call costs: a number per call, or prices per million tokens, or nobody knows."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Any

from skdefer.calling._outcomes import Reply

_MILLION = 1_000_000


@dataclass(frozen=True)
class CallPrice:
    """The price of a call, as ``price=`` of an expert says it.

    An unknown price stays unknown: it is None, never 0.

    Parameters
    ----------
    per_call : float, default=None
        The price of one call, whatever its length.
    input, output : float, default=None
        The price of a million tokens of the question, and of the reply.

    Examples
    --------
    >>> from skdefer.calling._outcomes import Outcome, Reply
    >>> from skdefer.calling._price import CallPrice
    >>> price = CallPrice.read((0.15, 0.60))
    >>> round(price.of(Reply(Outcome.OK, input_tokens=1000, output_tokens=100)), 6)
    0.00021
    >>> price.of(Reply(Outcome.OK)) is None
    True
    """

    per_call: float | None = None
    input: float | None = None
    output: float | None = None

    @classmethod
    def read(cls, price: Any) -> CallPrice:
        """Read what the user passed.

        Parameters
        ----------
        price : None, float >= 0, or pair of float >= 0
            Unknown; the price of a call; the prices of a million tokens in and out.

        Returns
        -------
        price : CallPrice
            The price, checked.

        Raises
        ------
        ValueError
            If it is anything else.
        """
        if isinstance(price, CallPrice):
            return price
        if price is None:
            return cls()
        if _is_price(price):
            return cls(per_call=float(price))
        if isinstance(price, (tuple, list)) and len(price) == 2 and all(map(_is_price, price)):
            return cls(input=float(price[0]), output=float(price[1]))
        raise ValueError(
            f"price is {price!r}; expected the price of one call (a finite number >= 0), a pair "
            "(input, output) of prices of a million tokens, or None if it is unknown."
        )

    @property
    def known(self) -> bool:
        """Whether there is a price at all."""
        return self.per_call is not None or self.input is not None

    def of(self, reply: Reply) -> float | None:
        """Tell what a reply cost.

        Parameters
        ----------
        reply : Reply
            A reply, with the token counts of the service.

        Returns
        -------
        price : float or None
            None if the price is unknown, or is one of tokens and the service gave no count.
        """
        return self._sum(reply.input_tokens, reply.output_tokens)

    def at_most(self, n_characters: int, max_output_tokens: int | None) -> float | None:
        """Tell the most that a call can cost, before it is made.

        Parameters
        ----------
        n_characters : int
            Length of the whole request, at most one token each. Pass its bytes in UTF-8: no
            common tokenizer makes more tokens than bytes, while an emoji can be several.
        max_output_tokens : int or None
            The longest reply that the request allows.

        Returns
        -------
        price : float or None
            None if the price is unknown, or the reply has a price and no limit.
        """
        return self._sum(n_characters, max_output_tokens)

    def _sum(self, n_input: int | None, n_output: int | None) -> float | None:
        """Add up the tokens; what is free needs no count."""
        if self.per_call is not None:
            return self.per_call
        total = 0.0
        for price, n_tokens in ((self.input, n_input), (self.output, n_output)):
            if price is None or (price > 0 and n_tokens is None):
                return None
            total += price * (n_tokens or 0) / _MILLION
        return total


def _is_price(value: Any) -> bool:
    return (
        isinstance(value, numbers.Real)
        and not isinstance(value, bool)
        and 0 <= float(value) < math.inf
    )
