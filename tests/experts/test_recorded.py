"""Answers on record: in a column that travels with the rows, or looked up."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

from skdefer.exceptions import ExpertAnswerError
from skdefer.experts import ColumnExpert, IndexExpert

ANSWERS = ["ill", None, "well", "ill"]
COLUMNS = {"age": [61, 45, 33, 70], "reader": ANSWERS}
INDEX = ["case 4", "case 1", "case 3", "case 2"]


# -- a column -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame(COLUMNS),
        pd.DataFrame(COLUMNS, index=INDEX),
        pd.DataFrame(COLUMNS).astype({"reader": "category"}),
        pd.DataFrame(COLUMNS).astype({"reader": "string"}),
        pl.DataFrame(COLUMNS),
    ],
)
def test_a_column_is_read(frame):
    expert = ColumnExpert("reader")
    got = expert.answers(frame)
    assert got.dtype == object
    assert got.tolist() == ANSWERS
    assert expert.name == expert.column == "reader"
    assert expert.can_answer


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_a_column_of_numbers_with_holes(frame):
    got = ColumnExpert("reader").answers(frame({"reader": [1, None, 0]}))
    assert got.tolist() == [1, None, 0]


def test_reading_leaves_the_frame_alone():
    frame = pd.DataFrame({"reader": np.array(["a", np.nan], dtype=object)})
    ColumnExpert("reader").answers(frame)[0] = "changed"
    assert frame["reader"][0] == "a"
    assert frame["reader"].isna().tolist() == [False, True]


def test_a_column_may_have_a_name_of_its_own():
    expert = ColumnExpert("reader", name="dr. b", cost=0.2, capacity=7)
    assert (expert.name, expert.column, expert.cost, expert.capacity) == ("dr. b", "reader", 0.2, 7)


@pytest.mark.parametrize("rows", [np.eye(2), [[0, 1]], ["a"], sparse.eye_array(2)])
def test_rows_without_names_have_no_column(rows):
    with pytest.raises(
        ExpertAnswerError, match="reads the column 'reader', but X is a .* Pass a DataFrame"
    ):
        ColumnExpert("reader").answers(rows)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_a_column_that_is_not_there(frame):
    with pytest.raises(
        ExpertAnswerError, match=r"'reader', which X lacks; .*\['age'\]. Add the column"
    ):
        ColumnExpert("reader").answers(frame({"age": [1]}))


@pytest.mark.parametrize("column", [0, None, ["a"], np.array(["a", "b"])])
def test_a_column_is_named_by_a_string(column):
    with pytest.raises(TypeError, match="expected the name of a column, a string. For answers in"):
        ColumnExpert(column)


# -- by index -----------------------------------------------------------------------


def test_rows_are_found_by_their_index():
    record = pd.Series(ANSWERS, index=INDEX, name="dr. b")
    expert = IndexExpert(record)
    assert expert.name == "dr. b"
    asked = pd.DataFrame({"age": [1, 2, 3]}, index=["case 2", "case 4", "case 9"])
    assert expert.answers(asked).tolist() == ["ill", "ill", None]
    assert expert.answers(asked["age"]).tolist() == ["ill", "ill", None]
    assert expert.answers(asked.iloc[:0]).tolist() == []


def test_a_record_may_be_a_frame_and_an_index_of_pairs():
    pairs = pd.MultiIndex.from_tuples([("a", 1), ("a", 2)])
    expert = IndexExpert(pd.DataFrame({"dr. b": [0, 1]}, index=pairs), name="b")
    assert expert.name == "b"
    assert expert.answers(pd.DataFrame({"x": [0]}, index=pairs[1:])).tolist() == [1]


@pytest.mark.parametrize("rows", [np.eye(2), ["a", "b"], pl.DataFrame({"a": [1]})])
def test_rows_without_an_index(rows):
    expert = IndexExpert(pd.Series([0, 1], name="dr. b"))
    with pytest.raises(
        ExpertAnswerError, match="'dr. b' looks rows up by their index, but X is a .*with X="
    ):
        expert.answers(rows)


def test_an_index_twice_is_ambiguous():
    with pytest.raises(ValueError, match="index 'a' stands in the record more than once.*Make the"):
        IndexExpert(pd.Series([0, 0], index=["a", "a"]))


# -- by content ---------------------------------------------------------------------

ROWS = [
    np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 0.0]]),
    sparse.csr_array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 0.0]]),
    pd.DataFrame({"age": [61, 45, 33, 70], "note": ["x", "y", None, "z"]}, index=INDEX),
    pl.DataFrame({"age": [61, 45, 33, 70], "note": ["x", "y", None, "z"]}),
    ["a text", "another", "", "the last"],
]


@pytest.mark.parametrize("rows", ROWS, ids=lambda r: type(r).__name__)
@pytest.mark.parametrize(
    "record", [ANSWERS, np.array(ANSWERS, dtype=object), pd.Series(ANSWERS, name="r")]
)
def test_rows_are_found_by_their_content(rows, record):
    expert = IndexExpert(record, X=rows)
    assert expert.answers(rows).tolist() == ANSWERS
    turned = rows[::-1] if not sparse.issparse(rows) else rows[[3, 2, 1, 0]]
    assert expert.answers(turned).tolist() == ANSWERS[::-1]


def test_an_unknown_row_has_no_answer():
    expert = IndexExpert(["a", "b"], X=[[1, 2], [3, 4]])
    assert expert.answers([[3, 4], [5, 6]]).tolist() == ["b", None]


def test_identical_rows_may_stand_twice_with_one_answer():
    assert IndexExpert(["a", "a"], X=[[1], [1]]).answers([[1]]).tolist() == ["a"]
    for answers in (["a", "b"], ["a", None]):
        with pytest.raises(
            ValueError, match="content of a row stands in the record more than once"
        ):
            IndexExpert(answers, X=[[1], [1]])


def test_the_index_may_be_meant_though_rows_are_given():
    record = pd.Series([0, 1], index=["a", "b"])
    expert = IndexExpert(record, X=np.eye(2), by="index")
    assert expert.answers(pd.DataFrame({"x": [5]}, index=["b"])).tolist() == [1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"record": [0, 1]}, "record is a list without an index. Pass a pandas Series, or X="),
        ({"record": pl.Series([0, 1])}, "record is a Series without an index"),
        ({"record": [0, 1], "by": "content"}, "by='content' needs X.*Pass X="),
        ({"record": [0, 1], "X": [[0], [1]], "by": "name"}, "by is 'name'; expected 'index' or"),
        ({"record": [0, 1], "X": [[0]]}, "has 2 rows, but X has 1"),
        (
            {"record": pd.DataFrame({"a": [0], "b": [1]})},
            "record has 2 columns; expected one. Make",
        ),
    ],
)
def test_bad_records_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        IndexExpert(**arguments)
