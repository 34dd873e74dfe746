"""What people wrote, brought to labels: blanks, typos, and two answers to one case."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, NamedTuple

from skdefer.experts._options import Options
from skdefer.utils._validation import is_missing


class Given(NamedTuple):
    """An answer as it came.

    Parameters
    ----------
    case : str
        Which case it answers.
    answer : object
        A label, or what somebody wrote; None or blank: no answer yet.
    at : str, default=None
        When it was given, in ISO 8601; None: not known.
    by : str, default=None
        Who gave it.
    seconds : float, default=None
        How long that took.
    """

    case: str
    answer: Any
    at: str | None = None
    by: str | None = None
    seconds: float | None = None


@dataclass
class Ruling:
    """What an import comes to, before the table is looked at.

    Parameters
    ----------
    answers : dict of str to Given
        The answer that stands for each case, a label.
    n_answers : int
        Answers that came, blanks left out.
    n_blank : int
        Cases without an answer.
    out_of_labels : dict of str to object
        What is none of the labels, by case.
    conflicting : dict of str to list
        Different labels for one case, in the order of their times, if they have any.
    unread : set of str
        Cases that came without a label that could stand.
    """

    answers: dict[str, Given] = field(default_factory=dict)
    n_answers: int = 0
    n_blank: int = 0
    out_of_labels: dict[str, Any] = field(default_factory=dict)
    conflicting: dict[str, list[Any]] = field(default_factory=dict)
    unread: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class ImportSummary:
    """What became of the answers that were imported.

    Parameters
    ----------
    n_imported : int
        Cases that have an answer now, and had none or another before.
    n_unchanged : int
        Cases that had this answer already.
    n_blank : int
        Cases without an answer; they stay open.
    unknown : list of str
        Names that no case of this expert has; their answers are left out.
    out_of_labels : dict of str to object
        What is none of the classes, by case; these cases stay open.
    conflicting : dict of str to list
        Different answers to one case: the newest stands where all have times, and else none; one
        that an earlier import brought stays, unless ``replace=True``.
    not_replaced : list of str
        Those of ``conflicting`` that kept the answer of an earlier import.
    """

    n_imported: int
    n_unchanged: int = 0
    n_blank: int = 0
    unknown: list[str] = field(default_factory=list)
    out_of_labels: dict[str, Any] = field(default_factory=dict)
    conflicting: dict[str, list[Any]] = field(default_factory=dict)
    not_replaced: list[str] = field(default_factory=list)

    @property
    def complaint(self) -> str:
        """What needs somebody's attention, in a sentence; empty if nothing does."""
        parts = []
        if self.unknown:
            parts.append(
                f"{len(self.unknown)} for unknown cases, such as {self.unknown[:3]}, left out"
            )
        if self.out_of_labels:
            shown = sorted({repr(a) for a in self.out_of_labels.values()})[:3]
            parts.append(
                f"{len(self.out_of_labels)} that are none of the classes, such as "
                f"{', '.join(shown)}, left out"
            )
        kept = {case: self.conflicting[case] for case in self.not_replaced}
        if kept:
            parts.append(
                f"other ones for {len(kept)} cases that have an answer already, such as "
                f"{list(kept.items())[:3]}, left out: to correct answers, import them with "
                "replace=True"
            )
        rivals = [pair for pair in self.conflicting.items() if pair[0] not in kept]
        if rivals:
            parts.append(
                f"different ones for {len(rivals)} cases, such as {rivals[:3]}: the newest stands "
                "if all have times, else the case stays open"
            )
        return "; ".join(parts)


def rule(given: Iterable[Given], options: Options) -> Ruling:
    """Find the answer that stands for each case.

    Parameters
    ----------
    given : iterable of Given
        Answers in any order, several to a case too.
    options : Options
        The labels.

    Returns
    -------
    ruling : Ruling
    """
    ruling = Ruling()
    by_case: dict[str, list[Given]] = {}
    for one in given:
        by_case.setdefault(one.case, []).append(one)
    for case, ones in by_case.items():
        filled = [one for one in ones if not _is_blank(one.answer)]
        ruling.n_answers += len(filled)
        read = [(one, find_label(one.answer, options)) for one in filled]
        odd = [one.answer for one, found in read if found is None]
        labelled = [one._replace(answer=options.labels[i]) for one, i in read if i is not None]
        if not labelled:
            ruling.unread.add(case)
        if not filled:
            ruling.n_blank += 1
        if odd:
            ruling.out_of_labels[case] = odd[0]
        if not labelled:
            continue
        times = [_time(one.at) for one in labelled]
        in_order = sorted(range(len(labelled)), key=lambda i: times[i])
        last = labelled[in_order[-1]]
        if any(one.answer != last.answer for one in labelled):
            ruling.conflicting[case] = [labelled[i].answer for i in in_order]
            rivals = [t for one, t in zip(labelled, times) if one.answer != last.answer]
            if max(rivals) == max(times) or min(times) == -math.inf:
                ruling.unread.add(case)
                continue
        ruling.answers[case] = last
    return ruling


def find_label(answer: Any, options: Options) -> int | None:
    """Find the label that somebody meant: itself, its text, or its number as a sheet writes it."""
    if isinstance(answer, str):
        position = options.find(answer)
        if position is not None:
            return position
        try:
            answer = float(answer)
        except ValueError:
            return None
    same = [
        i
        for i, label in enumerate(options.labels)
        if not isinstance(label, str) and label == answer
    ]
    return same[0] if same else None


def _is_blank(answer: Any) -> bool:
    if isinstance(answer, str):
        return not answer.strip()
    return not isinstance(answer, (list, dict)) and bool(is_missing([answer])[0])


def _time(at: str | None) -> float:
    """Read a time; minus infinity if there is none."""
    try:
        time = datetime.fromisoformat((at or "").replace("Z", "+00:00"))
    except ValueError:
        return -math.inf
    return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).timestamp()
