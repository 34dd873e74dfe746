"""What a chat model answered: an option for certain, or no answer. Nothing is guessed."""

from __future__ import annotations

import json
import math
import re
from numbers import Real
from typing import Any

from skdefer.calling._outcomes import Outcome, Reply
from skdefer.experts._options import LETTERS, Options, undress
from skdefer.experts._paid._prompt import shorten

_LONGEST = 20_000  # characters of an answer that are searched for JSON
_THOUGHTS = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_FENCE = re.compile(r"\A```\w*\s*\n(.*?)\n?\s*```\Z", re.DOTALL)
_LABELLED = re.compile(r"\A\W*(?:the\s+)?answer(?:\s+is)?\W*?:\s*(.+)\Z", re.DOTALL | re.IGNORECASE)


def read_chat(body: Any, options: Options, *, letters: bool, model: str = "") -> Reply:
    """Read the reply of a chat endpoint.

    Parameters
    ----------
    body : object
        What its JSON held.
    options : Options
        The options, in the order in which they were shown.
    letters : bool
        Whether a letter was asked for, and the probabilities of letters.
    model : str, default=""
        Which model was asked. The name of another that answered stands before the text.

    Returns
    -------
    reply : Reply
        Without a price.
    """
    reply = _dict(body)
    choice = _first(reply.get("choices"))
    message = _dict(choice.get("message"))
    usage = _dict(reply.get("usage"))
    text = _content(message.get("content"))
    told = text or str(message.get("refusal") or "") or json.dumps(body, default=str)[:500]
    if model and not str(reply.get("model") or model).startswith(model):
        told = f"(from {shorten(str(reply['model']))}) {told}"
    outcome, position, shares = _read_message(choice, message, text, options, letters)
    return Reply(
        outcome,
        None if position is None else options.labels[position],
        None if shares is None else dict(zip(options.labels, shares, strict=True)),
        shorten(told, _LONGEST),
        _count(usage.get("prompt_tokens")),
        _count(usage.get("completion_tokens")),
    )


def _read_message(
    choice: dict, message: dict, text: str | None, options: Options, letters: bool
) -> tuple[Outcome, int | None, list[float] | None]:
    finish = choice.get("finish_reason")
    if message.get("refusal") or finish == "content_filter":
        return Outcome.REFUSED, None, None
    shares = _letter_shares(choice, options) if letters else None
    if shares is not None:  # one letter is all that was asked for, so length ends it
        return _most_likely(shares)
    if finish == "length" and not (letters and text):
        return Outcome.TRUNCATED, None, None
    if text is None or finish in ("tool_calls", "function_call"):
        return Outcome.UNPARSABLE, None, None
    return *(read_letter if letters else read_answer)(text, options), None


def read_answer(text: str, options: Options) -> tuple[Outcome, int | None]:
    """Find which option a text says, as ``{"answer": ...}`` or by itself.

    Returns
    -------
    outcome : Outcome
        "ok", "out_of_labels" for an answer that is none of the options, "unparsable" for several
        answers, or none, or an option in the middle of other words.
    position : int or None
        Which option, if ok.
    """
    text = strip_thoughts(text)
    fenced = _FENCE.match(text)
    text = fenced[1].strip() if fenced else text
    position = options.find(text)
    if position is not None:
        return Outcome.OK, position
    if "{" in text:
        said = _answers_in_json(text)
    else:
        labelled = _LABELLED.match(text)
        said = [labelled[1].strip() if labelled else text]
    if len(set(said)) != 1 or not undress(said[0]):
        return Outcome.UNPARSABLE, None
    position = options.find(said[0])
    if position is not None:
        return Outcome.OK, position
    mentioned = any(_mentions(said[0], option) for option in options.texts)
    return (Outcome.UNPARSABLE if mentioned else Outcome.OUT_OF_LABELS), None


def read_letter(text: str, options: Options) -> tuple[Outcome, int | None]:
    """Find which option a letter says; only a letter by itself is one."""
    bare = undress(strip_thoughts(text)).strip("().: ").upper()
    if len(bare) != 1:
        return Outcome.UNPARSABLE, None
    if bare in LETTERS[: len(options)]:
        return Outcome.OK, LETTERS.index(bare)
    return Outcome.OUT_OF_LABELS, None


def strip_thoughts(text: str) -> str:
    """Take off what a reasoning model thought aloud, also where only the end of it is marked."""
    return _THOUGHTS.sub("", text).rpartition("</think>")[2].strip()


def _answers_in_json(text: str) -> list[str]:
    """Collect the answers of all JSON objects of a text."""
    decoder = json.JSONDecoder(object_pairs_hook=_object)
    found: list[str] = []
    start = text.find("{")
    while 0 <= start < _LONGEST:
        try:
            value, end = decoder.raw_decode(text[:_LONGEST], start)
        except (ValueError, RecursionError):
            return []  # what can't be read might say something else
        answer = value.get("answer")
        if isinstance(answer, (str, bool, int, float)):
            found.append(str(answer))
        start = text.find("{", end)
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = {key.strip().lower(): value for key, value in pairs}
    if len(content) < len(pairs):
        raise ValueError("a key stands there twice")
    return content


def _mentions(text: str, option: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(option.strip())}(?!\w)", text, re.IGNORECASE) is not None


def _letter_shares(choice: dict, options: Options) -> list[float] | None:
    """Read the probability of each option's letter as the first token.

    Letters that are not among the tokens listed get what they can have at the most: the share of
    the last one listed, or an equal part of what the list leaves, whichever is less.
    """
    listed = _listed(choice)
    if not listed:
        return None
    letters = LETTERS[: len(options)]
    shares = dict.fromkeys(letters, 0.0)
    seen = set()
    for token, share in listed:
        bare = token.strip(" \t\r\n▁Ġ\"'`*().:")
        if bare in shares and len(bare) == 1:
            shares[bare] += share
            seen.add(bare)
    absent = len(letters) - len(seen)
    rest = max(1.0 - sum(share for _, share in listed), 0.0)
    floor = min(min(share for _, share in listed), rest / max(absent, 1))
    return [shares[letter] if letter in seen else floor for letter in letters] if seen else [0.0]


def lists_tokens(body: Any) -> bool | None:
    """Tell whether a reply has probabilities of tokens; None if it says nothing at all."""
    choice = _first(_dict(body).get("choices"))
    if not _content(_dict(choice.get("message")).get("content")):
        return None
    return bool(_listed(choice))


def _listed(choice: dict) -> list[tuple[str, float]]:
    """Take the tokens that the reply could have begun with, and their probabilities."""
    first = _first(_dict(choice.get("logprobs")).get("content"))
    return [
        (entry["token"], math.exp(min(entry["logprob"], 0.0)))
        for entry in map(_dict, _list(first.get("top_logprobs")) or [first])
        if isinstance(entry.get("token"), str) and _is_number(entry.get("logprob"))
    ]


def _most_likely(shares: list[float]) -> tuple[Outcome, int | None, list[float] | None]:
    """Take the most likely option, if the model meant to name one at all."""
    total = sum(shares)
    if not total >= 0.5:
        return Outcome.OUT_OF_LABELS, None, None
    shares = [share / total for share in shares]
    return Outcome.OK, max(range(len(shares)), key=shares.__getitem__), shares


def read_decision(body: Any, options: Options) -> Reply:
    """Read the probabilities of options that a decision model gave.

    Parameters
    ----------
    body : object
        What came: ``{"answers": {"answer": {"probabilities": {option: probability}}}}``, perhaps
        with ``usage``.
    options : Options
        The options.

    Returns
    -------
    reply : Reply
        Without a price. "unparsable" unless every option has a probability and their sum is 1
        to 0.001; then they are divided by it. The text is what was answered, or the reason and
        all that came.
    """
    usage = _dict(_dict(body).get("usage"))
    n_input, n_output = (_count(usage.get(f"{way}_tokens")) for way in ("input", "output"))
    shares = _read_shares(body, options)
    if isinstance(shares, str):
        text = f"{shares}: {_write(body)}"
        return Reply(Outcome.UNPARSABLE, None, None, text, n_input, n_output)
    best = max(range(len(shares)), key=shares.__getitem__)
    probabilities = dict(zip(options.labels, shares, strict=True))
    text = _write(body["answers"])
    return Reply(Outcome.OK, options.labels[best], probabilities, text, n_input, n_output)


def _read_shares(body: Any, options: Options) -> list[float] | str:
    """Take the probabilities of the options, or say why there are none."""
    if not isinstance(body, dict) or "answers" not in body:
        return 'no "answers"'
    given = _dict(_dict(body["answers"]).get("answer")).get("probabilities")
    if not isinstance(given, dict):
        return 'no "probabilities" of "answer"'
    if set(given) != set(options.texts):
        return f"probabilities of {shorten(str([*given]))}, not of {shorten(str(options.texts))}"
    if not all(map(_is_number, given.values())):
        return "probabilities that are no numbers"
    shares = [float(given[option]) for option in options.texts]
    if not all(0 <= share <= 1.001 for share in shares):
        return "probabilities that are not between 0 and 1"
    total = sum(shares)
    if abs(total - 1.0) > 1e-3:
        return f"probabilities whose sum is {total:.4g}"
    return [share / total for share in shares]


def _write(value: Any) -> str:
    return shorten(json.dumps(value, default=str), 2000)


def _content(content: Any) -> str | None:
    """Join what a message says, a text or a list of parts; None if it says nothing."""
    if isinstance(content, str):
        return content
    parts = [_dict(part) for part in _list(content)]
    texts = [p["text"] for p in parts if p.get("type") == "text" and isinstance(p.get("text"), str)]
    return "".join(texts) if texts else None


def _first(value: Any) -> dict:
    return _dict(value[0]) if isinstance(value, list) and value else {}


def _dict(value: Any) -> dict:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list:
    return value if isinstance(value, list) else []


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and not math.isnan(value)
