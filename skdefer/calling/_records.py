"""How a reply is written into columns, and read back as it was."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from skdefer.calling._outcomes import Outcome, Reply


def write_reply(reply: Reply) -> tuple[Any, ...]:
    """Bring a reply to the columns of the table."""
    answer = as_json(reply.answer)
    probabilities = reply.probabilities and [
        [_plain(label), float(p)] for label, p in reply.probabilities.items()
    ]
    if answer is None:
        raise TypeError(
            f"The answer {reply.answer!r} is a {type(reply.answer).__name__}; expected a string, "
            "bool, int or float, which a store gives back as it was."
        )
    return (
        reply.outcome.value,
        answer,
        None if probabilities is None else json.dumps(probabilities),
        None if reply.price is None else float(reply.price),
        reply.input_tokens,
        reply.output_tokens,
        float(reply.seconds),
        reply.text.encode("utf-8", "replace").decode(),  # half an emoji is no reason to lose it
    )


def read_reply(record: tuple[Any, ...]) -> Reply:
    """Bring the columns of the table back to a reply."""
    outcome, answer, probabilities, price, n_in, n_out, seconds, text = record
    return Reply(
        Outcome(outcome),
        json.loads(answer),
        read_probabilities(probabilities),
        text,
        n_in,
        n_out,
        price,
        seconds,
    )


def read_probabilities(text: str | None) -> dict[Any, float] | None:
    """Read pairs of label and probability: JSON's own keys are text alone."""
    return None if text is None else dict(json.loads(text))


def _plain(label: Any) -> Any:
    """Take a label out of numpy's scalar."""
    return label.item() if isinstance(label, np.generic) else label


def as_json(label: Any) -> str | None:
    """Write a label, or an abstention; None where it would come back as another."""
    label = _plain(label)
    keeps = label is None or isinstance(label, (str, bool, int, float))
    return json.dumps(label) if keeps else None


def row_text(row: bytes) -> str:
    """Write a digest, which is characters or bytes, as characters."""
    return row.decode() if row.isascii() and row.decode().isprintable() else row.hex()
