"""The options that an expert chooses among: classes, and how they are written for a model."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

LETTERS = string.ascii_uppercase
_QUOTES = "\"'`*\u201c\u201d\u2018\u2019"


class Options:
    """Classes as texts, and back.

    Parameters
    ----------
    classes : sequence of str, int, bool or float
        The labels, in the order in which they are shown.
    descriptions : mapping of label to str, default=None
        What labels mean; not every one needs it.

    Attributes
    ----------
    labels : list
        The labels, as Python objects; answers are one of them.
    texts, descriptions : list of str
        How they are written, and what they mean, ``""`` where nobody said.

    Raises
    ------
    ValueError
        For fewer than two classes, or some that are written alike.
    """

    def __init__(self, classes: Any, descriptions: Mapping[Any, str] | None = None):
        if isinstance(classes, (str, bytes)) or not hasattr(classes, "__len__"):
            raise ValueError(
                f"classes is {classes!r}; expected a list of labels, as ['no', 'yes']."
            )
        self.labels = [c.item() if isinstance(c, np.generic) else c for c in list(classes)]
        wrong = [c for c in self.labels if not isinstance(c, (str, bool, int, float))]
        if wrong:
            raise ValueError(
                f"classes has {wrong[0]!r}, a {type(wrong[0]).__name__}; expected labels that are "
                "str, int, bool or float."
            )
        if len(self.labels) < 2:
            raise ValueError(
                f"classes has {len(self.labels)} labels; expected at least two, else there is "
                "nothing to ask."
            )
        self.texts = [str(label) for label in self.labels]
        twice = [text for text, n in Counter(t.strip() for t in self.texts).items() if n > 1]
        if twice:
            raise ValueError(
                f"classes has several labels that are written {twice[0]!r}, so an answer could "
                "mean any of them. Make them differ as texts."
            )
        if not all(text.strip() for text in self.texts):
            raise ValueError("classes has an empty text, which no answer can be. Rename the class.")
        known = _check_descriptions(descriptions, self.labels)
        self.descriptions = [known.get(text, "") for text in self.texts]

    def __len__(self) -> int:
        return len(self.labels)

    def rotated(self, start: int) -> Options:
        """Give the same options, those before ``start`` at the end."""
        new = object.__new__(Options)
        for name in ("labels", "texts", "descriptions"):
            values = getattr(self, name)
            setattr(new, name, values[start:] + values[:start])
        return new

    def listed(self, *, letters: bool = False) -> str:
        """Write the options one a line, after letters or dashes, with what they mean."""
        marks = [f"{letter}." for letter in LETTERS] if letters else ["-"] * len(self)
        return "\n".join(
            f"{mark} {text}: {meaning}" if meaning else f"{mark} {text}"
            for mark, text, meaning in zip(marks, self.texts, self.descriptions)
        )

    def find(self, text: str) -> int | None:
        """Find the option that a text is: the same, or the same but for its dress.

        Case, outer white space, quotes, asterisks and a final dot are dress, unless two options
        differ in them alone. What merely contains an option is none.
        """
        if text in self.texts:
            return self.texts.index(text)
        bare = undress(text)
        alike = [i for i, option in enumerate(self.texts) if undress(option) == bare]
        return alike[0] if len(alike) == 1 else None


def undress(text: str) -> str:
    """Take case, quotes, asterisks, a final dot and white space off a text."""
    before = None
    while before != text:  # '"yes".' is dressed twice
        before, text = text, text.strip().strip(_QUOTES).removesuffix(".")
    return text.casefold()


def check_letters(n_options: int, why: str) -> None:
    """Refuse more options than there are letters."""
    if n_options > len(LETTERS):
        raise ValueError(
            f"There are {n_options} classes; {why} reads at most {len(LETTERS)}, a letter each. "
            "Merge classes, or ask in two steps."
        )


def _check_descriptions(descriptions: Any, labels: list[Any]) -> dict[str, str]:
    if descriptions is None:
        return {}
    if not isinstance(descriptions, Mapping):
        raise ValueError(
            f"descriptions is a {type(descriptions).__name__}; expected a mapping of classes to "
            "what they mean, as {'spam': 'Unwanted advertising'}."
        )
    known = {str(key): text for key, text in descriptions.items()}
    strangers = [key for key in known if key not in map(str, labels)]
    if strangers:
        raise ValueError(f"descriptions has {strangers}, which are not among the classes {labels}.")
    wrong = [text for text in known.values() if not isinstance(text, str)]
    if wrong:
        raise ValueError(f"descriptions has {wrong[0]!r}; expected a text for each class.")
    return known
