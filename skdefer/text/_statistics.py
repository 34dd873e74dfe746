"""Texts to numbers that say what kind of text each is: its length, its doubts, its figures."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from skdefer.text._cues import HEDGES, NEGATIONS, UNITS
from skdefer.utils._texts import as_texts

_NAMES = (
    "n_characters",
    "n_words",
    "n_sentences",
    "words_per_sentence",
    "letters_per_word",
    "negations_per_word",
    "hedges_per_word",
    "numbers_per_word",
    "units_per_word",
    "upper_case_share",
    "punctuation_share",
    "symbol_share",
    "questions_per_sentence",
    "rare_word_share",
)

# What a word is, as bits.
_WORD, _NUMBER, _UNIT, _RARE, _NEGATION, _HEDGE, _FIRST = (1 << i for i in range(7))
_COUNTED = (_WORD, _NUMBER, _UNIT, _RARE, _NEGATION, _HEDGE)
# What a character is, as bits.
_LETTER, _UPPER, _LOWER, _PUNCTUATION, _SYMBOL, _SPACE, _END, _QUESTION = (1 << i for i in range(8))

_QUESTION_MARKS = "?\uff1f\u061f"
_ENDS = ".!\u2026\u3002\uff01" + _QUESTION_MARKS
_WORD_OR_NUMBER = r"[^\W\d_]+(?:'[^\W\d_]+)*|\d+(?:[.,]\d+)*"
_WIDE = 0x3000  # from here on, writing puts no space after the end of a sentence
_GAP = "\n\n"  # between texts: a sentence ends, and nothing in lower case follows
_BATCH = 1 << 17  # characters read at a time; more would not stay in the cache


class TextStatistics(TransformerMixin, BaseEstimator):
    """Describe each text by numbers: length, negations, hedges, figures, capitals, rare words.

    A rejector that reads them can learn that a model misses long texts, or that an expert
    stumbles over negations: ``LearnedRejector(features=TextStatistics())``. What they say does
    not depend on the topic, so a few hundred answers are enough to learn from, and each has a
    name that a report can show.

    Parameters
    ----------
    negations : sequence of str, default=None
        Words and phrases that deny. None: English ones, as for the next two.
    hedges : sequence of str, default=None
        Words and phrases that say how unsure the writer is.
    units : sequence of str, default=None
        Units, which count right after a number ("5 mg", "5mg", "5 %"); each is one word or one
        sign.
    rare_below : int, default=5
        A word is rare if fewer than so many texts of ``fit`` have it. This is all that ``fit``
        learns.

    Attributes
    ----------
    n_texts_ : int
        Number of texts of ``fit``.
    n_common_words_ : int
        Number of words that are not rare.

    Raises
    ------
    TypeError, ValueError
        For anything but a column of texts, a missing text, parameters that do not fit.

    Notes
    -----
    All are counts or shares, 0 where there is nothing to count:

    ============================ ==================================================================
    ``n_characters``             characters, blanks among them
    ``n_words``                  words and numbers
    ``n_sentences``              ends of sentences (. ! ? before a blank and no small letter), and
                                 what follows the last
    ``words_per_sentence``       ``n_words`` over ``n_sentences``
    ``letters_per_word``         letters over words
    ``negations_per_word``       negations, hedges, numbers, units over ``n_words``
    ``hedges_per_word``
    ``numbers_per_word``
    ``units_per_word``
    ``upper_case_share``         share of the letters that are capitals
    ``punctuation_share``        punctuation, and symbols (+ < $, emoji), over ``n_characters``
    ``symbol_share``
    ``questions_per_sentence``   question marks over ``n_sentences``
    ``rare_word_share``          share of the words that are rare
    ============================ ==================================================================

    A word is a run of letters, with apostrophes inside ("don't"); case and the shape of the
    apostrophe make no difference. A language written without blanks has long words. Texts are
    read in one pass, some hundred thousand characters at a time, and a text's numbers do not
    depend on the others. A text of ``fit`` counts its own words among the common ones; a new text
    does not.

    Examples
    --------
    >>> from skdefer.text import TextStatistics
    >>> texts = ["No rash after 5 mg.", "It may be the drug. Or is it?", ""]
    >>> statistics = TextStatistics().set_output(transform="pandas").fit(texts)
    >>> found = statistics.transform(texts)
    >>> found[["n_words", "n_sentences", "negations_per_word", "units_per_word"]]
       n_words  n_sentences  negations_per_word  units_per_word
    0      5.0          1.0                 0.2             0.2
    1      8.0          2.0                 0.0             0.0
    2      0.0          0.0                 0.0             0.0
    """

    _parameter_constraints: dict = {
        "negations": ["array-like", None],
        "hedges": ["array-like", None],
        "units": ["array-like", None],
        "rare_below": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        *,
        negations: Sequence[str] | None = None,
        hedges: Sequence[str] | None = None,
        units: Sequence[str] | None = None,
        rare_below: int = 5,
    ):
        self.negations = negations
        self.hedges = hedges
        self.units = units
        self.rare_below = rare_below

    def fit(self, X: Any, y: Any = None) -> TextStatistics:
        """Learn which words are rare.

        Parameters
        ----------
        X : list, tuple, Series or array of str, of shape (n_rows,) or (n_rows, 1)
            The texts. A frame has one column.
        y : ignored
            Here by convention.

        Returns
        -------
        self : TextStatistics
            The fitted transformer.
        """
        self._validate_params()
        texts = as_texts(X)
        units = _read_cues("units", self.units, UNITS)
        signs = {c for unit in units for c in unit if not (c.isalnum() or c.isspace())}
        self._token = re.compile("|".join([_WORD_OR_NUMBER, *map(re.escape, sorted(signs))]))
        frequency: Counter[str] = Counter()
        for text in texts:
            frequency.update(set(self._tokens_in(text)))
        self._kinds = _Kinds()
        for word, n_texts in frequency.items():
            if n_texts >= self.rare_below:
                self._kinds[word] = self._kinds[word] & ~_RARE
        self.n_texts_ = len(texts)
        self.n_common_words_ = sum(kind == _WORD for kind in self._kinds.values())
        self._phrases: dict[str, list[tuple[list[str], int]]] = {}
        for unit in units:
            self._add_cue("units", unit, _UNIT)
        for negation in _read_cues("negations", self.negations, NEGATIONS):
            self._add_cue("negations", negation, _NEGATION)
        for hedge in _read_cues("hedges", self.hedges, HEDGES):
            self._add_cue("hedges", hedge, _HEDGE)
        return self

    def _add_cue(self, name: str, cue: str, kind: int) -> None:
        tokens = self._tokens_in(cue)
        if not tokens or (kind == _UNIT and tokens != [cue]):
            wanted = "one word or one sign" if kind == _UNIT else "a word or several"
            raise ValueError(f"{name} has the entry {cue!r}; expected {wanted}.")
        first = tokens[0]
        if len(tokens) == 1:
            self._kinds[first] = self._kinds[first] | kind
        else:
            self._kinds[first] = self._kinds[first] | _FIRST
            self._phrases.setdefault(first, []).append((tokens, kind))

    def _tokens_in(self, text: str) -> list[str]:
        return self._token.findall(_plain(text))

    def transform(self, X: Any) -> np.ndarray:
        """Describe texts.

        Parameters
        ----------
        X : list, tuple, Series or array of str, of shape (n_rows,) or (n_rows, 1)
            The texts. A frame has one column.

        Returns
        -------
        statistics : ndarray of float64 of shape (n_rows, 14)
            See the notes of the class.
        """
        check_is_fitted(self)
        texts = as_texts(X)
        statistics = np.zeros((len(texts), len(_NAMES)))
        for rows in _batches(texts):
            statistics[rows] = self._describe(texts[rows])
        return statistics

    def _describe(self, texts: list[str]) -> np.ndarray:
        n_characters = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
        letters, upper, punctuation, symbols, questions, sentences = _count_characters(
            texts, n_characters
        )
        tokens = [self._tokens_in(text) for text in texts]
        words, numbers, units, rare, negations, hedges = self._count_words(tokens)
        n_words = words + numbers
        return np.column_stack(
            [
                n_characters,
                n_words,
                sentences,
                _share(n_words, sentences),
                _share(letters, words),
                _share(negations, n_words),
                _share(hedges, n_words),
                _share(numbers, n_words),
                _share(units, n_words),
                _share(upper, letters),
                _share(punctuation, n_characters),
                _share(symbols, n_characters),
                _share(questions, sentences),
                _share(rare, words),
            ]
        )

    def _count_words(self, tokens: list[list[str]]) -> list[np.ndarray]:
        """Count words of each kind, per text."""
        stops = np.cumsum([0, *map(len, tokens)])
        flat = list(chain.from_iterable(tokens))
        kinds = np.fromiter(map(self._kinds.__getitem__, flat), dtype=np.uint8, count=len(flat))
        first = np.zeros(len(flat) + 1, dtype=bool)  # of its text
        first[stops] = True
        after_number = np.zeros(len(flat), dtype=bool)
        after_number[1:] = (kinds[:-1] & _NUMBER).astype(bool)
        kinds[~after_number | first[:-1]] &= ~np.uint8(_UNIT)
        counts = {kind: _per_text(kinds & kind, stops) for kind in _COUNTED}
        starts = np.flatnonzero(kinds & _FIRST)
        of_text = np.searchsorted(stops, starts, side="right") - 1
        for start, row in zip(starts.tolist(), of_text.tolist(), strict=True):
            for phrase, kind in self._phrases[flat[start]]:
                if flat[start : min(start + len(phrase), stops[row + 1])] == phrase:
                    counts[kind][row] += 1
        return list(counts.values())

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Name the columns of ``transform``.

        Parameters
        ----------
        input_features : ignored
            Here by convention.

        Returns
        -------
        names : ndarray of object of shape (14,)
            As in the notes of the class.
        """
        return np.asarray(_NAMES, dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags


class _Kinds(dict[str, int]):
    """What each word is, as bits; a word that is not listed is rare."""

    def __missing__(self, token: str) -> int:
        if token[0].isdecimal():
            return _NUMBER
        return _WORD | _RARE if token[0].isalnum() else 0


def _plain(text: str) -> str:
    return text.lower().replace("\u2019", "'")


def _read_cues(name: str, given: Sequence[str] | None, own: tuple[str, ...]) -> list[str]:
    """Bring a parameter to cues without repeats, in the shape that texts are compared in."""
    cues = list(own if given is None else given)
    wrong = [cue for cue in cues if not isinstance(cue, str)]
    if wrong:
        raise TypeError(f"{name} has the entry {wrong[0]!r}; expected words, each a str.")
    return list(dict.fromkeys(map(_plain, cues)))


def _batches(texts: list[str]) -> Iterator[slice]:
    """Cut the rows where another batch of characters is full."""
    full = np.cumsum([0, *map(len, texts)])[1:] // _BATCH
    cuts = [0, *(np.flatnonzero(np.diff(full)) + 1).tolist(), len(texts)]
    return (slice(*cut) for cut in pairwise(cuts) if cut[0] < cut[1])


def _count_characters(texts: list[str], n_characters: np.ndarray) -> list[np.ndarray]:
    """Count letters, capitals, punctuation, symbols, question marks and sentences, per text."""
    buffer = _GAP.join([*texts, ""]).encode("utf-32-le", "surrogatepass")
    codes = np.frombuffer(buffer, dtype="<u4")
    stops = np.cumsum([0, *(n_characters + len(_GAP))])
    present = np.flatnonzero(np.bincount(codes))
    table = np.zeros(present[-1] + 1, dtype=np.uint8)
    table[present] = [_kind_of_character(chr(code)) for code in present]
    kinds = table[codes]
    here, after, next_but_one = kinds[:-2], kinds[1:-1], kinds[2:]
    closes = (after & _SPACE > 0) & (next_but_one & _LOWER == 0)
    closes |= (codes[:-2] >= _WIDE) & (after & _END == 0)
    ends = np.append((here & _END > 0) & closes, [False, False])
    last = [text.rstrip()[-1:] for text in texts]
    unfinished = np.array([c not in _ENDS for c in last])  # nothing is in every string
    counted = (_LETTER, _UPPER, _PUNCTUATION, _SYMBOL, _QUESTION)
    return [
        *(_per_text(kinds & kind, stops) for kind in counted),
        _per_text(ends, stops) + unfinished,
    ]


def _kind_of_character(character: str) -> int:
    category = unicodedata.category(character)
    kind = {"L": _LETTER, "P": _PUNCTUATION, "S": _SYMBOL}.get(category[0], 0)
    kind |= {"Lu": _UPPER, "Lt": _UPPER, "Ll": _LOWER}.get(category, 0)
    kind |= _SPACE if character.isspace() else 0
    kind |= _END if character in _ENDS else 0
    return kind | (_QUESTION if character in _QUESTION_MARKS else 0)


def _per_text(marks: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Count the entries that are not 0 between stops."""
    return np.diff(np.searchsorted(np.flatnonzero(marks), stops))


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide, 0 where there is nothing to divide by."""
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
