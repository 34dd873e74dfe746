"""The first calls of a question, by which the others stand or fall."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from skdefer.calling._outcomes import Outcome, Reply
from skdefer.calling._store import AnswerStore, ReplyKey
from skdefer.calling._till import Call

_SIZE = 20
_ANSWERED = """SELECT 1 FROM replies
    WHERE expert = ? AND version = ? AND prompt = ? AND outcome = 'ok' LIMIT 1"""
_COUNTS = """SELECT outcome, COUNT(*) FROM replies
    WHERE expert = ? AND version = ? GROUP BY outcome ORDER BY COUNT(*) DESC"""
_REMEDIES = {
    Outcome.TRUNCATED: "a larger max_tokens (models that think first need hundreds), or shorter "
    "rows",
    Outcome.UNPARSABLE: "a prompt that asks for one of the options alone, or another model",
    Outcome.OUT_OF_LABELS: "classes= that are what the prompt asks for",
    Outcome.REFUSED: "another prompt or another model, since the service will not answer this",
}


class Trial:
    """A few calls to be made before the others; one answer among them, and all may go out.

    A service that never gives a usable answer would else be paid to the last row.

    Parameters
    ----------
    calls : sequence of Call
        All that are to be made.
    store : AnswerStore
        Where an answer to the same question may be known.
    key : ReplyKey
        What is asked.

    Attributes
    ----------
    first, held : list of Call
        Those to be made at once, and the others, which wait until one of these is answered.
    """

    def __init__(self, calls: Sequence[Call], store: AnswerStore, key: ReplyKey):
        self.key = key
        hold = len(calls) > _SIZE and not _is_answered(store, key)
        self.first = list(calls[:_SIZE] if hold else calls)
        self.held = list(calls[_SIZE:] if hold else ())

    def judge(self, replies: dict[bytes, Reply]) -> bool | None:
        """Tell whether the calls held back may go out; None: that is not known yet."""
        came = [replies[call.row] for call in self.first if call.row in replies]
        if any(reply.outcome is Outcome.OK for reply in came):
            return True
        return False if len(came) == len(self.first) else None

    def release(self) -> list[Call]:
        """Give the calls that were held back."""
        held, self.held = self.held, []
        return held

    def explain(self, replies: dict[bytes, Reply]) -> tuple[str, str]:
        """Say what came instead of answers, and what to do about it."""
        came = [replies[call.row] for call in self.first]
        counts = Counter(reply.outcome for reply in came)
        said = {reply.outcome: _quote(reply.text) for reply in reversed(came)}
        what = ", ".join(f"{n} {o}{said[o]}" for o, n in counts.most_common())
        why = f"none of its first {len(came)} replies is an answer: {what}."
        remedies = [text for outcome, text in _REMEDIES.items() if outcome in counts]
        how = f"Try {'; '.join(remedies)}." if remedies else "Run it again once that is mended."
        kept = [str(outcome) for outcome in counts if outcome.replied]
        if kept:
            how += (
                " These replies are kept, so rows that are asked the same are not asked again "
                f"until expert.store.forget({self.key.expert!r}, {kept})."
            )
        return why, how


def count_outcomes(store: AnswerStore, expert: str, version: str) -> dict[str, int]:
    """Count the replies that are kept of an expert by outcome, most frequent first."""
    return dict(store.run(lambda c: c.execute(_COUNTS, (expert, version)).fetchall()))


def _is_answered(store: AnswerStore, key: ReplyKey) -> bool:
    return store.run(lambda c: c.execute(_ANSWERED, key).fetchone()) is not None


def _quote(text: str) -> str:
    text = " ".join(text.split())
    text = text if len(text) <= 120 else f"{text[:117]}..."
    return f" (such as {text!r})" if text else ""
