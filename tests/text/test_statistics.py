"""Text characteristics, against a reader that goes character by character."""

import pickle
import unicodedata
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks

from skdefer import DeferralClassifier
from skdefer.rejectors import LearnedRejector
from skdefer.text import TextStatistics, _statistics
from skdefer.text._cues import HEDGES, NEGATIONS, UNITS

NAMES = TextStatistics().get_feature_names_out().tolist()


def table(texts, fitted_on=(), **params):
    fitted = TextStatistics(**params).fit(list(fitted_on) or texts)
    return pd.DataFrame(fitted.transform(texts), columns=NAMES)


def one(text, **params):
    return table([text], **params).iloc[0]


# The reference -----------------------------------------------------------------------------


def words_of(text):
    """Runs of letters with apostrophes inside, runs of digits with points or commas inside."""
    text, found, kind = text.lower().replace("\u2019", "'"), [], None
    for i, c in enumerate(text):
        after = text[i + 1 : i + 2]
        is_digit, is_letter = c.isdecimal(), c.isalnum() and not c.isdecimal()
        goes_on = (kind == "letter" and c == "'" and after.isalnum() and not after.isdecimal()) or (
            kind == "digit" and c in ".," and after.isdecimal()
        )
        new = "letter" if is_letter else "digit" if is_digit else kind if goes_on else None
        if new is None:
            found += [c] if c in "%°‰" else []
        elif new == kind:
            found[-1] += c
        else:
            found.append(c)
        kind = new
    return found


def count_phrase(words, phrase):
    phrase = words_of(phrase)
    return sum(words[i : i + len(phrase)] == phrase for i in range(len(words)))


def share(part, whole):
    return part / whole if whole else 0.0


def reference(text, common):
    tokens = words_of(text)
    words = [t for t in tokens if t[0].isalnum() and not t[0].isdecimal()]
    numbers = [t for t in tokens if t[0].isdecimal()]
    n_words = len(words) + len(numbers)
    categories = [unicodedata.category(c) for c in text]
    letters = sum(c[0] == "L" for c in categories)
    ends, wide = ".!\u2026\u3002\uff01?\uff1f\u061f", 0x3000
    padded = text + "\n\n"
    sentences = 0
    for here, after, then in zip(padded, padded[1:], padded[2:], strict=False):
        lower = unicodedata.category(then) == "Ll"
        blank = after.isspace() and not lower
        sentences += here in ends and (blank or (ord(here) >= wide and after not in ends))
    stripped = text.rstrip()
    sentences += bool(stripped) and stripped[-1] not in ends
    units = sum(after in UNITS and number[0].isdecimal() for number, after in pairwise(tokens))
    return [
        len(text),
        n_words,
        sentences,
        share(n_words, sentences),
        share(letters, len(words)),
        share(sum(count_phrase(tokens, cue) for cue in NEGATIONS), n_words),
        share(sum(count_phrase(tokens, cue) for cue in HEDGES), n_words),
        share(len(numbers), n_words),
        share(units, n_words),
        share(sum(c in ("Lu", "Lt") for c in categories), letters),
        share(sum(c[0] == "P" for c in categories), len(text)),
        share(sum(c[0] == "S" for c in categories), len(text)),
        share(sum(c in "?\uff1f\u061f" for c in text), sentences),
        share(sum(w not in common for w in words), len(words)),
    ]


PIECES = [
    *("NO", "not", "can\u2019t", "Don't", "free of", "cannot", "be excluded", "may", "suggests"),
    *("5", "3.5", "1,000", "mg", "5mg", "%", "°", "7 %", "ÅNG", "ruled out", "consistent with"),
    *("e.g. ", "? ", "?!", "...", ". ", ".\n", "\u3002", "\uff01", "IL-6", "\u2018so\u2019", "½"),
    *("😀", "_", "ß", "İ", "词语", "a", "\ud800", " ", "  ", "!", "x'", "'", "-", "+"),
]
TEXTS = st.lists(
    st.one_of(
        st.text(max_size=30),
        st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
        st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join),
    ),
    min_size=1,
    max_size=6,
)


@given(TEXTS)
def test_numbers_are_those_of_a_reader_who_goes_character_by_character(texts):
    seen = [set(words_of(text)) for text in texts]
    common = {w for words in seen for w in words if sum(w in other for other in seen) >= 2}
    found = TextStatistics(rare_below=2).fit(texts).transform(texts)
    np.testing.assert_allclose(found, [reference(text, common) for text in texts])


@given(TEXTS, st.integers(1, 40))
def test_a_text_has_the_same_numbers_in_every_batch(texts, size):
    fitted = TextStatistics(rare_below=1).fit(texts[:2])
    together = fitted.transform(texts)
    alone = np.vstack([fitted.transform([text]) for text in texts])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_statistics, "_BATCH", size)
        cut = fitted.transform(texts)
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(together, cut)
    assert np.isfinite(together).all()
    assert (together >= 0).all()


# What each number means --------------------------------------------------------------------


def test_counts_of_a_short_note():
    found = one("No rash was seen after 5 mg/kg (3.5mg). It may not be the drug? BP fell by 20%.")
    assert found["n_characters"] == 79
    assert found["n_words"] == 20
    assert found["n_sentences"] == 3
    assert found["words_per_sentence"] == pytest.approx(20 / 3)
    assert found["negations_per_word"] == pytest.approx(2 / 20)  # no, not
    assert found["hedges_per_word"] == pytest.approx(1 / 20)  # may
    assert found["numbers_per_word"] == pytest.approx(3 / 20)
    assert found["units_per_word"] == pytest.approx(3 / 20)  # mg, mg, %
    assert found["questions_per_sentence"] == pytest.approx(1 / 3)
    assert found["upper_case_share"] == pytest.approx(4 / 49)
    assert found["punctuation_share"] == pytest.approx(8 / 79)


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("One. Two! Three? Four", 4),
        ("Given at 3.5 mg, i.e. once, vs. placebo.", 1),
        ("Really?! Yes... No.", 3),
        ("这是\u3002那是\uff01", 2),
        ("   ", 0),
        ("", 0),
        ("no end", 1),
    ],
)
def test_sentences(text, n):
    assert one(text)["n_sentences"] == n


def test_contractions_and_phrases_deny_whatever_the_apostrophe():
    for text in ("It didn't help", "It didn\u2019t help", "It DIDN'T help"):
        assert one(text)["negations_per_word"] == pytest.approx(1 / 3)
    assert one("Sepsis was ruled out")["negations_per_word"] == pytest.approx(1 / 4)
    assert one("He ruled the ward out")["negations_per_word"] == 0


def test_a_phrase_does_not_reach_into_the_next_text():
    found = table(["sepsis was ruled", "out of bed", "dose 5", "mg"])
    assert (found["negations_per_word"] == 0).all()
    assert (found["units_per_word"] == 0).all()


def test_units_count_after_numbers_alone():
    assert one("mg and m are units")["units_per_word"] == 0
    assert one("5 mg")["units_per_word"] == 0.5


def test_words_are_rare_by_the_number_of_texts_that_have_them():
    fitted_on = ["the drug drug drug", "the rash", "the fever"]
    found = table(["the drug", "the", "aspirin"], fitted_on, rare_below=2)
    assert found["rare_word_share"].tolist() == [0.5, 0.0, 1.0]
    fitted = TextStatistics(rare_below=2).fit(fitted_on)
    assert (fitted.n_texts_, fitted.n_common_words_) == (3, 1)
    assert TextStatistics(rare_below=1).fit(fitted_on).n_common_words_ == 4


def test_own_words_replace_the_english_ones():
    own = {"negations": ["nicht", "auf keinen Fall"], "hedges": ["wohl"], "units": ["Stück", "€"]}
    found = one("Das ist wohl NICHT so, auf keinen Fall. 3 Stück, 5 €, not 5 mg", **own)
    n = found["n_words"]
    assert found["negations_per_word"] == pytest.approx(2 / n)
    assert found["hedges_per_word"] == pytest.approx(1 / n)
    assert found["units_per_word"] == pytest.approx(2 / n)
    assert one("not 5 %", negations=[], units=[])["negations_per_word"] == 0


def test_own_lists_are_english_words_each_once():
    for cues in (NEGATIONS, HEDGES, UNITS):
        assert len(set(cues)) == len(cues)
        assert all(cue == cue.lower().strip() for cue in cues)


# Containers and bad input ------------------------------------------------------------------


def test_any_column_of_texts_will_do():
    texts = ["No rash.", "5 mg", ""]
    expected = TextStatistics().fit_transform(texts)
    columns = [
        tuple(texts),
        np.array(texts),
        np.array(texts, dtype=object),
        np.array(texts, dtype=object)[:, None],
        pd.Series(texts, index=[7, 8, 9]),
        pd.DataFrame({"note": texts}),
        pd.Series(texts, dtype="string"),
    ]
    for column in columns:
        np.testing.assert_array_equal(TextStatistics().fit(column).transform(column), expected)
    assert not expected[2].any()


def test_frames_come_out_with_names_and_the_index():
    notes = pd.Series(["No rash.", "5 mg"], index=["a", "b"])
    found = TextStatistics().set_output(transform="pandas").fit_transform(notes)
    assert found.columns.tolist() == NAMES
    assert found.index.tolist() == ["a", "b"]


def test_no_rows():
    assert TextStatistics().fit(["a"]).transform([]).shape == (0, len(NAMES))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ("one text", "single str"),
        (["a", None], "1 of 2 texts are missing"),
        (pd.Series(["a", float("nan")]), "1 of 2 texts are missing"),
        (["a", 3, 4], "2 of 3 rows are of type int"),
        ([b"a"], "1 of 1 rows are of type bytes"),
        (np.zeros((3, 2)), "shape"),
    ],
)
def test_anything_but_texts_is_refused(X, message):
    with pytest.raises(ValueError, match=message):
        TextStatistics().fit(X)
    with pytest.raises(ValueError, match=message):
        TextStatistics().fit(["a"]).transform(X)


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"negations": "not"}, ValueError, "negations"),
        ({"hedges": [3]}, TypeError, "hedges has the entry 3; expected words"),
        ({"negations": [" - "]}, ValueError, "negations has the entry ' - '; expected a word"),
        ({"units": ["mg/kg"]}, ValueError, "units has the entry 'mg/kg'; expected one word or"),
        ({"rare_below": 0}, ValueError, "rare_below"),
    ],
)
def test_wrong_parameters_say_what_was_expected(params, error, message):
    with pytest.raises(error, match=message):
        TextStatistics(**params).fit(["a"])


@pytest.mark.parametrize(
    "text",
    ["a" * 10**7, "'a" * (5 * 10**6), "1," * (5 * 10**6), "ab. " * (10**7 // 4), "😀" * 10**7],
    ids=["letters", "apostrophes", "digits", "sentences", "emoji"],
)
def test_ten_megabytes_in_one_text(text):
    found = table([text], ["a"]).iloc[0]  # a pattern that backtracks would not end
    assert found["n_characters"] == len(text)
    assert np.isfinite(found).all()


# As a part of the library ------------------------------------------------------------------


@pytest.mark.parametrize(
    "check",
    # The checks that need no data: scikit-learn has no texts to try, and skips all by itself.
    [
        estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_estimator_tags_renamed,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_mixin_order,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_set_params,
        estimator_checks.check_valid_tag_types,
    ],
)
def test_scikit_learn_checks(check):
    check("TextStatistics", TextStatistics())


def test_fit_changes_no_parameter_and_a_second_fit_forgets_the_first():
    statistics = TextStatistics(rare_below=1)
    before = statistics.get_params()
    texts = ["a b", "c"]
    first = statistics.fit(texts).transform(texts)
    assert statistics.fit(["other words"]).transform(texts)[0, -1] == 1
    np.testing.assert_array_equal(statistics.fit_transform(texts), first)
    assert statistics.get_params() == before


def test_pickles_and_clones():
    fitted = TextStatistics(hedges=["wohl"], rare_below=1).fit(["5 mg of it", "wohl"])
    again = pickle.loads(pickle.dumps(fitted))
    texts = ["wohl 5 mg"]
    np.testing.assert_array_equal(again.transform(texts), fitted.transform(texts))
    assert clone(fitted).get_params() == fitted.get_params()
    with pytest.raises(ValueError, match="not fitted"):
        clone(fitted).transform(texts)


def test_a_rejector_learns_from_them_where_an_expert_fails():
    """The expert misreads every negated text, which the model's probabilities don't tell."""
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=600)
    negated = rng.random(600) < 0.5
    topics = np.where(rng.random(600) < 0.7, y, 1 - y)  # what the model can see
    texts = [
        f"{'No rash' if no else 'A rash'} was seen in {'adults' if topic else 'children'}."
        for no, topic in zip(negated, topics, strict=True)
    ]
    answers = np.where(negated, 1 - y, y)
    model = make_pipeline(TextStatistics(), LogisticRegression())

    def right(features):
        system = DeferralClassifier(
            model, rejector=LearnedRejector(features=features), random_state=0
        ).fit(texts[:400], y[:400], expert_predictions=answers[:400])
        return system.score(texts[400:], y[400:], expert_predictions=answers[400:])

    assert right(TextStatistics()) > right(None) + 0.1
    # The features are named, for a report.
    assert len(NAMES) == TextStatistics().fit(texts).transform(texts[:1]).shape[1]
