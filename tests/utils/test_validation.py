"""Answers and labels of any container: what is missing, what is a class, what is refused."""

import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.exceptions import DataConversionWarning

from skdefer.utils._validation import (
    MISSING,
    OUT_OF_LABELS,
    check_answers,
    check_target,
    check_weights,
    decode_answers,
    encode_answers,
    is_missing,
)

# -- what is missing ----------------------------------------------------------------

HOLES = [
    np.array([1.0, np.nan, 3.0]),
    np.array([1.0, np.nan, 3.0], dtype=np.float32),
    np.array(["a", None, "c"], dtype=object),
    np.array(["a", np.nan, "c"], dtype=object),
    np.array(["a", pd.NA, "c"], dtype=object),
    np.array([1, pd.NaT, 3], dtype=object),
    np.array(["2020-01-01", "NaT", "2020-01-02"], dtype="datetime64[D]"),
    np.ma.array([1, 2, 3], mask=[False, True, False]),
    np.ma.array(["a", "b", "c"], mask=[False, True, False]),
    ["a", None, "c"],
    ["a", float("nan"), "c"],
    [1, None, 3],
    [1, pd.NA, 3],
    pd.Series(["a", None, "c"]),
    pd.Series(["a", None, "c"], dtype="string"),
    pd.Series(["a", None, "c"], dtype="category"),
    pd.Series([1, None, 3], dtype="Int64"),
    pd.Series([True, None, False], dtype="boolean"),
    pl.Series(["a", None, "c"]),
    pl.Series([1, None, 3]),
]


@pytest.mark.parametrize("values", HOLES, ids=lambda v: f"{type(v).__module__}-{type(v).__name__}")
def test_holes_are_found_in_every_container(values):
    assert is_missing(values).tolist() == [False, True, False]


@pytest.mark.parametrize(
    "values",
    [np.arange(3), np.array(["a", "nan", ""]), np.ones(2, bool), ["a", "None"], np.array([])],
)
def test_labels_are_never_holes(values):
    assert not is_missing(values).any()


def test_a_masked_entry_and_a_nan_are_both_missing():
    assert is_missing(np.ma.array([np.nan, 1.0, 2.0], mask=[0, 0, 1])).tolist() == [
        True,
        False,
        True,
    ]


def test_holes_keep_the_shape():
    assert is_missing(np.full((2, 3), None)).shape == (2, 3)


def test_holes_are_found_before_pandas_is_loaded(monkeypatch):
    monkeypatch.delitem(sys.modules, "pandas")
    values = np.array([["a", None], [np.nan, 1]], dtype=object)
    assert is_missing(values).tolist() == [[False, True], [True, False]]


# -- answers of experts -------------------------------------------------------------


def two_experts(frame):
    return frame({"a": ["x", None, "z"], "b": ["z", "y", "x"]})


WANTED = [["x", "z"], [None, "y"], ["z", "x"]]


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_columns_match_experts_by_name(frame):
    answers, columns = check_answers(two_experts(frame), 3)
    assert columns == ["a", "b"]
    assert np.where(is_missing(answers), None, answers).tolist() == WANTED
    turned, columns = check_answers(two_experts(frame), 3, names=["b", "a"])
    assert columns == ["b", "a"]
    assert np.where(is_missing(turned), None, turned).tolist() == [row[::-1] for row in WANTED]


@pytest.mark.parametrize(
    "answers",
    [
        WANTED,
        [tuple(row) for row in WANTED],
        np.array(WANTED, dtype=object),
        np.ma.array([["x", "z"], ["?", "y"], ["z", "x"]], mask=[[0, 0], [1, 0], [0, 0]]),
        two_experts(pd.DataFrame),
        two_experts(pd.DataFrame).astype("category"),
        two_experts(pl.DataFrame),
    ],
    ids=["lists", "tuples", "objects", "masked", "pandas", "categories", "polars"],
)
def test_two_experts_in_every_container(answers):
    got = check_answers(answers, 3)[0]
    assert got.shape == (3, 2)
    assert np.where(is_missing(got), None, got).tolist() == WANTED


@pytest.mark.parametrize("answers", HOLES, ids=lambda v: f"{type(v).__module__}-{type(v).__name__}")
def test_one_expert_in_every_container(answers):
    got, columns = check_answers(answers, 3)
    assert got.shape == (3, 1)
    assert columns is None
    assert is_missing(got[:, 0]).tolist() == [False, True, False]


def test_labels_beside_holes_stay_what_they_are():
    assert check_answers(["a", np.nan, 1], 3)[0][[0, 2], 0].tolist() == ["a", 1]
    assert check_answers([[True, None]], 1)[0].tolist() == [[True, None]]


def test_masked_integers_stay_integers():
    masked = np.ma.array([0, 1, 2], mask=[0, 1, 0], fill_value=1)
    assert check_answers(masked, 3)[0].ravel().tolist() == [0, None, 2]
    assert masked.tolist() == [0, None, 2], "the caller's array is left alone"


def test_the_name_of_a_series_names_the_expert():
    assert check_answers(pd.Series([0, 1], name="dr. b"), 2)[1] == ["dr. b"]
    assert check_answers(pl.Series("dr. b", [0, 1]), 2)[1] == ["dr. b"]
    assert check_answers(pd.Series([0, 1]), 2)[1] is None
    assert check_answers(pl.Series([0, 1]), 2)[1] is None


@pytest.mark.parametrize(
    ("answers", "n_rows", "names", "message"),
    [
        ({"a": [0, 1]}, 2, None, "is a dict, .*never slices.*Pass an array"),
        (np.zeros((2, 5)), 5, None, "has 2 rows, but X has 5.*looks transposed"),
        (np.zeros(4), 5, None, "has 4 rows, but X has 5.*one answer per row"),
        (np.zeros((5, 2)), 5, ["a"], r"has 2 columns, but there are 1 experts: \['a'\].*Pass one"),
        (np.zeros((5, 0)), 5, None, "has no column.*Pass one column per expert"),
        (np.zeros((5, 2, 1)), 5, None, r"shape \(5, 2, 1\); expected"),
        (None, 5, None, r"shape \(\); expected"),
        (sparse.csr_array(np.eye(5)), 5, None, r"shape \(\); expected"),
        ([[0, 1], [0]], 2, None, "rows of different lengths; expected.*Put None"),
        (pd.DataFrame([[0, 1]], columns=["a", "a"]), 1, None, "duplicate columns.*Rename"),
        (pd.DataFrame([[0, 1]], columns=["1", 1]), 1, None, "duplicate columns.*Rename"),
        (pd.DataFrame({"a": [0]}), 1, ["b"], r"are \['a'\], but the experts are \['b'\].*Rename"),
        (pl.DataFrame({"a": [0]}), 1, ["b", "c"], r"the experts are \['b', 'c'\]"),
        (pd.DataFrame(index=[0]), 1, ["a"], r"are \[\], but the experts are \['a'\]"),
        (np.zeros((5, 1)), 5, ["a", "b"], "all None for one without a record; or a DataFrame"),
    ],
)
def test_what_is_refused(answers, n_rows, names, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        check_answers(answers, n_rows, names=names)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_an_expert_without_a_column_has_no_answer(frame):
    for values in ([1, 0], ["x", None]):
        answers, columns = check_answers(frame({"b": values}), 2, names=["a", "b", "c"])
        assert columns == ["a", "b", "c"]
        assert np.where(is_missing(answers), None, answers).tolist() == [
            [None, value, None] for value in values
        ]


# -- labels as positions ------------------------------------------------------------

NAN = float("nan")


@pytest.mark.parametrize(
    ("answers", "classes", "codes"),
    [
        ([0, 2, 1], [0, 1, 2], [0, 2, 1]),
        ([0.0, NAN, 2.0, 1.5, np.inf, -np.inf], [0, 1, 2], [0, -1, 2, -2, -2, -2]),
        ([5, 7, -1], [0, 5], [1, -2, -2]),
        ([1, 0], [0.0, 1.0], [1, 0]),
        ([True, False], [0, 1], [1, 0]),
        ([1, 0, 2], [False, True], [1, 0, -2]),
        ([1.0, 0.0], [False, True], [1, 0]),
        (["b", "a", "z", ""], ["a", "b"], [1, 0, -2, -2]),
        (["b", None, NAN, pd.NA], ["a", "b"], [1, -1, -1, -1]),
        ([1, 1.0, True, "1", None], [0, 1], [1, 1, 1, -2, -1]),
        ([np.int64(1), np.float32(0), np.str_("1")], [0, 1], [1, 0, -2]),
        ([0, 1], ["0", "1"], [-2, -2]),
        (["0", "1"], [0, 1], [-2, -2]),
        ([["a"], {"a": 1}, "a"], ["a", "b"], [-2, -2, 0]),
        ([np.str_("a")], ["a"], [0]),
        ([2**62, 2**62 + 1], [2**62, 2**62 + 1], [0, 1]),
    ],
)
def test_labels_become_positions(answers, classes, codes):
    array = np.empty(len(answers), dtype=object)
    array[:] = answers
    tidy = np.asarray(answers) if all(np.isscalar(a) for a in answers) else array
    for form in (array, tidy if tidy.dtype.kind not in "US" else array):
        assert encode_answers(form, np.array(classes)).tolist() == codes


def test_positions_keep_the_shape():
    for answers in (np.array([[0, 1], [2, 9]]), np.array([["a", None]], dtype=object)):
        assert encode_answers(answers, np.array([0, 1, 2])).shape == answers.shape


def test_objects_may_be_the_classes():
    classes = np.array(["a", "b"], dtype=object)
    assert encode_answers(np.array(["b", "c", "a"]), classes).tolist() == [1, OUT_OF_LABELS, 0]


@given(
    codes=st.lists(st.integers(MISSING, 3), min_size=1, max_size=20),
    classes=st.one_of(
        st.sets(st.integers(-(2**40), 2**40), min_size=4, max_size=4),
        st.sets(st.text(max_size=5), min_size=4, max_size=4),
        st.sets(st.floats(-1e6, 1e6), min_size=4, max_size=4),
    ),
)
@settings(deadline=None, max_examples=60)
def test_decoding_and_encoding_undo_each_other(codes, classes):
    # numpy cuts NUL characters off the end of texts
    classes = np.unique(np.array(sorted(classes), dtype=object))
    codes = np.array(codes)
    np.testing.assert_array_equal(encode_answers(decode_answers(codes, classes), classes), codes)


def test_no_answer_decodes_to_none():
    codes = np.array([[0, MISSING], [OUT_OF_LABELS, 1]])
    assert decode_answers(codes, np.array(["a", "b"])).tolist() == [["a", None], [None, "b"]]


# -- weights ------------------------------------------------------------------------


def test_weights():
    np.testing.assert_array_equal(check_weights(None, 3), np.ones(3))
    np.testing.assert_array_equal(check_weights([0, 1, 2], 3), [0.0, 1.0, 2.0])


@pytest.mark.parametrize("weight", [[1, -1], [1, np.nan], [np.inf, 1], [1], [[1], [1]], 1.0])
def test_bad_weights_are_refused(weight):
    with pytest.raises(ValueError, match="sample_weight has .*; expected"):
        check_weights(weight, 2)


# -- the truth ----------------------------------------------------------------------


@pytest.mark.parametrize("y", [[0, 1, 1], ["a", "b", "a"], pd.Series([True, False, True])])
def test_targets_are_labels(y):
    np.testing.assert_array_equal(check_target(y, 3), np.asarray(y))


def test_a_target_in_a_column_is_warned_of():
    with pytest.warns(DataConversionWarning):
        assert check_target(np.array([[0], [1]]), 2).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "requires y to be passed"),
        ([0, 1], "y has 2 labels, but X has 3 rows; pass one label per row"),
        ([0, np.nan, 1], r"y is missing .* on 1 of 3 rows; expected a label on each. Leave"),
        (np.array(["a", None, "b"], dtype=object), "y is missing"),
        ([0.1, 0.2, 0.3], "Unknown label type"),
        ([[0, 1]] * 3, "1d array"),
    ],
)
def test_bad_targets_are_refused(y, message):
    with pytest.raises(ValueError, match=message):
        check_target(y, 3)
