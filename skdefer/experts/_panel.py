"""The experts of one estimator: their names, what each may see, and what they said."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from skdefer.exceptions import OutOfLabelsWarning
from skdefer.experts._base import AbsentExpert, Expert, RecordedExpert, as_expert
from skdefer.experts._met import Met, agree, is_fitted
from skdefer.experts._posterior import check_truth
from skdefer.experts._profile import ExpertProfile
from skdefer.utils._rows import check_same_order, count_rows, drop_columns
from skdefer.utils._validation import OUT_OF_LABELS, check_answers, encode_answers

MODEL = "model"
#: What becomes of an answer outside the classes in ``predict``.
MISSING_FATE = "count as missing answers"


def make_panel(
    experts: Any,
    columns: Sequence[str] | None,
    n_columns: int,
    classes: np.ndarray | None = None,
) -> dict[str, Expert]:
    """Name the experts, in order, and tell them the classes.

    Parameters
    ----------
    experts : None, one expert, a sequence of experts or of pairs (name, expert)
        As the user gave them.
    columns : sequence of str or None
        Names of the columns of ``expert_predictions``, if it has names.
    n_columns : int
        The number of those columns; 0 without ``expert_predictions``.
    classes : ndarray of shape (n_classes,), default=None
        The classes, for ``for_classes`` of experts who can be asked; None: not known yet.

    Returns
    -------
    panel : dict of str to Expert
        One at least: an expert who is always right and never there stands in if nobody
        was given.

    Raises
    ------
    ValueError
        For a name twice, the name ``"model"``, or no expert in a sequence.
    """
    if experts is None:
        if n_columns == 0:
            return {"expert": AbsentExpert(name="expert")}
        members: list[tuple[str | None, Any]] = [
            (columns[j] if columns else None, RecordedExpert()) for j in range(n_columns)
        ]
    elif isinstance(experts, dict):
        members = list(experts.items())
    elif _split_pair(experts)[0] is not None:
        members = [experts]
    elif isinstance(experts, (list, tuple)):
        members = [_split_pair(e) for e in experts]
        if not members:
            raise ValueError(
                "experts is empty. Pass at least one expert, or None to reject without one."
            )
    else:
        members = [(None, experts)]
    panel: dict[str, Expert] = {}
    for j, (name, member) in enumerate(members):
        expert = as_expert(member)
        if classes is not None and expert.can_answer:
            expert = expert.for_classes(classes)
        name = name or expert.name or f"expert_{j + 1}"
        if name == MODEL:
            raise ValueError("An expert is named 'model', which names the model's own route.")
        if name in panel:
            raise ValueError(
                f"Two experts are named {name!r}. Give each a name of its own: "
                "experts=[(name, expert), ...]."
            )
        panel[name] = expert
    return panel


def _split_pair(member: Any) -> tuple[str | None, Any]:
    if isinstance(member, tuple) and len(member) == 2 and isinstance(member[0], str):
        return member
    return None, member


def visible(X: Any, panel: dict[str, Expert]) -> Any:
    """Take ``X`` without the columns that only their experts may see."""
    return drop_columns(X, [e.column for e in panel.values() if e.column is not None])


def given_names(experts: Any) -> set[str]:
    """Names that the user gave, to tell them from those that ``make_panel`` made up."""
    if isinstance(experts, dict):
        return set(experts)
    members = [experts] if _split_pair(experts)[0] is not None else experts
    members = members if isinstance(members, (list, tuple)) else [members]
    names = {name or getattr(member, "name", None) for name, member in map(_split_pair, members)}
    return {name for name in names if name is not None}


def find_profiles(
    panel: dict[str, Expert],
    given: Any,
    met: Sequence[Met],
    classes: np.ndarray,
    named: Collection[str] = (),
) -> tuple[list[ExpertProfile], list[int | None]]:
    """Find what is known of each expert of a new panel, and who of them was met before.

    Parameters
    ----------
    panel : dict of str to Expert
        The experts.
    given : sequence, mapping by name, or None
        One fitted profile, or context ``(expert_predictions, y)`` or ``(expert_predictions,
        y, X)``, per expert; for a single expert also without a list. None, whole or of one
        expert: that of its name in ``met``, unless the expert brings another than it brought
        then; else the expert's own, or the prior if that is not fitted.
    met : sequence of Met
        Experts met before.
    classes : ndarray of shape (n_classes,)
        The classes that profiles are brought to.
    named : collection of str
        Names that the user gave. A made-up one ("expert_1") makes nobody somebody that was met,
        unless profiles are given for others beside.

    Returns
    -------
    profiles : list of ExpertProfile
        One per expert; copies.
    who : list of int or None
        Their positions in ``met``, None for strangers: of a profile that is one of ``met``, or
        that comes by a name of ``met``. A context says nothing of what was known before.

    Raises
    ------
    ValueError
        If an expert has none, or something else was given.
    """
    positions = {m.name: j for j, m in enumerate(met)}
    familiar = positions.keys() if given is not None else positions.keys() & set(named)
    profiles, who = [], []
    for (name, expert), entry in zip(panel.items(), _one_each(panel, given), strict=True):
        if entry is None:
            entry = expert.profile
            if name in familiar:
                known = met[positions[name]]
                if not is_fitted(entry) or agree(entry, known.brought):
                    entry = known.profile
            if entry is not None and not is_fitted(entry):
                entry = _start(entry, classes)
        profiles.append(as_profile(entry, name, classes))
        position = next((j for j, m in enumerate(met) if m.profile is entry), None)
        if position is None and isinstance(entry, ExpertProfile) and name in named:
            position = positions.get(name)
        who.append(position)
    return profiles, who


def _start(template: ExpertProfile, classes: np.ndarray) -> ExpertProfile:
    """Fit a copy of a prior, without answers."""
    profile = copy.deepcopy(template)
    if profile.classes is None:
        profile.set_params(classes=classes)
    return profile.fit([], [])


def find_contexts(panel: dict[str, Expert], given: Any) -> list[tuple[Any, ...] | None]:
    """Find the contexts that came with their rows.

    Parameters
    ----------
    panel : dict of str to Expert
        The experts.
    given : sequence, mapping by name, or None
        As in :func:`find_profiles`, which must have accepted it.

    Returns
    -------
    contexts : list of tuple (expert_predictions, y, X), or None
        One per expert; None where no row came, only answers or a profile.
    """
    return [
        p if _is_context(p) and len(p) == 3 and p[2] is not None and len(p[1]) else None
        for p in _one_each(panel, given)
    ]


def _one_each(panel: dict[str, Expert], given: Any) -> list[Any]:
    """Read profiles in any form as a list with an entry, or None, for each expert."""
    if given is None:
        given = {}
    elif isinstance(given, ExpertProfile) or _is_context(given):
        given = [given]
    if isinstance(given, Mapping):
        if not set(given) <= set(panel):
            raise ValueError(
                f"profiles are given for {list(given)}, but the experts are {list(panel)}."
            )
        given = [given.get(name) for name in panel]
    if len(given) != len(panel):
        raise ValueError(
            f"{len(given)} profiles for {len(panel)} experts {list(panel)}; pass one each."
        )
    return list(given)


def _is_context(given: Any) -> bool:
    """Tell (expert_predictions, y[, X]) from a pair or triple of profiles or of contexts."""
    return (
        isinstance(given, tuple)
        and len(given) in (2, 3)
        and not any(p is None or isinstance(p, (ExpertProfile, tuple)) for p in given[:2])
    )


def as_profile(
    given: Any, name: str, classes: np.ndarray, template: ExpertProfile | None = None
) -> ExpertProfile:
    """Bring what was given of an expert to a fitted profile.

    Parameters
    ----------
    given : ExpertProfile or tuple
        A fitted profile, which is copied, or a context ``(expert_predictions, y[, X])``.
    name : str
        The expert's.
    classes : ndarray of shape (n_classes,)
        The classes that the profile is brought to.
    template : ExpertProfile, default=None
        What is known beforehand, to which a context is added.

    Returns
    -------
    profile : ExpertProfile

    Raises
    ------
    ValueError
        That names the expert.
    """
    if given is None:
        raise ValueError(
            f"Nothing is known of the expert {name!r}. Pass profiles=, a fitted ExpertProfile "
            "or past answers (expert_predictions, y) for each expert."
        )
    if isinstance(given, ExpertProfile):
        if not is_fitted(given):
            raise ValueError(
                f"The profile of expert {name!r} is not fitted. Fit it with past answers; without "
                "any, ExpertProfile(classes=...).fit([], []) is its prior."
            )
        # A copy: the user's own may go on learning elsewhere.
        return copy.deepcopy(given.align(classes))
    if _is_context(given):
        return _read_context(given, name, classes, template)
    raise ValueError(
        f"The profile of expert {name!r} is a {type(given).__name__}; expected a fitted "
        "ExpertProfile or a context, a tuple (expert_predictions, y) or (expert_predictions, y, X)."
    )


def _read_context(
    given: tuple[Any, ...], name: str, classes: np.ndarray, template: ExpertProfile | None
) -> ExpertProfile:
    answers, y = given[:2]
    try:
        profile = template if template is not None else ExpertProfile(name=name, classes=classes)
        profile = copy.deepcopy(profile) if is_fitted(profile) else _start(profile, classes)
        profile = profile.align(classes)
        if len(given) == 3 and given[2] is not None:
            if count_rows(given[2]) != len(y):
                raise ValueError(
                    f"X has {count_rows(given[2])} rows, but y has {len(y)} labels; pass the rows "
                    "that were answered, in the order of the answers."
                )
            check_same_order(answers, given[2])
        check_same_order(answers, y, "y")
        truth = check_truth(y)
        unknown = truth[encode_answers(truth, classes) < 0]
        if len(unknown):
            raise ValueError(
                f"y has the labels {sorted(set(map(str, unknown.tolist())))[:5]}, but the model "
                f"knows {classes.tolist()}. Leave those rows out."
            )
        profile.partial_fit(answers, truth)
        column = check_answers(answers, len(truth))[0]
        encode_checked(column, classes, [name], fate="count as wrong")
        return profile
    except ValueError as error:
        raise ValueError(f"The context of expert {name!r}: {error}") from error


def learn_profiles(
    templates: Sequence[ExpertProfile] | None,
    answers: np.ndarray,
    y: Any,
    sample_weight: np.ndarray,
    classes: np.ndarray,
) -> list[ExpertProfile]:
    """Add each expert's record to what is known of the expert beforehand.

    Parameters
    ----------
    templates : sequence of ExpertProfile, or None
        A prior (and a name) or a fitted profile per expert; copied.
    answers : ndarray of shape (n_rows, n_experts)
        The record, missing where there is no answer.
    y : array-like of shape (n_rows,)
        The truth.
    sample_weight : ndarray of shape (n_rows,)
        How many answers a row counts for.
    classes : ndarray of shape (n_classes,)
        The classes that profiles are brought to.

    Returns
    -------
    profiles : list of ExpertProfile
        One per expert.
    """
    J = answers.shape[1]
    templates = templates or [ExpertProfile(name=f"expert_{j + 1}") for j in range(J)]
    if len(templates) != J:
        raise ValueError(f"{len(templates)} profiles for {J} experts; pass one profile per expert.")
    profiles = []
    for j, template in enumerate(templates):
        # A copy: the user's own may go on learning elsewhere.
        fitted = is_fitted(template)
        profile = copy.deepcopy(template) if fitted else _start(template, classes)
        # Rows of classes that the profile doesn't have tell it nothing.
        rows = np.isin(y, profile.classes_)
        profile.partial_fit(answers[rows, j], np.asarray(y)[rows], sample_weight[rows])
        profiles.append(profile.align(classes))
    return profiles


def encode_checked(
    answers: np.ndarray,
    classes: np.ndarray,
    names: Sequence[str],
    *,
    fate: str,
    refuse: bool = True,
) -> np.ndarray:
    """Turn answers into positions in ``classes``, with one warning for those outside.

    Parameters
    ----------
    answers : ndarray of shape (n_rows, n_experts)
        Labels, None or NaN where there is none.
    classes : ndarray of shape (n_classes,)
        The labels known.
    names : sequence of str
        Names of the experts, one a column.
    fate : str
        What becomes of answers outside ``classes``; it ends the warning.
    refuse : bool, default=True
        Whether no class at all in a column is an error. A few answers just bought may
        all be odd ("unsure"), and must not be lost.

    Returns
    -------
    codes : ndarray of int of shape (n_rows, n_experts)
        As ``encode_answers``.

    Raises
    ------
    ValueError
        If no answer of an expert is a class, though it answers, and ``refuse``.
    """
    codes = encode_answers(answers, classes)
    outside = codes == OUT_OF_LABELS
    if not outside.any():
        return codes
    for j, name in enumerate(names):
        if refuse and outside[:, j].any() and not (codes[:, j] >= 0).any():
            examples = sorted({repr(a) for a in answers[outside[:, j], j][:50].tolist()})[:3]
            raise ValueError(
                f"No answer of expert {name!r} is one of the classes {classes.tolist()}; "
                f"it says {', '.join(examples)}, for instance. Answers must be labels of y: look "
                "for a scaler or an encoder that has touched them, or for another column."
            )
    counts = {name: int(outside[:, j].sum()) for j, name in enumerate(names) if outside[:, j].any()}
    examples = sorted({repr(a) for a in answers[outside][:50].tolist()})[:3]
    warnings.warn(
        f"Answers outside the classes {classes.tolist()}, such as {', '.join(examples)}, in "
        f"{len(answers)} rows: {counts}. They {fate}. Write None where there is no answer.",
        OutOfLabelsWarning,
        stacklevel=3,
    )
    return codes
